"""What lasts is sent again to a receiver that takes for over what it is not told again, for as long as it lasts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.domain.flow import Reason, Trouble
from monitor.domain.model import Status
from monitor.domain.news import Delivery, EventType, News, Subject, SubjectKind
from monitor.domain.notifier_outages import notifier_subject
from monitor.domain.snapshot import WatchState
from monitor.store import Stores, opened
from monitor.watchers.states import StateWatcher
from tests.builders import HOUR, MINUTE, NOON, job, tracked
from tests.fakes import another_replica
from tests.store.samples import LEASE, StillClock, change, delivery, message

KEPT = 4 * HOUR
ORG = Subject(kind=SubjectKind.ORGANIZATION, org="research", id="outage")
OPS = notifier_subject("ops")


def watcher(store: Stores, clock: StillClock, **over: Any) -> StateWatcher:
    fields: dict[str, Any] = {
        "forgets_after": {"alerts": KEPT},
        "orgs": frozenset({"research"}),
        "notifiers": frozenset({"ops", "alerts"}),
    }
    return StateWatcher(reader=store.reader, outbox=store.outbox, leases=store.leases, clock=clock, **fields | over)


def told(event: str, subject: Subject | None = None, seq: int = 1) -> Delivery:
    plain = delivery(seq=seq, notifier="alerts")
    of = subject or plain.subject
    return replace(plain, subject=of, message=message(event_type=EventType(event), subject=of))


async def sent(store: Stores, *deliveries: Delivery) -> list[str]:
    """The keys of what was due, which is sent now."""
    await store.outbox.announce([News(subject=one.subject, seq=one.seq, deliveries=(one,)) for one in deliveries])
    due = await store.outbox.claim("alerts", owner="me", limit=9, lease=LEASE)
    for one in due:
        await store.outbox.delivered(one)
    return [one.key for one in due]


@pytest.mark.parametrize(
    ("event", "of", "again"),
    [
        pytest.param("stalled", {"stalled": True}, True, id="it stands still"),
        pytest.param("stalled", {"stalled": False}, False, id="it moves, and nobody was to be told"),
        pytest.param("stalled", {"stalled": True, "of": job(status=Status.FAILED)}, False, id="it is over"),
        pytest.param("paused", {"of": job(status=Status.PAUSED)}, True, id="it is paused"),
        pytest.param("paused", {"of": job(status=Status.RUNNING)}, False, id="it is not any more"),
        pytest.param("failed", {"of": job(status=Status.FAILED)}, False, id="no state"),
    ],
)
async def test_a_job_s_state_is_sent_again_while_it_lasts(
    tmp_path: Path, event: str, of: dict[str, Any], again: bool
) -> None:
    clock = StillClock()
    async with opened(f"sqlite:///{tmp_path}/monitor.db", clock=clock) as store:
        await store.jobs.commit(change(tracked=(tracked(**of),)))
        await sent(store, told(event))
        for minutes, count in ((119, 0), (121, again), (122, 0), (121 + 121, again)):
            clock.time = NOON + minutes * MINUTE
            assert await watcher(store, clock).check_once(clock.time) == count
            assert await sent(store) == ["research/ftjob-1/1@alerts"] * count


async def test_what_was_told_later_of_the_same_ends_it(tmp_path: Path) -> None:
    clock = StillClock()
    async with opened(f"sqlite:///{tmp_path}/monitor.db", clock=clock) as store:
        await store.jobs.commit(change(tracked=(tracked(stalled=True),)))
        await sent(store, told("stalled"))
        await sent(store, told("moving", seq=2))
        clock.time = NOON + 3 * HOUR
        assert await watcher(store, clock).check_once(clock.time) == 0


async def test_an_organisation_that_is_down_is_sent_again_until_it_is_up_or_not_watched(tmp_path: Path) -> None:
    clock = StillClock()
    down = WatchState(
        org="research", up=False, since=NOON, owner="me", trouble=Trouble(reason=Reason.TIMEOUT, text="…"),
        last_success=NOON, next_poll=NOON + 9 * HOUR,
    )  # fmt: skip
    async with opened(f"sqlite:///{tmp_path}/monitor.db", clock=clock) as store:
        await store.jobs.record(down)
        await sent(store, told("org_down", ORG))
        clock.time = NOON + 3 * HOUR
        assert await watcher(store, clock, orgs=frozenset()).check_once(clock.time) == 0
        assert await watcher(store, clock).check_once(clock.time) == 1
        assert await sent(store) == ["research/outage/1@alerts"]
        clock.time = NOON + 6 * HOUR
        await store.jobs.record(replace(down, up=True, trouble=None))
        assert await watcher(store, clock).check_once(clock.time) == 0


async def test_a_notifier_that_is_down_is_sent_again_while_it_is_configured(tmp_path: Path) -> None:
    clock = StillClock()
    async with opened(f"sqlite:///{tmp_path}/monitor.db", clock=clock) as store:
        down = told("notifier_down", OPS)
        await store.outbox.announce([News(subject=OPS, seq=1, judged_by=NOON.isoformat(), deliveries=(down,))])
        await sent(store)
        clock.time = NOON + 3 * HOUR
        assert await watcher(store, clock, notifiers=frozenset()).check_once(clock.time) == 0
        assert await watcher(store, clock).check_once(clock.time) == 1
        assert await sent(store) == ["notifier:ops/outage/1@alerts"]


async def test_one_replica_sends_it_again(tmp_path: Path) -> None:
    clock = StillClock()
    async with opened(f"sqlite:///{tmp_path}/monitor.db", clock=clock) as store:
        await store.jobs.commit(change(tracked=(tracked(stalled=True),)))
        await sent(store, told("stalled"))
        clock.time = NOON + 3 * HOUR
        assert await another_replica(store, clock, lasting=timedelta(minutes=1)).take(":states")
        assert await watcher(store, clock).check_once(clock.time) == 0
        clock.time += 2 * MINUTE
        assert await watcher(store, clock).check_once(clock.time) == 1
