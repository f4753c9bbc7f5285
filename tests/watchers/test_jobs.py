"""One organisation's watcher: real source, store and API; only the time is ours."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from monitor.domain.decide import Policy
from monitor.domain.flow import Change, EventsRead, Observation, Reason, TransitionKind
from monitor.domain.model import EventKind, Metrics, Status
from monitor.domain.news import EventType
from monitor.domain.pace import Pace
from monitor.domain.routing import Rule
from monitor.domain.snapshot import WatchState
from monitor.metrics.process import ProcessMetrics
from monitor.providers.base import SourceError
from monitor.secret import Secret
from monitor.simulator import Simulation, organisations, serve
from monitor.source import transport
from monitor.source.poll import Poll
from monitor.source.transport import Answer
from monitor.store import JobStore, Stores, StoreUnavailable, opened
from monitor.watchers.jobs import JobWatcher
from monitor.watchers.state import PollState, StartGate
from tests.builders import event
from tests.fakes import Waits, another_replica
from tests.metrics.scrapes import value
from tests.simulator.conftest import NOON, STEADY, Client, HandClock
from tests.source.servers import source as asking

EVERYTHING = Rule(
    on=frozenset(
        {
            EventType.APPEARED,
            EventType.STARTED,
            EventType.PAUSED,
            EventType.RESUMED,
            EventType.SUCCEEDED,
            EventType.FAILED,
            EventType.STALLED,
        }
    ),
    notify=("n",),
)


@dataclass
class Time(Waits):
    """The daemon's clock: wall and monotonic time move when it sleeps, or by hand."""

    hand: HandClock
    passed: float = 0.0
    naps: list[float] = field(default_factory=list)
    stop_after: int = 10**9

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.hand.now, UTC)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.move(max(seconds, 0.0))
        await anyio.lowlevel.checkpoint()
        if len(self.naps) >= self.stop_after:
            raise Enough

    def move(self, seconds: float) -> None:
        self.hand.move(seconds)
        self.passed += seconds


class Enough(Exception):
    """The loop has run as often as a test wants."""


@dataclass
class Watched:
    """Everything around one watcher."""

    watcher: JobWatcher
    store: Stores
    client: Client
    time: Time
    own: ProcessMetrics
    faults: dict[str, Callable[[], web.Response]]
    simulation: Simulation

    async def create(self, **body: Any) -> str:
        file = (await self.client.upload(TRAINING))[1]["id"]
        status, job = await self.client.call(
            "POST", "/fine_tuning/jobs", {"model": "gpt-4o-mini", "training_file": file, **body}
        )
        assert status == 200, job
        return str(job["id"])

    async def poll(self) -> list[tuple[TransitionKind, Status]]:
        changes = await self.watcher.poll_once(self.time.now())
        assert changes is not None
        return [(one.kind, one.after) for change in changes for one in change.transitions]

    async def read(self, *jobs: str) -> Change:
        """Read the event streams of these jobs, or of those that are due."""
        changes = await self.watcher.read_events_once(self.time.now(), jobs)
        assert changes is not None
        return changes[0]

    async def poll_and_read(self) -> list[tuple[TransitionKind, Status]]:
        """A poll, and what the second loop would read after it."""
        found = await self.poll()
        known = await self.store.jobs.known(self.watcher.source.org)
        ready = [id_ for id_, one in known.jobs.items() if one.active or one.ready_to_finalize(self.time.now())]
        if ready:
            found += [(one.kind, one.after) for one in (await self.read(*ready)).transitions]
        return found


TRAINING = b'{"messages": [{"role": "user", "content": "ask"}, {"role": "assistant", "content": "tell"}]}\n' * 12


@asynccontextmanager
async def watched(tmp_path: Path, **over: Any) -> AsyncIterator[Watched]:
    hand = HandClock(NOON)
    time, own, faults = Time(hand), ProcessMetrics(), dict[str, Callable[[], web.Response]]()
    simulation = Simulation(organisations(1, seed=1), clock=hand, pace=STEADY, seed=1)
    org = simulation.orgs[0]

    @web.middleware
    async def break_down(request: web.Request, handler: Any) -> web.StreamResponse:
        fault = faults.get(request.path.rsplit("/", 1)[1]) if request.method == "GET" else None
        return fault() if fault is not None else await handler(request)

    async with (
        serve(simulation, middlewares=[break_down]) as base_url,
        transport() as http,
        opened(f"sqlite:///{tmp_path}/m.db", clock=time) as store,
    ):
        source = asking(
            base_url, transport=http, org=org.name, secret=Secret(org.key), clock=time,
            count=lambda operation, code: own.requested(org.name, operation, code),
        ).source  # fmt: skip
        fields: dict[str, Any] = {
            "policy": Policy(rules=(EVERYTHING,), stall_after={Status.RUNNING: timedelta(hours=1)}),
            "pace": Pace(),
            "events_interval": 60.0,
        }
        watcher = JobWatcher(
            source=source, store=store.jobs, clock=time, reader_clock=time,
            process=own,
            jitter=lambda: 0.5, **{**fields, **over},
        )  # fmt: skip
        yield Watched(watcher, store, Client(http.session, base_url, org), time, own, faults, simulation)


