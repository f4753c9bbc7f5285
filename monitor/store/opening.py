"""From a URL to the stores on the database it names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import sqlalchemy as sa

from monitor.clock import Clock
from monitor.store import Stores
from monitor.store.changes import Changes
from monitor.store.clock_jump import ClockJump
from monitor.store.costs import CostStore
from monitor.store.database import Database
from monitor.store.errors import StoreError
from monitor.store.hints import HintStore
from monitor.store.jobs import JobStore
from monitor.store.leases import Leases
from monitor.store.outbox import Outbox
from monitor.store.reader import Reader
from monitor.store.sqlite import SqliteDatabase, opened_sqlite

NEEDS_EXTRA: Final = "PostgreSQL needs an extra: pip install 'finetune-monitor[postgres]'"


@asynccontextmanager
async def opened_database(url: str, *, clock: Clock) -> AsyncIterator[Database]:
    """The database, brought to our schema. Raises StoreError."""
    parsed = parsed_url(url)
    if parsed.get_backend_name() == "sqlite":
        async with opened_sqlite(parsed, clock=clock) as sqlite:
            yield sqlite
    else:
        try:
            from monitor.store.postgresql import opened_postgresql  # noqa: PLC0415 - an extra of the package
        except ImportError as error:
            raise StoreError(NEEDS_EXTRA) from error
        async with opened_postgresql(parsed, clock=clock) as postgresql:
            yield postgresql


def stores(database: Database, clock: Clock) -> Stores:
    """The stores that stand on it."""
    changes, leases = Changes(), Leases(database, clock)
    # elsewhere due times are by the database's clock: that one replica's was set says nothing of them
    jump = ClockJump(clock) if isinstance(database, SqliteDatabase) else None
    return Stores(
        database=database,
        leases=leases,
        jobs=JobStore(database=database, leases=leases, changes=changes),
        outbox=Outbox(database=database, changes=changes, jump=jump),
        costs=CostStore(database=database),
        hints=HintStore(database=database),
        reader=Reader(database=database, changes=changes),
    )


def parsed_url(url: str) -> sa.URL:
    """The URL's parts. Raises StoreError for one of another database."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise StoreError("the store's URL is none: write sqlite:///monitor.db or postgresql://user@host/db") from error
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        kind = parsed.get_backend_name()
        raise StoreError(f"a store of kind {kind!r} is not supported: use sqlite:///monitor.db or postgresql://…")
    return parsed
