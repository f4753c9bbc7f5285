"""What jobs cost that have ended, over the real border: hours of reinforcement, and figures that cannot be."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from monitor.config.prices import load_prices
from monitor.domain.decide import Policy
from monitor.domain.model import UNKNOWN_COST, Basis, Cost
from monitor.domain.pace import Pace
from monitor.metrics.process import ProcessMetrics
from monitor.providers.openai.naming import NAMING
from monitor.source import transport
from monitor.store import Stores, opened
from monitor.watchers.jobs import JobWatcher
from tests.builders import HOUR
from tests.source.servers import Api, event, job, serving, source
from tests.watchers.books import NOON, Time

BEGIN = NOON - 6 * HOUR
REINFORCED: dict[str, Any] = {"model": "o4-mini-2025-04-16", "method": {"type": "reinforcement"}}
STEPS = 240  # of a minute in the core loop and half a minute beside it: six hours, four of which are billed


@dataclass
class Watched:
    """One organisation's watcher, its API and its store."""

    watcher: JobWatcher
    store: Stores
    api: Api
    time: Time = field(default_factory=Time)

    async def become(self, status: str, **fields: Any) -> None:
        """The newest job is seen in this status."""
        self.api.jobs[0] |= {"status": status, **fields}
        await self.look()

    async def look(self) -> None:
        """A poll, and the streams that are due after it."""
        self.time.move(15)
        now = self.time.now()
        await self.watcher.poll_once(now)
        known = await self.store.jobs.known("research")
        due = [id_ for id_, one in known.jobs.items() if one.active or one.ready_to_finalize(now)]
        await self.watcher.read_events_once(now, due)

    async def cost(self, id_: str = "ftjob-1") -> Cost | None:
        found = await self.store.reader.job("research", id_)
        assert found is not None
        return found.tracked.cost

    async def booked(self) -> Decimal:
        return sum((one.usd for one in (await self.store.costs.spent(None, ["research"])).spendings), Decimal(0))


@asynccontextmanager
async def watched(tmp_path: Path, api: Api) -> AsyncIterator[Watched]:
    time = Time()
    async with (
        serving(api) as url,
        transport() as http,
        opened(f"sqlite:///{tmp_path}/m.db", clock=time) as store,
    ):
        watcher = JobWatcher(
            source=source(url, transport=http, clock=time).source, store=store.jobs, policy=Policy(prices=PRICES),
            pace=Pace(), events_interval=60.0, clock=time, reader_clock=time,
            process=ProcessMetrics(), jitter=lambda: 0.0,
        )  # fmt: skip
        yield Watched(watcher, store, api, time)


def step(number: int, seconds: float | None = 60.0, **fields: Any) -> dict[str, Any]:
    """A step of the training as its metrics event."""
    figures: dict[str, Any] = {"step": number, "total_steps": STEPS}
    if seconds is not None:
        figures["timing"] = {"step": {"full_iteration": seconds}}
    at = BEGIN + timedelta(seconds=90 * number)
    return {**event(f"ev-{number}", at, f"Step {number}/{STEPS}", type="metrics", data=figures), **fields}


def words(number: int) -> dict[str, Any]:
    """The same step in words alone, told just before."""
    told = f"Step {number}/{STEPS} , train mean reward=0.42"
    return step(number, id=f"words-{number}", data={}, type="message", message=told)


def stream(*steps: dict[str, Any]) -> list[dict[str, Any]]:
    """All events, newest first."""
    return [*reversed(steps), event("ev-start", BEGIN, "Fine-tuning job started")]


def four_hours() -> list[dict[str, Any]]:
    return [step(number) for number in range(1, STEPS + 1)]


FOUR_HOURS = Cost(basis=Basis.COMPUTED, usd=Decimal(400))
SHUFFLED = random.Random(4).sample(four_hours(), STEPS)


@pytest.mark.parametrize(
    ("events", "cost"),
    [
        pytest.param(stream(*four_hours()), FOUR_HOURS, id="each step once"),
        pytest.param(stream(*SHUFFLED), FOUR_HOURS, id="in any order"),
        pytest.param(
            stream(*four_hours(), step(9, 70.0, id="ev-again")),
            FOUR_HOURS,
            id="a step that was done again is paid once",
        ),
        pytest.param(
            stream(*(each for one in range(1, STEPS + 1) for each in (words(one), step(one)))),
            FOUR_HOURS,
            id="each step in words and in figures",
        ),
        pytest.param(stream(*four_hours()[:99], *four_hours()[100:]), UNKNOWN_COST, id="a step that is not told"),
        pytest.param(
            stream(*four_hours()[:99], step(100, None), *four_hours()[100:]), UNKNOWN_COST, id="a step without seconds"
        ),
        pytest.param(stream(step(STEPS, 1e290)), UNKNOWN_COST, id="seconds that cannot be"),
    ],
)
async def test_six_hours_with_four_of_core_training_cost(
    tmp_path: Path, events: list[dict[str, Any]], cost: Cost
) -> None:
    api = Api(jobs=[job(at=BEGIN, **REINFORCED)], events={"ftjob-1": stream()})
    async with watched(tmp_path, api) as of:
        await of.look()
        api.events["ftjob-1"] = events
        await of.become("succeeded", finished_at=int(NOON.timestamp()))
        await of.look()
        assert await of.cost() == cost
        assert await of.booked() == (cost.usd or 0)


@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_what_was_trained_before_a_pause_and_after_it_is_paid_when_the_job_comes_to_grief(
    tmp_path: Path, end: str
) -> None:
    api = Api(jobs=[job(at=BEGIN, **REINFORCED)], events={"ftjob-1": stream(*four_hours()[:60])})
    async with watched(tmp_path, api) as of:
        await of.look()
        await of.become("paused")
        await of.become("running")
        api.events["ftjob-1"] = stream(*four_hours()[:120])
        await of.look()
        await of.become(end)
        assert await of.cost() == Cost(basis=Basis.ESTIMATED, usd=Decimal(200)), "more steps may come"
        assert await of.booked() == 0
        await of.look()
        assert await of.cost() == Cost(basis=Basis.COMPUTED, usd=Decimal(200))
        await of.look()
        assert await of.booked() == 200


PRICES = load_prices().of("openai", seller="openai", naming=NAMING)


async def test_a_job_with_an_absurd_figure_hides_no_other(tmp_path: Path) -> None:
    api = Api(jobs=[job("absurd"), job("sound")])
    async with watched(tmp_path, api) as of:
        await of.look()
        api.jobs[1] |= {"status": "succeeded", "trained_tokens": 10**6}
        await of.become("succeeded", model="gpt-4o-2024-08-06", trained_tokens=10**15)
        assert await of.cost("sound") == Cost(basis=Basis.COMPUTED, usd=Decimal(3))
        assert await of.cost("absurd") == UNKNOWN_COST
        assert await of.booked() == 3
