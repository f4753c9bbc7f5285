"""The public interface of the store: opens a database, and exports its stores, values and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from monitor.clock import Clock
from monitor.store.changes import Changes, Place, Touched
from monitor.store.errors import (
    BadCursor,
    Corrupt,
    Gone,
    InUse,
    NewerSchema,
    Outdated,
    Stale,
    StoreError,
    StoreUnavailable,
    Unstorable,
)
from monitor.store.values import (
    ClaimedCard,
    ClaimedDelivery,
    CostRecords,
    DeliverySummary,
    ImportState,
    JobFile,
    ResultPage,
    Spent,
)

if TYPE_CHECKING:
    from monitor.store.cards import CardStore
    from monitor.store.costs import CostStore
    from monitor.store.database import Database
    from monitor.store.hints import HintStore
    from monitor.store.jobs import JobStore
    from monitor.store.leases import Leases
    from monitor.store.outbox import Outbox
    from monitor.store.reader import Reader
    from monitor.store.targets import TargetStore

__all__ = [
    "BadCursor",
    "CardStore",
    "Changes",
    "ClaimedCard",
    "ClaimedDelivery",
    "Corrupt",
    "CostRecords",
    "CostStore",
    "DeliverySummary",
    "Gone",
    "HintStore",
    "ImportState",
    "InUse",
    "JobFile",
    "JobStore",
    "Leases",
    "NewerSchema",
    "Outbox",
    "Outdated",
    "Place",
    "Reader",
    "ResultPage",
    "Spent",
    "Stale",
    "StoreError",
    "StoreUnavailable",
    "Stores",
    "TargetStore",
    "Touched",
    "Unstorable",
    "opened",
]

_LAZY = {
    "CardStore": "cards",
    "CostStore": "costs",
    "HintStore": "hints",
    "JobStore": "jobs",
    "Leases": "leases",
    "Outbox": "outbox",
    "Reader": "reader",
    "TargetStore": "targets",
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - half a second of imports that only a daemon needs

        return getattr(import_module(f"monitor.store.{_LAZY[name]}"), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The stores on one open database, each for another kind of user."""

    database: Database
    leases: Leases
    jobs: JobStore
    outbox: Outbox
    cards: CardStore
    costs: CostStore
    hints: HintStore
    targets: TargetStore | None
    """The state of targets that replicas share; None if there cannot be other replicas."""
    reader: Reader

    async def listen(self) -> None:
        """Listen to changes of other replicas until cancelled."""

        def woken() -> None:
            self.reader.changes.elsewhere()
            self.hints.arrived()

        await self.database.listen(woken)


@asynccontextmanager
async def opened(
    url: str, *, clock: Clock, owner: str | None = None, lease: timedelta = timedelta(seconds=30)
) -> AsyncIterator[Stores]:
    """Open the stores of a database: PostgreSQL, or an SQLite file that is locked until the end of the context.

    `owner` is a unique name of this replica. `lease` is how long a replica that no longer responds keeps its leases.
    Raises InUse, StoreUnavailable, Corrupt or NewerSchema, each with advice in its text. Nothing is changed then.
    """
    from monitor.store.opening import opened_stores  # noqa: PLC0415 - as above

    async with opened_stores(url, clock=clock, owner=owner or uuid4().hex, lease=lease) as stores:
        yield stores
