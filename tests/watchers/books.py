"""A cost watcher over a real store and a real server; only the time is the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio.lowlevel

from monitor.config.prices import load_prices
from monitor.domain.health import BillingHealth
from monitor.providers.openai.naming import NAMING
from monitor.source.billing import BillingSource
from monitor.store import Stores, opened
from monitor.watchers.costs import CostWatcher
from tests.fakes import Waits
from tests.source.books import Books, reading

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Enough(Exception):
    """The loop has run as often as a test wants."""


@dataclass
class Time(Waits):
    """Moves when it sleeps, or by hand."""

    at: datetime = NOON
    passed: float = 0.0
    naps: list[float] = field(default_factory=list)
    most: int = 10**9

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.move(max(seconds, 0.0))
        await anyio.lowlevel.checkpoint()
        if len(self.naps) >= self.most:
            raise Enough

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.passed += seconds


@dataclass
class Bookkeeping:
    """Everything around one watcher."""

    watcher: CostWatcher
    store: Stores
    books: Books
    time: Time

    async def read(self) -> bool | None:
        """One step; the server's day is ours."""
        self.books.today = self.time.now().date()
        return await self.watcher.read_once(self.time.now())

    async def read_all(self) -> None:
        """Steps until nothing is behind."""
        while not await self.read():
            pass

    async def counters(self, metric: str) -> dict[tuple[str, str], int]:
        """A stored counter of usage, by model and kind."""
        seen = await self.store.reader.snapshot(
            self.time.now(), orgs=["research"], job_retention=timedelta(days=1), max_jobs=1
        )
        found = ((dict(one.labels), one.amount) for one in seen.counters if one.metric == metric)
        return {(labels["model"], labels["kind"]): amount for labels, amount in found}

    async def bills(self) -> dict[tuple[date, str], Decimal]:
        """What is booked of the bill, by day and line item."""
        found = (await self.store.costs.records(datetime(2020, 1, 1, tzinfo=UTC), ["research"])).bills
        return {(one.day, one.line_item): one.usd for one in found}

    async def usage(self) -> dict[tuple[date, str], int]:
        """All tokens that are booked, by day and model."""
        found = (await self.store.costs.spent(None, ["research"])).usages
        sums: dict[tuple[date, str], int] = {}
        for one in found:
            tokens = one.tokens.input + one.tokens.cached_input + one.tokens.output
            sums[one.day, one.model] = sums.get((one.day, one.model), 0) + tokens
        return sums


def watcher(accounts: BillingSource, store: Stores, time: Any, **over: Any) -> CostWatcher:
    """With the packaged prices, hourly."""
    fields: dict[str, Any] = {
        "prices": load_prices().of("openai", seller="openai", naming=NAMING),
        "interval": 3600.0,
        "clock": time,
        "health": BillingHealth(org=accounts.org),
        "jitter": lambda: 0.5,
        "lookback": timedelta(days=30),
    }
    fields |= {"store": store.costs, "watching": store.jobs, "leases": store.leases}
    return CostWatcher(billing=accounts, **{**fields, **over})


@asynccontextmanager
async def bookkeeping(folder: Path, books: Books, **over: Any) -> AsyncIterator[Bookkeeping]:
    time = Time(**({"at": over.pop("at")} if "at" in over else {}))
    async with reading(books) as accounts, opened(f"sqlite:///{folder}/m.db", clock=time) as store:
        yield Bookkeeping(watcher(accounts, store, time, **over), store, books, time)


def totals(rows: Mapping[date, list[dict[str, Any]]]) -> dict[tuple[date, str], int]:
    """What a server's rows of usage come to, as `usage` says it."""
    found: dict[tuple[date, str], int] = {}
    for day, each in rows.items():
        for row in each:
            key = day, row["model"]
            found[key] = found.get(key, 0) + row["input_tokens"] + row["output_tokens"]
    return found


def amounts(rows: Mapping[date, list[dict[str, Any]]]) -> dict[tuple[date, str], Decimal]:
    """What a server's rows of costs come to, as `bills` says it."""
    return {(day, row["line_item"]): Decimal(str(row["amount"]["value"])) for day, each in rows.items() for row in each}
