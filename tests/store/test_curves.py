"""What curves are drawn from, and which changes are told to those who wait."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from monitor.domain.model import EventKind, Status
from monitor.store import Touched
from tests.builders import NOON, SECOND, event, job, measured, tracked
from tests.store.conftest import Opening
from tests.store.samples import change

STEPS = tuple(measured(step, at=NOON + step * SECOND, train_loss=1 / step) for step in range(1, 101))


async def test_a_few_measurements_of_each_job_are_spread_over_all_it_has(opening: Opening) -> None:
    async with opening() as store:
        others = tuple(replace(one, job="ftjob-2") for one in STEPS[:3])
        await store.jobs.commit(change(tracked=(tracked(), tracked(job("ftjob-2"))), events=(*STEPS, *others)))
        found = await store.reader.samples([("research", "ftjob-1"), ("research", "ftjob-2"), ("research", "none")], 5)
    assert {
        place[1]: [one.metrics.step for one in events if one.metrics is not None] for place, events in found.items()
    } == {"ftjob-1": [1, 25, 50, 75, 100], "ftjob-2": [1, 2, 3], "none": []}


async def test_the_story_of_a_job_is_its_newest_measurements_and_checkpoints_oldest_first(opening: Opening) -> None:
    saved = event("saved", NOON + 200 * SECOND, kind=EventKind.CHECKPOINT)
    said = event("said", NOON + 300 * SECOND)
    async with opening() as store:
        await store.jobs.commit(change(tracked=(tracked(),), events=(*STEPS, saved, said)))
        found = await store.reader.story("research", "ftjob-1", 3)
    assert found == (STEPS[-2], STEPS[-1], saved)


async def test_who_waits_for_changes_learns_what_was_committed(opening: Opening) -> None:
    async with opening() as store:
        changes = store.reader.changes
        mark = changes.count
        waiting = asyncio.ensure_future(changes.wait(mark))
        await asyncio.sleep(0)
        assert not waiting.done()
        await store.jobs.commit(change(tracked=(tracked(job(status=Status.FAILED)),)))
        await asyncio.wait_for(waiting, 1)
        assert changes.since(mark) == (Touched(topic="job", org="research", job="ftjob-1", status=Status.FAILED),)
        assert changes.since(changes.count) == ()
        changes.jobs(tracked(job(f"ftjob-{number}")) for number in range(1001))
        assert changes.since(mark) is None, "so many are not remembered"
