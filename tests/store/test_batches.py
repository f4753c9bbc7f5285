"""Batches beside fine-tuning jobs in the store: told apart by their ids, never mixed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from monitor.domain.flow import Tracked
from monitor.domain.model import UNKNOWN_COST, Batch, JobKind, Status, TokenCount
from tests.builders import DAY, HOUR, NOON, job, tracked
from tests.store.conftest import Claim, Opening
from tests.store.samples import change, delivery, ended, transition

DETAILS = Batch(endpoint="/v1/responses", total=9, completed=8, failed=1, tokens=TokenCount(input=5), expires_at=NOON)


def batch(id_: str = "batch:one", status: Status = Status.RUNNING, **over: Any) -> Tracked:
    return tracked(job(id_, status, batch=DETAILS), **over)


async def test_a_batch_and_a_job_of_the_same_id_have_nothing_in_common(opening: Opening, claim: Claim) -> None:
    names = ("one", "batch:one")
    async with opening() as store:
        await store.jobs.commit(
            change(
                tracked=(tracked(job("one")), batch()),
                transitions=tuple(transition(name) for name in names),
                deliveries=tuple(delivery(name) for name in names),
            )
        )
        for name, kind, key in (
            ("one", JobKind.FINE_TUNING, "research/one/1@ops"),
            ("batch:one", JobKind.BATCH, "research/batch:one/1@ops"),
        ):
            file = await store.reader.job("research", name)
            assert file is not None
            assert (file.tracked.job.kind, [one.key for one in file.deliveries]) == (kind, [key])
            assert [one.job for one in file.transitions] == [name]
        assert (await store.jobs.known("research")).jobs["batch:one"] == batch()
        found = await claim(store)
        assert sorted(one.delivery.subject.kind.value for one in found) == ["batch", "job"]
        for one in found:
            await store.outbox.delivered(one)
        past = {one.transition.job: set(one.stored) for one in (await store.outbox.past(NOON - DAY)).items}
        assert past == {"one": {"ops"}, "batch:one": {"ops"}}


async def test_forgetting_one_leaves_the_other(opening: Opening) -> None:
    over = replace(ended("x").job, id="batch:one", batch=DETAILS)
    async with opening() as store:
        await store.jobs.commit(
            change(
                tracked=(tracked(job("one")), replace(ended("x"), job=over)),
                transitions=(transition("one"), transition("batch:one")),
            )
        )
        assert await store.jobs.prune(NOON + 100 * DAY, 90 * DAY) == 1
        assert await store.reader.job("research", "batch:one") is None
        file = await store.reader.job("research", "one")
        assert file is not None
        assert len(file.transitions) == 1


async def test_lists_and_counts_tell_them_apart(opening: Opening) -> None:
    jobs = [tracked(job(name, created_at=NOON - n * HOUR)) for n, name in enumerate(("a", "BATCH:b"))]
    batches = [
        batch("batch:c"),
        batch("batch:d", Status.SUCCEEDED, cost=UNKNOWN_COST, finalized=True),
    ]
    priceless = tracked(job("e", Status.SUCCEEDED, finished_at=NOON), cost=UNKNOWN_COST)
    async with opening() as store:
        await store.jobs.commit(change(tracked=(*jobs, *batches, priceless)))

        async def ids(kind: JobKind | None, **over: Any) -> set[str]:
            return {one.job.id for one in (await store.reader.jobs(kind=kind, **over)).items}

        assert await ids(JobKind.BATCH) == {"batch:c", "batch:d"}
        assert await ids(JobKind.FINE_TUNING) == {"a", "BATCH:b", "e"}
        assert await ids(JobKind.BATCH, status=Status.RUNNING) == {"batch:c"}
        assert len(await ids(None)) == 5
        seen = await store.reader.snapshot(NOON, orgs=["research"], job_retention=DAY, max_jobs=100)
        assert seen.counts == {("research", Status.RUNNING): 2, ("research", Status.SUCCEEDED): 1}
        assert seen.batches == {("research", Status.RUNNING): 1, ("research", Status.SUCCEEDED): 1}
        assert sum(seen.unpriced.values()) == 1, "a batch without a price is no training without one"
        assert len(seen.jobs) == 5
