"""The store's door: opens a database, and names all that goes in and out of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from monitor.clock import Clock
from monitor.store.changes import Changes, Touched
from monitor.store.errors import (
    BadCursor,
    Corrupt,
    Gone,
    InUse,
    NewerSchema,
    Stale,
    StoreError,
    Unavailable,
    Unstorable,
)
from monitor.store.values import Accounts, Booked, Claimed, JobFile, Listing, Posted, Spent

if TYPE_CHECKING:
    from monitor.store.store import Store

__all__ = [
    "Accounts",
    "BadCursor",
    "Booked",
    "Changes",
    "Claimed",
    "Corrupt",
    "Gone",
    "InUse",
    "JobFile",
    "Listing",
    "NewerSchema",
    "Posted",
    "Spent",
    "Stale",
    "Store",
    "StoreError",
    "Touched",
    "Unavailable",
    "Unstorable",
    "opened",
]


def __getattr__(name: str) -> Any:
    if name != "Store":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from monitor.store.store import Store  # noqa: PLC0415 - half a second of imports that only a daemon needs

    return Store


@asynccontextmanager
async def opened(url: str, *, clock: Clock) -> AsyncIterator[Store]:
    """The store of this database, which is ours alone until the end of the context.

    Raises InUse, Unavailable, Corrupt or NewerSchema, each with advice, having changed nothing.
    """
    from monitor.store.opening import opened_sqlite  # noqa: PLC0415 - as above

    async with opened_sqlite(url, clock=clock) as store:
        yield store
