"""Opens the database at a URL, and builds the stores on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final

import anyio
import sqlalchemy as sa

from monitor.clock import Clock
from monitor.store import Stores
from monitor.store.cards import CardStore
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
from monitor.store.targets import TargetStore

_FOR_EVER: Final = timedelta(days=36_500)  # the lease on an SQLite file, which no other process can use
_GOODBYE: Final = 2.0  # seconds to end the session at shutdown; otherwise it expires by itself
NEEDS_EXTRA: Final = "PostgreSQL needs an extra: pip install 'finetune-monitor[postgres]'"


@asynccontextmanager
async def opened_database(url: str, *, clock: Clock) -> AsyncIterator[Database]:
    """Open a database and migrate it to the present schema. Raises StoreError."""
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


@asynccontextmanager
async def opened_stores(url: str, *, clock: Clock, owner: str, lease: timedelta) -> AsyncIterator[Stores]:
    """Open the stores of a database. At the end, other replicas can take over the leases at once."""
    async with opened_database(url, clock=clock) as database:
        opened = stores(database, clock, owner, lease)
        try:
            yield opened
        finally:
            if not isinstance(database, SqliteDatabase):
                with anyio.move_on_after(_GOODBYE, shield=True), suppress(StoreError):
                    await opened.leases.end()


def stores(database: Database, clock: Clock, owner: str, lease: timedelta) -> Stores:
    """The stores on an open database."""
    alone = isinstance(database, SqliteDatabase)
    changes, leases = Changes(), Leases(database, clock, owner=owner, duration=_FOR_EVER if alone else lease)
    # With PostgreSQL, times in the outbox are by the database's clock, so that a jump of this clock does not matter.
    jump = ClockJump(clock) if alone else None
    return Stores(
        database=database,
        leases=leases,
        jobs=JobStore(database=database, leases=leases, changes=changes),
        outbox=Outbox(database=database, changes=changes, jump=jump),
        cards=CardStore(database=database),
        costs=CostStore(database=database),
        hints=HintStore(database=database),
        targets=None if alone else TargetStore(database=database, owner=owner),
        reader=Reader(database=database, changes=changes),
    )


def parsed_url(url: str) -> sa.URL:
    """The parsed URL. Raises StoreError if it is invalid or of an unsupported database."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise StoreError("the store's URL is invalid: use sqlite:///monitor.db or postgresql://user@host/db") from error
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        kind = parsed.get_backend_name()
        raise StoreError(f"a store of kind {kind!r} is not supported: use sqlite:///monitor.db or postgresql://…")
    return parsed
