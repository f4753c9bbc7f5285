"""Reading the job list: how far, in which order, and what a broken one allows to conclude."""

from __future__ import annotations

from datetime import timedelta

import pytest
from aiohttp import web

from monitor.domain.model import Status
from monitor.providers.base import AuthFailed
from tests.builders import NOON
from tests.source.servers import (
    NEVER,
    RUNNING,
    SUCCEEDED,
    Api,
    answering,
    asking,
    body,
    history,
    job,
    known,
    listing,
    refusal,
    serving,
)


async def test_the_first_look_walks_to_the_end_of_the_list() -> None:
    api = Api(jobs=history(250))
    async with serving(api) as url, asking(url) as asked:
        seen = await asked.source.observe(NEVER, NOON)
    assert [each.id for each in seen.jobs] == [f"ftjob-{n}" for n in range(250, 0, -1)]
    assert (seen.listed, seen.complete, seen.trouble, seen.reads) == (True, True, None, ())
    assert api.asked == ["jobs", "jobs?after=ftjob-151", "jobs?after=ftjob-51"]


async def test_at_first_sight_nothing_is_kept_that_ended_before_the_lookback() -> None:
    api = Api(jobs=history(500))
    async with serving(api) as url, asking(url, lookback=timedelta(minutes=150)) as asked:
        seen = await asked.source.observe(NEVER, NOON)
    assert (len(seen.jobs), seen.jobs[-1].id, seen.complete) == (151, "ftjob-350", True)


async def test_at_first_sight_active_jobs_are_found_however_far_behind_the_lookback() -> None:
    jobs = history(500)
    jobs[450]["status"] = "running"
    jobs[470]["status"] = "paused"
    async with serving(Api(jobs=jobs)) as url, asking(url, lookback=timedelta(minutes=110)) as asked:
        seen = await asked.source.observe(NEVER, NOON)
    assert {job.id for job in seen.jobs if not job.status.final} == {"ftjob-50", "ftjob-30"}


async def test_that_the_past_cannot_be_read_does_not_keep_the_present_from_being_seen() -> None:
    api = Api(jobs=history(500), faults={"jobs?after=ftjob-201": answering(lambda: refusal(500))})
    async with serving(api) as url, asking(url, lookback=timedelta(minutes=110)) as asked:
        seen = await asked.source.observe(NEVER, NOON)
    assert (len(seen.jobs), seen.listed) == (111, True)
    assert seen.trouble is not None


async def test_a_shuffled_list_is_read_to_its_end_at_first_and_later() -> None:
    jobs = sorted(history(250), key=lambda each: str(each["id"])[::-1])
    api = Api(jobs=jobs)
    async with serving(api) as url, asking(url, lookback=timedelta(0)) as asked:
        first = await asked.source.observe(NEVER, NOON)
        later = await asked.source.observe(known(final={jobs[0]["id"]}), NOON)
    assert ([each.id for each in first.jobs], len(later.jobs), len(api.asked)) == (["ftjob-250"], 249, 6)


async def test_a_list_with_the_oldest_first_is_read_to_its_end() -> None:
    jobs = history(150)[::-1]
    async with serving(Api(jobs=jobs)) as url, asking(url) as asked:
        seen = await asked.source.observe(known(final={f"ftjob-{n}" for n in range(1, 150)}), NOON)
    assert [each.id for each in seen.jobs] == ["ftjob-150"]


async def test_a_steady_look_costs_one_request() -> None:
    api = Api(jobs=history(250))
    async with serving(api) as url, asking(url) as asked:
        seen = await asked.source.observe(known(final={f"ftjob-{n}" for n in range(1, 251)}), NOON)
    assert (seen.jobs, seen.complete, seen.trouble) == ((), True, None)
    assert (api.asked, asked.counted) == (["jobs"], [("list_jobs", "200")])


async def test_a_finalized_job_is_reported_where_the_list_says_otherwise_or_its_end_is_in_doubt() -> None:
    jobs = history(4)
    jobs[1]["status"] = "failed"
    async with serving(Api(jobs=jobs)) as url, asking(url) as asked:
        seen = await asked.source.observe(known(final={one["id"] for one in jobs}), NOON, {"ftjob-1"})
    assert [(each.id, each.status) for each in seen.jobs] == [("ftjob-3", Status.FAILED), ("ftjob-1", SUCCEEDED)]


