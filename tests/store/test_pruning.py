"""What is past retention goes, and is not taken for news when the provider lists it again."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from monitor.domain.decide import Policy, decide
from monitor.domain.flow import GONE_AFTER, Tracked
from monitor.domain.model import Status
from tests.builders import DAY, HOUR, NOON, SECOND, event, job, seen, tracked
from tests.store.conftest import Opening
from tests.store.samples import LEASE, change, delivery, ended, ids, letters, transition

pytestmark = pytest.mark.fault("G17")

KEPT = timedelta(days=90)
LATER = NOON + KEPT + SECOND


async def test_an_old_job_goes_with_all_that_belongs_to_it(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(
            change(
                tracked=(ended("old"), ended("young", NOON + HOUR), tracked(job("running"))),
                events=(event("e", job="old"), event("e", job="young")),
                transitions=(transition("old"), transition("young")),
            )
        )
        assert await store.jobs.prune(LATER, KEPT) == 1
        assert await store.reader.job("research", "old") is None
        assert (await store.reader.events("research", "old")).items == ()
        young = await store.reader.job("research", "young")
        assert young is not None
        assert young.transitions == (transition("young"),)
        assert len((await store.reader.events("research", "young")).items) == 1
        assert await store.jobs.prune(LATER, KEPT) == 0


@pytest.mark.parametrize(
    "created", [pytest.param(NOON - HOUR, id="as usual"), pytest.param(NOON + 900 * DAY, id="created in the future")]
)
async def test_a_pruned_job_that_the_provider_still_lists_is_history(opening: Opening, created: datetime) -> None:
    old = ended("old", created_at=created, finished_at=NOON + timedelta(microseconds=1))
    async with opening() as store:
        await store.leases.take("research")
        await store.jobs.commit(change(tracked=(old, tracked(job("running")))))
        await store.jobs.known("research")
        await store.jobs.prune(LATER, KEPT)
        known = await store.jobs.known("research")
        assert "old" not in known.final
        missed = job("missed", Status.FAILED, created_at=NOON - DAY, finished_at=NOON + SECOND)
        decided = decide(known, seen(old.job, missed, at=LATER), Policy())
        assert ids(decided.tracked) == ["missed"]


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(ended("odd", created_at=None), id="whose creation nobody told"),
        pytest.param(ended("odd", created_at=NOON.replace(year=1960)), id="created before 1970"),
    ],
)
async def test_a_job_that_no_horizon_can_hide_is_kept_as_a_stub(opening: Opening, odd: Tracked) -> None:
    async with opening() as store:
        await store.jobs.commit(
            change(tracked=(odd,), events=(event("e", job="odd"),), transitions=(transition("odd"),))
        )
        assert await store.jobs.prune(LATER, KEPT) == 1
        assert await store.jobs.prune(LATER, KEPT) == 0
        known = await store.jobs.known("research")
        assert known.final.keys() == {"odd"}
        assert known.horizon is None
        assert (await store.reader.events("research", "odd")).items == ()


async def test_a_job_with_an_envelope_that_waits_stays_until_it_is_settled(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(change(tracked=(ended("old"),), deliveries=(delivery("old"),)))
        assert await store.jobs.prune(LATER, KEPT) == 0
        (one,) = await store.outbox.claim("ops", owner="me", limit=1, lease=LEASE)
        await store.outbox.delivered(one)
        assert await store.jobs.prune(LATER, KEPT) == 1
        assert (await store.reader.deliveries()).items == ()


async def test_old_settled_envelopes_of_a_running_job_go_and_the_others_stay(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery("a"), delivery("b"), delivery("c", notifier="hook")))
        sent, dead = await store.outbox.claim("ops", owner="me", limit=2, lease=LEASE)
        await store.outbox.delivered(sent)
        await store.outbox.dead_letter(dead, reason="r")
        await store.jobs.prune(LATER, KEPT)
        assert [one.notifier for one in (await store.reader.deliveries()).items] == ["hook"]


async def test_a_job_that_vanished_long_ago_goes_too(opening: Opening) -> None:
    gone = tracked(job("gone", Status.UNKNOWN), missing=GONE_AFTER, since=NOON)
    async with opening() as store:
        await store.leases.take("research")
        await store.jobs.commit(change(tracked=(gone,)))
        assert await store.jobs.prune(NOON + KEPT - SECOND, KEPT) == 0
        assert await store.jobs.prune(LATER, KEPT) == 1
        assert (await store.jobs.known("research")).jobs == {}


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_pruning_empties_the_write_ahead_log(opening: Opening, tmp_path: Path) -> None:
    wal = tmp_path / "monitor.db-wal"
    async with opening() as store:
        await store.jobs.commit(change(tracked=tuple(ended(f"job-{number}") for number in range(50))))
        assert wal.stat().st_size > 0
        await store.jobs.prune(NOON, KEPT)
        assert wal.stat().st_size == 0


async def test_more_jobs_than_one_batch_go_in_one_call(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(change(tracked=tuple(ended(f"job-{number}") for number in range(450))))
        assert await store.jobs.prune(LATER, KEPT) == 450
