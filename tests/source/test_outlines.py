"""Of the jobs that are done with, a source remembers outlines, and tells what it would tell without them."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from monitor.domain.decide import Policy, decide, evolve
from monitor.domain.flow import Known, Observation, Tracked
from monitor.domain.model import Job, Status
from monitor.source import Source
from tests import builders as b
from tests.builders import NOON
from tests.source.servers import Api, asking, job, serving, stream

LATER = timedelta(seconds=10)
ACTIVE = 4


def listed(count: int, owner: str = "team") -> list[dict[str, object]]:
    """Jobs with much to say, the newest of them active."""
    return [
        job(
            f"ftjob-{number}", "running" if number < ACTIVE else "succeeded", NOON - number * LATER,
            finished_at=None if number < ACTIVE else int(NOON.timestamp()) - 10 * number,
            metadata={"owner": f"{owner} {number}"}, result_files=["file-1"],
        )
        for number in range(count)
    ]  # fmt: skip


async def look(source: Source, known: Known, number: int, doubted: Mapping[str, Tracked]) -> Observation:
    seen = await source.observe(known, NOON + number * LATER, doubted)
    return replace(seen, provider_now=None, disputed=doubted)


@pytest.mark.parametrize("seed", range(3))
async def test_outlines_change_nothing_of_what_is_decided(seed: int) -> None:
    api, dice, known = Api(jobs=listed(30)), Random(seed), Known(org="research")
    stored: dict[str, Tracked] = {}
    async with serving(api) as url, asking(url) as one:
        for number in range(12):
            doubted = {id_: stored[id_] for id_ in dice.sample(sorted(known.final), min(len(known.final), number % 3))}
            async with asking(url) as anew:  # remembers nothing
                whole = await look(anew.source, known, number, doubted)
            change = decide(known, await look(one.source, known, number, doubted), Policy())
            assert change == decide(known, whole, Policy())
            stored |= {each.job.id: each for each in change.tracked}
            known = known if change.empty else evolve(known, change)
            chosen = dice.randrange(len(api.jobs))
            api.jobs[chosen] |= {"status": dice.choice(("running", "failed", "succeeded")), "seed": number}


async def test_a_source_keeps_of_ended_jobs_a_fraction() -> None:
    api = Api(jobs=listed(100, "kept"))
    async with serving(api) as url, asking(url) as one:
        known = Known(org="research")
        known = evolve(known, decide(known, await look(one.source, known, 0, {}), Policy()))
        await look(one.source, known, 1, {})
        gc.collect()
        whole = {each.id for each in gc.get_objects() if isinstance(each, Job) and "kept" in str(each.metadata)}
    assert whole == {f"ftjob-{number}" for number in range(ACTIVE)}


@pytest.mark.parametrize("newest_first", [True, False])
async def test_of_a_stream_on_one_long_page_only_new_events_are_told(newest_first: bool) -> None:
    known = b.known(b.tracked(b.job("ftjob-1", Status.RUNNING)))
    api = Api(jobs=[job("ftjob-1")], limit=1000)
    told = []
    async with serving(api) as url, asking(url) as one:
        for count in (400, 401, 402):
            api.events = {"ftjob-1": stream(count)[:: 1 if newest_first else -1]}
            seen = await one.source.tail(known, ["ftjob-1"], NOON)
            change = decide(known, seen, Policy())
            told.append([each.id for each in change.events])
            known = evolve(known, change)
    assert told[1:] == [["ev-401"], ["ev-402"]]
