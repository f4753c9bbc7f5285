"""SQLite as a database for a single process: the file is verified, locked, and checked for replacement while in use."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple

import anyio
import sqlalchemy as sa
from anyio import to_thread

from monitor.clock import Clock
from monitor.store import leases, outbox
from monitor.store.database import FailingWrites, Readers
from monitor.store.documents import to_ms
from monitor.store.errors import Corrupt, Gone, InUse, Outdated, StoreError, StoreUnavailable
from monitor.store.grouping import Group, Write, run
from monitor.store.migrating import migrate
from monitor.store.schema import progress

T = TypeVar("T")
Item = TypeVar("Item")
Ts = TypeVarTuple("Ts")
RESTORE: Final = (
    "restore it from a backup, or move it away to start afresh (jobs that ended meanwhile are not announced)"
)
_SMALL: Final = 64 * 1024 * 1024
_NOTED: Final = 32
_MAGIC: Final = b"SQLite format 3\0"
_WRITER: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # with group commit it takes no longer than NORMAL
    "PRAGMA journal_size_limit = 67108864",
)
_READER: Final = (
    "PRAGMA query_only = ON",
    # In KiB. Each write invalidates a reader's pages, so that a larger cache would be filled and freed by each snapshot
    # and fragment the heap.
    "PRAGMA cache_size = -1024",
    # Only the writer makes checkpoints: before SQLite 3.51.3, two concurrent ones could corrupt the file.
    "PRAGMA wal_autocheckpoint = 0",
)
BUSY_SECONDS: Final = 2.0
"""How long a transaction waits for the lock of another program, such as the sqlite3 command or a backup."""
READERS: Final = 2
"""Number of connections for reads."""
_LATER: Final = 60.0  # seconds from the start to a check that was postponed
_AGAIN: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
_COUNT: Final = sa.update(progress).values(number=progress.c.number + 1).returning(progress.c.number)
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def path_of(parsed: sa.URL) -> Path:
    """The file of an `sqlite:///` URL, with symbolic links resolved. Raises StoreError."""
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:") or parsed.query:
        raise StoreError("the store must be a plain file, as in sqlite:///monitor.db: data in memory would be lost")
    return Path(parsed.database).resolve()


class DatabaseFile:
    """A locked database file. Its path may be replaced while it is in use, which `check` detects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock, mark = _lock(path)
        self._database: int | None = None
        try:
            _check_header(path, marked=bool(mark))
            self._database = _lock_database(path)
        except BaseException:
            self.close()
            raise
        self.seen = int(mark[1]) if len(mark) > 1 else 0
        """The number of the last transaction in the lock file; 0 if there is none."""
        self._identity: tuple[int, int] | None = None
        """Device and inode of the file."""
        self._size = 0
        self.trusted = len(mark) > 2 and mark[2] == self._state() and path.stat().st_size > _SMALL
        """Whether the file is large and unchanged since the last orderly exit, so that its check is postponed."""

    def remember(self, number: int) -> None:
        """Remember the identity of the file, and write the lock file. Raises StoreUnavailable."""
        try:
            status = self.path.stat()
            self.note(number)
            os.ftruncate(self._lock, _NOTED)  # removes the state of the last exit
        except OSError as error:
            raise StoreUnavailable(f"cannot write {self.path}.lock: {error.strerror}") from error
        self._identity = (status.st_dev, status.st_ino)

    def note(self, number: int) -> None:
        """Write the number of a committed transaction to the lock file, so that an older file is detected later."""
        os.pwrite(self._lock, f"{os.getpid():<10} {number:020d}\n".encode(), 0)  # _NOTED bytes

    def leave(self) -> None:
        """Write the state of the file to the lock file, once all connections are closed."""
        if self._identity is not None:
            with suppress(OSError):  # the next start checks the whole file then
                os.pwrite(self._lock, f"{self._state()}\n".encode(), _NOTED)

    def _state(self) -> str:
        """Size and modification time; another text while the WAL has content."""
        status, wal = self.path.stat(), self.path.with_name(self.path.name + "-wal")
        if wal.exists() and wal.stat().st_size > 0:
            return "open"
        return f"{status.st_size}-{status.st_mtime_ns}"

    def check(self) -> None:
        """Raise Gone if the file was deleted, replaced or truncated, and StoreUnavailable if it cannot be reached."""
        least = self._size  # read before the size of the file, because other threads may update it
        try:
            status = self.path.stat()
        except FileNotFoundError as error:
            raise Gone(f"{self.path} was deleted while in use: {RESTORE}") from error
        except OSError as error:
            raise StoreUnavailable(f"{self.path} cannot be reached: {error.strerror}") from error
        if (status.st_dev, status.st_ino) != self._identity:
            raise Gone(f"{self.path} was replaced while in use: start again to use the new file")
        if status.st_size < least:
            raise Gone(f"{self.path} was truncated while in use: {RESTORE}")
        self._size = status.st_size

    def close(self) -> None:
        """Release the locks."""
        if self._database is not None:
            os.close(self._database)
        os.close(self._lock)


