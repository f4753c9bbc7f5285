"""An SQLite file that is ours alone: found sound, locked for life, and checked to be the same file ever after."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple

import anyio
import sqlalchemy as sa
from anyio import to_thread

from monitor.clock import Clock
from monitor.store import leases, outbox
from monitor.store.database import POISON, FailingWrites, Readers
from monitor.store.documents import to_ms
from monitor.store.errors import Corrupt, Gone, InUse, Outdated, StoreError, StoreUnavailable, Unstorable
from monitor.store.migrating import migrate
from monitor.store.schema import progress

T = TypeVar("T")
Item = TypeVar("Item")
Ts = TypeVarTuple("Ts")
RESTORE: Final = (
    "restore it from a backup, or move it away to start afresh (jobs that ended meanwhile are not announced)"
)
_MAGIC: Final = b"SQLite format 3\0"
_WRITER: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # costs nothing beside NORMAL when commits go in groups
    "PRAGMA journal_size_limit = 67108864",
)
_READER: Final = (
    "PRAGMA query_only = ON",
    # KiB. A reader's pages are dropped whenever something was written: more of them would be filled and freed by each
    # snapshot, and leave holes in the heap.
    "PRAGMA cache_size = -1024",
    # before SQLite 3.51.3, two connections that checkpoint at once can corrupt the file: only the writer does
    "PRAGMA wal_autocheckpoint = 0",
)
BUSY_SECONDS: Final = 2.0
"""How long a transaction waits for another program's lock (sqlite3 on the command line, a backup)."""
READERS: Final = 2


GROUP: Final = 256
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
    """The file that an `sqlite:///` URL names, free of symbolic links. Raises StoreError."""
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:") or parsed.query:
        raise StoreError("the store must be a plain file, as in sqlite:///monitor.db: what is in memory is lost")
    return Path(parsed.database).resolve()


class DatabaseFile:
    """The locked file; `check` says whether its path still leads to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock, mark = _lock(path)
        self._database: int | None = None
        try:
            _plausible(path, marked=bool(mark))
            self._database = _lock_database(path)
        except BaseException:
            self.close()
            raise
        self.seen = int(mark[1]) if len(mark) > 1 else 0
        """The number of the newest transaction that an earlier process saw committed."""
        self._identity: tuple[int, int] | None = None
        self._size = 0

    def remember(self, number: int) -> None:
        """Take the file as it is now for ours, and leave a mark that there is one. Raises StoreUnavailable."""
        try:
            status = self.path.stat()
            self.note(number)
        except OSError as error:
            raise StoreUnavailable(f"cannot write {self.path}.lock: {error.strerror}") from error
        self._identity = (status.st_dev, status.st_ino)

    def note(self, number: int) -> None:
        """Leave the number of a transaction that is committed in the lock, so that an older file is noticed."""
        os.pwrite(self._lock, f"{os.getpid():<10} {number:020d}\n".encode(), 0)

    def check(self) -> None:
        """Raises Gone when the path leads to no file, another one, or one that lost its end."""
        least = self._size  # before we look: other threads look too, and it grows
        try:
            status = self.path.stat()
        except FileNotFoundError as error:
            raise Gone(f"{self.path} was deleted while in use: {RESTORE}") from error
        except OSError as error:
            raise StoreUnavailable(f"{self.path} cannot be reached: {error.strerror}") from error
        if (status.st_dev, status.st_ino) != self._identity:
            raise Gone(f"{self.path} was replaced while in use: start again to use the new file")
        if status.st_size < least:
            raise Gone(f"{self.path} was cut while in use: {RESTORE}")
        self._size = status.st_size

    def close(self) -> None:
        """Let others have it."""
        if self._database is not None:
            os.close(self._database)
        os.close(self._lock)


def _lock(path: Path) -> tuple[int, list[str]]:
    """The descriptor of the lock, and what an earlier process left in it: its number and that of its last commit."""
    lock = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        advice = "create the directory and let this program write there"
        raise StoreUnavailable(f"cannot write {lock}: {error.strerror}; {advice}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = next(iter(_words(descriptor)), "unknown")
        os.close(descriptor)
        raise InUse(f"{path} is in use by another finetune-monitor (process {owner}): stop it first") from error
    return descriptor, _words(descriptor)


def _words(descriptor: int) -> list[str]:
    return os.pread(descriptor, 40, 0).decode(errors="replace").split()


def _lock_database(path: Path) -> int:
    """A descriptor of the file itself, locked too: the lock beside it may be removed while it is held.

    It is closed last of all: closing any descriptor of a file drops the locks that SQLite has on it.
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


