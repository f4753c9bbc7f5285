"""When webhooks have an organisation polled, and how far they are trusted: real store, time by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from monitor.domain.flow import Reason, Trouble
from monitor.domain.pace import Pace, relaxed
from monitor.store import Stores, opened
from monitor.store.hints import GIVEN_UP, KEPT
from monitor.watchers.hints import HintWatcher
from monitor.watchers.state import PollState
from tests.store.samples import StillClock, change, ended

pytestmark = pytest.mark.fault("G30", "W07")


@dataclass
class Pushed:
    """A watcher of two organisations, and how often each was nudged."""

    stores: Stores
    clock: StillClock
    watcher: HintWatcher
    a: PollState
    b: PollState

    async def came(self, job: str, *, org: str = "a", id_: str | None = None) -> None:
        await self.stores.hints.accept(org, id_ or f"wh_{job}", job, self.clock.now())

    async def polls(self, seconds: int) -> list[int]:
        """In which of these seconds the first organisation is polled, one step each."""
        found = []
        for second in range(seconds):
            await self.watcher.step(self.clock.now())
            if await self.nudged(self.a):
                found.append(second)
            self.clock.time += timedelta(seconds=1)
        return found

    async def nudged(self, state: PollState) -> bool:
        """Whether it was nudged since it was last asked."""
        before = self.clock.now()
        await state.poll.wait(self.clock, 1e-3)
        unmoved = self.clock.now() == before
        self.clock.time = before
        return unmoved


@asynccontextmanager
async def pushed(tmp_path: Path) -> AsyncIterator[Pushed]:
    clock = StillClock()
    async with opened(f"sqlite:///{tmp_path / 'monitor.db'}", clock=clock) as stores:
        a, b = PollState(), PollState()
        watcher = HintWatcher(store=stores.hints, polls={"a": a, "b": b}, clock=clock)
        yield Pushed(stores, clock, watcher, a, b)


async def test_a_job_that_was_pushed_is_looked_for_at_once_and_then_ever_later(tmp_path: Path) -> None:
    async with pushed(tmp_path) as on:
        assert await on.polls(5) == []
        await on.came("ftjob-1")
        assert await on.polls(100) == [0, 1, 3, 7, 15, 31, 61, 91]
        assert on.a.hinted == {"ftjob-1"}
        assert not await on.nudged(on.b)


async def test_another_job_is_looked_for_at_once_whatever_the_first_waits_for(tmp_path: Path) -> None:
    async with pushed(tmp_path) as on:
        await on.came("ftjob-1")
        assert await on.polls(10) == [0, 1, 3, 7]
        await on.came("ftjob-2")
        assert await on.polls(4) == [0, 1, 3]


async def test_many_that_come_together_are_one_poll(tmp_path: Path) -> None:
    async with pushed(tmp_path) as on:
        for number in range(50):
            await on.came(f"ftjob-{number}")
            await on.watcher.step(on.clock.now())
            assert await on.nudged(on.a) == (number == 0)
        assert await on.watcher.step(on.clock.now()) == pytest.approx(0.3)


async def test_a_job_that_is_over_here_is_looked_for_no_more_not_even_after_a_restart(tmp_path: Path) -> None:
    async with pushed(tmp_path) as on:
        await on.came("ftjob-1")
        assert await on.polls(2) == [0, 1]
        over = ended("ftjob-1")
        over = replace(over, job=replace(over.job, org="a"))
        await on.stores.jobs.commit(change(org="a", tracked=(over,)))
        assert await on.polls(20) == []
        assert on.a.hinted == frozenset()
        await on.came("ftjob-1", id_="wh_again")
        assert await on.polls(20) == []
        await on.came("ftjob-2")
    async with pushed(tmp_path) as again:
        assert await again.polls(1) == [0]
        assert again.a.hinted == {"ftjob-2"}


async def test_what_the_provider_never_shows_is_left_to_the_polls_that_come_anyway(tmp_path: Path) -> None:
    async with pushed(tmp_path) as on:
        await on.came("ftjob-unknown")
        on.clock.time += GIVEN_UP + timedelta(seconds=1)
        assert await on.polls(10) == []


async def test_a_provider_that_asked_for_a_pause_has_it(tmp_path: Path) -> None:
    async with pushed(tmp_path) as on:
        await on.came("ftjob-1")
        on.a.trouble = Trouble(reason=Reason.RATE_LIMITED, text="slow down", retry_after=6.0)
        on.a.not_before = on.clock.monotonic() + 6.0
        assert await on.polls(10) == []
        on.a.trouble = None
        assert (await on.polls(3))[0] <= 1


async def test_a_webhook_is_known_for_longer_than_it_is_repeated(tmp_path: Path) -> None:
    async with pushed(tmp_path) as on:
        await on.came("ftjob-1")
        on.clock.time += timedelta(hours=73)
        await on.stores.hints.prune(on.clock.now())
        assert not await on.stores.hints.accept("a", "wh_ftjob-1", "ftjob-1", on.clock.now())
        on.clock.time += KEPT
        await on.watcher.step(on.clock.now())  # which prunes
        assert await on.stores.hints.accept("a", "wh_ftjob-1", "ftjob-1", on.clock.now())


PACE = Pace(interval=30.0, idle_interval=300.0)


@pytest.mark.parametrize(
    ("pushed_in_a_row", "pace", "interval"),
    [
        (0, PACE, 30.0),
        (2, PACE, 30.0),
        (3, PACE, 60.0),
        (4, PACE, 90.0),
        (5, PACE, 120.0),
        (1000, PACE, 120.0),
        (1000, Pace(interval=30.0, idle_interval=45.0), 45.0),
        (1000, Pace(interval=30.0, idle_interval=10.0), 30.0),
    ],
)
def test_polls_relax_while_pushes_are_reliable(pushed_in_a_row: int, pace: Pace, interval: float) -> None:
    assert relaxed(pace, pushed_in_a_row) == replace(pace, interval=interval)


def test_an_end_that_a_poll_shows_first_ends_the_trust() -> None:
    state = PollState()
    assert list(state.first_seen(["a", "b", "c"], {"a", "b", "c"})) == ["push"] * 3
    assert state.pushed == 3
    assert list(state.first_seen(["d"], {"x"})) == ["poll"]
    assert state.pushed == 0
    assert list(state.first_seen(["e"], {"e"})) == ["push"]
    assert state.pushed == 1
