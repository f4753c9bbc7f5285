"""How long the last jobs of a model took, as both databases tell."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from monitor.domain.eta import StepRate
from monitor.domain.flow import Headway, Tracked
from monitor.domain.model import Batch, Status
from monitor.domain.stall import Promise, Stall, StallReason, Usual
from tests.builders import DAY, HOUR, MINUTE, NOON, SECOND, job, tracked
from tests.store.conftest import Opening
from tests.store.samples import change


def waited(number: int, wait: timedelta, ran: timedelta | None = None, **over: Any) -> Tracked:
    """A job that was created so many minutes ago, waited and perhaps ran."""
    created = NOON - (number + 1000) * MINUTE
    fields: dict[str, Any] = {"created_at": created, "started_at": created + wait}
    if ran is not None:
        fields |= {"status": Status.SUCCEEDED, "finished_at": created + wait + ran}
    return tracked(job(**{"id": f"ftjob-{number}", **fields, **over}))


async def test_what_is_usual_is_told_by_the_last_jobs_of_the_model(opening: Opening) -> None:
    recent = [waited(number, 10 * MINUTE, HOUR) for number in range(99)]
    old = [waited(number, 9 * DAY, 9 * DAY) for number in range(200, 230)]
    others = [
        waited(300, 9 * DAY, model="gpt-4.1"),
        tracked(job("ftjob-301", status=Status.QUEUED)),
        waited(302, 9 * DAY, id="batch:302", batch=Batch()),
    ]
    async with opening() as store:
        await store.jobs.commit(change(tracked=(*recent, *old, *others)))
        found = await store.jobs.usual("research", ["gpt-4o-mini-2024-07-18", "gpt-4.1", "none"])
        assert await store.jobs.usual("elsewhere", ["gpt-4.1"]) == {"gpt-4.1": Usual()}
    assert found == {
        "gpt-4o-mini-2024-07-18": Usual(queue=10 * MINUTE, queued=99, run=HOUR, ran=99),
        "gpt-4.1": Usual(queued=1),
        "none": Usual(),
    }


async def test_how_a_job_gets_on_survives_a_restart(opening: Opening) -> None:
    rate = StepRate().after([(NOON + step * SECOND, step) for step in range(1, 60)])
    runs = tracked(
        stalled=True,
        stall=Stall(reason=StallReason.SLIPPING, since=NOON, usual=Usual(run=HOUR, ran=5), promised=NOON + HOUR),
        headway=Headway(
            rate=rate, finish=NOON + HOUR, step_at=NOON, promise=Promise(made_at=NOON, finish=NOON + DAY, slipping=True)
        ),
    )
    async with opening() as store:
        await store.jobs.commit(change(tracked=(runs,)))
    async with opening() as store:
        assert (await store.jobs.known("research")).jobs["ftjob-1"] == runs
