"""Packed jobs are what a plain dictionary of them would be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.decide import evolve
from monitor.domain.eta import StepRate
from monitor.domain.event_ids import RecentIds
from monitor.domain.flow import Doubt, Headway, Known, Tracked, standings
from monitor.domain.model import (
    Basis,
    Batch,
    Cost,
    FailureClass,
    JobError,
    JobKind,
    Metrics,
    Status,
    TokenCount,
    Training,
    TrainingSize,
)
from monitor.domain.stall import Promise, Stall, StallReason, Usual
from monitor.store.packed import PackedJobs
from tests.builders import HOUR, NOON, SECOND, job, tracked
from tests.store.conftest import Opening
from tests.store.samples import change

ODD = timedelta(microseconds=1)
RATE = StepRate().after([(NOON + n * SECOND, n) for n in range(50)])
WHOLE = tracked(
    job(
        "ftjob-whole", Status.FAILED, name="näme", hyperparameters={"n_epochs": "3"}, seed=7, result_files=("a", "b"),
        error=JobError(code="x", message="m" * 3000, failure=FailureClass.FILE), metadata={"a\u2028": "\x7f"}, epochs=3,
        finished_at=NOON - ODD, trained_tokens=2**60, reported_usd=Decimal("0.1234567890123456789"), summary_only=True,
        training=Training(started_at=NOON, latest=Metrics(step=3, train_loss=0.1 + 0.2, lost=True), loop_seconds=1e-9),
    ),
    since=NOON + ODD, doubt=Doubt(status=Status.RUNNING, polls=2, at=NOON), stalled=True, missing=2, paused=HOUR + ODD,
    stall=Stall(reason=StallReason.SLIPPING, since=NOON, usual=Usual(queue=HOUR, queued=20), promised=NOON),
    headway=Headway(rate=RATE, finish=NOON, step_at=NOON, promise=Promise(made_at=NOON, finish=NOON + HOUR)),
    cost=Cost(basis=Basis.ESTIMATED, usd=Decimal("1.5"), low=Decimal(1), high=Decimal("1E+3")), recent=["ev-1", "ev-2"],
    size=TrainingSize(tokens=1, low=0, high=2, examples=None, exact=False),
)  # fmt: skip
A_BATCH = tracked(
    job("batch:1", batch=Batch(total=3, completed=1, output_file="o", tokens=TokenCount(input=1)), method="unknown")
)
JOBS = st.builds(
    lambda number, status, missing, name, recent: tracked(
        job(f"ftjob-{number}", status, name=name), missing=missing, recent=recent
    ),
    number=st.integers(0, 5),
    status=st.sampled_from(Status),
    missing=st.integers(0, 4),
    name=st.text(max_size=20) | st.none(),
    recent=st.lists(st.text(max_size=5), max_size=3),
) | st.sampled_from([WHOLE, A_BATCH])
STEPS = st.lists(st.tuples(st.lists(JOBS, max_size=4), st.sets(st.integers(0, 5), max_size=2)), max_size=6)


def stood(jobs: dict[str, Tracked] | PackedJobs) -> dict[str, tuple[object, ...]]:
    return {
        id_: (one.status, one.summary_only, one.gone, one.active, one.in_question, one.unmeasured, one.known_events)
        for id_, one in standings(jobs)
    }


@settings(max_examples=40)
@given(STEPS)
def test_packed_jobs_are_what_a_dictionary_would_be(steps: list[tuple[list[Tracked], set[int]]]) -> None:
    plain: dict[str, Tracked] = {}
    packed = PackedJobs.pack(())
    for changed, gone in steps:
        before, kept = packed, dict(packed)
        new, without = {one.job.id: one for one in changed}, {f"ftjob-{number}" for number in gone}
        plain = {id_: one for id_, one in plain.items() if id_ not in without} | new
        packed = packed.changed(new, without)
        assert dict(before) == kept
        assert packed == plain
        assert [packed.keys() - (), len(packed), stood(packed)] == [plain.keys() - (), len(plain), stood(plain)]
        assert all(packed.get(id_) == plain.get(id_) for id_ in ("ftjob-0", "batch:1", "none"))
        batches = Known(org="research", jobs=packed).of({JobKind.BATCH}).jobs
        assert batches == Known(org="research", jobs=plain).of({JobKind.BATCH}).jobs


async def test_what_a_store_remembers_is_what_follows_from_its_changes(opening: Opening) -> None:
    known = Known(org="research")
    changes = [
        change(tracked=(tracked(job("ftjob-1"), recent=["ev-1"]), tracked(job("ftjob-2")), WHOLE)),
        change(1, tracked=(tracked(job("ftjob-2", Status.FAILED), finalized=True), replace(WHOLE, seq=2))),
        change(2, tracked=(tracked(job("ftjob-3")), tracked(job("ftjob-2", Status.FAILED)))),
    ]
    async with opening() as store:
        await store.leases.take("research")
        await store.jobs.known("research")
        for one in changes:
            await store.jobs.commit(one)
            known = evolve(known, one)
            assert await store.jobs.known("research") == known
    assert known.jobs["ftjob-1"].recent_ids == RecentIds.of(["ev-1"])
