"""In which order a list comes is found out: those that are the other way round make progress all the same."""

from __future__ import annotations

from datetime import timedelta

import pytest
from aiohttp import web

from monitor.domain.decide import Policy, decide, evolve
from monitor.domain.flow import Known, TransitionKind
from monitor.domain.model import Status
from monitor.source.walk import Order
from tests import builders as b
from tests.builders import HOUR, MINUTE, NOON, SECOND
from tests.source.servers import Api, answering, asking, event, history, job, listing, refusal, serving

POLICY = Policy(stall_after={Status.RUNNING: timedelta(hours=1)})
DAY = timedelta(days=1)


def steps(count: int, *, apart: timedelta = 5 * SECOND) -> list[dict[str, object]]:
    """Events with the oldest first, as shared case 08 has them."""
    return [
        event(f"ev-{n}", NOON - HOUR + n * apart, f"step {n}", type="metrics", data={"step": n, "total_steps": 400})
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("times", "order"),
    [
        ([3, 2, 1], Order.NEWEST_FIRST),
        ([3, 3, 2], Order.NEWEST_FIRST),
        ([1, 2, 3], Order.OLDEST_FIRST),
        ([1, None, 2], Order.OLDEST_FIRST),
        ([1, 3, 2], Order.MIXED),
        ([2, 2, 2], Order.UNKNOWN),
        ([None, 1], Order.UNKNOWN),
        ([], Order.UNKNOWN),
    ],
)
def test_the_order_shows_in_the_times(times: list[int | None], order: Order) -> None:
    assert Order.UNKNOWN.with_times([None if n is None else NOON + n * SECOND for n in times]) is order


@pytest.mark.parametrize("has_pages", [True, False], ids=["in pages", "in one page"])
async def test_a_stream_with_the_oldest_first_makes_progress_and_never_stalls_falsely(has_pages: bool) -> None:
    api = Api(jobs=[job("ftjob-1", at=NOON - 2 * HOUR)], limit=100 if has_pages else 1000)
    known = b.known(b.tracked(b.job("ftjob-1", created_at=NOON - 2 * HOUR), last_activity_at=NOON - HOUR))
    async with serving(api) as url, asking(url) as asked:
        for told in (206, 250, 399):
            api.events["ftjob-1"] = steps(told)
            now = NOON + told * MINUTE
            seen = await asked.source.tail(known, ["ftjob-1"], now)
            change = decide(known, seen, POLICY)
            assert not any(one.kind is TransitionKind.STALLED for one in change.transitions)
            known = evolve(known, change)
            assert known.jobs["ftjob-1"].job.training.latest.step == told - 1
        before = len(api.asked)
        quiet = await asked.source.tail(known, ["ftjob-1"], NOON + DAY)
        assert quiet.reads[0].events == ()
        assert len(api.asked) - before == 1, "where it goes on is remembered"
        stalled = decide(known, quiet, POLICY).transitions
        assert [one.kind for one in stalled] == [TransitionKind.STALLED], "silence is still silence"


async def test_events_of_one_second_are_put_in_order_by_their_steps() -> None:
    api = Api(events={"ftjob-1": steps(150, apart=timedelta(0))})
    known = b.known(b.tracked(b.job("ftjob-1"), recent=("ev-0",)))
    async with serving(api) as url, asking(url) as asked:
        [read] = (await asked.source.tail(known, ["ftjob-1"], NOON)).reads
    assert [each.id for each in read.events] == [f"ev-{n}" for n in range(149, 0, -1)]


async def test_a_stream_whose_place_is_lost_is_read_from_its_beginning() -> None:
    api = Api(events={"ftjob-1": steps(206)})
    known = b.known(b.tracked(b.job("ftjob-1")))
    async with serving(api) as url, asking(url) as asked:
        known = evolve(known, decide(known, await asked.source.tail(known, ["ftjob-1"], NOON), POLICY))
        api.events["ftjob-1"] = steps(250)
        api.faults["jobs/ftjob-1/events?after=ev-199"] = answering(lambda: refusal(404), lambda: refusal(404))
        seen = await asked.source.tail(known, ["ftjob-1"], NOON)
    assert seen.trouble is not None, "the cursor is refused for good: what came before it is all there is"


async def test_a_list_of_jobs_with_the_oldest_first_goes_on_where_it_ended() -> None:
    api = Api(jobs=history(450)[::-1])
    async with serving(api) as url, asking(url) as asked:
        first = await asked.source.observe(Known(org="research"), NOON)
        assert len(first.jobs) == 450
        final = {one.id: one.status for one in first.jobs}
        api.jobs += [job("ftjob-new", "failed", NOON + MINUTE)]
        api.asked.clear()
        second = await asked.source.observe(b.known(final=final, version=2), NOON)
    assert [one.id for one in second.jobs] == ["ftjob-new"]
    assert [each for each in api.asked if "events" not in each] == ["jobs?after=ftjob-400"]


async def test_a_full_page_that_ignores_cursors_is_all_there_is_and_no_trouble() -> None:
    page = listing(*history(100)).replace(b', "has_more": false', b"")

    async with serving(answering(lambda: web.Response(body=page))) as url, asking(url) as asked:
        seen = await asked.source.observe(Known(org="research"), NOON)
        assert (len(seen.jobs), seen.complete, seen.trouble) == (100, True, None)
        assert len(asked.counted) == 2
