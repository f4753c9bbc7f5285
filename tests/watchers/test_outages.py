"""Organisations that cannot be watched: told after a while, once, and once more when they are back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from monitor.domain.flow import Reason, Trouble
from monitor.domain.model import Status
from monitor.domain.news import Message, Severity
from monitor.domain.routing import Match, OrgRef, Rule
from monitor.domain.snapshot import WatchState
from monitor.store import Stores, opened
from monitor.watchers.outages import OutageWatcher
from tests.builders import MINUTE, NOON, job, on, tracked
from tests.fakes import another_replica
from tests.store.samples import StillClock, change

BOTH = Rule(on=on("org_down", "org_up"), notify=("ops",))
DOWN, UP = (
    Rule(on=on("org_down"), notify=("down",)),
    Rule(on=on("org_up"), notify=("up",)),
)
REFUSED = Trouble(reason=Reason.AUTH, text="401: the key is refused")


RESEARCH = OrgRef(org="research", provider="openai", labels={"team": "search"})


class House:
    """One store on disk and a clock; watchers come and go."""

    def __init__(self, folder: Path) -> None:
        self.clock = StillClock()
        self.url = f"sqlite:///{folder}/monitor.db"
        self.last_success: datetime | None = None

    def watcher(self, store: Stores, *rules: Rule) -> OutageWatcher:
        self.jobs = store.jobs
        return OutageWatcher(
            orgs=(RESEARCH,),
            reader=store.reader,
            rules=rules or (BOTH,),
            outbox=store.outbox,
            leases=store.leases,
            clock=self.clock,
        )

    def state(self, *, up: bool) -> WatchState:
        """What the watcher of the jobs says each minute."""
        now, trouble = self.clock.now(), None if up else REFUSED
        return WatchState(
            org="research",
            up=up,
            since=now,
            owner="me",
            trouble=trouble,
            last_success=self.last_success,
            next_poll=now + timedelta(minutes=1),
        )

    async def minutes(self, of: OutageWatcher, count: int, *, up: bool | None) -> list[str]:
        """What is told in so many minutes in which the polls go well or not."""
        told = list[str]()
        if up:
            self.last_success = self.clock.now()
        for _ in range(count):
            self.clock.time += timedelta(minutes=1)
            if up is not None:
                await self.jobs.record(self.state(up=up))
            told += await of.check_once(self.clock.now())
        return told


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def messages(store: Stores, notifier: str = "ops") -> list[Message]:
    told = []
    while claimed := await store.outbox.claim(notifier, owner="me", limit=9, lease=timedelta(1)):
        for one in claimed:
            told.append(one.delivery.message)
            await store.outbox.delivered(one)
    return told


async def test_an_outage_is_told_after_a_quarter_of_an_hour_and_its_end_at_once(house: House) -> None:
    async with opened(house.url, clock=house.clock) as store:
        of = house.watcher(store)
        assert await house.minutes(of, 2, up=None) == []
        assert await house.minutes(of, 2, up=True) == []
        assert await house.minutes(of, 15, up=False) == []
        assert await house.minutes(of, 60, up=False) == ["research/outage/1"]
        ends = [NOON, NOON + 9 * MINUTE, NOON + 70 * MINUTE]  # the first before it was down
        gone = [tracked(job(f"ftjob-{end:%H%M}", Status.FAILED, finished_at=end)) for end in ends]
        await store.jobs.commit(change(tracked=tuple(gone)))
        assert await house.minutes(of, 60, up=True) == ["research/outage/2"]
        assert await house.minutes(of, 60, up=False) == ["research/outage/3"]
        down, up, _ = await messages(store)
    assert (down.type, down.event_type, down.severity) == ("finetune.org.down", "org_down", Severity.BAD)
    assert down.title == "research cannot be watched: its key is refused"
    assert down.error == REFUSED.text
    assert json.loads(down.data) == {
        "org": "research",
        "provider": "openai",
        "labels": {"team": "search"},
        "last_success": "2026-11-22T12:02:00Z",
        "reason": "auth",
        "error": "401: the key is refused",
    }
    assert (up.type, up.event_type, up.severity) == ("finetune.org.up", "org_up", Severity.GOOD)
    assert (up.title, up.error) == ("research is watched again", None)
    assert up.facts[2:] == (("Down for", "1h 18m, since 12:02 UTC"), ("Meanwhile", "2 jobs ended: 2 failed"))


@pytest.mark.fault("P21")
async def test_an_outage_ends_under_a_new_name(house: House) -> None:
    async with opened(house.url, clock=house.clock) as store:
        of = house.watcher(store)
        assert await house.minutes(of, 20, up=False) == ["research/outage/1"]
        renamed = replace(of, orgs=(replace(RESEARCH, org="lab", was=("research",)),))
        await store.jobs.record(replace(house.state(up=True), org="lab"))
        assert await renamed.check_once(house.clock.now()) == ("lab/outage/2",)
        assert await renamed.check_once(house.clock.now()) == ()


async def test_failures_that_pass_are_not_told(house: House) -> None:
    async with opened(house.url, clock=house.clock) as store:
        of = house.watcher(store)
        for _ in range(5):
            assert await house.minutes(of, 14, up=False) == []
            assert await house.minutes(of, 1, up=True) == []


async def test_a_restart_repeats_nothing_and_forgets_nothing(house: House) -> None:
    told = []
    for up, count in ((False, 20), (False, 20), (None, 5), (True, 5), (True, 5), (False, 20)):
        async with opened(house.url, clock=house.clock) as store:
            told.append(await house.minutes(house.watcher(store), count, up=up))
    assert told == [["research/outage/1"], [], [], ["research/outage/2"], [], ["research/outage/3"]]


async def test_who_wants_to_hear_of_the_end_alone_hears_of_it(house: House) -> None:
    async with opened(house.url, clock=house.clock) as store:
        of = house.watcher(store, DOWN, UP)
        await house.minutes(of, 20, up=False)
        await house.minutes(of, 1, up=True)
        assert [one.event_type for one in await messages(store, "down")] == ["org_down"]
        assert [one.event_type for one in await messages(store, "up")] == ["org_up"]
        only = house.watcher(store, UP)
        await house.minutes(only, 20, up=False)
        await house.minutes(only, 1, up=True)
        assert [one.event_type for one in await messages(store, "up")] == ["org_up"]


@pytest.mark.parametrize(
    ("match", "hears"),
    [
        pytest.param(Match(labels={"team": "search"}), True, id="its label"),
        pytest.param(Match(orgs=frozenset({"legal"})), False, id="another organisation"),
        pytest.param(Match(providers=frozenset({"azure"})), False, id="another provider"),
    ],
)
async def test_a_rule_hears_of_the_organisations_it_is_for(house: House, match: Match, *, hears: bool) -> None:
    async with opened(house.url, clock=house.clock) as store:
        of = house.watcher(store, Rule(match=match, on=on("org_down"), notify=("ops",)))
        assert await house.minutes(of, 20, up=False) == (["research/outage/1"] if hears else [])


async def test_nothing_is_remembered_where_nobody_listens(house: House) -> None:
    async with opened(house.url, clock=house.clock) as store:
        assert await house.minutes(house.watcher(store, Rule(notify=("ops",))), 20, up=False) == []
        assert await house.minutes(house.watcher(store), 1, up=True) == []


async def test_nothing_is_told_of_an_organisation_that_nobody_watches(house: House) -> None:
    async with opened(house.url, clock=house.clock) as store:
        of = house.watcher(store)
        assert await house.minutes(of, 3, up=False) == []
        assert await house.minutes(of, 60, up=None) == [], "what was said last is old"


async def test_the_leaseholder_alone_tells(house: House) -> None:
    async with opened(house.url, clock=house.clock) as store:
        assert await another_replica(store, house.clock, lasting=timedelta(minutes=19, seconds=30)).take(":outages")
        assert await house.minutes(house.watcher(store), 19, up=False) == []
        assert await house.minutes(house.watcher(store), 20, up=False) == ["research/outage/1"]
