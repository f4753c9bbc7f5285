"""Notifiers that accept nothing: the others tell of it after a while, once, and once more when they accept again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from monitor.domain.notifier_outages import OutagePolicy
from monitor.domain.routing import Rule
from monitor.store import ClaimedDelivery, Stores, opened
from monitor.watchers.notifiers import NotifierWatcher
from tests.builders import MINUTE, on
from tests.fakes import another_replica
from tests.store.samples import LEASE, StillClock, delivery, letters

BOTH = Rule(on=on("notifier_down", "notifier_up"), notify=("ops", "mail"))
NAMES: Mapping[str, str | None] = {"ops": None, "mail": None}


@dataclass
class House:
    """One store on disk and a clock; watchers come and go."""

    folder: Path
    clock: StillClock

    def opened(self) -> AbstractAsyncContextManager[Stores]:
        return opened(f"sqlite:///{self.folder}/monitor.db", clock=self.clock)

    def watcher(self, store: Stores, names: Mapping[str, str | None] = NAMES) -> NotifierWatcher:
        return NotifierWatcher(
            notifiers=names,
            rules=(BOTH,),
            outbox=store.outbox,
            leases=store.leases,
            clock=self.clock,
            policy=OutagePolicy(patience=15 * MINUTE),
        )

    async def minutes(self, store: Stores, count: int, **works: bool) -> list[str]:
        """What is announced in so many minutes in which these notifiers accept what is due, or refuse it."""
        found = list[str]()
        for _ in range(count):
            self.clock.time += MINUTE
            for name, well in works.items():
                for one in await claimed(store, name):
                    if well:
                        await store.outbox.delivered(one)
                    else:
                        await store.outbox.postpone(one, MINUTE, reason="unauthorized", answer="403")
            found += await self.watcher(store).check_once(self.clock.now())
        return found


async def claimed(store: Stores, name: str) -> tuple[ClaimedDelivery, ...]:
    return await store.outbox.claim(name, owner="me", limit=99, lease=LEASE)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, StillClock())


async def test_an_outage_is_told_by_the_others_after_a_while_and_its_end_at_once(house: House) -> None:
    async with house.opened() as store:
        await store.jobs.commit(letters(delivery("a"), delivery("b", notifier="mail")))
        assert await house.minutes(store, 14, ops=False, mail=True) == []
        assert await house.minutes(store, 60, ops=False) == ["notifier:ops/outage/1"]
        (told,) = await claimed(store, "mail")
        assert (told.key, told.delivery.message.event_type) == ("notifier:ops/outage/1@mail", "notifier_down")
        await store.outbox.delivered(told)
        assert await house.minutes(store, 3, ops=True) == ["notifier:ops/outage/2"]
        (told,) = await claimed(store, "mail")
        assert (told.key, told.delivery.message.event_type) == ("notifier:ops/outage/2@mail", "notifier_up")
        assert await claimed(store, "ops") == ()


async def test_two_that_fail_alike_do_not_fill_each_other_s_queues(house: House) -> None:
    async with house.opened() as store:
        await store.jobs.commit(letters(delivery("a"), delivery("b", notifier="mail")))
        told = await house.minutes(store, 20, ops=False, mail=False)
        assert sorted(told) == ["notifier:mail/outage/1", "notifier:ops/outage/1"]
        house.clock.time += MINUTE
        waiting = [one.key for name in NAMES for one in await claimed(store, name)]
        assert waiting == ["research/a/1@ops", "research/b/1@mail"]


async def test_a_restart_repeats_nothing_and_forgets_nothing(house: House) -> None:
    told = []
    for number, (well, count) in enumerate(((False, 20), (False, 20), (True, 5), (True, 5), (False, 20))):
        async with house.opened() as store:
            if number in (0, 4):
                await store.jobs.commit(letters(delivery(f"job-{number}"), based_on=min(number, 1)))
            told.append(await house.minutes(store, count, ops=well, mail=True))
    assert told == [["notifier:ops/outage/1"], [], ["notifier:ops/outage/2"], [], ["notifier:ops/outage/3"]]


async def test_an_outage_ends_under_a_new_name(house: House) -> None:
    async with house.opened() as store:
        await store.jobs.commit(letters(delivery("a")))
        assert await house.minutes(store, 20, ops=False) == ["notifier:ops/outage/1"]
        await store.outbox.adopt("duty", "ops")
        renamed = house.watcher(store, {"duty": "ops", "mail": None})
        assert await renamed.check_once(house.clock.now()) == ()
        house.clock.time += MINUTE
        for one in await claimed(store, "duty"):
            await store.outbox.delivered(one)
        assert await renamed.check_once(house.clock.now()) == ("notifier:duty/outage/2",)


async def test_one_replica_tells(house: House) -> None:
    async with house.opened() as store:
        await store.jobs.commit(letters(delivery("a")))
        other = another_replica(store, house.clock, lasting=timedelta(minutes=19, seconds=30))
        assert await other.take(":notifiers")
        assert await house.minutes(store, 19, ops=False) == []
        assert await house.minutes(store, 9, ops=False) == ["notifier:ops/outage/1"]
