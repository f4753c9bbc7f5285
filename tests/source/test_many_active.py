"""Organisations with more active jobs than a page of the list holds: what a look costs, and what it survives."""

from __future__ import annotations

import pytest
from aiohttp import web

from monitor.domain.flow import Observation
from tests.builders import NOON
from tests.source.servers import Api, answering, asking, history, job, known, refusal, serving

ACTIVE = [f"ftjob-{number}" for number in range(1, 251)]


async def look(api: Api, *following: str, final: set[str] | None = None) -> Observation:
    async with serving(api) as url, asking(url) as asked:
        return await asked.source.observe(known(*following, final=final), NOON)


def among_ended(*following: str) -> Api:
    """A thousand jobs, of which these still run."""
    api = Api(jobs=history(1000))
    for one in api.jobs:
        one["status"] = "running" if one["id"] in following else "succeeded"
    return api


def ids(seen: Observation) -> set[str]:
    return {each.id for each in seen.jobs}


async def test_250_active_jobs_cost_three_pages() -> None:
    api = Api(jobs=history(250, "running"))
    seen = await look(api, *ACTIVE)
    assert api.asked == ["jobs", "jobs?after=ftjob-151", "jobs?after=ftjob-51"]
    assert (ids(seen), seen.missing, seen.trouble) == (set(ACTIVE), frozenset(), None)


async def test_a_few_behind_the_first_page_are_asked_for_one_by_one() -> None:
    few = ["ftjob-1000", *(f"ftjob-{number}" for number in range(100, 110))]
    api = among_ended(*few)
    seen = await look(api, *few, final={f"ftjob-{number}" for number in range(1, 1000)} - set(few))
    assert sorted(api.asked) == sorted(["jobs", *(f"jobs/{id_}" for id_ in few[1:])])
    assert ids(seen) == set(few)


async def test_a_page_without_any_of_them_is_the_last() -> None:
    far = [f"ftjob-{number}" for number in range(1, 31)]
    api = among_ended("ftjob-1000", *far)
    seen = await look(api, "ftjob-1000", *far, final={f"ftjob-{number}" for number in range(31, 1000)})
    assert sorted(api.asked) == sorted(["jobs", "jobs?after=ftjob-901", *(f"jobs/{id_}" for id_ in far)])
    assert ids(seen) == {"ftjob-1000", *far}


async def test_what_is_found_behind_them_is_no_news() -> None:
    api = Api(jobs=[*history(250, "running"), {**job("old", "succeeded"), "created_at": None}])
    seen = await look(api, *ACTIVE)
    assert ids(seen) == set(ACTIVE)


async def test_jobs_that_are_on_no_page_are_still_missing() -> None:
    gone = [f"gone-{number}" for number in range(20)]
    seen = await look(Api(jobs=history(250, "running")), *ACTIVE, *gone)
    assert (ids(seen), seen.missing) == (set(ACTIVE), frozenset(gone))


@pytest.mark.parametrize(
    ("fault", "trouble"),
    [
        pytest.param(answering(lambda: refusal(500)), True, id="a server that fails"),
        pytest.param(answering(lambda: refusal(404)), False, id="a server that refuses its cursors"),
        pytest.param(
            answering(lambda: web.json_response({"data": history(250, "running")[:100], "has_more": True})),
            False,
            id="a list that repeats itself",
        ),
    ],
)
async def test_a_broken_page_behind_what_is_known_holds_nothing_back(fault: object, trouble: bool) -> None:
    jobs = [job("ftjob-new", "queued"), *history(250, "running")]
    api = Api(jobs=jobs, faults={"jobs?after=ftjob-152": fault})  # type: ignore[dict-item]  # it is a handler
    seen = await look(api, *ACTIVE)
    assert ids(seen) == {"ftjob-new", *ACTIVE}
    assert (seen.listed, seen.trouble is not None) == (True, trouble)
