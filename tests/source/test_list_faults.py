"""Job lists that are wrong about themselves, break off or hang: what may be concluded from them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from aiohttp import web

from monitor.domain.flow import Reason
from monitor.providers.base import Malformed, ProviderUnavailable, TimedOut
from tests.builders import NOON
from tests.source.servers import (
    NEVER,
    SUCCEEDED,
    Api,
    answering,
    asking,
    body,
    hang,
    history,
    job,
    known,
    listing,
    refusal,
    serving,
)


async def test_an_error_on_a_later_page_concludes_nothing_at_first_sight() -> None:
    api = Api(jobs=history(250), faults={"jobs?after=ftjob-151": answering(lambda: refusal(500))})
    async with serving(api) as url, asking(url) as asked:
        with pytest.raises(ProviderUnavailable):
            await asked.source.observe(NEVER, NOON)


async def test_jobs_in_front_of_a_gap_are_reported_only_once_the_gap_is_closed() -> None:
    api = Api(jobs=history(250, "running"))
    api.faults["jobs?after=ftjob-151"] = answering(lambda: refusal(502))
    api.jobs[3] = job("ftjob-old", "succeeded", NOON - timedelta(days=1))  # out of order, so that the walk goes on
    before = known("ftjob-old", "ftjob-1")
    async with serving(api) as url, asking(url) as asked:
        broken = await asked.source.observe(before, NOON)
        api.faults.clear()
        mended = await asked.source.observe(before, NOON)
    assert [(each.id, each.status) for each in broken.jobs] == [("ftjob-old", SUCCEEDED)]
    assert (broken.complete, broken.missing) == (False, frozenset())
    assert broken.trouble is not None
    assert broken.trouble.reason is Reason.UNAVAILABLE
    assert (len(mended.jobs), mended.complete, mended.trouble) == (250, True, None)


@pytest.mark.parametrize("first", [True, False])
async def test_a_server_that_ignores_the_cursor_gives_what_it_has(first: bool) -> None:
    async def same(request: web.BaseRequest) -> web.Response:
        return web.Response(body=listing(job("ftjob-2"), job("ftjob-1"), has_more=True))

    api = Api(faults={"jobs": same})
    async with serving(api) as url, asking(url) as asked:
        seen = await asked.source.observe(NEVER if first else known("ftjob-0", version=3), NOON)
    assert {each.id for each in seen.jobs} == {"ftjob-1", "ftjob-2"}
    assert seen.complete is False
    assert seen.trouble is not None
    assert seen.trouble.reason is Reason.MALFORMED
    assert api.asked == ["jobs", "jobs?after=ftjob-1", *([] if first else ["jobs/ftjob-0"])]


async def test_a_cycle_of_pages_ends() -> None:
    async def cycle(request: web.BaseRequest) -> web.Response:
        name = "ftjob-b" if request.query.get("after") == "ftjob-a" else "ftjob-a"
        return web.Response(body=listing(job(name, "succeeded"), has_more=True))

    async with serving(Api(faults={"jobs": cycle})) as url, asking(url) as asked:
        seen = await asked.source.observe(NEVER, NOON)
    assert ({each.id for each in seen.jobs}, seen.complete) == ({"ftjob-a", "ftjob-b"}, False)


async def test_a_list_without_end_ends_at_the_page_limit() -> None:
    async def endless(request: web.BaseRequest) -> web.Response:
        number = int(request.query.get("after", "0")) + 1
        return web.Response(body=listing(job(str(number), "succeeded"), has_more=True))

    async with serving(Api(faults={"jobs": endless})) as url, asking(url, limits={"max_pages": 20}) as asked:
        seen = await asked.source.observe(NEVER, NOON)
    assert (len(seen.jobs), seen.complete) == (20, False)
    assert seen.trouble is not None
    assert "20 pages" in seen.trouble.text


async def test_an_empty_list_that_promises_more_concludes_nothing() -> None:
    async with serving(answering(body(listing(has_more=True)))) as url, asking(url) as asked:
        with pytest.raises(Malformed):
            await asked.source.observe(NEVER, NOON)


async def test_an_empty_page_behind_others_is_no_end_that_is_believed() -> None:
    pages = answering(body(listing(job(), has_more=True)), body(listing(has_more=True)))
    async with serving(Api(faults={"jobs": pages})) as url, asking(url) as asked:
        seen = await asked.source.observe(NEVER, NOON)
    assert ([each.id for each in seen.jobs], seen.complete) == (["ftjob-1"], False)


@pytest.mark.parametrize("status", [400, 404])
async def test_a_cursor_whose_job_was_deleted_starts_the_walk_again(status: int) -> None:
    api = Api(jobs=history(150))

    async def deleted(request: web.BaseRequest) -> web.StreamResponse:
        del api.jobs[99]
        api.faults.clear()
        return refusal(status)

    api.faults["jobs?after=ftjob-51"] = deleted
    async with serving(api) as url, asking(url) as asked:
        seen = await asked.source.observe(NEVER, NOON)
    assert {each.id for each in seen.jobs} == {f"ftjob-{n}" for n in range(1, 151)}
    assert (seen.complete, seen.trouble) == (True, None)
    assert api.asked == ["jobs", "jobs?after=ftjob-51", "jobs", "jobs?after=ftjob-50"]


async def test_a_server_that_takes_no_cursor_at_all_gives_what_it_has() -> None:
    api = Api(jobs=history(150), faults={"jobs?after=ftjob-51": answering(lambda: refusal(400))})
    async with serving(api) as url, asking(url) as asked:
        seen = await asked.source.observe(NEVER, NOON)
    assert (len(seen.jobs), seen.complete) == (100, False)


async def test_a_look_at_a_hanging_list_ends_at_the_deadline() -> None:
    async with serving(hang) as url, asking(url, deadline=0.1) as asked:
        with pytest.raises(TimedOut):
            await asked.source.observe(NEVER, NOON)


async def test_a_page_that_hangs_leaves_what_is_known_of_the_pages_before() -> None:
    api = Api(jobs=history(150, "running"), faults={"jobs?after=ftjob-51": hang})
    async with serving(api) as url, asking(url, deadline=0.3) as asked:
        seen = await asked.source.observe(known("ftjob-far"), NOON)
        with pytest.raises(TimedOut):
            await asked.source.observe(NEVER, NOON)
    assert (seen.jobs, seen.complete, seen.missing) == ((), False, frozenset())
    assert seen.trouble is not None
    assert seen.trouble.reason is Reason.TIMEOUT


async def test_later_a_server_that_refuses_its_cursors_is_believed_only_the_third_time() -> None:
    api = Api(jobs=history(150), faults={"jobs?after=ftjob-51": answering(lambda: refusal(400))})
    before = known("ftjob-1")
    async with serving(api) as url, asking(url) as asked:
        with_gap = [await asked.source.observe(before, NOON) for _ in range(2)]
        believed = await asked.source.observe(before, NOON)
        api.faults.clear()
        mended = await asked.source.observe(before, NOON)
    assert [len(seen.jobs) for seen in with_gap] == [0, 0]
    assert [seen.missing for seen in with_gap] == [frozenset(), frozenset()]
    assert (len(believed.jobs), believed.complete) == (101, False)
    assert (len(mended.jobs), mended.complete, mended.trouble) == (150, True, None)
