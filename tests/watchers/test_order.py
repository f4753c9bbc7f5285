"""What comes before what: ends before streams, streams beside files, and how often what cannot be had is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from monitor.config.prices import load_prices
from monitor.domain.decide import Policy
from monitor.domain.flow import SLICE, Tracked, TransitionKind
from monitor.domain.model import Status
from monitor.domain.pace import Pace
from monitor.domain.routing import Rule
from monitor.metrics.process import ProcessMetrics
from monitor.providers.openai.naming import NAMING
from monitor.source import transport
from monitor.store import Stores, opened
from monitor.watchers.jobs import JobWatcher
from monitor.watchers.state import PollState
from tests import builders as b
from tests.builders import on
from tests.source.servers import (
    Api,
    Handler,
    answering,
    body,
    hang,
    history,
    job,
    listing,
    refusal,
    serving,
    source,
    stream,
)
from tests.watchers.books import NOON, Enough, Time

TOLD = Rule(on=on("appeared", "succeeded", "failed"), notify=("n",))
POLICY = Policy(prices=load_prices().of("openai", seller="openai", naming=NAMING), rules=(TOLD,))


@dataclass
class Timed(Api):
    """Notes when it was asked for what, on the watcher's clock."""

    time: Time = field(default_factory=Time)
    times: list[tuple[float, str]] = field(default_factory=list)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        number, now = len(self.asked), self.time.passed
        try:
            return await super().__call__(request)
        finally:
            self.times.append((now, self.asked[number]))

    def when(self, path: str) -> list[float]:
        return [at for at, asked in self.times if asked == path]


@dataclass
class Together(Time):
    """A clock of two loops: it goes on to whatever is due first once both of them wait."""

    until: float = 0.0
    _waiting: list[tuple[float, anyio.Event, anyio.Event]] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        await self.wait(anyio.Event(), seconds)

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        mine = (self.passed + max(seconds, 0.0), anyio.Event(), event)
        self._waiting.append(mine)
        if len(self._waiting) == 2 and not any(one.is_set() for _, *both in self._waiting for one in both):
            due, timer, _ = min(self._waiting, key=lambda one: one[0])
            self.move(due - self.passed)
            timer.set()
        if self.passed >= self.until:
            raise Enough
        tasks = [asyncio.ensure_future(one.wait()) for one in mine[1:]]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.remove(mine)
            for task in tasks:
                task.cancel()


@dataclass
class Watched:
    """One organisation's watcher, its API and its store."""

    watcher: JobWatcher
    store: Stores
    api: Timed
    time: Time

    async def poll(self, after: float = 0.0) -> list[TransitionKind]:
        self.time.move(after)
        changes = await self.watcher.poll_once(self.time.now())
        assert changes is not None
        return [one.kind for change in changes for one in change.transitions]

    async def polls(self) -> None:
        """One poll of the loop, and what it plans."""
        self.time.most = len(self.time.naps) + 2
        with pytest.raises(Enough):
            await self.watcher.run()

    async def reads(self, turns: int = 1) -> None:
        """The other loop, for so many naps."""
        self.time.most = len(self.time.naps) + turns
        with pytest.raises(Enough):
            await self.watcher.read()

    async def tracked(self, id_: str = "ftjob-1") -> Tracked:
        found = await self.store.reader.job("research", id_)
        assert found is not None
        return found.tracked

    async def told(self) -> list[str]:
        """The types of all messages, the oldest first."""
        return [one.type.rsplit(".", 1)[1] for one in (await self.store.reader.deliveries()).items][::-1]


@asynccontextmanager
async def watched(
    tmp_path: Path,
    *jobs: dict[str, Any],
    time: Time | None = None,
    faults: dict[str, Handler] | None = None,
    pace: Pace | None = None,
    number: int = 0,
    count: int = 1,
) -> AsyncIterator[Watched]:
    time = time or Time()
    api = Timed(jobs=list(jobs), time=time, faults=dict(faults or {}))
    async with (
        serving(api) as url,
        transport() as http,
        opened(f"sqlite:///{tmp_path}/m.db", clock=time) as store,
    ):
        watcher = JobWatcher(
            source=source(url, transport=http, clock=time).source, store=store.jobs, policy=POLICY,
            pace=pace or Pace(), events_interval=60.0, clock=time, reader_clock=time,
            process=ProcessMetrics(), jitter=lambda: 0.5, number=number, count=count,
        )  # fmt: skip
        yield Watched(watcher, store, api, time)


