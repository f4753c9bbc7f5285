"""An SQLite file that is ours alone: found sound, locked for life, and checked to be the same file ever after."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from monitor.store.errors import Corrupt, Gone, InUse, StoreError, Unavailable
from monitor.store.faults import RESTORE

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


def path_of(url: str) -> Path:
    """The file that an `sqlite:///` URL names. Raises StoreError."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise StoreError("the store's URL is none: write sqlite:///monitor.db or sqlite:////var/lib/x.db") from error
    if parsed.get_backend_name() != "sqlite":
        raise StoreError(f"a store of kind {parsed.get_backend_name()!r} is not supported: use sqlite:///monitor.db")
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:") or parsed.query:
        raise StoreError("the store must be a plain file, as in sqlite:///monitor.db: what is in memory is lost")
    return Path(parsed.database).absolute()


class DatabaseFile:
    """The locked file; `check` says whether its path still leads to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock, marked = _lock(path)
        try:
            _plausible(path, marked=marked)
        except BaseException:
            self.release()
            raise
        self._identity: tuple[int, int] | None = None
        self._size = 0

    def remember(self) -> None:
        """Take the file as it is now for ours, and leave a mark that there is one. Raises Unavailable."""
        try:
            status = self.path.stat()
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise Unavailable(f"cannot write {self.path}.lock: {error.strerror}") from error
        self._identity = (status.st_dev, status.st_ino)

    def check(self) -> None:
        """Raises Gone when the path leads to no file, another one, or one that lost its end."""
        least = self._size  # before we look: other threads look too, and it grows
        try:
            status = self.path.stat()
        except FileNotFoundError as error:
            raise Gone(f"{self.path} was deleted while in use: {RESTORE}") from error
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be reached: {error.strerror}") from error
        if (status.st_dev, status.st_ino) != self._identity:
            raise Gone(f"{self.path} was replaced while in use: start again to use the new file")
        if status.st_size < least:
            raise Gone(f"{self.path} was cut while in use: {RESTORE}")
        self._size = status.st_size

    def release(self) -> None:
        """Let others have it."""
        os.close(self._lock)


def _lock(path: Path) -> tuple[int, bool]:
    """The descriptor of the lock, and whether an earlier life left its mark."""
    lock = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        advice = "create the directory and let this program write there"
        raise Unavailable(f"cannot write {lock}: {error.strerror}; {advice}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise InUse(f"{path} is in use by another finetune-monitor (process {owner}): stop it first") from error
    return descriptor, bool(os.pread(descriptor, 1, 0))


def _plausible(path: Path, *, marked: bool) -> None:
    """Refuse to start afresh where there was a database, or over a file that is none."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except FileNotFoundError:
        head = b""
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
    wal = path.with_name(path.name + "-wal")
    if not head and (marked or (wal.exists() and wal.stat().st_size > 0)):
        raise Corrupt(
            f"{path} was there and is now missing or empty: restore it from a backup, or remove {path.name}, "
            f"{path.name}-wal and {path.name}.lock to start afresh (jobs that ended meanwhile are not told)"
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


def verify(engine: sa.Engine) -> None:
    """Read the whole file once. Raises Corrupt, and Unavailable where its file system cannot carry a WAL."""
    with engine.connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        found = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars().all()
    if found != ["ok"]:
        raise Corrupt(f"the database is damaged ({'; '.join(map(str, found))[:500]}): {RESTORE}")
    if mode != "wal":
        raise Unavailable(f"the file system cannot carry SQLite's WAL (journal mode {mode}): use a local disk")