def broken(status: int = 500, **headers: str) -> Callable[[], web.Response]:
    return lambda: web.json_response({"error": {"message": "down"}}, status=status, headers=headers)


async def test_a_job_is_followed_from_its_appearance_to_its_end(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        assert await of.poll_and_read() == []
        await of.create(suffix="bot")
        assert await of.poll_and_read() == [(TransitionKind.APPEARED, Status.VALIDATING)]
        of.time.move(6)
        assert await of.poll_and_read() == [(TransitionKind.MOVED, Status.QUEUED)]
        of.time.move(12)
        assert await of.poll_and_read() == [(TransitionKind.MOVED, Status.RUNNING)]
        of.time.move(60)
        assert await of.poll_and_read() == [(TransitionKind.MOVED, Status.SUCCEEDED)]
        [job] = (await of.store.reader.jobs()).items
        assert job.job.queue_time == timedelta(seconds=15)
        assert job.job.run_time == timedelta(seconds=50)
        of.time.move(11)
        assert await of.poll_and_read() == []
        known = await of.store.jobs.known(of.watcher.source.org)
        assert known.final == {job.job.id: Status.SUCCEEDED}
        messages = [event.message for event in (await of.store.reader.events("research", job.job.id)).items]
        assert messages[0] == "The job has successfully completed"


async def test_events_between_polls_show_progress(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await of.poll()
        job = await of.create()
        of.time.move(20)
        await of.poll()
        of.time.move(10)
        change = await of.read(job)
        assert change.tracked[0].job.training.latest.step == 15
        assert change.transitions == ()


async def test_a_stall_is_told_after_an_hour_of_silence(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await of.poll()
        job = await of.create(metadata={"simulate": "stall"})
        for _ in range(4):
            of.time.move(30)
            await of.poll()
            await of.read(job)
        of.time.move(3700)
        change = await of.read(job)
        assert [one.kind for one in change.transitions] == [TransitionKind.STALLED]
        assert [one.message.event_type for one in change.deliveries] == ["stalled"]


async def test_a_queue_longer_than_that_of_the_last_jobs_is_told_with_what_is_usual(tmp_path: Path) -> None:
    policy = Policy(rules=(EVERYTHING,), stall_after={Status.QUEUED: timedelta(hours=6)})
    async with watched(tmp_path, policy=policy) as of:
        await of.poll()
        earlier = [await of.create() for _ in range(20)]
        for _ in range(8):
            of.time.move(15)
            await of.poll()
            await of.read(*earlier)
        job = await of.create(metadata={"simulate": "stuck_queue"})
        of.time.move(30)
        await of.poll()
        assert (await of.read(job)).transitions == ()
        of.time.move(600)
        change = await of.read(job)
        assert [one.kind for one in change.transitions] == [TransitionKind.STALLED]
        facts = dict(change.deliveries[0].message.facts)
        assert facts["Usual"] == "95% of the last 20 jobs with this model waited 5m at most"


@pytest.mark.parametrize("reachable", [True, False], ids=["named", "not to be had"])
async def test_an_end_names_the_best_checkpoint_though_events_name_it_later(tmp_path: Path, reachable: bool) -> None:
    async with watched(tmp_path) as of:
        await of.poll()
        job = await of.create()
        of.time.move(20)
        await of.poll()
        points = [Metrics(step=step, steps=30, train_loss=2.0 - step / 30) for step in range(1, 31)]
        evals = ((5, 2.0), (10, 1.5), (20, 1.7), (30, 1.9))
        points += [Metrics(step=step, valid_loss=loss) for step, loss in evals]
        told = [
            event(f"e-{number}", of.time.now(), kind=EventKind.METRICS, metrics=point, job=job)
            for number, point in enumerate(points)
        ]
        reads = (EventsRead(job=job, events=tuple(reversed(told)), whole=False),)
        await of.watcher.commit(Observation(org="research", at=of.time.now(), listed=False, reads=reads))
        of.time.move(60)
        if not reachable:
            of.faults["checkpoints"] = broken()
        changes = await of.watcher.poll_once(of.time.now())
        assert changes is not None
        verdict = changes[0].tracked[0].verdict
        assert verdict is not None
        assert verdict.best_step == 10
        assert (verdict.best_checkpoint or "").startswith("ft:gpt-4o-mini") is reachable
        facts = dict(changes[0].deliveries[0].message.facts)
        assert (facts["Best step"], facts.get("Best checkpoint")) == ("10", verdict.best_checkpoint)


async def test_a_paused_job_is_told_paused_and_resumed(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await of.poll()
        job = await of.create()
        of.time.move(20)
        await of.poll()
        await of.client.call("POST", f"/fine_tuning/jobs/{job}/pause")
        assert await of.poll() == [(TransitionKind.MOVED, Status.PAUSED)]
        await of.client.call("POST", f"/fine_tuning/jobs/{job}/resume")
        of.time.move(1)
        await of.poll()
        told = [one.type for one in (await of.store.reader.deliveries()).items]
        assert told == ["finetune.job.resumed", "finetune.job.paused", "finetune.job.started"]


async def test_an_unchanged_poll_writes_nothing(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await of.poll()
        version = (await of.store.jobs.known("research")).version
        changes = await of.watcher.poll_once(of.time.now())
        assert changes is not None
        assert all(change.empty for change in changes)
        assert (await of.store.jobs.known("research")).version == version


async def test_an_end_that_was_read_but_not_stored_is_stored_by_the_next_poll_though_the_list_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_store: JobStore, _change: Change) -> None:
        raise StoreUnavailable("the disk is full")

    async with watched(tmp_path) as of:
        shown = {"object": "fine_tuning.job", "id": "ftjob-1", "model": "gpt-4o-mini", "created_at": int(NOON) - 60}
        answer = {"object": "list", "data": [shown], "has_more": False}
        of.faults["jobs"] = lambda: web.json_response(answer)
        await of.poll()
        shown["status"] = "running"
        for _ in range(3):  # the last one finds the list unchanged, and skips it
            await of.poll()
        shown["status"] = "succeeded"
        with monkeypatch.context() as patch:
            patch.setattr(JobStore, "commit", refuse)
            with pytest.raises(StoreUnavailable):
                await of.poll()
        assert await of.poll() == [(TransitionKind.MOVED, Status.SUCCEEDED)]


@pytest.mark.fault("P4")
@pytest.mark.parametrize("listed", [2, 600], ids=["few", "in slices"])
async def test_other_jobs_under_the_same_name_are_a_baseline_and_what_ends_later_is_news(
    tmp_path: Path, listed: int
) -> None:
    def at(place: str | None) -> JobWatcher:
        policy = replace(of.watcher.policy, place=place)
        return replace(of.watcher, policy=policy, state=PollState())

    def jobs(prefix: str, count: int, status: str) -> list[dict[str, Any]]:
        times = {"created_at": int(NOON) - 120, "finished_at": int(NOON) - 60 if status == "succeeded" else None}
        common = {"object": "fine_tuning.job", "model": "gpt-4o-mini", "status": status, **times}
        return [{**common, "id": f"ftjob-{prefix}-{number}"} for number in range(count)]

    async with watched(tmp_path) as of:
        answer = {"object": "list", "data": jobs("a", 2, "running"), "has_more": False}
        of.faults["jobs"] = lambda: web.json_response(answer)
        for place in (None, "openai project=a", "openai project=a"):  # a database from before that was kept, and after
            await at(place).poll_once(of.time.now())
        answer["data"] = [*jobs("b", listed, "succeeded"), *jobs("c", 1, "running")]
        with capture_logs() as logs:
            moved = at("openai project=b")
            changes = await moved.poll_once(of.time.now())
        assert changes is not None
        kinds = {one.kind for change in changes for one in change.transitions}
        assert (kinds, [one.notifier for change in changes for one in change.deliveries]) == (
            {TransitionKind.BASELINE}, [],
        )  # fmt: skip
        [line] = [line for line in logs if line["event"] == "org.lists_other_jobs"]
        assert (line["before"], line["now"]) == ("openai project=a", "openai project=b")
        assert not (await of.store.jobs.known("research")).first_sight
        answer["data"] = [*jobs("b", listed, "succeeded"), *jobs("c", 1, "succeeded")]
        changes = await at("openai project=b").poll_once(of.time.now())
        assert changes is not None
        assert {one.message.subject.id for change in changes for one in change.deliveries} == {"ftjob-c-0"}


@pytest.mark.fault("P4")
async def test_another_spelling_of_the_same_place_is_no_baseline_and_an_idle_organisation_knows_its_place(
    tmp_path: Path,
) -> None:
    def at(place: str | None) -> JobWatcher:
        return replace(of.watcher, policy=replace(of.watcher.policy, place=place), state=PollState())

    def job(id_: str, status: str) -> dict[str, Any]:
        return {
            "object": "fine_tuning.job", "id": id_, "model": "gpt-4o-mini", "status": status,
            "created_at": int(NOON) + 5, "finished_at": int(NOON) + 8 if status == "succeeded" else None,
        }  # fmt: skip

    async with watched(tmp_path) as of:
        answer: dict[str, Any] = {"object": "list", "data": [], "has_more": False}
        of.faults["jobs"] = lambda: web.json_response(answer)
        await at(None).poll_once(of.time.now())
        idle = at("azure endpoint=a")
        for _ in range(2):
            await idle.poll_once(of.time.now())
        assert (await of.store.jobs.known("research")).place == "azure endpoint=a"
        of.time.move(9)
        answer["data"] = [job("ftjob-1", "running")]
        await idle.poll_once(of.time.now())
        answer["data"] = [job("ftjob-2", "succeeded"), job("ftjob-1", "succeeded")]
        changes = await at("azure base_url=a/v1").poll_once(of.time.now())
        assert changes is not None
        told = {one.message.subject.id for change in changes for one in change.deliveries}
        assert told == {"ftjob-1", "ftjob-2"}, "a known job shows that it is the same list"
        assert (await of.store.jobs.known("research")).place == "azure base_url=a/v1"


async def test_somebody_else_s_lease_is_respected(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        assert await another_replica(of.store, of.time).take("research")
        assert await of.watcher.poll_once(of.time.now()) is None
        assert await of.watcher.read_events_once(of.time.now(), ["x"]) is None


async def loop(of: Watched, turns: int) -> None:
    """Run the watcher's loop of polls for so many naps."""
    of.time.stop_after = len(of.time.naps) + turns
    with pytest.raises(Enough):
        await of.watcher.run()


async def read_loop(of: Watched, turns: int) -> None:
    """Run the watcher's loop that reads streams and files for so many naps."""
    of.time.stop_after = len(of.time.naps) + turns
    with pytest.raises(Enough):
        await of.watcher.read()


async def test_the_loop_is_brisk_with_active_jobs_and_calm_without(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await loop(of, 2)
        assert of.time.naps[1] == 300
        await of.create(metadata={"simulate": "stuck_queue"})
        await loop(of, 2)
        assert of.time.naps[3] == 30
        assert of.watcher.state.up is True


async def test_a_second_poll_waits_for_the_first_of_others_but_no_longer_than_an_interval(tmp_path: Path) -> None:
    gate = StartGate({"research", "another"})
    async with watched(tmp_path, gate=gate) as of:
        await of.create(metadata={"simulate": "stuck_queue"})
        await loop(of, 4)
        assert of.time.naps == [0.0, 30.0, 30.0, 30.0], "first, due, held, due"
        assert value(of.own, "finetune_poll_lag_seconds_sum", {}) == 0, "waiting for others is no lag"
        gate.passed(["another"])
        await loop(of, 3)
        assert of.time.naps[4:] == [0.0, 30.0, 30.0], "first, due, due"


async def said(of: Watched) -> WatchState | None:
    """How watching goes, as every replica reads it."""
    return (await of.store.reader.watching(["research"])).get("research")


async def test_how_watching_goes_is_in_the_store_when_it_changes_and_else_every_minute_and_a_half(
    tmp_path: Path,
) -> None:
    async with watched(tmp_path) as of:
        assert await said(of) is None
        await of.create(metadata={"simulate": "stuck_queue"})
        await loop(of, 2)
        first = await said(of)
        assert first is not None
        assert (first.up, first.owner, first.trouble) == (True, of.store.leases.owner, None)
        assert first.next_poll == of.time.now()
        await loop(of, 3)
        assert await said(of) == first, "nothing has changed"
        await loop(of, 3)
        later = await said(of)
        assert later is not None
        assert later.last_success is not None
        assert first.last_success is not None
        assert later.last_success - first.last_success >= timedelta(seconds=85)
        assert later.since == first.since
        of.faults["jobs"] = broken(401)
        await loop(of, 2)
        down = await said(of)
        assert down is not None
        assert (down.up, down.trouble and down.trouble.reason) == (False, Reason.AUTH)
        assert down.since > first.since


async def test_after_the_clock_was_set_the_store_says_at_once_how_watching_goes(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await of.create(metadata={"simulate": "stuck_queue"})
        await loop(of, 2)
        of.time.hand.move(1000 * 86_400)
        before = await said(of)
        assert before is not None
        assert not before.current(of.time.now())
        await loop(of, 2)
        after = await said(of)
        assert after is not None
        assert after.current(of.time.now())


async def test_a_replica_that_lost_its_lease_says_nothing_of_how_watching_goes(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await loop(of, 2)
        before = await said(of)
        await of.store.leases.end()
        assert await another_replica(of.store, of.time).take("research")
        of.faults["jobs"] = broken()
        await loop(of, 3)
        assert await said(of) == before


async def test_a_failing_api_is_down_and_backed_off_and_recovers(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        of.faults["jobs"] = broken()
        await loop(of, 4)
        health = [(of.watcher.state.up, of.watcher.state.trouble)]
        assert of.time.naps[1:] == [pytest.approx(15), pytest.approx(30), pytest.approx(60)]
        del of.faults["jobs"]
        await loop(of, 2)
        health.append((of.watcher.state.up, of.watcher.state.trouble))
        assert of.watcher.state.failures == 0
    assert [(up, trouble.reason if trouble else None) for up, trouble in health] == [
        (False, Reason.UNAVAILABLE),
        (True, None),
    ]


async def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        of.faults["jobs"] = broken(429, **{"Retry-After": "77"})
        await loop(of, 2)
        assert of.time.naps[1] >= 77


@pytest.mark.fault("P22")
async def test_a_limit_met_while_reading_events_pauses_the_polls_too(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await of.poll()
        await of.create(metadata={"simulate": "stuck_queue"})
        await loop(of, 2)
        of.faults["events"] = broken(429, **{"Retry-After": "500"})
        await read_loop(of, 1)
        assert of.time.naps[-1] == pytest.approx(500), "the streams are left alone"
        of.time.move(-400)
        await loop(of, 2)
        assert of.time.naps[-1] == pytest.approx(400), "and so is the list"
        assert of.watcher.state.up is True


async def test_broken_event_streams_do_not_stop_the_polls_nor_the_announcements(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await of.poll()
        of.faults["events"] = broken()
        await of.create()
        of.time.move(70)
        await loop(of, 2)
        assert [one.type for one in (await of.store.reader.deliveries()).items] == ["finetune.job.succeeded"]
        await read_loop(of, 1)
        assert of.watcher.state.trouble is not None
        assert of.watcher.state.up is True
        await of.create(metadata={"simulate": "stuck_queue"})
        await loop(of, 2)
        told = [one.type for one in (await of.store.reader.deliveries()).items]
        assert told == ["finetune.job.appeared", "finetune.job.succeeded"]


async def test_a_job_deleted_at_the_provider_is_given_up_silently(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await of.poll()
        job = await of.create(metadata={"simulate": "stuck_queue"})
        await of.poll()
        of.faults["jobs"] = lambda: web.json_response({"object": "list", "data": [], "has_more": False})
        of.faults[job] = broken(404)
        seen = [await of.poll() for _ in range(4)]
        assert seen == [[], [], [(TransitionKind.GONE, Status.UNKNOWN)], []]
        assert [one.type for one in (await of.store.reader.deliveries()).items] == ["finetune.job.appeared"]


async def test_a_clock_set_a_day_ahead_stalls_nothing(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        await of.poll()
        job = await of.create(metadata={"simulate": "stall"})
        of.time.move(30)
        await of.poll()
        await of.read(job)
        of.time.hand.move(86_400)
        change = await of.read(job)
        assert change.transitions == ()


def of_requests() -> list[Poll | Answer | SourceError]:
    """What requests leave that is in memory now, also of other tests."""
    return [each for each in gc.get_objects() if isinstance(each, (Poll, Answer, SourceError))]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(broken(), id="500"),
        pytest.param(broken(429), id="429"),
        pytest.param(broken(401), id="401"),
        pytest.param(lambda: web.Response(text="<html>"), id="html"),
        pytest.param(lambda: web.Response(text='{"data": [{"id":'), id="cut off"),
    ],
)
async def test_failed_requests_leave_nothing_that_only_a_collection_of_garbage_would_free(
    tmp_path: Path, fault: Callable[[], web.Response]
) -> None:
    async with watched(tmp_path) as of:
        job = await of.create(metadata={"simulate": "stuck_queue"})
        await loop(of, 2)
        gc.collect()
        before = of_requests()
        gc.disable()
        try:
            of.faults["events"] = fault
            for _ in range(3):
                await of.read(job)
            of.faults["jobs"] = fault
            await loop(of, 5)
            left = [each for each in of_requests() if not any(each is other for other in before)]
        finally:
            gc.enable()
        assert of.watcher.state.up is False
        assert left == []
