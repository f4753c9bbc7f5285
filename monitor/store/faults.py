"""What a database's error means for the caller."""

from __future__ import annotations

import sqlite3
from typing import Final

import sqlalchemy as sa

from monitor.store.errors import Corrupt, StoreError, Unavailable

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
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
RESTORE: Final = "restore it from a backup, or move it away to start afresh (jobs that ended meanwhile are not told)"


def translated(error: sa.exc.SQLAlchemyError | sqlite3.Error | StoreError) -> StoreError:
    """The same failure in our words; a new value each time, as each caller raises its own."""
    if isinstance(error, StoreError):
        return type(error)(*error.args)
    cause = _first(error)
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the rest says more exactly which
    if code in _AGAIN:
        name = getattr(cause, "sqlite_errorname", "")
        return Unavailable(f"the database cannot be used now: {cause} ({name})")
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