def _plausible(path: Path, *, marked: bool) -> None:
    """Refuse to start afresh where there was a database, or over a file that is none."""
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
    """The engine of the one connection that writes."""
    return _engine(path, connections=1, pragmas=_WRITER, begin="BEGIN IMMEDIATE")


def reader_engine(path: Path) -> sa.Engine:
    """The engine of the connections that only read; each transaction sees one state."""
    return _engine(path, connections=READERS, pragmas=_READER, begin="BEGIN")


def _engine(path: Path, *, connections: int, pragmas: tuple[str, ...], begin: str) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,  # errors are shown, and parameters hold texts from outside
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # sqlite3's own BEGIN comes late and lets others write in between
        for pragma in pragmas:
            connection.execute(pragma).fetchall()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def verify(connection: sa.Connection) -> None:
    """Read the whole file once. Raises Corrupt, and StoreUnavailable where its file system cannot carry a WAL."""
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    found = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars().all()
    if found != ["ok"]:
        raise Corrupt(f"the database is damaged ({'; '.join(map(str, found))[:500]}): {RESTORE}")
    if mode != "wal":
        raise StoreUnavailable(f"the file system cannot carry SQLite's WAL (journal mode {mode}): use a local disk")


class _Write:
    """One caller's write, from the queue to its outcome."""

    __slots__ = ("args", "each", "outcome", "tried", "woken", "work")

    def __init__(self, work: Callable[..., Any], args: tuple[Any, ...], *, each: bool) -> None:
        self.work = work
        self.args = args
        self.each = each
        """Whether it takes the arguments of many callers at once."""
        self.woken = anyio.Event()
        self.tried = False
        self.outcome: Any = StoreUnavailable("the transaction was given up")

    @property
    def kind(self) -> str:
        """Which work it is, whatever its arguments."""
        return self.work.__qualname__


def _batches(group: Sequence[_Write]) -> Iterable[Sequence[_Write]]:
    """The writes of a group, those together that are done in one go."""
    batches: dict[object, list[_Write]] = {}
    for write in group:
        batches.setdefault(write.work if write.each else write, []).append(write)
    return batches.values()


def _run(connection: sa.Connection, writes: Sequence[_Write]) -> None:
    """Do the writes of a batch, in one go.

    Where one cannot be stored, nothing of the batch is, and each half is tried by itself: what is refused is alone in
    the end, and holds back none of its siblings.
    """
    try:
        with connection.begin_nested():
            outcomes = _done(connection, writes)
    except (*POISON, StoreError) as error:
        if len(writes) > 1:
            half = len(writes) // 2
            _run(connection, writes[:half])
            _run(connection, writes[half:])
            return
        refused = error if isinstance(error, StoreError) else None
        outcomes = [refused or Unstorable(f"this cannot be stored: {type(error).__name__}")]
    for write, outcome in zip(writes, outcomes, strict=True):
        write.outcome = outcome


def _done(connection: sa.Connection, writes: Sequence[_Write]) -> Sequence[Any]:
    """The results of a batch, or refusals in their place."""
    first = writes[0]
    if first.each:
        found: Sequence[Any] = first.work(connection, [write.args[0] for write in writes])
        return found
    return [first.work(connection, *first.args)]


