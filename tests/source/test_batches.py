"""Batches over real HTTP, against the simulator of each vendor that has them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.domain.decide import Policy, decide, evolve
from monitor.domain.flow import Known
from monitor.domain.model import Job, JobKind, Status
from monitor.simulator import Ending
from tests.source.test_dialects import watched

VENDORS = ("openai", "azure", "bedrock")
BOTH = ["fine_tuning", "batch"]


def id_of(provider: str, job: Job) -> str:
    """The simulation's name of a batch."""
    return job.provider_id.rpartition("/")[2] if provider == "bedrock" else job.provider_id


@pytest.mark.parametrize("provider", VENDORS)
@pytest.mark.parametrize(
    ("ending", "end"),
    [
        pytest.param(Ending.SUCCESS, Status.SUCCEEDED, id="answered"),
        pytest.param(Ending.VALIDATION, Status.FAILED, id="refused"),
        pytest.param(Ending.STALL, Status.FAILED, id="expired"),
    ],
)
async def test_a_batch_is_followed_to_its_end(provider: str, ending: Ending, end: Status, tmp_path: Path) -> None:
    async with watched(provider, tmp_path, history=0, watch=BOTH) as of:
        org = of.simulation.orgs[0]
        batch = of.simulation.start_batch(org, total=100, ending=ending)
        tuned = of.simulation.start_job(org, suffix="tone")
        known, course, job = Known(org=org.name), list[Status](), None
        for step in range(60):
            of.clock.move(5 if step < 40 else 6 * 3600)
            seen = await of.polled(known=known)
            assert seen.trouble is None
            change = decide(known, seen, Policy())
            known = evolve(known, change)
            for tracked in change.tracked:
                if tracked.job.kind is JobKind.BATCH:
                    job = tracked.job
                    course += [job.status] if job.status not in course[-1:] else []
            if job is not None and job.status.final:
                break
        assert job is not None
        assert (id_of(provider, job), job.status, job.org, job.provider) == (batch.id, end, org.name, provider)
        assert course[-1] is end
        assert (Status.RUNNING in course) is (ending is not Ending.VALIDATION)
        assert job.finished_at is not None
        assert job.created_at is not None
        assert job.total_time is not None
        assert job.batch is not None
        assert job.batch.expires_at is not None
        if ending is Ending.VALIDATION:
            assert job.error is not None
            assert job.error.message
        else:
            completed, failed = batch.counts(of.clock.now)
            assert (job.batch.total, job.batch.completed, job.batch.failed) == (100, completed, failed)
            assert (job.batch.tokens is not None) is (provider == "openai"), "others do not tell"
        if ending is Ending.STALL:
            assert job.error is not None
            assert job.error.code == "expired"
        assert any(one.rpartition("/")[2] == tuned.id for one in {*known.jobs, *known.final}), "beside the other family"


@pytest.mark.parametrize("provider", VENDORS)
async def test_what_is_listed_is_what_is_watched(provider: str, tmp_path: Path) -> None:
    async with watched(provider, tmp_path, history=1, watch=["batch"]) as of:
        of.simulation.start_batch(of.simulation.orgs[0])
        seen = await of.polled()
        assert [job.kind for job in seen.jobs] == [JobKind.BATCH]
    async with watched(provider, tmp_path, history=1) as of:
        of.simulation.start_batch(of.simulation.orgs[0])
        seen = await of.polled()
        assert {job.kind for job in seen.jobs} == {JobKind.FINE_TUNING}


@pytest.mark.parametrize("provider", VENDORS)
async def test_a_batch_has_no_events_and_is_asked_for_alone_where_its_list_lacks_it(
    provider: str, tmp_path: Path
) -> None:
    async with watched(provider, tmp_path, history=0, watch=BOTH) as of:
        org = of.simulation.orgs[0]
        of.simulation.start_batch(org)
        of.clock.move(30)
        seen = await of.read()
        assert [(read.events, read.whole) for read in seen.reads] == [((), True)]
        first = await of.polled()
        known = evolve(Known(org=org.name), decide(Known(org=org.name), first, Policy()))
        [job] = first.jobs
        now = datetime.fromtimestamp(of.clock.now, UTC)
        alone = await of.sources[0].client.call(of.sources[0].provider.jobs[1].one(job.provider_id))
        assert alone == job
        missing = {f"{id_}x": one for id_, one in known.jobs.items()}
        renamed = Known(org=org.name, version=1, jobs=missing, horizon=now)
        seen = await of.sources[0].observe(renamed, now)
        assert seen.missing == missing.keys()
        assert seen.trouble is None
