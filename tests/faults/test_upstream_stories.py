"""Jobs with contradictory facts, each story in its own organisation: what is announced, and what is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import until
from tests.faults.daemon import WatchedDaemon, watched
from tests.faults.hostile import Call, Fault, Hostile, event, job
from tests.faults.stories import Story, of, tell

YEAR = 366 * 86_400


def page_of(change: Callable[[list[Any]], list[Any]]) -> Fault:
    """Answers with a changed list."""

    async def fault(api: Hostile, call: Call) -> bool:
        if call.path != "jobs":
            return True
        page = api.page(api.jobs, call)
        await call.answer(200, json.dumps({**page, "data": change(page["data"])}).encode())
        return False

    return fault


async def end_once(seen: WatchedDaemon, api: Hostile, job_id: str = "ftjob-1", status: str = "succeeded") -> None:
    """End the job; it is announced once, and nothing else is."""
    await seen.ends(api.name, job_id, status)
    await seen.polled(api.name, 3)
    assert seen.of(api.name) == [(job_id, status)]


async def u16_valid_json_of_another_type(seen: WatchedDaemon, api: Hostile) -> None:
    async def fault(api: Hostile, call: Call) -> bool:
        found = api.page(api.jobs, call) if call.path == "jobs" else {"data": []}
        await call.answer(200, json.dumps(found).encode(), "Content-Type: text/html; charset=latin-1")
        return False

    api.fault = fault
    await end_once(seen, api)


async def u17_odd_items_hide_no_siblings(seen: WatchedDaemon, api: Hostile) -> None:
    odd: list[Any] = [
        None,
        "x",
        7,
        [],
        {},
        {"id": None},
        {"id": {}},
        {"id": True},
        {"id": "../x\n", "status": "failed"},
    ]
    odd += [{"id": "ftjob-odd", "status": ["failed"], "created_at": {}, "error": 7, "method": [], "metadata": "x",
             "hyperparameters": "y", "result_files": {}, "trained_tokens": "many", "__proto__": {"a": 1}}]  # fmt: skip
    api.fault = page_of(lambda items: [*odd, *items, *odd])
    await end_once(seen, api)
    assert '"event":"jobs.not_understood"' in seen.daemon.log
    assert (await seen.job(api.name, "ftjob-odd"))["status"] == "unknown"


async def u18_statuses_that_nobody_knows(seen: WatchedDaemon, api: Hostile) -> None:
    for status in (None, 7, "future_status", "SUCCEEDED", ["x"], "paused"):
        api.jobs[0]["status"] = status
        await seen.polled(api.name, 2)
        shown = (await seen.job(api.name, "ftjob-1"))["status"]
        assert shown == ("paused" if status == "paused" else "unknown"), status
    labels = {name for name in await seen.daemon.metrics() if name.startswith("finetune_jobs{")}
    assert not [name for name in labels if "future" in name or "SUCC" in name]
    await end_once(seen, api)


async def u19_errors_of_any_shape(seen: WatchedDaemon, api: Hostile) -> None:
    for error in ({}, None, "boom", {"message": None, "code": None}, ["x"]):
        api.jobs[0]["error"] = error
        await seen.polled(api.name)
        assert (await seen.job(api.name, "ftjob-1"))["status"] == "running"
    api.jobs[0]["error"] = {"code": "c" * 1_000_000, "message": "m" * 1_000_000, "param": "p" * 100_000}
    await end_once(seen, api, status="failed")
    said = next(told.data["job"]["error"] for told in seen.told if told.org == api.name)
    assert 100 < len(said["message"]) <= 2_000
    assert len(json.dumps(said)) < 8_000


async def u20_an_end_that_is_taken_back(seen: WatchedDaemon, api: Hostile) -> None:
    await seen.ends(api.name, "ftjob-1")
    for status in ("running", "succeeded", "queued", "failed", "running", "cancelled", "succeeded"):
        api.jobs[0]["status"] = status
        await seen.polled(api.name)
    assert seen.of(api.name) == [("ftjob-1", "succeeded")]
    assert (await seen.job(api.name, "ftjob-1"))["status"] == "succeeded"


async def u21_an_end_between_list_and_events(seen: WatchedDaemon, api: Hostile) -> None:
    async def fault(api: Hostile, call: Call) -> bool:
        if call.path.endswith("/events") and api.jobs[0]["status"] == "running":
            api.move("ftjob-1", "succeeded", fine_tuned_model="ft:gpt-4o-mini:x")
            api.events["ftjob-1"] = [event("ev-last", "The job has successfully completed"), event("ev-first")]
        return True

    api.fault = fault
    await until(lambda: seen.of(api.name) == [("ftjob-1", "succeeded")])
    await asyncio.sleep(11)  # the events of an ended job are read once more after ten seconds
    await seen.polled(api.name, 3)
    assert seen.of(api.name) == [("ftjob-1", "succeeded")]
    events = (await seen.daemon.json(f"/api/v1/jobs/{api.name}/ftjob-1/events"))["data"]
    assert {each["id"] for each in events} == {"ev-first", "ev-last"}


async def u22_a_job_that_vanishes_and_comes_back(seen: WatchedDaemon, api: Hostile) -> None:
    async def shown(status: str) -> bool:
        return bool((await seen.job(api.name, "ftjob-1"))["status"] == status)

    kept, api.jobs = api.jobs, []
    await until(lambda: shown("unknown"))
    await seen.polled(api.name, 2)
    api.jobs = kept
    await until(lambda: shown("running"))
    assert seen.of(api.name) == []
    await end_once(seen, api)


async def u23_times_that_cannot_be(seen: WatchedDaemon, api: Hostile) -> None:
    odd: list[Any] = [
        0,
        -5,
        1,
        None,
        "soon",
        1e300,
        -1e300,
        4_102_444_800,
        1_700_000_000_000,
        253_402_300_799,
        True,
        {},
    ]
    for number, moment in enumerate(odd):
        job_id = f"ftjob-odd{number}"
        api.begin(job_id, created_at=moment, estimated_finish=moment)
        api.events[job_id] = [event(f"ev-{number}", "Fine-tuning job started", created_at=moment)]
    await seen.polled(api.name, 3)
    for number, moment in enumerate(odd):
        api.move(f"ftjob-odd{number}", "cancelled", finished_at=moment, trained_tokens=moment)
    await until(lambda: len(seen.of(api.name)) == len(odd))
    await seen.polled(api.name, 2)
    assert sorted(seen.of(api.name)) == sorted((f"ftjob-odd{number}", "cancelled") for number in range(len(odd)))
    told = [each.data["job"] for each in seen.told if each.org == api.name]
    spans = [value for each in told for name in ("queue_seconds", "run_seconds") if (value := each[name]) is not None]
    metrics = await seen.daemon.metrics()
    spans += [value for name, value in metrics.items() if name.startswith("finetune_job_duration_seconds")]
    sums = [
        value for name, value in metrics.items() if name.startswith("finetune_") and "_duration_seconds_sum" in name
    ]
    assert all(0 <= span < YEAR for span in [*spans, *sums]), [span for span in spans if not 0 <= span < YEAR]


async def u23_ends_that_are_far_from_their_starts(seen: WatchedDaemon, api: Hostile) -> None:
    api.begin("ftjob-old", created_at=1)
    api.events["ftjob-old"] = [event("ev-1", "Fine-tuning job started", created_at=2)]
    api.begin("ftjob-new")
    await seen.polled(api.name, 3)
    api.move("ftjob-old", "succeeded")
    api.move("ftjob-new", "failed", finished_at=4_102_444_800)
    await until(lambda: len(seen.of(api.name)) == 2)
    await seen.polled(api.name, 2)
    for told in (told.data["job"] for told in seen.told if told.org == api.name):
        assert all(0 <= (told[name] or 0) < YEAR for name in ("queue_seconds", "run_seconds")), told
    metrics = await seen.daemon.metrics()
    spans = {name: value for name, value in metrics.items() if "_duration_seconds" in name and api.name in name}
    assert {name: value for name, value in spans.items() if not 0 <= value < YEAR} == {}


async def u24_jobs_of_another_organisation(seen: WatchedDaemon, api: Hostile) -> None:
    theirs = [job("ftjob-theirs", "running", organization_id="org-theirs")]
    api.fault = page_of(lambda items: [*theirs, *items])
    await seen.polled(api.name, 2)
    theirs[0]["status"] = "failed"
    await end_once(seen, api)


async def u24_one_id_in_two_organisations(seen: WatchedDaemon, api: Hostile) -> None:
    await end_once(seen, api, status="failed")  # the ftjob-1 of the others is independent
    told = [each.data["transition"]["id"] for each in seen.told if each.org == api.name]
    assert told == [f"{api.name}/ftjob-1/2"]


async def u15_numbers_that_are_none(seen: WatchedDaemon, api: Hostile) -> None:
    async def fault(api: Hostile, call: Call) -> bool:
        if call.path.endswith("/events"):
            data = '{"data":[{"id":"ev-1","created_at":NaN,"level":"info","message":"Step 1/2","type":"metrics",'
            data += '"data":{"step":1,"total_steps":1e9999,"train_loss":NaN,"valid_loss":-Infinity,"x":%s}}]}' % (
                "9" * 5000
            )
            await call.answer(200, data.encode())
            return False
        body = "\ufeff" + json.dumps(api.page(api.jobs, call))
        await call.answer(
            200,
            body.replace(
                '"trained_tokens": 1000', '"trained_tokens": NaN, "status": "x", "status": "succeeded"'
            ).encode(),
        )
        return False

    api.fault = fault
    await seen.polled(api.name, 3)
    await end_once(seen, api)
    for page in ("/metrics", f"/api/v1/jobs/{api.name}/ftjob-1", f"/api/v1/jobs/{api.name}/ftjob-1/events"):
        text = (await seen.daemon.get(page))[1]
        lines = [line for line in text.splitlines() if api.name in line]
        assert not [line for line in lines if "NaN" in line or "Inf" in line.replace("+Inf", "")]


async def u15_utf_16(seen: WatchedDaemon, api: Hostile) -> None:
    async def fault(api: Hostile, call: Call) -> bool:
        found = api.page(api.jobs, call) if call.path == "jobs" else {"data": []}
        await call.answer(200, json.dumps(found).encode("utf-16"), "Content-Type: application/json; charset=utf-16")
        return False

    api.fault = fault
    await end_once(seen, api)


STORIES: tuple[Story, ...] = (
    u15_numbers_that_are_none, u16_valid_json_of_another_type, u17_odd_items_hide_no_siblings,
    u18_statuses_that_nobody_knows, u19_errors_of_any_shape, u20_an_end_that_is_taken_back,
    u21_an_end_between_list_and_events, u22_a_job_that_vanishes_and_comes_back, u23_times_that_cannot_be,
    u23_ends_that_are_far_from_their_starts,
    u24_jobs_of_another_organisation, u24_one_id_in_two_organisations, u15_utf_16,
)  # fmt: skip


@pytest.mark.fault("G14", "U15", "U16", "U17", "U18", "U19", "U20", "U21", "U22", "U23", "U24")
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_what_jobs_say_of_themselves(tmp_path: Path) -> None:
    apis = of(STORIES)
    ours = next(api for api in apis if "another-organisation" in api.name)
    ours.jobs[0]["organization_id"] = "org-ours"
    async with watched(tmp_path, *apis, orgs={ours.name: {"organization": "org-ours"}}) as seen:
        await until(seen.up, 30)
        assert await tell(seen, STORIES) == {}
