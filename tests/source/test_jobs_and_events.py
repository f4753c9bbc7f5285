"""What is asked beyond the list: jobs that are missing in it; and event streams, which no poll reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from monitor.domain.decide import Policy, decide, evolve
from monitor.domain.flow import Known, Observation, Reason, Tracked
from monitor.domain.model import EventKind, Status
from monitor.providers.openai import provider
from monitor.source.poll import Revisits
from monitor.watchers.state import PollState
from tests import builders as b
from tests.builders import NOON
from tests.source.servers import (
    RUNNING,
    SUCCEEDED,
    Api,
    answering,
    asking,
    body,
    event,
    hang,
    history,
    job,
    known,
    listing,
    refusal,
    serving,
    stream,
)

NEVER = Known(org="research")
MINUTE = timedelta(minutes=1)


def tracked(id_: str = "ftjob-1", status: Status = RUNNING, *recent: str, **over: Any) -> Tracked:
    return b.tracked(b.job(id_, status), recent=recent, **over)


async def look(api: Api, known: Known, **over: Any) -> Observation:
    async with serving(api) as url, asking(url, **over) as asked:
        return await asked.source.observe(known, NOON)


async def look_and_read(api: Api, known: Known, later: float = 0.0, *, fresh: bool = False) -> Observation:
    """Poll, and read the streams that are due so much later. Those of known jobs were just read, or else none was."""
    state = PollState()
    if not fresh:
        state.follow(known.jobs, interval=60.0, now=NOON, monotonic=0.0)
        state.tried(known.jobs, 0.0, interval=60.0, turn=0.0)
    async with serving(api) as url, asking(url) as asked:
        seen = await asked.source.observe(known, NOON)
        assert seen.reads == ()
        after = evolve(known, decide(known, seen, Policy()))
        state.follow(after.jobs, interval=60.0, now=NOON, monotonic=0.0)
        jobs = state.next_streams(later, 100)
        return await asked.source.tail(after, jobs, NOON + timedelta(seconds=later))


async def tail(api: Api, known: Known, *jobs: str, **over: Any) -> Observation:
    async with serving(api) as url, asking(url, **over) as asked:
        return await asked.source.tail(known, jobs, NOON)


def read(seen: Observation) -> dict[str, tuple[list[str], bool]]:
    """Event ids and wholeness by job."""
    return {each.job: ([event.id for event in each.events], each.whole) for each in seen.reads}


async def test_an_active_job_that_is_not_listed_is_asked_for() -> None:
    api = Api(faults={"jobs/ftjob-old": answering(body(b'{"id": "ftjob-old", "status": "succeeded"}'))})
    seen = await look(api, b.known(tracked("ftjob-old")))
    assert [(each.id, each.status) for each in seen.jobs] == [("ftjob-old", SUCCEEDED)]
    assert api.asked == ["jobs", "jobs/ftjob-old"]


async def test_a_job_that_does_not_exist_is_missing() -> None:
    seen = await look(Api(), b.known(tracked("ftjob-1"), tracked("ftjob-2")))
    assert (seen.missing, seen.jobs, seen.trouble) == (frozenset({"ftjob-1", "ftjob-2"}), (), None)


async def test_a_job_that_is_gone_is_not_asked_for_with_each_poll() -> None:
    api = Api()
    seen = await look(api, b.known(tracked("ftjob-1", Status.UNKNOWN, missing=3)))
    assert (seen.missing, api.asked) == (frozenset(), ["jobs"])


async def test_a_job_that_is_gone_is_asked_for_again_where_that_is_wanted() -> None:
    api = Api(faults={"jobs/ftjob-1": answering(body(b'{"id": "ftjob-1", "status": "succeeded"}'))})
    known = b.known(*(tracked(f"ftjob-{n}", Status.UNKNOWN, missing=3) for n in (1, 2, 3)))
    async with serving(api) as url, asking(url) as asked:
        seen = await asked.source.observe(known, NOON, {"ftjob-1", "ftjob-2"})
    assert [(each.id, each.status) for each in seen.jobs] == [("ftjob-1", SUCCEEDED)]
    assert (seen.missing, sorted(api.asked)) == (frozenset({"ftjob-2"}), ["jobs", "jobs/ftjob-1", "jobs/ftjob-2"])


async def test_an_answer_about_another_job_says_nothing_about_this_one() -> None:
    api = Api(faults={"jobs/ftjob-1": answering(body(b'{"id": "ftjob-2", "status": "failed"}'))})
    seen = await look(api, b.known(tracked("ftjob-1")))
    assert (seen.jobs, seen.missing) == ((), frozenset())
    assert seen.trouble is not None
    assert seen.trouble.reason is Reason.MALFORMED


async def test_one_job_that_cannot_be_asked_for_hides_no_other() -> None:
    api = Api(
        faults={
            "jobs/ftjob-1": answering(lambda: refusal(500)),
            "jobs/ftjob-2": answering(body(b'{"id": "ftjob-2", "status": "failed"}')),
        }
    )
    seen = await look(api, b.known(tracked("ftjob-1"), tracked("ftjob-2")))
    assert [each.id for each in seen.jobs] == ["ftjob-2"]
    assert seen.trouble is not None
    assert seen.trouble.reason is Reason.UNAVAILABLE


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_provider_that_wants_no_more_is_asked_no_more(status: int) -> None:
    api = Api(faults={f"jobs/ftjob-{n}": answering(lambda: refusal(status, retry_after="7")) for n in range(50)})
    seen = await look(api, b.known(*(tracked(f"ftjob-{n}") for n in range(50))), limits={"concurrency": 1})
    assert len(api.asked) == 2
    assert seen.trouble is not None
    assert seen.trouble.retry_after == (7.0 if status == 429 else None)


async def test_a_failing_server_is_left_alone_after_a_few_attempts() -> None:
    api = Api(faults={f"jobs/ftjob-{n}": answering(lambda: refusal(500)) for n in range(50)})
    await look(api, b.known(*(tracked(f"ftjob-{n}") for n in range(50))), limits={"concurrency": 1})
    assert len(api.asked) == 4


async def test_at_first_sight_only_the_streams_of_active_jobs_are_read() -> None:
    api = Api(jobs=[job("ftjob-2"), job("ftjob-1", "succeeded")], events={"ftjob-2": stream(3), "ftjob-1": stream(9)})
    assert read(await look_and_read(api, NEVER, 30.0)) == {"ftjob-2": (["ev-3", "ev-2", "ev-1"], True)}


async def test_a_poll_reads_no_stream_whatever_it_sees() -> None:
    api = Api(jobs=[job("ftjob-3"), job("ftjob-2", "succeeded"), job("ftjob-1", "failed")])
    seen = await look(api, b.known(tracked("ftjob-1"), tracked("ftjob-0", SUCCEEDED, since=NOON - MINUTE)))
    assert (seen.reads, len(seen.jobs), api.asked) == ((), 3, ["jobs"])


async def test_the_streams_of_new_jobs_are_read_also_of_those_that_are_already_over() -> None:
    api = Api(jobs=[job("ftjob-2"), job("ftjob-1", "succeeded")], events={"ftjob-1": stream(1)})
    assert read(await look_and_read(api, b.known(version=5))) == {"ftjob-2": ([], True)}
    seen = await look_and_read(api, b.known(version=5), 10.0)
    assert read(seen) == {"ftjob-2": ([], True), "ftjob-1": (["ev-1"], True)}


async def test_streams_of_history_are_not_read() -> None:
    api = Api(jobs=history(3))
    assert read(await look_and_read(api, b.known(horizon=NOON - MINUTE), 10.0)) == {"ftjob-3": ([], True)}


async def test_a_job_that_changed_has_its_new_events_read() -> None:
    api = Api(jobs=[job("ftjob-1", "paused")], events={"ftjob-1": stream(5)})
    assert read(await look_and_read(api, b.known(tracked("ftjob-1", RUNNING, "ev-3", "ev-2")))) == {
        "ftjob-1": (["ev-5", "ev-4", "ev-1"], False)
    }


async def test_a_job_that_did_not_change_has_its_stream_left_to_its_own_rhythm() -> None:
    api = Api(jobs=[job("ftjob-1")], events={"ftjob-1": stream(5)})
    assert read(await look_and_read(api, b.known(tracked("ftjob-1")), 59.0)) == {}
    assert list(read(await look_and_read(api, b.known(tracked("ftjob-1")), 60.0))) == ["ftjob-1"]


async def test_a_job_that_ended_has_its_whole_stream_read_ten_seconds_later() -> None:
    api = Api(jobs=[job("ftjob-1", "succeeded")], events={"ftjob-1": stream(5)})
    known = b.known(tracked("ftjob-1", RUNNING, "ev-3", "ev-2"))
    assert read(await look_and_read(api, known, 9.0)) == {}
    assert read(await look_and_read(api, known, 10.0)) == {"ftjob-1": ([f"ev-{n}" for n in (5, 4, 3, 2, 1)], True)}


async def test_an_ended_job_has_its_whole_stream_read_once_it_is_ripe() -> None:
    api = Api(jobs=[], events={"ftjob-1": stream(250)})
    ready_to_finalize = tracked("ftjob-1", SUCCEEDED, *(f"ev-{n}" for n in range(1, 251)), since=NOON - MINUTE)
    ((ids, whole),) = read(await look_and_read(api, b.known(ready_to_finalize), fresh=True)).values()
    assert (len(ids), whole) == (250, True)
    assert len(api.asked) == 4


async def test_an_ended_job_is_left_alone_until_its_last_events_can_be_there() -> None:
    just_now = tracked("ftjob-1", SUCCEEDED, since=NOON - timedelta(seconds=1))
    assert read(await look_and_read(Api(), b.known(just_now), 8.0, fresh=True)) == {}
    assert read(await look_and_read(Api(), b.known(just_now), 9.0, fresh=True)) == {"ftjob-1": ([], True)}


async def test_a_tail_reads_event_streams_alone() -> None:
    api = Api(jobs=[job()], events={"ftjob-1": stream(3)})
    seen = await tail(api, b.known(tracked("ftjob-1", RUNNING, "ev-2")), "ftjob-1", "ftjob-unknown")
    assert (seen.listed, seen.jobs, read(seen)) == (False, (), {"ftjob-1": (["ev-3", "ev-1"], False)})
    assert api.asked == ["jobs/ftjob-1/events"]


async def test_a_tail_without_news_still_says_that_it_has_read() -> None:
    api = Api(events={"ftjob-1": stream(1)})
    seen = await tail(api, b.known(tracked("ftjob-1", RUNNING, "ev-1")), "ftjob-1")
    assert read(seen) == {"ftjob-1": ([], False)}


async def test_a_stream_is_remembered_while_its_job_is_followed() -> None:
    api = Api(jobs=[job(), job("ftjob-2")], events={"ftjob-1": stream(1), "ftjob-2": stream(1)})
    known = b.known(tracked("ftjob-1", RUNNING), tracked("ftjob-2", RUNNING))
    async with serving(api) as url, asking(url) as asked:
        await asked.source.tail(known, ["ftjob-1", "ftjob-2"], NOON)
        await asked.source.observe(b.known(), NOON)
        assert asked.source.has_read("ftjob-1"), "it was committed while its list was read"
        await asked.source.observe(b.known(tracked("ftjob-2", RUNNING), final={"ftjob-1": SUCCEEDED}), NOON)
        assert not asked.source.has_read("ftjob-1")
        assert asked.source.has_read("ftjob-2")


async def test_500_new_events_are_read_to_the_last_known_one() -> None:
    api = Api(events={"ftjob-1": stream(900)})
    known = b.known(tracked("ftjob-1", RUNNING, *(f"ev-{n}" for n in range(1, 401))))
    ((ids, whole),) = read(await tail(api, known, "ftjob-1")).values()
    assert (ids, whole) == ([f"ev-{n}" for n in range(900, 400, -1)], False)
    assert len(api.asked) == 6


async def test_an_error_on_a_later_page_of_events_leaves_the_stream_unread() -> None:
    api = Api(events={"ftjob-1": stream(500), "ftjob-2": stream(1)})
    api.faults["jobs/ftjob-1/events?after=ev-301"] = answering(lambda: refusal(500))
    known = b.known(tracked("ftjob-1", RUNNING, "ev-1"), tracked("ftjob-2"))
    seen = await tail(api, known, "ftjob-1", "ftjob-2")
    assert read(seen) == {"ftjob-2": (["ev-1"], True)}
    assert seen.trouble is not None


async def test_a_cursor_whose_event_is_gone_starts_the_stream_again() -> None:
    api = Api(events={"ftjob-1": stream(150)})
    api.faults["jobs/ftjob-1/events?after=ev-51"] = answering(
        lambda: refusal(400), lambda: web.Response(body=listing())
    )
    ((ids, whole),) = read(await tail(api, b.known(tracked("ftjob-1")), "ftjob-1")).values()
    assert (len(ids), whole) == (100, True)
    assert api.asked == [f"jobs/ftjob-1/events{after}" for after in ("", "?after=ev-51", "", "?after=ev-51")]


@pytest.mark.parametrize(("status", "whole"), [(SUCCEEDED, True), (RUNNING, False)])
async def test_a_stream_that_repeats_itself_ends_and_an_ended_job_can_be_settled(status: Status, whole: bool) -> None:
    api = Api(faults={"jobs/ftjob-1/events": answering(body(listing(*stream(2), has_more=True)))})
    seen = await tail(api, b.known(tracked("ftjob-1", status, since=NOON - MINUTE)), "ftjob-1")
    assert read(seen) == {"ftjob-1": (["ev-2", "ev-1"], whole)}
    assert seen.trouble is not None
    assert seen.trouble.reason is Reason.MALFORMED


async def test_events_in_any_order_and_twice_are_each_read_once() -> None:
    odd = [event("ev-2"), event("ev-2"), event("ev-9"), {"message": "a"}, {"message": "a"}, {"id": 7}, {"id": None}]
    api = Api(faults={"jobs/ftjob-1/events": answering(body(listing(*odd)))})
    ((ids, whole),) = read(await tail(api, b.known(tracked("ftjob-1")), "ftjob-1")).values()
    assert (ids[:2], ids[3], len(ids), whole) == (["ev-2", "ev-9"], "7", 4, True)


async def test_a_server_without_event_streams_has_jobs_all_the_same() -> None:
    api = Api(jobs=[job("ftjob-1")], faults={"jobs/ftjob-1/events": answering(lambda: refusal(404))})
    seen = await look_and_read(api, b.known(version=5))
    assert (read(seen), seen.trouble) == ({"ftjob-1": ([], True)}, None)


async def test_a_stream_that_was_there_does_not_go_away() -> None:
    api = Api(faults={"jobs/ftjob-1/events": answering(lambda: refusal(404))})
    seen = await tail(api, b.known(tracked("ftjob-1", RUNNING, "ev-1")), "ftjob-1")
    assert read(seen) == {}
    assert seen.trouble is not None


async def test_a_vendor_without_events_is_not_asked_for_them() -> None:
    api = Api(jobs=[job("ftjob-1")])
    async with serving(api) as url, asking(url, vendor=replace(provider("research", url), events=None)) as asked:
        await asked.source.observe(b.known(version=5), NOON)
        seen = await asked.source.tail(b.known(tracked("ftjob-1")), ["ftjob-1"], NOON)
    assert (read(seen), api.asked) == ({"ftjob-1": ([], True)}, ["jobs"])


async def test_at_the_deadline_what_was_listed_is_kept() -> None:
    api = Api(jobs=[job("ftjob-2"), job("ftjob-1", "failed")], faults={"jobs/ftjob-0": hang})
    seen = await look(api, b.known(tracked("ftjob-0"), tracked("ftjob-1")), deadline=0.3)
    assert [(each.id, each.status) for each in seen.jobs] == [("ftjob-2", RUNNING), ("ftjob-1", Status.FAILED)]
    assert (seen.listed, seen.complete, seen.missing) == (True, True, frozenset())
    assert seen.trouble is not None
    assert seen.trouble.reason is Reason.TIMEOUT


async def test_at_the_deadline_the_streams_that_were_read_are_kept() -> None:
    api = Api(events={"ftjob-2": stream(1)}, faults={"jobs/ftjob-1/events": hang})
    seen = await tail(api, b.known(tracked("ftjob-1"), tracked("ftjob-2")), "ftjob-1", "ftjob-2", deadline=0.3)
    assert (read(seen), seen.listed) == ({"ftjob-2": (["ev-1"], True)}, False)
    assert seen.trouble is not None
    assert seen.trouble.reason is Reason.TIMEOUT


async def test_where_few_events_were_new_the_next_page_is_short_and_what_it_does_not_reach_is_asked_for() -> None:
    api, known, brought = Api(), b.known(tracked("ftjob-1")), []
    async with serving(api) as url, asking(url) as asked:
        for count in (30, 33, 35, 75, 130):
            api.events["ftjob-1"] = stream(count)
            seen = await asked.source.tail(known, ["ftjob-1"], NOON)
            brought.append([one.id for one in seen.reads[0].events])
            known = evolve(known, decide(known, seen, Policy()))
    assert brought == [
        [f"ev-{n}" for n in range(newest, oldest, -1)]
        for oldest, newest in ((0, 30), (30, 33), (33, 35), (35, 75), (75, 130))
    ]
    assert api.limits == [100, 100, 20, 20, 100, 100]


async def test_streams_that_were_not_asked_for_because_of_a_pause_are_named() -> None:
    api = Api(events={"ftjob-1": stream(1)}, faults={"jobs/ftjob-2/events": answering(lambda: refusal(429))})
    jobs = [f"ftjob-{n}" for n in range(1, 6)]
    seen = await tail(api, b.known(*map(tracked, jobs)), *jobs, limits={"concurrency": 1})
    assert set(read(seen)) == {"ftjob-1"}
    assert seen.unread == {"ftjob-3", "ftjob-4", "ftjob-5"}


async def test_what_events_tell_arrives() -> None:
    told = [event("ev-1", message="Fine-tuning job started"), event("ev-0", data={"step": 3}, type="metrics")]
    seen = await tail(Api(events={"ftjob-1": told}), b.known(tracked("ftjob-1")), "ftjob-1")
    assert [each.kind for each in seen.reads[0].events] == [EventKind.STARTED, EventKind.METRICS]
    assert seen.reads[0].events[0].at == NOON


async def test_an_active_job_of_a_copy_is_asked_for_now_and_then_because_some_only_get_on_by_that() -> None:
    api = Api(jobs=[job()])
    shown = {"jobs/ftjob-1": answering(lambda: web.json_response(job(status="succeeded")))}
    async with serving(api) as url, asking(url) as asked:
        polls = [await asked.source.observe(known("ftjob-1"), NOON) for _ in range(10)]
        api.faults = shown
        polls += [await asked.source.observe(known("ftjob-1"), NOON) for _ in range(10)]
        api.faults = {"jobs/ftjob-1": answering(lambda: refusal(404))}
        polls += [await asked.source.observe(known("ftjob-1"), NOON) for _ in range(10)]
    assert [at for at, seen in enumerate(polls, 1) if seen.jobs[0].status is SUCCEEDED] == [20]
    assert api.asked.count("jobs/ftjob-1") == 3
    assert all(seen.trouble is None for seen in polls), "who shows no single job is in no trouble"


def test_active_jobs_are_asked_for_alone_in_turn_and_few_in_one_poll() -> None:
    revisits = Revisits()
    jobs = [f"ftjob-{n}" for n in range(10)]
    turns = [revisits.due(lambda: jobs, same=poll > 0) for poll in range(20)]
    assert max(map(len, turns)) == 4
    assert sorted(job for turn in turns[:12] for job in turn) == jobs, "each once"
    assert revisits.due(list) == []
    assert revisits.turns == {}


def test_a_job_whose_list_was_wrong_is_asked_for_again_by_the_next_poll() -> None:
    revisits = Revisits()
    turns = [revisits.due(lambda: ["ftjob-1"], same=True) for _ in range(10)]
    assert turns == [[]] * 9 + [["ftjob-1"]]
    revisits.answered("ftjob-1", agrees=False)
    assert revisits.due(lambda: ["ftjob-1"], same=True) == ["ftjob-1"], "what was found may not have been stored"
    assert revisits.due(lambda: ["ftjob-1"], same=True) == []


def test_the_longer_a_list_has_been_right_the_more_seldom_its_jobs_are_asked_for_alone() -> None:
    revisits = Revisits()

    def asked(polls: int, *, agrees: bool) -> int:
        turns = [turn for _ in range(polls) for turn in revisits.due(lambda: ["ftjob-1", "ftjob-2"], same=True)]
        for turn in turns:
            revisits.answered(turn, agrees=agrees)
        return len(turns)

    assert asked(100, agrees=True) == 20
    assert asked(100, agrees=True) == 10
    assert asked(100, agrees=True) == 10
    assert asked(400, agrees=True) == 20, "no more seldom than that"
    assert asked(80, agrees=False) == 4
    assert asked(80, agrees=True) == pytest.approx(16, abs=2), "one that was wrong is asked as often as at first"