class SqliteDatabase:
    """The one process of an SQLite file. Group commit: whoever finds the writer idle takes all that waits into one
    transaction, in which each write succeeds or fails by itself, and equal work of many callers is done in one go."""

    def __init__(self, file: DatabaseFile, writer: sa.Engine, readers: sa.Engine, clock: Clock) -> None:
        self._file = file
        self._engine = writer
        self._readers = Readers(readers, READERS, translated)
        self._clock = clock
        self._queue: deque[_Write] = deque()
        self._led = False
        self._turn = anyio.CapacityLimiter(1)
        self._failing = FailingWrites(clock)

    @property
    def healthy(self) -> bool:
        """Whether no kind of write fails, and the last read worked."""
        return not self._failing and self._readers.healthy

    async def write(self, work: Callable[[sa.Connection, *Ts], T], *args: *Ts) -> T:
        """Do the work and wait until it is durable."""
        result: T = await self._written(_Write(work, args, each=False))
        return result

    async def write_each(
        self, work: Callable[[sa.Connection, Sequence[Item]], Sequence[T | StoreError]], item: Item
    ) -> T:
        """Do the work for this item and for all that wait for the same, and wait until it is durable."""
        result: T = await self._written(_Write(work, (item,), each=True))
        return result

    async def _written(self, write: _Write) -> Any:
        # Shielded, so that a caller who leaves does not take the group with it; what waits here is bounded by
        # the time SQLite waits for a lock and by the disk.
        with anyio.CancelScope(shield=True):
            self._queue.append(write)
            if self._led:
                await write.woken.wait()
            if not write.tried:
                self._led = True
                await self._lead()
        if isinstance(write.outcome, StoreError):
            raise write.outcome
        return write.outcome

    async def read(self, work: Callable[[sa.Connection, *Ts], T], *args: *Ts) -> T:
        """Ask in a transaction."""
        return await self._readers.read(self._file.check, work, args)

    def now(self, connection: sa.Connection) -> int:  # noqa: ARG002 - the protocol's
        """This process's clock: there is no other process."""
        return to_ms(self._clock.now())

    def wake(self, connection: sa.Connection) -> None:
        """There is nobody else to wake."""

    async def listen(self, woken: Callable[[], None]) -> None:  # noqa: ARG002 - the protocol's
        """Nobody else is there to wake us."""
        await anyio.sleep_forever()

    async def compact(self) -> None:
        """Move the WAL into the database and cut it, if no reader needs it."""
        await to_thread.run_sync(self._checkpoint, limiter=self._turn)

    async def _lead(self) -> None:
        group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP))]
        try:
            await to_thread.run_sync(self._transact, group, limiter=self._turn)
        finally:
            for write in group:
                write.tried = True
                write.woken.set()
            if self._queue:
                self._queue[0].woken.set()  # not tried, so it leads the next group
            else:
                self._led = False

    def _transact(self, group: list[_Write]) -> None:
        kinds = {write.kind for write in group}
        try:
            self._file.check()  # before a connection is made anew, which would make a missing file anew
            with self._engine.begin() as connection:
                before = _changes(connection)
                for batch in _batches(group):
                    _run(connection, batch)
                number = _count(connection) if _changes(connection) != before else None
                self._file.check()
            if number is not None:
                with suppress(OSError):  # it is committed; a lock that lags behind notices less
                    self._file.note(number)
        except (sa.exc.SQLAlchemyError, StoreError) as error:
            self._engine.dispose()  # the next transaction starts on a connection that has seen no failure
            self._failing.failed(kinds)
            for write in group:
                write.outcome = translated(error)
        else:
            self._failing.worked(kinds, written=number is not None)

    def _checkpoint(self) -> None:
        try:
            with closing(self._engine.raw_connection()) as connection:  # outside of any transaction
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._file.check()
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            raise translated(error) from error


def _changes(connection: sa.Connection) -> int:
    """How many rows this connection has changed so far."""
    changed: int = connection.connection.driver_connection.total_changes  # type: ignore[union-attr]  # sqlite3's
    return changed


def _count(connection: sa.Connection) -> int:
    """Count the transaction, which has changed something; its number."""
    return int(connection.execute(_COUNT).scalar_one())


def translated(error: Exception) -> StoreError:
    """The same failure in our words; a new value each time, as each caller raises its own."""
    if isinstance(error, StoreError):
        return type(error)(*error.args)
    cause = _first(error)
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the rest says more exactly which
    if code in _AGAIN:
        name = getattr(cause, "sqlite_errorname", "")
        return StoreUnavailable(f"the database cannot be used now: {cause} ({name})")
    if code in _DAMAGED:
        return Corrupt(f"the database is damaged ({cause}): {RESTORE}")
    return StoreError(f"the database refused: {cause}")


def _first(error: BaseException) -> BaseException:
    """The database's first word: a failed write may end the transaction, and then undoing its savepoint fails too."""
    first, link = error, error.__context__
    while link is not None:
        if isinstance(link, sqlite3.Error):
            first = link
        link = link.__context__
    return first


@asynccontextmanager
async def opened_sqlite(url: sa.URL, *, clock: Clock) -> AsyncIterator[SqliteDatabase]:
    """The database of this file, which is ours alone until the end of the context."""
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
            verify(connection)
        with writer.begin() as connection:
            migrate(connection)
            # we are alone here: whatever is leased was leased by a process that is no more
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
    """The number of the newest transaction. Raises Outdated when the lock knows of a newer one."""
    number = int(connection.execute(sa.select(progress.c.number)).scalar_one())
    if number < file.seen:
        raise Outdated(
            f"{file.path} is older than it was: it has {number} transactions, and {file.seen} were seen. If you "
            "restored a backup, start once with --accept-older: what happened since is announced with marked ids. "
            f"Else look for {file.path.name}-wal, which is a part of the database"
        )
    return number


def _close(file: DatabaseFile, writer: sa.Engine, readers: sa.Engine) -> None:
    """Readers first: whoever is the last to close moves the WAL into the file, and that is the writer's to do."""
    readers.dispose()
    writer.dispose()
    file.close()
