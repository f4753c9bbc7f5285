"""Digests: due by local time through the changes of clocks, announced once, of what happened in the period."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from monitor.domain.costs import Spending, TunedModel
from monitor.domain.digests import Digest
from monitor.domain.model import Basis, Cost, FailureClass, JobError, Method, Status
from monitor.domain.routing import OrgRef
from monitor.store import Stores, opened
from monitor.watchers.digests import DigestWatcher, times_of
from tests.builders import HOUR, job, tracked
from tests.fakes import another_replica
from tests.store.samples import StillClock, change

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
WEEKLY = Digest(name="weekly", cron="0 9 * * MON", zone=BERLIN, notify=("ml",))
MONDAY = datetime(2026, 11, 30, 8, tzinfo=UTC)
"""Nine in Berlin."""


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "cron", "now", "start", "end"),
    [
        pytest.param(BERLIN, "0 9 * * MON", "2026-11-30T07:59:59", "2026-11-16T08:00", "2026-11-23T08:00", id="early"),
        pytest.param(BERLIN, "0 9 * * MON", "2026-11-30T08:00", "2026-11-23T08:00", "2026-11-30T08:00", id="just now"),
        pytest.param(BERLIN, "0 9 * * *", "2026-03-29T12:00", "2026-03-28T08:00", "2026-03-29T07:00", id="a short day"),
        pytest.param(BERLIN, "0 9 * * *", "2026-10-25T12:00", "2026-10-24T07:00", "2026-10-25T08:00", id="a long day"),
        pytest.param(BERLIN, "30 2 * * *", "2026-03-29T12:00", "2026-03-28T01:30", "2026-03-29T01:00", id="skipped"),
        pytest.param(BERLIN, "30 2 * * *", "2026-10-25T12:00", "2026-10-24T00:30", "2026-10-25T00:30", id="twice"),
        pytest.param(NEW_YORK, "0 9 * * *", "2026-03-08T18:00", "2026-03-07T14:00", "2026-03-08T13:00", id="New York"),
        pytest.param(NEW_YORK, "30 1 * * *", "2026-11-01T18:00", "2026-10-31T05:30", "2026-11-01T05:30", id="there"),
    ],
)  # fmt: skip
def test_a_digest_is_of_the_time_between(zone: ZoneInfo, cron: str, now: str, start: str, end: str) -> None:
    found = times_of(Digest(name="d", cron=cron, zone=zone, notify=("ml",)), utc(now))
    assert (found.start, found.end) == (utc(start), utc(end))


def watcher(store: Stores, clock: StillClock, *digests: Digest) -> DigestWatcher:
    return DigestWatcher(
        digests=digests or (WEEKLY,),
        orgs=(OrgRef(org="research", provider="openai"),),
        costs=store.costs,
        reader=store.reader,
        outbox=store.outbox,
        leases=store.leases,
        clock=clock,
    )


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/monitor.db"


async def test_a_digest_is_announced_once_and_a_restart_at_its_minute_does_not_repeat_it(tmp_path: Path) -> None:
    clock = StillClock()
    clock.time = MONDAY - HOUR
    async with opened(url(tmp_path), clock=clock) as store:
        assert await watcher(store, clock).check_once(clock.time) == (), "what was due before it was known is not told"
        clock.time = MONDAY
        assert await watcher(store, clock).check_once(clock.time) == ("digest:weekly/20261130T0800Z/1",)
    async with opened(url(tmp_path), clock=clock) as store:
        for seconds in (0, 30, 60):
            clock.time = MONDAY + timedelta(seconds=seconds)
            assert await watcher(store, clock).check_once(clock.time) == ()
        (waits,) = await store.outbox.claim("ml", owner="me", limit=9, lease=HOUR)
        assert waits.key == "digest:weekly/20261130T0800Z/1@ml"


async def test_an_organisation_of_that_name_is_in_nobodys_way(tmp_path: Path) -> None:
    clock = StillClock()
    clock.time = MONDAY - HOUR
    async with opened(url(tmp_path), clock=clock) as store:
        await watcher(store, clock).check_once(clock.time)
        clock.time = MONDAY
        assert await another_replica(store, clock).take("digests")
        assert len(await watcher(store, clock).check_once(clock.time)) == 1


@pytest.mark.parametrize(("late", "told"), [(timedelta(hours=20), 1), (timedelta(days=2), 0)])
async def test_what_was_due_while_nothing_ran_is_told_for_a_day(tmp_path: Path, late: timedelta, told: int) -> None:
    clock = StillClock()
    clock.time = MONDAY - HOUR
    async with opened(url(tmp_path), clock=clock) as store:
        await watcher(store, clock).check_once(clock.time)
        clock.time = MONDAY + late
        assert len(await watcher(store, clock).check_once(clock.time)) == told
        assert await watcher(store, clock).check_once(clock.time) == ()


async def test_a_digest_says_what_ended_failed_cost_runs_and_stops(tmp_path: Path) -> None:
    clock = StillClock()
    clock.time = MONDAY - HOUR
    within, before = MONDAY - timedelta(days=2), MONDAY - timedelta(days=9)
    provider = JobError(code="server_error", failure=FailureClass.PROVIDER)
    failed = [
        tracked(
            job(f"f-{usd}", Status.FAILED, finished_at=within, error=provider),
            finalized=True,
            since=within,
            cost=Cost(basis=Basis.COMPUTED, usd=Decimal(usd)),
        )
        for usd in (1, 9, 5, 7)
    ]
    others = [
        tracked(job("ok", Status.SUCCEEDED, finished_at=within), finalized=True, since=within),
        tracked(job("old", Status.SUCCEEDED, finished_at=before), finalized=True, since=before),
        tracked(job("runs"), cost=Cost(basis=Basis.ESTIMATED, usd=Decimal(40))),
    ]
    spendings = [
        Spending(
            org="research",
            job=f"j-{at:%d}",
            provider="openai",
            model="m",
            method=Method.DPO,
            at=at,
            usd=Decimal(usd),
        )
        for at, usd in ((within, "120.5"), (before, "107"), (MONDAY + HOUR, "1000"))
    ]
    stops = TunedModel(org="research", id="ft:m", base="m", shutdown=(MONDAY + timedelta(days=20)).date())
    async with opened(url(tmp_path), clock=clock) as store:
        await watcher(store, clock).check_once(clock.time)
        await store.jobs.commit(
            change(tracked=(*failed, *others), spendings=tuple(spendings), tuned=(stops,), at=clock.time)
        )
        clock.time = MONDAY
        await watcher(store, clock).check_once(clock.time)
        (claimed,) = await store.outbox.claim("ml", owner="me", limit=9, lease=HOUR)
    message = claimed.delivery.message
    assert message.title == "Digest weekly: 5 jobs finished, 4 failed, $120.50"
    assert message.facts == (
        ("Period", "2026-11-23 09:00 to 2026-11-30 09:00 (Europe/Berlin)"),
        ("Finished", "4 failed, 1 succeeded"),
        ("Failed: provider", "f-9 (research), f-7 (research), f-5 (research) and 1 more"),
        ("Cost", "$120.50, $107 in the period before"),
        ("Running", "1 job, about $40"),
        ("Shutdown soon", "ft:m (research) on 20 December 2026"),
    )
    assert json.loads(message.data)["cost_before"] == "107.00"
