"""A replica keeps its session and its share, and its watchers poll what is theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from monitor.metrics.process import ProcessMetrics
from monitor.store import Leases, Stores, opened
from monitor.watchers.leases import LeaseWatcher
from monitor.watchers.state import PollState
from tests.builders import HOUR, MINUTE
from tests.fakes import another_replica
from tests.store.samples import StillClock, change, delivery
from tests.watchers.test_jobs import Watched, loop, watched


@dataclass
class Shared:
    """The sessions of two replicas on one database, and the watcher of one of them."""

    store: Stores
    clock: StillClock
    leases: Leases
    watcher: LeaseWatcher
    polls: dict[str, PollState]
    own: ProcessMetrics

    @property
    def shown(self) -> float:
        """How many organisations it says it has."""
        (family,) = (one for one in self.own.families if one.name == "finetune_monitor_organizations")
        return float(next(iter(family.rows(None).values())))  # type: ignore[arg-type]  # it asks nothing of the view


@asynccontextmanager
async def shared(path: Path) -> AsyncIterator[Shared]:
    clock, own = StillClock(), ProcessMetrics()
    async with opened(f"sqlite:///{path / 'monitor.db'}", clock=clock) as store:
        polls = {f"org-{number}": PollState() for number in range(4)}
        leases = Leases(store.database, clock, owner="ours", duration=MINUTE)
        changes = store.reader.changes
        watcher = LeaseWatcher(leases=leases, polls=polls, changes=changes, process=own, interval=30.0, clock=clock)
        yield Shared(store, clock, leases, watcher, polls, own)


async def nudged(of: Shared, org: str) -> bool:
    before = of.clock.now()
    await of.polls[org].acquired.wait(of.clock, 1.0)
    unmoved = of.clock.now() == before
    of.clock.time = before
    return unmoved


async def test_whoever_has_new_organisations_is_told_so_one_after_the_other(tmp_path: Path) -> None:
    async with shared(tmp_path) as of:
        before = of.clock.monotonic()
        assert await of.watcher.renew_once() == 20.0
        assert [await nudged(of, org) for org in of.polls] == [True] * 4
        assert 0 < of.clock.monotonic() - before < 1
        assert of.shown == 4
        await of.watcher.renew_once()
        assert not await nudged(of, "org-0"), "nothing new"


async def test_with_another_replica_half_of_them_go_and_come_back_when_it_dies(tmp_path: Path) -> None:
    async with shared(tmp_path) as of:
        await of.watcher.renew_once()
        another = another_replica(of.store, of.clock, lasting=30 * MINUTE)
        for _ in range(3):
            await another.renew(of.polls)
            await of.watcher.renew_once()
            assert sum([await of.leases.hand_over(org) for org in of.polls]) <= 1
        await of.watcher.renew_once()
        assert of.shown == 2
        of.clock.time += 31 * MINUTE
        await of.watcher.renew_once()
        assert of.shown == 4


async def test_deliveries_that_a_dead_replica_had_claimed_are_due_again_at_once(tmp_path: Path) -> None:
    async with shared(tmp_path) as of:
        await of.store.jobs.commit(change(deliveries=(delivery(),)))
        await another_replica(of.store, of.clock, lasting=MINUTE).renew([])
        (claimed,) = await of.store.outbox.claim("ops", owner="another", limit=1, lease=HOUR)
        mark = of.store.outbox.enqueued
        of.clock.time += MINUTE
        await of.watcher.renew_once()
        assert of.store.outbox.enqueued > mark, "couriers are woken"
        (again,) = await of.store.outbox.claim("ops", owner="ours", limit=1, lease=HOUR)
        assert (again.key, again.ambiguous) == (claimed.key, True)
        assert not await of.store.outbox.delivered(claimed), "the one that comes back is refused"


async def test_a_watcher_polls_only_what_is_its_replicas_and_hands_over_when_it_is_due(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        others = another_replica(of.store, of.time)
        await of.store.leases.renew(["research", "search"])
        await others.renew(["research", "search"])
        await of.store.leases.renew(["research", "search"])
        await loop(of, 2)
        assert polls(of) == 0, "it was one too many, and went to the other"
        assert "research" in (await others.renew(["research", "search"])).acquired
        await loop(of, 5)
        assert polls(of) == 0
        await others.end()
        await of.store.leases.renew(["research", "search"])
        await loop(of, 2)
        assert polls(of) > 0


def polls(of: Watched) -> float:
    (family,) = (one for one in of.own.families if one.name == "finetune_org_polls_total")
    return float(sum(family.rows(None).values()))  # type: ignore[arg-type]  # it asks nothing of the view


async def test_what_another_replica_gave_away_is_polled_a_while_after_it_was_due(tmp_path: Path) -> None:
    async with shared(tmp_path) as of:
        another = another_replica(of.store, of.clock)
        await another.renew(of.polls)
        await of.watcher.renew_once()
        await another.renew(of.polls)
        assert await another.hand_over("org-1")
        before = of.clock.monotonic()
        await of.watcher.renew_once()
        assert await nudged(of, "org-1")
        assert of.polls["org-1"].handover_until == before + 0.25 * 30.0
        await another.end()
        await of.watcher.renew_once()
        assert of.polls["org-0"].handover_until == 0.0, "of the dead it is taken at once"


async def test_after_a_handover_a_webhook_is_followed_at_once_and_the_schedule_waits(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        of.watcher.state.handover_until = of.time.monotonic() + 900.0
        of.watcher.state.poll()
        await loop(of, 3)
        assert polls(of) == 1, "the webhook is followed at once"
        assert of.time.naps[1:] == [300.0, 600.0], "and the schedule waits"
        await loop(of, 2)
        assert polls(of) == 2