def _lock(path: Path) -> tuple[int, list[str]]:
    """Lock the lock file. Returns its descriptor, and its content: a process id and the number of the last commit."""
    lock = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        advice = "create the directory and let this program write there"
        raise StoreUnavailable(f"cannot write {lock}: {error.strerror}; {advice}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = next(iter(_lock_content(descriptor)), "unknown")
        os.close(descriptor)
        raise InUse(f"{path} is in use by another finetune-monitor (process {owner}): stop it first") from error
    return descriptor, _lock_content(descriptor)


def _lock_content(descriptor: int) -> list[str]:
    return os.pread(descriptor, 80, 0).decode(errors="replace").split()


def _lock_database(path: Path) -> int:
    """Lock the database file, too, because the lock file may be removed while it is in use. Returns its descriptor.

    It must be closed last: closing any descriptor of a file releases the POSIX locks that SQLite has on it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreUnavailable(f"cannot write {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise InUse(f"{path} is in use by another finetune-monitor, whose lock was removed: stop it first") from error
    return descriptor


def _check_header(path: Path, *, marked: bool) -> None:
    """Raise Corrupt if a database was here and is missing or empty now, or if the file is not an SQLite database."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except FileNotFoundError:
        head = b""
    except OSError as error:
        raise StoreUnavailable(f"cannot read {path}: {error.strerror}") from error
    wal = path.with_name(path.name + "-wal")
    if not head and (marked or (wal.exists() and wal.stat().st_size > 0)):
        raise Corrupt(
            f"{path} was there and is now missing or empty: restore it from a backup, or remove {path.name}, "
            f"{path.name}-wal and {path.name}.lock to start afresh (jobs that ended meanwhile are not announced)"
        )
    if head and head != _MAGIC:
        raise Corrupt(f"{path} is not an SQLite database: {RESTORE}")


def writer_engine(path: Path) -> sa.Engine:
    """The engine of the single connection for writes."""
    return _engine(path, connections=1, pragmas=_WRITER, begin="BEGIN IMMEDIATE")


def reader_engine(path: Path) -> sa.Engine:
    """The engine of the connections for reads. Each transaction sees one state."""
    return _engine(path, connections=READERS, pragmas=_READER, begin="BEGIN")


def _engine(path: Path, *, connections: int, pragmas: tuple[str, ...], begin: str) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,  # error texts are shown, and parameters contain untrusted text
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the sqlite3 module would begin transactions too late
        for pragma in pragmas:
            connection.execute(pragma).fetchall()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def verify(connection: sa.Connection) -> None:
    """Check the integrity of the whole file. Raises Corrupt, or StoreUnavailable if the file system supports no WAL."""
    _verify_whole(connection)
    _verify_mode(connection)


def _verify_mode(connection: sa.Connection) -> None:
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    if mode != "wal":
        raise StoreUnavailable(f"the file system does not support SQLite's WAL (journal mode {mode}): use a local disk")


def _verify_whole(connection: sa.Connection) -> None:
    found = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars().all()
    if found != ["ok"]:
        raise Corrupt(f"the database is damaged ({'; '.join(map(str, found))[:500]}): {RESTORE}")


class SqliteDatabase:
    """An SQLite database, whose writes are committed in groups."""

    def __init__(self, file: DatabaseFile, writer: sa.Engine, readers: sa.Engine, clock: Clock) -> None:
        self._file = file
        self._engine = writer
        self._readers = Readers(readers, READERS, translated)
        self._clock = clock
        self._turn = anyio.CapacityLimiter(1)
        self._group = Group(self._transact, self._turn)
        self._failing = FailingWrites(clock)

    @property
    def healthy(self) -> bool:
        """Whether no kind of write fails, and the last read succeeded."""
        return not self._failing and self._readers.healthy

    async def write(self, work: Callable[[sa.Connection, *Ts], T], *args: *Ts) -> T:
        """Run `work` in a transaction, and wait until it is durable."""
        result: T = await self._group.written(Write(work, args, each=False))
        return result

    async def write_each(
        self, work: Callable[[sa.Connection, Sequence[Item]], Sequence[T | StoreError]], item: Item
    ) -> T:
        """Write the item together with others that wait for the same work, and wait until it is durable."""
        result: T = await self._group.written(Write(work, (item,), each=True))
        return result

    async def write_together(
        self, work: Callable[[sa.Connection, Sequence[Item]], Sequence[T | StoreError]], item: Item
    ) -> T:
        """Do the same as `write_each`: all writes share transactions here."""
        return await self.write_each(work, item)

    async def read(self, work: Callable[[sa.Connection, *Ts], T], *args: *Ts) -> T:
        """Run `work` in a read transaction."""
        return await self._readers.read(self._file.check, work, args)

    def now(self, connection: sa.Connection) -> int:  # noqa: ARG002 - the protocol's
        """The clock of this process in milliseconds, because no other process uses the file."""
        return to_ms(self._clock.now())

    def wake(self, connection: sa.Connection) -> None:
        """Do nothing: there are no other replicas."""

    async def listen(self, woken: Callable[[], None]) -> None:  # noqa: ARG002 - the protocol's
        """Wait for ever: there are no other replicas."""
        await anyio.sleep_forever()

    async def inspect(self) -> None:
        """Check the integrity of the whole file if that was postponed at the start. Raises Corrupt."""
        unread = self._file.trusted
        while unread:
            await self._clock.sleep(_LATER)
            with suppress(StoreUnavailable):  # tried again; other callers report it
                await self.read(_verify_whole)
                unread = False

    async def compact(self) -> None:
        """Checkpoint and truncate the WAL, unless a reader needs it."""
        await to_thread.run_sync(self._checkpoint, limiter=self._turn)

    def _transact(self, group: list[Write]) -> None:
        kinds = {write.kind for write in group}
        try:
            self._file.check()  # before a new connection is opened, which would create a missing file
            with self._engine.begin() as connection:
                before = _changes(connection)
                run(connection, group)
                number = _count(connection) if _changes(connection) != before else None
                self._file.check()
            if number is not None:
                with suppress(OSError):  # the transaction is committed; only the detection of older files suffers
                    self._file.note(number)
        except (sa.exc.SQLAlchemyError, StoreError) as error:
            self._engine.dispose()  # the next transaction gets a new connection
            self._failing.failed(kinds)
            for write in group:
                write.outcome = translated(error)
        else:
            self._failing.worked(kinds, written=number is not None)

    def _checkpoint(self) -> None:
        try:
            with closing(self._engine.raw_connection()) as connection:  # outside of a transaction
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._file.check()
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            raise translated(error) from error


def _changes(connection: sa.Connection) -> int:
    """The number of rows that this connection has changed so far."""
    changed: int = connection.connection.driver_connection.total_changes  # type: ignore[union-attr]  # sqlite3's
    return changed


def _count(connection: sa.Connection) -> int:
    """Increment the number of transactions. Returns the new number."""
    return int(connection.execute(_COUNT).scalar_one())


def translated(error: Exception) -> StoreError:
    """The StoreError for an error of the database. It is a new instance, because each caller raises its own."""
    if isinstance(error, StoreError):
        return type(error)(*error.args)
    cause = _first_error(error)
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the primary result code
    if code in _AGAIN:
        name = getattr(cause, "sqlite_errorname", "")
        return StoreUnavailable(f"the database cannot be used now: {cause} ({name})")
    if code in _DAMAGED:
        return Corrupt(f"the database is damaged ({cause}): {RESTORE}")
    return StoreError(f"the database refused: {cause}")


def _first_error(error: BaseException) -> BaseException:
    """The first error of a chain: after a failed write, the rollback to its savepoint may fail as well."""
    first, link = error, error.__context__
    while link is not None:
        if isinstance(link, sqlite3.Error):
            first = link
        link = link.__context__
    return first


@asynccontextmanager
async def opened_sqlite(url: sa.URL, *, clock: Clock) -> AsyncIterator[SqliteDatabase]:
    """Open an SQLite file, which is locked until the end of the context."""
    file, writer, readers = await to_thread.run_sync(_open, path_of(url), to_ms(clock.now()))
    try:
        yield SqliteDatabase(file, writer, readers, clock)
    finally:
        with anyio.CancelScope(shield=True):  # bounded by one last write of the WAL
            await to_thread.run_sync(_close, file, writer, readers)


def _open(path: Path, now: int) -> tuple[DatabaseFile, sa.Engine, sa.Engine]:
    file, writer, readers = DatabaseFile(path), writer_engine(path), reader_engine(path)
    try:
        with writer.connect() as connection:
            (_verify_mode if file.trusted else verify)(connection)
        with writer.begin() as connection:
            migrate(connection)
            # no other process uses the file, so that all leases and claims belong to dead processes
            for statement in leases.RELEASE_ALL:
                connection.execute(statement)
            connection.execute(outbox.RELEASE_ALL, {"b_now": now})
            number = newest(connection, file)
        file.remember(number)
    except (sa.exc.SQLAlchemyError, StoreError) as error:
        _close(file, writer, readers)
        raise translated(error) from error
    except BaseException:
        _close(file, writer, readers)
        raise
    return file, writer, readers


def newest(connection: sa.Connection, file: DatabaseFile) -> int:
    """The number of the last transaction. Raises Outdated if the lock file has a higher number."""
    number = int(connection.execute(sa.select(progress.c.number)).scalar_one())
    if number < file.seen:
        raise Outdated(
            f"{file.path} is older than it was: it has {number} transactions, and {file.seen} were seen. If you "
            "restored a backup, start once with --accept-older: what happened since is announced with marked ids. "
            f"Otherwise look for {file.path.name}-wal, which is a part of the database"
        )
    return number


def _close(file: DatabaseFile, writer: sa.Engine, readers: sa.Engine) -> None:
    """Close the readers first: the last connection makes a checkpoint, which only the writer may do."""
    readers.dispose()
    writer.dispose()
    file.leave()
    file.close()
