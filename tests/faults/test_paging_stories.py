"""Lists and event streams with wrong pagination: nothing is missed or announced twice, and every walk ends."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import until
from tests.faults.daemon import WatchedDaemon, watched
from tests.faults.hostile import Call, Fault, Hostile, event
from tests.faults.stories import Story, of, tell

dice = random.Random(5)
CROWDED = 140.0
"""Seconds to wait, since fourteen organisations with hundreds of jobs share one process."""


def lists(change: Any) -> Fault:
    """Answers the job list with the result of `change(api, call)`; None sends the true answer."""

    async def fault(api: Hostile, call: Call) -> bool:
        page = change(api, call) if call.path == "jobs" else None
        if page is None:
            return True
        await call.answer(200, json.dumps({"object": "list", **page}).encode())
        return False

    return fault


async def news(seen: WatchedDaemon, api: Hostile, count: int = 5) -> None:
    """End this many new jobs at once; each is announced once, and nothing else is."""
    for number in range(count):
        api.begin(f"ftjob-new{number:03}", "failed", finished_at=int(time.time()))
    wanted = [(f"ftjob-new{number:03}", "failed") for number in range(count)]
    await until(lambda: len(seen.of(api.name)) >= count, CROWDED)
    await seen.polled(api.name, 3)
    assert sorted(seen.of(api.name)) == wanted


async def c01_the_same_cursor_for_ever(seen: WatchedDaemon, api: Hostile) -> None:
    before = len(api.asked)
    api.fault = lists(lambda api, call: {"data": api.jobs[:5], "has_more": True})
    api.jobs.pop()  # nothing on the list is known, so it has to be walked
    await news(seen, api)
    name = f'finetune_org_poll_errors_total{{org="{api.name}",reason="malformed"}}'
    assert (await seen.daemon.metrics())[name] > 0
    pages = [call.after for call in api.asked[before:] if call.path == "jobs"]
    assert len(pages) <= 3 * pages.count(None), "a walk ends where the list repeats itself"


async def c02_a_cycle_of_pages(seen: WatchedDaemon, api: Hostile) -> None:
    api.jobs.clear()

    def cycle(api: Hostile, call: Call) -> dict[str, Any]:
        half = 3 if call.after is None or call.after != (api.jobs[2:3] or [{"id": ""}])[0]["id"] else 0
        return {"data": api.jobs[:3] if half else api.jobs[3:], "has_more": True}

    api.fault = lists(cycle)
    await news(seen, api)


async def c02_an_empty_page_that_promises_more(seen: WatchedDaemon, api: Hostile) -> None:
    api.fault = lists(lambda api, call: {"data": [], "has_more": True} if int(call.at * 4) % 2 else None)
    await news(seen, api)


async def c02_pages_of_one(seen: WatchedDaemon, api: Hostile) -> None:
    api.page_limit = 1
    await news(seen, api, 30)


async def c03_duplicates(seen: WatchedDaemon, api: Hostile) -> None:
    def twice(api: Hostile, call: Call) -> dict[str, Any]:
        page = api.page(api.jobs, call)
        start = 0 if call.after is None else [each["id"] for each in api.jobs].index(call.after)
        return {**page, "data": [*api.jobs[max(start - 2, 0) : start], *page["data"], *page["data"]]}

    api.page_limit = 4
    api.fault = lists(twice)
    await news(seen, api, 20)


async def c04_jobs_that_come_between_pages(seen: WatchedDaemon, api: Hostile) -> None:
    api.page_limit = 3
    more = iter(range(100, 108))

    def grow(api: Hostile, call: Call) -> None:
        if call.after is not None and (number := next(more, None)) is not None:
            api.begin(f"ftjob-new{number}", "failed", finished_at=int(time.time()))

    api.fault = lists(grow)
    for number in range(20):
        api.begin(f"ftjob-new{number:03}", "failed", finished_at=int(time.time()))
    await until(lambda: len(seen.of(api.name)) == 28, CROWDED)
    await seen.polled(api.name, 3)
    assert sorted(seen.of(api.name)) == sorted((each["id"], "failed") for each in api.jobs if "new" in each["id"])


async def c05_a_cursor_whose_job_is_deleted(seen: WatchedDaemon, api: Hostile) -> None:
    api.page_limit = 4
    refused = 0

    async def fault(api: Hostile, call: Call) -> bool:
        nonlocal refused
        if call.path == "jobs" and call.after is not None and refused < 3 and dice.random() < 0.5:
            refused += 1
            await call.refuse(400, "No such job as the cursor")
            return False
        return True

    api.fault = fault
    await news(seen, api, 20)


async def c06_limit_ignored(seen: WatchedDaemon, api: Hostile) -> None:
    api.fault = lists(lambda api, call: {"data": api.jobs, "has_more": False})
    await news(seen, api, 300)


async def c06_has_more_missing(seen: WatchedDaemon, api: Hostile) -> None:
    api.fault = lists(lambda api, call: {"data": api.page(api.jobs, call)["data"]})
    await news(seen, api, 130)


async def c06_has_more_lies(seen: WatchedDaemon, api: Hostile) -> None:
    api.fault = lists(lambda api, call: {**api.page(api.jobs, call), "has_more": True})
    await news(seen, api)


async def c07_the_oldest_first(seen: WatchedDaemon, api: Hostile) -> None:
    api.page_limit = 4
    api.fault = lists(lambda api, call: api.page(api.jobs[::-1], call))
    await news(seen, api, 20)


async def c07_shuffled(seen: WatchedDaemon, api: Hostile) -> None:
    api.fault = lists(lambda api, call: {"data": dice.sample(api.jobs, len(api.jobs)), "has_more": False})
    await news(seen, api, 20)


async def c08_events_in_any_shape(seen: WatchedDaemon, api: Hostile) -> None:
    now = int(time.time())
    told = [event(f"ev-{n}", f"line {n}", created_at=now) for n in range(20)]
    told += [event(None, "without an id", created_at=now), event(17, "a number", created_at=now)]
    await seen.polled(api.name, 2)
    for _ in range(4):
        api.events["ftjob-1"] = dice.sample([*told, *told[3:9], event(None, "without an id", created_at=now)], 29)
        await asyncio.sleep(0.6)
    await seen.ends(api.name, "ftjob-1")

    async def read() -> bool:
        events = (await seen.daemon.json(f"/api/v1/jobs/{api.name}/ftjob-1/events?limit=100"))["data"]
        return sorted(each["message"] for each in events) == sorted(each["message"] for each in told)

    await until(read, CROWDED)


async def c10_an_error_on_a_later_page(seen: WatchedDaemon, api: Hostile) -> None:
    api.page_limit = 5
    for number in range(12):  # all of them are watched, and those on later pages must not be taken for gone
        api.begin(f"ftjob-live{number:02}")
    await seen.polled(api.name, 3)
    broken = True

    async def fault(api: Hostile, call: Call) -> bool:
        if broken and (call.after is not None or call.path.startswith("jobs/")):
            await call.refuse(dice.choice([500, 502, 503]), "boom")
            return False
        return True

    api.fault = fault
    for number in range(8):
        api.begin(f"ftjob-new{number:03}", "failed", finished_at=int(time.time()))
    await seen.polled(api.name, 4)
    assert (await seen.job(api.name, "ftjob-1"))["status"] == "running"
    broken = False
    await until(lambda: len(seen.of(api.name)) == 8)
    await seen.polled(api.name, 3)
    assert len(seen.of(api.name)) == 8
    assert (await seen.job(api.name, "ftjob-1"))["status"] == "running"


STORIES: tuple[Story, ...] = (
    c01_the_same_cursor_for_ever, c02_a_cycle_of_pages, c02_an_empty_page_that_promises_more, c02_pages_of_one,
    c03_duplicates, c04_jobs_that_come_between_pages, c05_a_cursor_whose_job_is_deleted, c06_limit_ignored,
    c06_has_more_missing, c06_has_more_lies, c07_the_oldest_first, c07_shuffled, c08_events_in_any_shape,
    c10_an_error_on_a_later_page,
)  # fmt: skip


@pytest.mark.fault("C01", "C02", "C03", "C04", "C05", "C06", "C07", "C08", "C09", "C10")
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_lists_that_are_wrong_about_themselves(tmp_path: Path) -> None:
    apis = of(STORIES)
    async with watched(tmp_path, *apis) as seen:
        await until(seen.up, 30)
        assert await tell(seen, STORIES) == {}


@pytest.mark.fault("G2", "C09")
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_500_new_events_and_a_kill_on_page_3(tmp_path: Path) -> None:
    api = Hostile("research")
    api.begin("ftjob-1")
    api.events["ftjob-1"] = [event(f"ev-{n:03}", f"line {n}") for n in range(9, -1, -1)]
    async with watched(tmp_path, api) as seen:
        path = "/api/v1/jobs/research/ftjob-1/events?limit=500"

        async def stored(count: int) -> bool:
            return len((await seen.daemon.json(path)).get("data", [])) == count

        await until(lambda: stored(10))
        reached = asyncio.Event()

        async def stuck(api: Hostile, call: Call) -> bool:
            if call.after is None or call.path == "jobs" or call.after > "ev-350":
                return True
            reached.set()
            await call.silence()
            return False

        api.fault = stuck
        api.events["ftjob-1"] = [event(f"ev-{n:03}", f"line {n}") for n in range(509, -1, -1)]
        await asyncio.wait_for(reached.wait(), 10)
        await seen.daemon.stop(signal.SIGKILL)
        api.fault = None
        api.move("ftjob-1", "succeeded")
        await seen.daemon.start()
        await until(lambda: seen.of("research") == [("ftjob-1", "succeeded")])
        await until(lambda: stored(500))
        after = (await seen.daemon.json(path))["data"][-1]["id"]
        assert after <= "ev-010"
