"""The budgets' watcher over a real store: what is told, what is shown, and what a restart changes (nothing)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from monitor.domain.budgets import Budget, Period
from monitor.domain.costs import Spending
from monitor.domain.health import BudgetState, Health
from monitor.domain.model import Basis, Cost, Method
from monitor.domain.routing import Match, OrgRef, Rule
from monitor.store import Outbox, Stores, StoreUnavailable, opened
from monitor.watchers.budgets import BudgetWatcher
from tests.builders import DAY, HOUR, NOON, job, on, tracked
from tests.fakes import another_replica
from tests.store.samples import StillClock, change, ended

RESEARCH = OrgRef(org="research", provider="openai", labels={"team": "search"})
LEGAL = OrgRef(org="legal", provider="openai")
SEARCH = Budget(name="search", match=Match(labels={"team": "search"}), amount=Decimal(500), period=Period.MONTH)
EVERYTHING = Budget(name="all", amount=Decimal(1000), period=Period.TOTAL)
Opening = Callable[[], AbstractAsyncContextManager[Stores]]


class Enough(Exception):
    """The loop has run as often as a test wants."""


class Stopping(StillClock):
    """Ends a loop after so many naps."""

    def __init__(self, naps: int) -> None:
        super().__init__()
        self.left = naps
        self.before: dict[int, Callable[[], None]] = {}

    async def sleep(self, seconds: float) -> None:
        self.left -= 1
        if self.left < 0:
            raise Enough
        self.before.get(self.left, lambda: None)()
        await super().sleep(seconds)


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def opening(tmp_path: Path, clock: StillClock) -> Opening:
    return lambda: opened(f"sqlite:///{tmp_path}/monitor.db", clock=clock)


def watcher(store: Stores, *budgets: Budget, **over: Any) -> BudgetWatcher:
    fields: dict[str, Any] = {
        "budgets": budgets or (SEARCH,),
        "orgs": (RESEARCH, LEGAL),
        "rules": (Rule(on=on("budget"), notify=("ops",)),),
        "clock": StillClock(),
        "health": Health(),
        "jitter": lambda: 0.0,
    }
    return BudgetWatcher(costs=store.costs, outbox=store.outbox, leases=store.leases, **{**fields, **over})


async def spend(store: Stores, usd: int, id_: str, at: datetime = NOON, org: str = "research") -> None:
    """A job ends, and its cost is booked with its end."""
    booked = Spending(org=org, job=id_, provider="openai", model="m", method=Method.SUPERVISED, at=at, usd=Decimal(usd))
    one = ended(id_, at, org=org, cost=Cost(basis=Basis.COMPUTED, usd=Decimal(usd)))
    version = (await store.jobs.known(org)).version
    await store.jobs.commit(change(version, org, at=at, tracked=(one,), spendings=(booked,)))


async def begin(store: Stores, usd: int, id_: str) -> None:
    """A job is under way that will have cost so much."""
    one = tracked(job(id_), cost=Cost(basis=Basis.ESTIMATED, usd=Decimal(usd)))
    version = (await store.jobs.known("research")).version
    await store.jobs.commit(change(version, tracked=(one,)))


async def letters(store: Stores) -> list[str]:
    """The keys of all envelopes, in order."""
    return sorted(one.key for one in (await store.reader.deliveries()).items)


async def test_what_was_crossed_is_told_and_shown(opening: Opening) -> None:
    async with opening() as store:
        of = watcher(store, SEARCH, EVERYTHING)
        await spend(store, 300, "a")
        await spend(store, 150, "b", org="legal")
        await begin(store, 110, "c")
        assert await of.check_once(NOON) == ("budget:search/2026-11/800", "budget:all/total/500")
        assert await of.check_once(NOON) == ()
        assert await letters(store) == ["budget:all/total/500@ops", "budget:search/2026-11/800@ops"]
        assert of.health.budgets == (
            BudgetState(
                name="search",
                limit=Decimal(500),
                spent=Decimal(410),
                period_end=datetime.fromisoformat("2026-12-01T00:00:00Z"),
            ),
            BudgetState(name="all", limit=Decimal(1000), spent=Decimal(560), period_end=None),
        )


async def test_thresholds_crossed_while_it_was_down_are_told_once_as_the_highest(opening: Opening) -> None:
    async with opening() as store:
        await spend(store, 260, "a")
        assert await watcher(store).check_once(NOON) == ("budget:search/2026-11/500",)
    async with opening() as store:
        await spend(store, 150, "b", NOON + HOUR)
        await spend(store, 100, "c", NOON + HOUR)
    for _ in range(3):
        async with opening() as store:
            await watcher(store).check_once(NOON + 2 * HOUR)
            await watcher(store).check_once(NOON + 2 * HOUR)
    async with opening() as store:
        assert await letters(store) == ["budget:search/2026-11/1000@ops", "budget:search/2026-11/500@ops"]


async def test_an_estimate_that_falls_takes_nothing_back_and_repeats_nothing(opening: Opening) -> None:
    async with opening() as store:
        of = watcher(store)
        for usd in (410, 260, 410, 100, 260):
            await begin(store, usd, "a")
            await of.check_once(NOON)
        assert await letters(store) == ["budget:search/2026-11/800@ops"]


async def test_a_new_period_begins_anew_and_a_clock_set_back_tells_nothing_twice(opening: Opening) -> None:
    async with opening() as store:
        of = watcher(store)
        await spend(store, 500, "a")
        await spend(store, 250, "b", NOON + 30 * DAY)
        told = [await of.check_once(now) for now in (NOON, NOON + 30 * DAY, NOON, NOON - 30 * DAY, NOON + 30 * DAY)]
        assert told == [("budget:search/2026-11/1000",), ("budget:search/2026-12/500",), (), (), ()]


@pytest.mark.fault("P6")
async def test_a_raised_amount_is_judged_anew_and_one_that_comes_back_is_not(opening: Opening) -> None:
    raised = replace(SEARCH, amount=Decimal(1000))
    async with opening() as store:
        await spend(store, 500, "a")
        assert await watcher(store).check_once(NOON) == ("budget:search/2026-11/1000",)
    async with opening() as store:
        assert await watcher(store, raised).check_once(NOON) == ("budget:search/2026-11@1000.00/500",)
        assert await watcher(store, SEARCH).check_once(NOON) == ()
        await spend(store, 300, "b")
        assert await watcher(store, raised).check_once(NOON) == ("budget:search/2026-11@1000.00/800",)
        assert await watcher(store, raised).check_once(NOON) == ()


@pytest.mark.fault("P21")
async def test_a_renamed_budget_is_told_again_only_what_it_was_not_told(opening: Opening) -> None:
    async with opening() as store:
        await spend(store, 260, "a")
        assert await watcher(store).check_once(NOON) == ("budget:search/2026-11/500",)
        renamed = watcher(store, replace(SEARCH, name="retrieval", was=("search",)))
        assert await renamed.check_once(NOON) == ()
        await spend(store, 150, "b")
        assert await renamed.check_once(NOON) == ("budget:retrieval/2026-11/800",)


@pytest.mark.fault("P6")
async def test_a_renamed_organisation_keeps_what_it_has_spent(opening: Opening) -> None:
    async with opening() as store:
        await spend(store, 200, "a")
        await spend(store, 100, "b")
        await spend(store, 200, "a", org="lab")  # its history, as it was seen under the new name
        await spend(store, 100, "c", org="lab")
        of = watcher(store, orgs=(replace(RESEARCH, org="lab", was=("research",)), LEGAL))
        assert await of.check_once(NOON) == ("budget:search/2026-11/800",)
        assert [state.spent for state in of.health.budgets] == [Decimal(400)]


async def test_a_replica_without_the_lease_shows_and_does_not_tell(tmp_path: Path) -> None:
    clock = StillClock()
    async with opened(f"sqlite:///{tmp_path}/monitor.db", clock=clock) as store:
        await spend(store, 410, "a")
        assert await another_replica(store, clock, lasting=timedelta(minutes=1)).take(":budgets")
        of = watcher(store)
        assert await of.check_once(NOON) == ()
        assert [state.spent for state in of.health.budgets] == [Decimal(410)]
        clock.time += timedelta(minutes=2)
        assert await of.check_once(clock.now()) == ("budget:search/2026-11/800",)


async def test_what_nobody_hears_is_told_when_somebody_does(opening: Opening) -> None:
    async with opening() as store:
        await spend(store, 410, "a")
        assert await watcher(store, rules=()).check_once(NOON) == ()
        assert await watcher(store).check_once(NOON) == ("budget:search/2026-11/800",)


async def test_many_costs_are_added_up_as_few_are(opening: Opening) -> None:
    async with opening() as store:
        for number in range(30):
            await spend(store, 14, f"job-{number}")
        budgets = [Budget(name=f"b{n}", amount=Decimal(500), period=Period.DAY) for n in range(90)]
        of = watcher(store, *budgets)
        assert len(await of.check_once(NOON)) == 90
        assert {state.spent for state in of.health.budgets} == {Decimal(420)}


async def test_the_message_is_sealed_when_it_is_decided(opening: Opening) -> None:
    async with opening() as store:
        await spend(store, 410, "a")
        await watcher(store).check_once(NOON)
        claimed = await store.outbox.claim("ops", owner="me", limit=5, lease=timedelta(minutes=1))
        [message] = [one.delivery.message for one in claimed]
        assert message.title == "Budget search is at 82% ($410 of $500 this month)"
        assert json.loads(message.data)["budget"]["spent"] == "410.00"


@dataclass
class Moody:
    """A real outbox whose reads fail for a while."""

    outbox: Outbox
    failing: bool = False

    async def notified(self, *topics: Any) -> Mapping[str, str | None]:
        if self.failing:
            raise StoreUnavailable("the disk is full")
        return await self.outbox.notified(*topics)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.outbox, name)


async def test_the_loop_goes_on_when_the_store_fails(tmp_path: Path) -> None:
    clock = Stopping(naps=6)
    async with opened(f"sqlite:///{tmp_path}/monitor.db", clock=clock) as store:
        await spend(store, 410, "a")
        moody: Any = Moody(store.outbox, failing=True)
        of = replace(watcher(store, clock=clock, interval=30.0), outbox=moody)

        def mend() -> None:
            moody.failing = False

        clock.before[2] = mend
        with capture_logs() as lines, pytest.raises(Enough):
            await of.run()
        assert await letters(store) == ["budget:search/2026-11/800@ops"]
        assert [line["event"] for line in lines] == ["store.failed", "budget.crossed", "store.recovered"]
        assert clock.now() - NOON == timedelta(seconds=3 * 5 + 2 * 30), "a store that fails is asked sooner"
