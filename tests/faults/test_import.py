"""The import of usage and bills, killed at any moment: finally the records equal the server's, without duplicates."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.clock import SystemClock
from monitor.config.prices import load_prices
from monitor.domain.model import TokenCount
from monitor.domain.pricing import use_cost
from monitor.providers.openai.naming import NAMING
from monitor.source import transport
from monitor.store import opened
from tests.source.books import Books, accounts, billed, broken_off, refused, used
from tests.source.servers import serving
from tests.watchers.books import Bookkeeping, Time, amounts, totals, watcher

ROOT = Path(__file__).parents[2]
OTHER = "ft:gpt-4.1-2025-04-14:acme::XyZ"
DAY = timedelta(days=1)


@dataclass
class Moving(Books):
    """Records that grow while they are read, as the newest days are billed late. Some pages fail."""

    dice: random.Random = field(default_factory=random.Random)
    pages: int = 0
    calm: bool = False
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.pages += 1
        async with self.arrived:
            self.arrived.notify_all()
        if not self.calm:
            self._grow()
            if self.dice.random() < 0.01:
                return self.dice.choice([refused(500), broken_off])()
        return await super().__call__(request)

    def _grow(self) -> None:
        day = self.today - DAY * self.dice.randrange(4)
        self.dice.choice(self.usage[day])["input_tokens"] += self.dice.randrange(1, 1000)
        self.costs.setdefault(day, [billed(0)])[0]["amount"]["value"] += 0.25

    async def wait_for_pages(self, pages: int) -> None:
        """Wait for this many more pages."""
        until = self.pages + pages
        async with self.arrived:
            await self.arrived.wait_for(lambda: self.pages >= until)


def moving(seed: float) -> Moving:
    today = datetime.now(UTC).date()
    first = (today.replace(day=1) - DAY).replace(day=1)
    days = [first + DAY * n for n in range((today - first).days + 1)]
    usage: dict[date, list[dict[str, Any]]] = {
        day: [used(input=n), used(OTHER, output=n)] for n, day in enumerate(days)
    }
    costs = {day: [billed(n / 4), billed(n / 8, "gpt-4o-mini fine-tuning training")] for n, day in enumerate(days)}
    return Moving(usage=usage, costs=costs, today=today, per_page=2, delay=0.001, dice=random.Random(seed))


@asynccontextmanager
async def importing(url: str, base_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process whose copies import."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.import_process", url, base_url,
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def killed_once(process: asyncio.subprocess.Process, books: Moving) -> None:
    """One life that is ended some pages and milliseconds after it began to read."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"live\n")
    life = int(await process.stdout.readline())
    try:
        await asyncio.wait_for(books.wait_for_pages(books.dice.randrange(1, 45)), 30)
        await asyncio.sleep(books.dice.random() * 0.03)
    finally:
        os.kill(life, signal.SIGKILL)
    assert await process.stdout.readline() == b"gone\n"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
async def test_killed_while_it_imports_the_books_are_the_server_s_and_nothing_counts_twice(
    tmp_path: Path, kills: int
) -> None:
    seed = time.time()
    print("seed", seed)
    books, url = moving(seed), f"sqlite:///{tmp_path}/m.db"
    async with serving(books) as base_url, transport() as http:
        async with importing(url, base_url) as process:
            for _ in range(kills):
                await killed_once(process, books)
        books.calm = True
        async with opened(url, clock=SystemClock()) as store:
            of = Bookkeeping(
                watcher(accounts(base_url, http), store, SystemClock()), store, books, Time(datetime.now(UTC))
            )
            while not await of.watcher.read_once(of.time.now()):
                pass
            assert await of.usage() == totals(books.usage)
            assert await of.bills() == amounts(books.costs)
            assert await of.counters("usage_tokens") == truth(books)
            assert await of.counters("usage_nanodollars") == dollars(books)


def truth(books: Books) -> dict[tuple[str, str], int]:
    """The server's tokens by model and kind."""
    found: dict[tuple[str, str], int] = {}
    for row in (row for rows in books.usage.values() for row in rows):
        for kind in ("input", "output"):
            key = row["model"], kind
            found[key] = found.get(key, 0) + row[f"{kind}_tokens"]
    return found


def dollars(books: Books) -> dict[tuple[str, str], int]:
    """Nano-dollars by model and kind, at the price of each day."""
    found: dict[tuple[str, str], int] = {}
    prices = load_prices().of("openai", seller="openai", naming=NAMING)
    for day, rows in books.usage.items():
        for row in rows:
            tokens = TokenCount(input=row["input_tokens"], output=row["output_tokens"])
            usd = use_cost(row["model"], day, tokens, prices)
            assert usd is not None
            for kind, amount in (("input", usd.input), ("output", usd.output)):
                key = row["model"], kind
                found[key] = found.get(key, 0) + int(amount * 10**9)
    return found
