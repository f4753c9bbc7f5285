"""A blocked loop is noticed by liveness, and a crashed one is counted and restarted without affecting others."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog.testing

from monitor.app.loops import supervise
from monitor.app.run import run
from monitor.app.watchdog import Watchdog, WatchedClock
from monitor.config import LocatedIssue, Settings, settings_from
from monitor.courier import Courier, Lanes
from monitor.notifiers.base import Attempt
from monitor.secret import Redactor
from monitor.simulator import Simulation, Traffic, organisations, serve
from monitor.store import Corrupt, Gone
from tests.courier.parts import POLICY, Hands, Scripted, office
from tests.e2e.daemon import Daemon, organization, until
from tests.e2e.test_story import rounds


class Broken:
    """A loop that crashes several times, each time with the next exception."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.begun = 0

    async def run(self) -> None:
        self.begun += 1
        if self.errors:
            raise self.errors.pop(0)


@pytest.mark.fault("G22", "X10")
async def test_a_loop_that_breaks_is_begun_anew_and_counted() -> None:
    clock, loop, counted = Hands(), Broken(ValueError("a bug"), KeyError("another")), []
    with structlog.testing.capture_logs() as logs:
        await supervise("watcher of a", loop.run, clock, lambda: counted.append(clock.ticks))
    assert loop.begun == 3
    assert len(counted) == 2
    assert [entry["task"] for entry in logs if entry["event"] == "task.failed"] == ["watcher of a"] * 2


@pytest.mark.fault("G22", "X10")
async def test_a_loop_that_breaks_at_once_again_and_again_waits_longer_each_time_up_to_a_minute() -> None:
    clock, loop, moments = Hands(), Broken(*(ValueError() for _ in range(10))), []
    await supervise("a", loop.run, clock, lambda: moments.append(clock.ticks))
    waits = [b - a for a, b in itertools.pairwise(moments)]
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60, 60]


@pytest.mark.fault("G22", "S05", "X10")
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Gone("the file"), id="gone"),
        pytest.param(Corrupt("a page"), id="corrupt"),
        pytest.param(ExceptionGroup("of tasks", [ExceptionGroup("more", [Gone("the file")])]), id="gone, in groups"),
    ],
)
async def test_without_its_database_no_loop_is_begun_anew(error: Exception) -> None:
    loop = Broken(error)
    with pytest.raises((Gone, Corrupt, ExceptionGroup)):
        await supervise("a", loop.run, Hands())
    assert loop.begun == 1


@pytest.mark.fault("G22")
def test_an_event_loop_that_does_not_tick_is_not_alive() -> None:
    clock = Hands()
    watchdog = Watchdog(clock)
    clock.move(9)
    assert watchdog.alive()
    clock.move(2)
    assert not watchdog.alive()


@pytest.mark.fault("G20")
async def test_what_holds_up_the_loop_is_seen_in_how_late_it_ticks() -> None:
    late: list[float] = []

    class Busy(Hands):
        async def sleep(self, seconds: float) -> None:
            self.move(seconds + (0.2 if len(late) == 2 else 0.0))

    def ticked(seconds: float) -> None:
        late.append(seconds)
        if len(late) == 4:
            raise KeyError  # it would run forever

    with pytest.raises(KeyError):
        await Watchdog(Busy(), ticked).run()
    assert late == pytest.approx([0.0, 0.0, 0.2, 0.0])


@pytest.mark.fault("G22")
async def test_a_loop_that_sleeps_is_alive_and_one_that_is_overdue_is_not() -> None:
    clock = Hands()
    watchdog, its = Watchdog(clock), WatchedClock(clock)
    ticking = clock.monotonic

    def alive() -> bool:
        watchdog._last = ticking()  # the event loop itself keeps running
        return watchdog.alive()

    with watchdog.watching("watcher of a", its):
        await its.sleep(3600)
        assert alive()
        clock.move(170)
        assert alive()
        clock.move(20)
        assert not alive()
        its.now()
        assert alive()
        clock.move(200)
        assert not alive()
    assert alive()


@pytest.mark.fault("G22")
def test_a_loop_without_a_clock_of_its_own_cannot_be_watched() -> None:
    with pytest.raises(TypeError), Watchdog(Hands()).watching("a", Hands()):
        pass


@pytest.mark.fault("G22")
async def test_a_courier_that_never_comes_back_from_its_target_turns_liveness_false(tmp_path: Path) -> None:
    async with office(tmp_path) as here, anyio.create_task_group() as tasks:
        await here.enqueue("a")
        begun, over = anyio.Event(), anyio.Event()

        async def hang(_: Attempt) -> None:
            begun.set()
            await over.wait()

        its = WatchedClock(here.clock)
        courier = Courier(
            outbox=here.store.outbox, notifier=Scripted([hang]), clock=its, owner="me", policy=POLICY,
            jitter=lambda: 1.0, lanes=Lanes(), metrics=here.metrics,
        )  # fmt: skip
        watchdog = Watchdog(here.clock)
        with watchdog.watching("courier of ops", its), structlog.testing.capture_logs() as logs:
            tasks.start_soon(courier.run)
            await begun.wait()
            here.clock.move(200)
            watchdog._last = here.clock.monotonic()
            assert not watchdog.alive()
            over.set()
            courier.retire()
            await anyio.wait_all_tasks_blocked()
            watchdog._last = here.clock.monotonic()
            assert watchdog.alive()
        assert [entry["event"] for entry in logs if entry["event"] == "delivery.sent"] == ["delivery.sent"]


@pytest.mark.fault("G22", "X10")
async def test_a_bug_in_a_reload_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1), traffic=Traffic(history=3))
    async with serve(simulation) as base_url, anyio.create_task_group() as tasks:
        daemon = Daemon(tmp_path, {})
        settings = settings_from(
            {
                "organizations": [organization(simulation.orgs[0], base_url)],
                "poll": {"interval": "200ms", "idle_interval": "200ms"},
                "store": {"url": f"sqlite:///{tmp_path}/monitor.db"},
                "server": {"listen": "127.0.0.1:0"},
            }
        )

        def broken() -> tuple[Settings, tuple[LocatedIssue, ...]]:
            raise RuntimeError("a bug")

        def listening(address: str) -> None:
            daemon.url = address

        async def main() -> None:
            await run(settings, read_again=broken, redactor=Redactor(), listening=listening)

        tasks.start_soon(main)
        await until(lambda: bool(daemon.url))
        await rounds(daemon, 1)
        with structlog.testing.capture_logs() as logs:
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: any(entry["event"] == "task.failed" for entry in logs))
        found: dict[str, Any] = await daemon.metrics()
        assert found['finetune_task_restarts_total{task="reloading"}'] == 1
        assert found['finetune_task_restarts_total{task="watcher"}'] == 0
        polls = found[f'finetune_org_polls_total{{org="{simulation.orgs[0].name}"}}']
        await rounds(daemon, int(polls) + 2)
        assert (await daemon.get("/-/healthy"))[0] == 200
        tasks.cancel_scope.cancel()
