"""PostgreSQL as a database that several replicas share, also behind a transaction pooler such as pgbouncer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, Final, TypeVar, TypeVarTuple, cast
from uuid import uuid4

import anyio
import psycopg
import sqlalchemy as sa
from anyio import to_thread
from psycopg import sql

from monitor.clock import Clock
from monitor.store.database import POISON, FailingWrites, Readers
from monitor.store.errors import Corrupt, Gone, NewerSchema, StoreError, StoreUnavailable, Unstorable
from monitor.store.grouping import Group, Write, run
from monitor.store.migrating import HEAD, migrate

T = TypeVar("T")
Item = TypeVar("Item")
Ts = TypeVarTuple("Ts")
WRITERS: Final = 4
READERS: Final = 3
_TRIES: Final = 3  # attempts of a transaction that conflicts with others
_LISTEN_RETRY: Final = 10.0  # seconds
_CHANNEL: Final = "finetune_monitor"
_SCHEMA_LOCK: Final = 0x66696E65  # the number of an advisory lock ("fine"); all programs of a database share them
_UTF8: Final = "UTF8"
_CONNECT: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    # No prepared statements: with pgbouncer before 1.21, the next client of a server connection would not have them.
    "prepare_threshold": None,
    # A server that is cut off is noticed before a lease ends. Nothing else limits the wait for a response.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "finetune-monitor",
    "client_encoding": _UTF8,
}
_ENCODING: Final = sa.text("SHOW server_encoding")
# Set per transaction: a pooler rejects them as connection parameters, and session settings leak to the next client.
_LIMITS: Final = sa.text(
    "SELECT set_config('statement_timeout', '20s', true), set_config('lock_timeout', '5s', true),"
    " set_config('idle_in_transaction_session_timeout', '5s', true)"
)
_SHARE: Final = sa.text(f"SELECT pg_advisory_xact_lock_shared({_SCHEMA_LOCK})")
_EXCLUDE: Final = sa.text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
_REVISION: Final = sa.text("SELECT version_num FROM alembic_version")
# Not now(), which is constant within a transaction.
_NOW: Final = sa.text("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
_NOTIFY: Final = sa.text("SELECT pg_notify(:channel, :sender)")

_AGAIN: Final = frozenset({"08", "25", "28", "3D", "40", "53", "55", "57", "58"})
"""SQLSTATE classes that a retry may overcome: connection, read-only, login, conflict, resources, operator."""
_READ_ONLY: Final = "25006"
_DAMAGED: Final = frozenset({"XX001", "XX002"})
_TOO_LONG: Final = "54"  # "program limit exceeded", such as an indexed text of more than 2,700 bytes


class PostgresqlDatabase:
    """A PostgreSQL database as one replica uses it. Each write is a transaction of its own, except `write_together`."""

    def __init__(self, url: sa.URL, clock: Clock) -> None:
        self._engine = engine(url, WRITERS)
        reading = engine(url, READERS)
        self._reading = reading
        self._readers = Readers(
            reading.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True), READERS, translated
        )
        self._writing = anyio.CapacityLimiter(WRITERS)
        self._group = Group(self._transact_group, self._writing)
        self._failing = FailingWrites(clock)
        self._clock = clock
        self._name = uuid4().hex

    @property
    def healthy(self) -> bool:
        """Whether no kind of write fails, and the last read succeeded."""
        return not self._failing and self._readers.healthy

    async def write(self, work: Callable[[sa.Connection, *Ts], T], *args: *Ts) -> T:
        """Run `work` in a transaction, up to three times if it conflicts with another replica."""
        # Shielded, because a thread cannot be stopped and its outcome must be known; bounded by the timeouts.
        with anyio.CancelScope(shield=True):
            try:
                result = await to_thread.run_sync(self._transact, work, args, limiter=self._writing)
            except (StoreUnavailable, Gone, NewerSchema, Corrupt):
                self._failing.failed([work.__qualname__])
                raise
        self._failing.worked([work.__qualname__], written=True)
        return result

    async def write_each(
        self, work: Callable[[sa.Connection, Sequence[Item]], Sequence[T | StoreError]], item: Item
    ) -> T:
        """Write the item in a transaction of its own, so that it does not wait for locks of other items."""
        (outcome,) = await self.write(work, [item])
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    async def write_together(
        self, work: Callable[[sa.Connection, Sequence[Item]], Sequence[T | StoreError]], item: Item
    ) -> T:
        """Write the item together with others that wait for such work, in one transaction."""
        result: T = await self._group.written(Write(work, (item,), each=True))
        return result

    async def read(self, work: Callable[[sa.Connection, *Ts], T], *args: *Ts) -> T:
        """Run `work` in a repeatable-read transaction."""
        return await self._readers.read(lambda: None, work, args)

    def now(self, connection: sa.Connection) -> int:
        """The time of the database server in milliseconds, which all replicas share."""
        return int(connection.execute(_NOW).scalar_one())

    def wake(self, connection: sa.Connection) -> None:
        """Notify the listening replicas when the transaction commits, once per transaction."""
        connection.execute(_NOTIFY, {"channel": _CHANNEL, "sender": self._name})

    async def listen(self, woken: Callable[[], None]) -> None:
        """Call `woken` at notifications of other replicas, and connect again when the connection is lost.

        Behind a transaction pooler no notification ever arrives. Couriers therefore also poll the outbox.
        """
        while True:
            try:
                async with await self._direct() as connection:
                    await connection.execute(f"LISTEN {_CHANNEL}")
                    async for notice in connection.notifies():
                        if notice.payload != self._name:
                            woken()
            except psycopg.Error:
                await self._clock.sleep(_LISTEN_RETRY)

    async def inspect(self) -> None:
        """Do nothing: PostgreSQL checks its own pages."""

    async def compact(self) -> None:
        """Do nothing: PostgreSQL vacuums by itself."""

    def open(self) -> None:
        """Migrate the database to the present schema, while no replica writes. Raises StoreError."""
        try:
            with self._engine.begin() as connection:
                encoding = connection.scalar(_ENCODING)
                if encoding != _UTF8:  # a job whose name has other letters could not be stored
                    raise StoreError(f"the database is encoded in {encoding}: create it WITH ENCODING 'UTF8'")
                connection.execute(_EXCLUDE)
                migrate(connection)
        except sa.exc.SQLAlchemyError as error:
            raise translated(error) from error

    def close(self) -> None:
        """Close the idle connections."""
        self._engine.dispose()
        self._reading.dispose()

    async def _direct(self) -> psycopg.AsyncConnection[Any]:
        _, options = self._engine.dialect.create_connect_args(self._engine.url)
        return await psycopg.AsyncConnection.connect(**options, **_CONNECT, autocommit=True)

    def _transact(self, work: Callable[[sa.Connection, *Ts], T], args: tuple[*Ts]) -> T:
        for last in (*[False] * (_TRIES - 1), True):
            try:
                with self._engine.begin() as connection:
                    self._check_revision(connection)
                    return work(connection, *args)
            except POISON as error:
                raise Unstorable(f"a value cannot be stored: {type(error).__name__}") from error
            except sa.exc.SQLAlchemyError as error:
                if _state(error) == _READ_ONLY:
                    self._engine.dispose()  # the server is no longer the primary; a new connection may find that
                if last or not _state(error).startswith("40"):  # deadlock or conflict, rolled back by the server
                    raise translated(error) from error
        raise AssertionError("the last attempt returns or raises")

    def _transact_group(self, group: list[Write]) -> None:
        kinds = {write.kind for write in group}
        try:
            self._transact(run, (group,))
        except StoreError as error:
            self._failing.failed(kinds)
            for write in group:
                write.outcome = translated(error)
        else:
            self._failing.worked(kinds, written=True)

    def _check_revision(self, connection: sa.Connection) -> None:
        """Raise NewerSchema if a newer replica has migrated the database. A migration waits for this transaction."""
        connection.execute(_LIMITS)
        connection.execute(_SHARE)
        revision = connection.execute(_REVISION).scalar()
        if revision != HEAD:
            raise NewerSchema(f"the database has schema {revision} now: another replica runs a newer version")


def engine(url: sa.URL, size: int) -> sa.Engine:
    """An engine with at most `size` connections, which are opened on demand."""
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=size,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,  # a restart of the server leaves dead connections in the pool
        hide_parameters=True,  # error texts are shown, and parameters contain untrusted text
        connect_args=_CONNECT,
    )


def load(connection: sa.Connection, table: sa.Table, rows: Iterable[Iterable[Sequence[Any]]]) -> int:
    """Insert rows with all columns of a table by COPY, which takes a fifth of the time of INSERT statements.

    Returns the number of rows. Raises StoreError.
    """
    names = sql.SQL(", ").join(sql.Identifier(name) for name in table.c.keys())  # noqa: SIM118 - columns, not rows
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.name), names)
    count = 0
    try:
        driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in chain.from_iterable(rows):
                copy.write_row(row)
                count += 1
    except (psycopg.DataError, ValueError) as error:  # such as a NUL character, which SQLite allows in texts
        raise StoreError(f"a row of {table.name} cannot be stored there: {type(error).__name__}") from error
    except psycopg.Error as error:
        raise StoreUnavailable(f"the database cannot be used now: {error}") from error
    return count


def translated(error: Exception) -> StoreError:
    """The StoreError for an error of the database. The texts of the driver contain no password."""
    if isinstance(error, StoreError):
        return type(error)(*error.args)
    state = _state(error)
    cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    if state.startswith(_TOO_LONG):
        return Unstorable(f"a value cannot be stored: {cause}")
    if state in _DAMAGED:
        return Corrupt(f"the database is damaged ({cause}): restore it from a backup")
    if state == "42P01":
        return Gone(f"the tables were dropped while in use: {cause}")
    if state[:2] in _AGAIN or (not state and isinstance(error, (sa.exc.OperationalError, sa.exc.TimeoutError))):
        return StoreUnavailable(f"the database cannot be used now: {cause}")
    return StoreError(f"the database refused: {cause}")


def _state(error: Exception) -> str:
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


@asynccontextmanager
async def opened_postgresql(url: sa.URL, *, clock: Clock) -> AsyncIterator[PostgresqlDatabase]:
    """Open a PostgreSQL database and migrate it to the present schema. Leases stay: other replicas may be running."""
    database = PostgresqlDatabase(url, clock)
    try:
        await to_thread.run_sync(database.open)
        yield database
    finally:
        with anyio.CancelScope(shield=True):  # bounded: idle connections are closed
            await to_thread.run_sync(database.close)
