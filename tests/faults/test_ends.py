"""Ends that could be missed, announced late or announced wrongly; each story in its own organisation."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.e2e.daemon import drained, until
from tests.faults.daemon import WatchedDaemon, memory, watched
from tests.faults.hostile import Call, Hostile, Item, job, served
from tests.faults.machine import allowed
from tests.faults.stories import Story, named, of, tell

DAY = 86_400
LONG = "e" * 2_000
MANY = 10_000
TAKEN = 45  # MB beyond an idle process


def over(job_id: str, days: float, status: str = "failed") -> Item:
    """A job that ended this many days ago."""
    end = int(time.time() - days * DAY)
    return job(job_id, status, created_at=end - 3600, finished_at=end)


async def silence(api: Hostile, call: Call) -> bool:
    """Answer nothing but the list of jobs."""
    if call.path == "jobs":
        return True
    await call.silence()
    return False


async def f04_an_empty_first_list(seen: WatchedDaemon, api: Hostile) -> None:
    """What it lists later had ended before the first poll; a new job is announced."""
    api.jobs = [over(f"ftjob-old{number:03}", 1 + number) for number in range(120)]
    api.begin("ftjob-late")
    await seen.polled(api.name, 2)
    await seen.ends(api.name, "ftjob-late")
    await seen.polled(api.name, 2)
    assert seen.of(api.name) == [("ftjob-late", "started"), ("ftjob-late", "succeeded")]


async def f15_jobs_that_are_active_behind_the_lookback(seen: WatchedDaemon, api: Hostile) -> None:
    """They are behind more than a page of jobs that ended before the lookback."""
    await seen.ends(api.name, "ftjob-1", "failed")
    await seen.ends(api.name, "ftjob-paused", "cancelled")
    await seen.polled(api.name, 2)
    assert seen.of(api.name) == [("ftjob-1", "failed"), ("ftjob-paused", "cancelled")]


async def f17_a_replica_that_is_behind(seen: WatchedDaemon, api: Hostile) -> None:
    """The start is announced once, although the status goes back and forth and no event has its time."""
    api.begin("ftjob-2", "queued")
    await seen.polled(api.name, 2)
    for status in ("running", "queued", "running", "nobody_knows_this", "running", "validating_files", "running"):
        api.move("ftjob-2", status)
        await seen.polled(api.name, 2)
    await seen.ends(api.name, "ftjob-2")
    assert seen.of(api.name) == [("ftjob-2", "started"), ("ftjob-2", "succeeded")]


STORIES: tuple[Story, ...] = (
    f04_an_empty_first_list, f15_jobs_that_are_active_behind_the_lookback, f17_a_replica_that_is_behind,
)  # fmt: skip


@pytest.mark.fault("P4", "P15", "P17")
@pytest.mark.timeout(180)
async def test_no_end_is_missed_and_no_old_news_told(tmp_path: Path) -> None:
    apis = {api.name: api for api in of(STORIES)}
    apis[named(f04_an_empty_first_list)].jobs = []
    behind = apis[named(f15_jobs_that_are_active_behind_the_lookback)]
    old = [over(f"ftjob-old{number:03}", 35 + number / 100) for number in range(120)]
    first = {"created_at": int(time.time()) - 50 * DAY}
    behind.jobs = [*old, job("ftjob-1", "running", **first), job("ftjob-paused", "paused", **first)]
    on = ["started", "resumed", "succeeded", "failed", "cancelled"]
    async with watched(tmp_path, *apis.values(), routes=[{"on": on, "notify": ["hook"]}]) as seen:
        await until(seen.up)
        assert await tell(seen, STORIES) == {}


@pytest.mark.fault("P4")
@pytest.mark.timeout(120)
async def test_the_key_of_another_project_is_no_news(tmp_path: Path) -> None:
    api, other = Hostile("research"), Hostile("research", key="sk-proj-other-Zk3vN8qWx2LmT7Rb5YcD1fHsJ9gPaE4u")
    api.begin("ftjob-1")
    other.jobs = [over(f"ftjob-old{number:03}", 100 + number) for number in range(300)]
    other.begin("ftjob-2")
    async with served(other), watched(tmp_path, api) as seen:
        await until(seen.up)
        seen.daemon.settings["organizations"][0] |= {"base_url": other.url, "api_key": other.key}
        seen.daemon.write()
        assert seen.daemon.process is not None
        seen.daemon.process.send_signal(signal.SIGHUP)
        await until(lambda: len(other.lists()) > 2)
        other.move("ftjob-2", "succeeded")
        await until(lambda: bool(seen.told))
        await seen.polled("research", 3)
        assert seen.of("research") == [("ftjob-2", "succeeded")]


@pytest.mark.fault("P14")
@pytest.mark.timeout(180)
async def test_an_end_is_told_though_300_event_streams_hang(tmp_path: Path) -> None:
    api = Hostile("research", fault=silence)
    poll = {"timeout": "20s"}  # a request in progress takes longer than everything this test waits for
    async with watched(tmp_path, api, poll=poll) as seen:
        await until(seen.up)
        for number in range(300):
            api.begin(f"ftjob-{number:03}")
        await until(lambda: any(call.path.endswith("/events") for call in api.asked))
        assert await seen.ends("research", "ftjob-000", "failed") < 10
        assert await seen.ends("research", "ftjob-299") < 10


@pytest.mark.fault("P3")
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_job_that_was_gone_for_a_while_is_told_when_it_ends(tmp_path: Path) -> None:
    api = Hostile("research")
    api.begin("ftjob-long")
    for number in range(130):
        api.jobs.insert(0, over(f"ftjob-{number:03}", 2, "succeeded"))
    api.jobs = [*api.jobs[:-1], job("ftjob-long", created_at=int(time.time()) - 3 * DAY)]
    async with watched(tmp_path, api) as seen:
        await until(seen.up)

        async def lost(api: Hostile, call: Call) -> bool:
            if call.path != "jobs/ftjob-long":
                return True
            await call.refuse(404, "no such job")
            return False

        async def shown() -> bool:
            return bool((await seen.job("research", "ftjob-long"))["status"] == "unknown")

        api.fault = lost
        await until(shown)
        api.fault = None
        assert seen.told == []
        await seen.ends("research", "ftjob-long", "failed", within=150)  # it is requested again after a minute
        await seen.polled("research", 2)
        assert seen.of("research") == [("ftjob-long", "failed")]


@pytest.mark.fault("P2", "P13")
@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_ten_thousand_ends_with_long_errors_are_told_in_512_mib(tmp_path: Path) -> None:
    """They ended during a downtime. The limit is on mapped memory, which is stricter than a container's."""
    allowed("prlimit", "--as=536870912", "true")
    api, other = Hostile("research"), Hostile("other")
    for each in (api, other):
        each.begin("ftjob-1")
    async with watched(tmp_path, api, other) as seen:
        await until(seen.up)
        await seen.polled("research", 2)
        idle = memory(seen.daemon)
        await seen.daemon.stop()
        metadata = {f"{number:02}": "m" * 60 for number in range(16)}
        for number in range(MANY):
            error = {"code": "server_error", "message": f"{number} {LONG}"[:2000], "param": None}
            api.begin(f"ftjob-end{number:05}", "failed", error=error, metadata=metadata, finished_at=int(time.time()))
        seen.daemon.before = ("prlimit", "--as=536870912")
        seen.rss = 0
        began = time.monotonic()
        await seen.daemon.start()
        assert await seen.ends("other", "ftjob-1", within=120) < 60
        wanted = {f"ftjob-end{number:05}" for number in range(MANY)}
        await drained(lambda: len(wanted - {told.job for told in seen.told}), 60)
        print(f"\n{MANY} ends were told within {time.monotonic() - began:.0f} s in {idle} + {seen.rss - idle} MB")
        assert not seen.daemon.process_ended
        assert len(seen.told) == MANY + 1
        assert seen.rss - idle <= TAKEN