async def test_an_identical_answer_is_not_read_again_but_says_the_same() -> None:
    api = Api(jobs=[job("ftjob-2"), job("ftjob-1")])
    async with serving(api) as url, asking(url) as asked:
        one = await asked.source.observe(known("ftjob-1", "ftjob-2"), NOON)
        two = await asked.source.observe(known("ftjob-1", "ftjob-2"), NOON)
        api.jobs[0]["status"] = "queued"
        three = await asked.source.observe(known("ftjob-1", "ftjob-2"), NOON)
    assert one.jobs == two.jobs
    assert [each.status for each in three.jobs] == [Status.QUEUED, RUNNING]


async def test_250_new_jobs_are_found_over_three_pages() -> None:
    api = Api(jobs=history(260, "running"))
    async with serving(api) as url, asking(url) as asked:
        seen = await asked.source.observe(known(*(f"ftjob-{n}" for n in range(1, 11))), NOON)
    assert len(seen.jobs) == 260
    assert api.asked == ["jobs", "jobs?after=ftjob-161", "jobs?after=ftjob-61"]


async def test_a_walk_through_new_jobs_ends_at_the_horizon() -> None:
    api = Api(jobs=history(500))
    async with serving(api) as url, asking(url) as asked:
        seen = await asked.source.observe(known(horizon=NOON - timedelta(minutes=120)), NOON)
    assert len(seen.jobs) == 200


async def test_an_empty_organisation_is_seen_as_empty() -> None:
    async with serving(Api()) as url, asking(url) as asked:
        seen = await asked.source.observe(NEVER, NOON)
    assert (seen.jobs, seen.listed, seen.complete) == ((), True, True)


async def test_a_job_listed_twice_is_one_and_an_end_outranks_an_older_answer() -> None:
    api = Api(
        faults={"jobs": answering(body(listing(job(), job(status="succeeded"), job(), job("ftjob-2"), job("ftjob-2"))))}
    )
    async with serving(api) as url, asking(url) as asked:
        seen = await asked.source.observe(known("ftjob-1", "ftjob-2"), NOON)
    assert [(each.id, each.status) for each in seen.jobs] == [("ftjob-1", SUCCEEDED), ("ftjob-2", RUNNING)]


async def test_jobs_that_move_between_pages_are_neither_missed_nor_doubled() -> None:
    api = Api(jobs=history(150))

    async def with_a_new_one(request: web.BaseRequest) -> web.StreamResponse:
        api.jobs.insert(0, job("ftjob-151", "queued", NOON + timedelta(minutes=1)))
        api.faults.clear()
        return api._page(request, api.jobs)

    api.faults["jobs?after=ftjob-51"] = with_a_new_one
    async with serving(api) as url, asking(url) as asked:
        first = await asked.source.observe(NEVER, NOON)
        second = await asked.source.observe(known(final={each.id for each in first.jobs}), NOON)
    assert len(first.jobs) == 150
    assert [each.id for each in second.jobs] == ["ftjob-151"]


async def test_pages_of_one_job_are_walked() -> None:
    api = Api(jobs=history(5), limit=1)
    async with serving(api) as url, asking(url) as asked:
        seen = await asked.source.observe(NEVER, NOON)
    assert (len(seen.jobs), len(api.asked)) == (5, 5)


async def test_bad_items_hide_no_siblings() -> None:
    odd = listing(job("ftjob-2"), None, "x", {"status": "failed"}, job("ftjob-1", None))  # type: ignore[arg-type]  # odd
    async with serving(Api(faults={"jobs": answering(body(odd))})) as url, asking(url) as asked:
        seen = await asked.source.observe(known("ftjob-1", "ftjob-2"), NOON)
    assert [(each.id, each.status) for each in seen.jobs] == [("ftjob-2", RUNNING), ("ftjob-1", Status.UNKNOWN)]


async def test_a_check_asks_once_for_the_list() -> None:
    api = Api(jobs=history(250))
    async with serving(api) as url, asking(url) as asked:
        await asked.source.check()
        api.faults["jobs"] = answering(lambda: refusal(401))
        with pytest.raises(AuthFailed):
            await asked.source.check()
    assert api.asked == ["jobs", "jobs"]