EVENTS = "jobs/ftjob-1/events"


async def test_an_end_is_committed_though_a_stream_hangs(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def hangs(request: web.BaseRequest) -> web.StreamResponse:
        asked.set()
        return await hang(request)

    async with watched(tmp_path, job(), job("ftjob-0"), faults={EVENTS: hangs}) as of:
        await of.polls()
        reader = asyncio.create_task(of.watcher.read())
        await asked.wait()
        of.api.jobs[0]["status"] = "succeeded"
        of.api.jobs[1]["status"] = "failed"
        with anyio.fail_after(10):
            await of.polls()
        assert [(await of.tracked(id_)).job.status for id_ in ("ftjob-1", "ftjob-0")] == [
            Status.SUCCEEDED,
            Status.FAILED,
        ]
        assert sorted(await of.told()) == ["failed", "succeeded"]
        assert not reader.done(), "it still hangs"
        reader.cancel()
        await asyncio.wait([reader])


@pytest.mark.parametrize(
    ("number", "second_poll", "second_read"),
    [(0, 29.0, 60.0), (30, 1.25, 3.5), (120, 6.75, 14.25), (300, 17.25, 36.0)],
)
async def test_a_stream_is_read_every_minute_though_the_polls_come_every_29_seconds(
    tmp_path: Path, number: int, second_poll: float, second_read: float
) -> None:
    time = Together(until=1_000.0)
    async with watched(tmp_path, job(), time=time, pace=Pace(interval=29.0), number=number, count=500) as of:
        of.api.events["ftjob-1"] = stream(3)
        loops = [asyncio.create_task(loop) for loop in (of.watcher.run(), of.watcher.read())]
        with anyio.fail_after(30):
            done, waiting = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
        for loop in waiting:
            loop.cancel()
        await asyncio.wait(loops)
        assert [type(loop.exception()) for loop in done] == [Enough]
    polls, reads = of.api.when("jobs"), of.api.when(EVENTS)
    assert polls[0] == reads[0] == 0.005 * number
    assert polls[1:] == [second_poll + 29.0 * n for n in range(ceil((1_000.0 - second_poll) / 29.0))]
    assert reads[1:] == [second_read + 60.0 * n for n in range(ceil((1_000.0 - second_read) / 60.0))]


async def test_a_lease_is_not_handed_over_at_a_poll_before_the_interval_has_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other replica polls a quarter of an interval later at the earliest, but two must not poll within one."""
    time, offers = Time(), list[float]()

    async def keep(_leases: object, _org: str) -> bool:
        offers.append(time.monotonic())
        return False

    async with watched(tmp_path, job(), time=time, pace=Pace(interval=29.0), number=30, count=500) as of:
        monkeypatch.setattr(type(of.store.leases), "hand_over", keep)
        time.most = 6
        with pytest.raises(Enough):
            await of.watcher.run()
    polls = of.api.when("jobs")
    assert [later - at for at, later in pairwise(polls)][:3] == [pytest.approx(1.1), 29.0, 29.0]
    assert offers[:3] == [polls[0], polls[2], polls[3]], "at all but the second, which comes early"


async def test_streams_that_a_pause_has_kept_from_being_read_are_due_as_before(tmp_path: Path) -> None:
    jobs = [job(f"ftjob-{n}") for n in range(9)]
    refused = {f"jobs/ftjob-{n}/events": answering(lambda: refusal(429, Retry_After="20")) for n in range(9)}
    async with watched(tmp_path, *jobs, faults=refused) as of:
        await of.polls()
        began = of.time.monotonic()
        await of.reads()
        asked = {path.split("/")[1] for _, path in of.api.times if path.endswith("/events")}
        waiting = {id_ for id_, due in of.watcher.state.streams_due.items() if due > began + 5}
        assert waiting >= asked, "what was asked for waits for its next turn"
        assert len(waiting) <= 5, "and the others do not"


async def test_a_stream_that_cannot_be_read_is_tried_every_minute(tmp_path: Path) -> None:
    async with watched(tmp_path, job(), faults={EVENTS: answering(lambda: refusal(500))}) as of:
        await of.polls()
        await of.reads(4)
        reads = of.api.when(EVENTS)
        assert [later - at for at, later in pairwise(reads)] == [30.0, 60.0, 60.0], "from its next turn on"
        of.api.faults.clear()
        of.api.events["ftjob-1"] = stream(3)
        await of.reads()
        assert len((await of.store.reader.events("research", "ftjob-1")).items) == 3


LINE = b'{"messages": [{"role": "user", "content": "ask"}, {"role": "assistant", "content": "tell"}]}\n'


def file(id_: str) -> dict[str, Handler]:
    """What the API says of a training file, and what is in it."""
    content = LINE * 10
    about = lambda: web.json_response({"id": id_, "bytes": len(content)})  # noqa: E731 - an answer
    return {f"/v1/files/{id_}": answering(about), f"/v1/files/{id_}/content": answering(body(content))}


async def test_a_file_does_not_wait_for_300_streams(tmp_path: Path) -> None:
    jobs = history(300, "running")
    jobs[150]["training_file"] = "file-1"
    async with watched(tmp_path, *jobs, faults=file("file-1")) as of:
        await of.polls()
        polled = len(of.api.asked)
        await of.reads()
        read = of.api.asked[polled:]
        assert read.index("/v1/files/file-1/content") < 10
        assert sorted(path for path in read if path.endswith("/events")) == sorted(
            f"jobs/{one['id']}/events" for one in jobs
        )
        assert (await of.tracked(jobs[150]["id"])).size is not None


async def test_streams_do_not_wait_for_files(tmp_path: Path) -> None:
    jobs = [{**one, "training_file": f"file-{one['id']}"} for one in history(40, "running")]
    faults = {path: handler for one in jobs for path, handler in file(one["training_file"]).items()}
    async with watched(tmp_path, *jobs, faults=faults) as of:
        await of.polls()
        polled = len(of.api.asked)
        await of.reads()
        read = [path for path in of.api.asked[polled:] if path.endswith(("/events", "/content"))]
        last = max(at for at, path in enumerate(read) if path.endswith("/events"))
        assert sum(path.endswith("/content") for path in read[:last]) == 19, "one file for each two streams"
        assert sum(path.endswith("/content") for path in read) == 40


async def test_a_job_that_is_gone_is_asked_for_again_ever_more_seldom_and_its_end_is_told(tmp_path: Path) -> None:
    async with watched(tmp_path, job()) as of:
        await of.poll()
        back = of.api.jobs.pop()
        assert [await of.poll(60) for _ in range(3)] == [[], [], [TransitionKind.GONE]]
        gone = of.time.passed
        for _ in range(240):
            assert await of.poll(60) == []
        asked = [at for at in of.api.when("jobs/ftjob-1") if at > gone]
        gaps = [later - at for at, later in pairwise(asked)]
        assert gaps == [120, 240, 480, 960, 1920, 3600, 3600]
        assert asked[0] - gone == 120, "a minute after the poll that found it gone"
        of.api.faults["jobs/ftjob-1"] = answering(lambda: web.json_response({**back, "status": "succeeded"}))
        kinds = [kind for _ in range(61) for kind in await of.poll(60)]
        assert kinds == [TransitionKind.MOVED]
        assert (await of.tracked()).job.status is Status.SUCCEEDED
        assert await of.told() == ["succeeded"]


async def test_an_end_that_is_contradicted_three_times_is_corrected_once(tmp_path: Path) -> None:
    async with watched(tmp_path, job()) as of:
        await of.poll()
        of.api.jobs[0]["status"] = "succeeded"
        assert await of.poll(30) == [TransitionKind.MOVED]
        of.time.move(10)
        await of.watcher.read_events_once(of.time.now(), ["ftjob-1"])
        assert (await of.store.jobs.known("research")).final == {"ftjob-1": Status.SUCCEEDED}
        of.api.jobs[0]["status"] = "failed"
        assert [await of.poll(10) for _ in range(6)] == [[]] * 6, "three times, but half a minute apart"
        assert await of.poll(10) == [TransitionKind.CORRECTED]
        assert (await of.tracked()).job.status is Status.FAILED
        of.api.jobs[0]["status"] = "succeeded"
        assert [await of.poll(60) for _ in range(5)] == [[]] * 5
        assert (await of.tracked()).job.status is Status.FAILED
        assert await of.told() == ["succeeded", "failed"]


async def test_a_first_sight_of_1200_jobs_is_stored_in_slices_the_oldest_first(tmp_path: Path) -> None:
    async with watched(tmp_path, *history(1200)) as of:
        changes = await of.watcher.poll_once(of.time.now())
        assert changes is not None
        assert [len(change.transitions) for change in changes] == [*[SLICE] * 4, 200]
        assert not any(change.tracked for change in changes)  # what is stored is not kept in memory as well
        assert [change.horizon is not None for change in changes] == [*[False] * 4, True]
        oldest = [one.job for change in changes for one in change.transitions]
        assert oldest == [f"ftjob-{number}" for number in range(1, 1201)]
        assert {one.kind for change in changes for one in change.transitions} == {TransitionKind.BASELINE}
        known = await of.store.jobs.known("research")
        assert (known.version, len(known.final), known.horizon) == (5, 1200, NOON - timedelta(milliseconds=1))
        assert await of.poll(30) == []
        assert await of.told() == []


async def test_a_list_that_takes_a_minute_to_read_is_no_clock_that_was_set(tmp_path: Path) -> None:
    time = Time()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        time.move(59.0)
        return web.Response(body=listing(job("ftjob-1", seed=len(seen))))

    seen: list[datetime] = []
    async with watched(tmp_path, job("ftjob-1"), time=time, faults={"jobs": slow}) as of:
        for _ in range(3):
            assert await of.watcher.poll_once(time.now()) is not None
            seen.append((await of.tracked()).since)
            time.move(10.0)
        del of.api.faults["jobs"]
        assert await of.watcher.poll_once(time.now()) is not None
        assert seen == [(await of.tracked()).since] * 3


def follow(state: PollState, monotonic: float, *jobs: Tracked) -> None:
    now = NOON + timedelta(seconds=monotonic)
    state.follow({one.job.id: one for one in jobs}, interval=60.0, now=now, monotonic=monotonic)


def at(monotonic: float) -> datetime:
    return NOON + timedelta(seconds=monotonic)


def test_streams_of_new_and_changed_jobs_come_before_those_that_are_due() -> None:
    state = PollState()
    old = [b.tracked(b.job(f"old-{number}")) for number in range(2)]
    follow(state, 0.0, *old)
    state.tried(["old-0", "old-1"], 0.0, interval=60.0, turn=0.0)
    changed = b.tracked(b.job("old-1", Status.PAUSED))
    follow(state, 61.0, old[0], changed, b.tracked(b.job("new")))
    assert state.next_streams(61.0, 10) == ["new", "old-1", "old-0"]
    assert state.next_streams(61.0, 2) == ["new", "old-1"]
    state.tried(["new", "old-1"], 61.0, interval=60.0, turn=0.0)
    assert state.next_streams(61.0, 10) == ["old-0"]
    follow(state, 62.0, old[0], changed)
    assert set(state.streams_due) == {"old-0", "old-1"}, "what is not known any more is not read"


def test_the_stream_of_a_job_that_ends_is_read_ten_seconds_later_also_when_it_is_just_being_read() -> None:
    state = PollState()
    follow(state, 0.0, b.tracked())
    state.tried(["ftjob-1"], 0.0, interval=60.0, turn=0.0)
    ended = b.tracked(b.job(status=Status.FAILED), since=at(5.0))
    follow(state, 5.0, ended)
    assert state.next_streams(14.0, 10) == []
    assert state.next_streams(15.0, 10) == ["ftjob-1"]
    state.tried(["ftjob-1"], 15.0, interval=60.0, turn=0.0)
    follow(state, 16.0, ended)
    assert state.next_streams(74.0, 10) == [], "where it could not be read, it is tried again"
    assert state.next_streams(75.0, 10) == ["ftjob-1"]


async def test_a_job_that_ends_while_its_stream_is_read_has_its_last_events_read_on_time(tmp_path: Path) -> None:
    async with watched(tmp_path, job()) as of:

        async def ends_meanwhile(request: web.BaseRequest) -> web.StreamResponse:
            del of.api.faults[EVENTS]
            of.api.jobs[0]["status"] = "succeeded"
            await of.polls()
            of.time.most = len(of.time.naps) + 3
            return web.json_response({"data": [], "has_more": False})

        await of.polls()
        of.api.faults[EVENTS] = ends_meanwhile
        with pytest.raises(Enough):
            await of.watcher.read()
        assert (await of.tracked()).finalized
        assert (await of.tracked()).since + timedelta(seconds=30) >= at(of.api.when(EVENTS)[1])


def test_nothing_is_read_of_a_job_that_is_gone() -> None:
    state = PollState()
    follow(state, 0.0, b.tracked())
    follow(state, 60.0, b.tracked(b.job(status=Status.UNKNOWN), missing=3))
    assert state.streams_due == {}
