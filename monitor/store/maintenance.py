"""Maintenance of a database: backup, copy to another database, acceptance of a restored one, and integrity check."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from monitor.store.documents import read_event, read_message, read_spending, read_tracked, subject_of, to_ms
from monitor.store.errors import NewerSchema, StoreError, StoreUnavailable
from monitor.store.migrating import HEAD, migrate, revision_of
from monitor.store.opening import NEEDS_EXTRA, parsed_url
from monitor.store.schema import (
    event,
    job,
    lane,
    lease,
    metadata,
    outbox,
    progress,
    replica,
    restore,
    spending,
    suspension,
)
from monitor.store.sqlite import DatabaseFile, path_of, reader_engine, verify, writer_engine
from monitor.store.sqlite import translated as sqlite_error
from monitor.store.totals import TRIGGERS

_ROWS: Final = 1000  # rows that are read at a time
_MODULUS: Final = 1_000_003  # a prime: sums of remainders stay within 64 bits
_NOT_COPIED: Final = frozenset({lane.name, lease.name, progress.name, replica.name, suspension.name})
"""Tables that are not copied, because they describe the use of one particular database."""


def backup(url: str, file: Path) -> int:
    """Make a consistent copy of an SQLite database, which a daemon may be using. Returns its size in bytes.

    The copy replaces `file` when it is complete and durable. Raises StoreError.
    """
    source, target = path_of(parsed_url(url)), file.resolve()
    if not source.is_file():
        raise StoreError(f"{source} does not exist")
    if target.exists() and target.samefile(source):
        raise StoreError(f"{file} is the database itself: a copy needs another name")
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        _copy_file(source, unfinished)
        unfinished.replace(target)
        _sync(target.parent)
    except (sqlite3.Error, StoreError) as error:
        raise sqlite_error(error) from error
    except OSError as error:
        raise StoreUnavailable(f"cannot write {file}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return target.stat().st_size


def copy(source: str, target: str) -> Mapping[str, int]:
    """Copy all rows of a database, SQLite or PostgreSQL, into an empty one. Returns the number of rows by table.

    Everything or nothing is copied. Both databases are compared by the number of rows and by sums over all columns.
    Raises InUse if a daemon uses one of the SQLite files, or another StoreError.
    """
    with _reading(source) as reading, _writing(target) as writing:
        if any(writing.execute(sa.select(table).limit(1)).first() for table in _tables()):
            raise StoreError("the database to copy to is not empty: it would be mixed with what is there")
        with _uncounted(writing):
            counts = {table.name: _copy_table(reading, writing, table) for table in _tables()}
        for table in _tables():
            if _sums(reading, table) != _sums(writing, table):
                raise StoreError(f"the copy of {table.name} differs from the original: nothing was copied")
        if writing.dialect.name == "postgresql":
            newest = sa.select(sa.func.coalesce(sa.func.max(event.c.pos), 0) + 1).scalar_subquery()
            writing.execute(sa.select(sa.func.setval(sa.func.pg_get_serial_sequence("event", "pos"), newest, False)))
    return counts


def accept_older(url: str, at: datetime) -> None:
    """Accept a database that was restored from a backup. Later deliveries have marked keys, as their numbers repeat.

    The lock file need not show that the database is older: a restored volume also has an old lock file. Raises
    StoreError.
    """
    path = _path(url)
    with ExitStack() as stack:
        file = stack.enter_context(closing(DatabaseFile(path))) if path is not None else None
        connection = stack.enter_context(_transaction(writer_engine(path) if path is not None else _postgresql(url)))
        migrate(connection)
        connection.execute(sa.insert(restore).values(at=to_ms(at)))
        if file is not None:
            newest = sa.case((progress.c.number < file.seen, file.seen), else_=progress.c.number)
            connection.execute(sa.update(progress).values(number=newest + 1))


def check(url: str) -> tuple[Mapping[str, int], list[str]]:
    """The number of rows by table, and a text for each unreadable row. A daemon may be running. Raises StoreError."""
    with _inspecting(url) as connection:
        counts = {
            table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }
        return counts, list(_unreadable(connection))


def _unreadable(connection: sa.Connection) -> Iterator[str]:
    for table, read in ((job, read_tracked), (event, read_event), (spending, read_spending)):
        for row in connection.execute(sa.select(table)).yield_per(_ROWS):
            try:
                read(row.doc)
            except msgspec.MsgspecError as error:
                yield f"{table.name} {_name(row, table)}: {error}"
    for row in connection.execute(sa.select(outbox)).yield_per(_ROWS):
        try:
            subject = subject_of(row)
        except ValueError as error:
            yield f"outbox {row.key}: {error}"
        else:
            if read_message(row.message, subject) is None:
                yield f"outbox {row.key}: its message cannot be read"


def _name(row: Any, table: sa.Table) -> str:
    return "/".join(str(getattr(row, column)) for column in ("org", "job", "id") if column in table.c)


def _tables() -> Iterator[sa.Table]:
    return (table for table in metadata.sorted_tables if table.name not in _NOT_COPIED)


@contextmanager
def _uncounted(writing: sa.Connection) -> Iterator[None]:
    """Disable the triggers that count rows, because the counts are copied too.

    In PostgreSQL a million rows would change one number a million times in a transaction, each time slower.
    """
    if writing.dialect.name == "sqlite":
        rows = writing.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
        kept = {str(name): str(create) for name, create in rows}
        off = [f"DROP TRIGGER {name}" for _, name in TRIGGERS]
        on = [kept[name] for _, name in TRIGGERS]
    else:
        off, on = (
            [f"ALTER TABLE {table} {how} TRIGGER {name}" for table, name in TRIGGERS] for how in ("DISABLE", "ENABLE")
        )
    for statement in off:
        writing.exec_driver_sql(statement)
    yield
    for statement in on:
        writing.exec_driver_sql(statement)


def _copy_table(reading: sa.Connection, writing: sa.Connection, table: sa.Table) -> int:
    rows = reading.execute(sa.select(table)).partitions(_ROWS)
    if writing.dialect.name == "postgresql":
        from monitor.store.postgresql import load  # noqa: PLC0415 - an extra of the package

        return load(writing, table, rows)
    count = 0
    for some in rows:
        writing.execute(sa.insert(table), [dict(zip(table.c.keys(), row, strict=True)) for row in some])
        count += len(some)
    return count


def _sums(connection: sa.Connection, table: sa.Table) -> Sequence[int | None]:
    """The number of rows, and for each column a checksum that both databases compute alike within 64 bits."""
    sums = (
        sa.func.sum(sa.func.length(column) if isinstance(column.type, sa.Text) else column % _MODULUS)
        for column in table.columns
    )
    return [
        int(value) if value is not None else None
        for value in connection.execute(sa.select(sa.func.count(), *sums).select_from(table)).one()
    ]


@contextmanager
def _reading(url: str) -> Iterator[sa.Connection]:
    """A transaction on an existing database with the present schema, which no daemon changes meanwhile."""
    with _connection(url, change=False) as connection:
        if revision_of(connection) != HEAD:
            raise StoreError("the database to copy from has another schema: start and stop this version on it once")
        yield connection


@contextmanager
def _writing(url: str) -> Iterator[sa.Connection]:
    """A transaction on a database that is migrated to the current schema."""
    with _connection(url, change=True) as connection:
        migrate(connection)
        yield connection


@contextmanager
def _connection(url: str, *, change: bool) -> Iterator[sa.Connection]:
    """A transaction on a database. An SQLite file is locked for its duration."""
    path = _path(url)
    if path is None:
        with _transaction(_postgresql(url)) as connection:
            yield connection
        return
    if not change and not path.is_file():
        raise StoreError(f"{path} does not exist")
    with closing(DatabaseFile(path)), _transaction(writer_engine(path)) as connection:
        yield connection


@contextmanager
def _inspecting(url: str) -> Iterator[sa.Connection]:
    """A read-only transaction, possibly beside a running daemon, on a database whose integrity was verified."""
    path = _path(url)
    if path is not None and not path.is_file():
        raise StoreError(f"{path} does not exist")
    engine = reader_engine(path) if path is not None else _postgresql(url)
    with _transaction(engine) as connection:
        if path is not None:
            verify(connection)
        if revision_of(connection) != HEAD:
            raise NewerSchema("the database has another schema than this version: start this version on it once")
        yield connection


@contextmanager
def _transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    try:
        with engine.begin() as connection:
            yield connection
    except (sa.exc.SQLAlchemyError, StoreError) as error:
        if engine.dialect.name == "sqlite":
            raise sqlite_error(error) from error
        from monitor.store.postgresql import translated  # noqa: PLC0415 - an extra of the package

        raise translated(error) from error
    finally:
        engine.dispose()


def _path(url: str) -> Path | None:
    """The file of an SQLite database; None for PostgreSQL."""
    parsed = parsed_url(url)
    return path_of(parsed) if parsed.get_backend_name() == "sqlite" else None


def _postgresql(url: str) -> sa.Engine:
    try:
        from monitor.store.postgresql import engine  # noqa: PLC0415 - an extra of the package
    except ImportError as error:
        raise StoreError(NEEDS_EXTRA) from error

    return engine(parsed_url(url), 1).execution_options(isolation_level="REPEATABLE READ")


def _copy_file(source: Path, target: Path) -> None:
    """Copy an SQLite file in one read transaction, without checkpoints, which are left to the daemon."""
    with closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as reading:
        reading.execute("PRAGMA wal_autocheckpoint = 0")
        with closing(sqlite3.connect(target)) as writing:
            reading.backup(writing)
            found = writing.execute("PRAGMA quick_check(3)").fetchall()
            if found != [("ok",)]:
                raise StoreError(f"the copy is damaged, and so is the database: {found[0][0]}")
    _sync(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
