"""Kills and stops at random and chosen moments: nothing is lost, and few notifications are repeated."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.simulator import Simulation, Traffic, organisations, serve
from tests.e2e.daemon import Daemon, running
from tests.e2e.receivers import webhook
from tests.e2e.test_story import configuration, rounds
from tests.faults.kill_campaign import campaign
from tests.faults.machine import allowed, needs
from tests.faults.scenario import QUICK, Scenario, running_scenario

pytestmark = pytest.mark.timeout(600)


@pytest.mark.fault("G1", "G3", "G4", "X01")
@pytest.mark.slow
async def test_killed_at_random_moments_loses_nothing(tmp_path: Path) -> None:
    found = await campaign(tmp_path, 8, seed=int(time.time()))
    print(found)
    assert found.kept, str(found)


@pytest.mark.fault("G1", "G3", "G4", "X01")
@pytest.mark.slow
@pytest.mark.parametrize("when", ["before the answer", "after the answer"])
async def test_killed_as_a_message_arrives_it_repeats_that_one_once(tmp_path: Path, when: str) -> None:
    killed: list[str] = []
    async with running_scenario(tmp_path) as scenario:

        def kill(body: dict[str, Any]) -> None:
            key = body["data"]["transition"]["id"]
            if len(killed) < scenario.lives and key not in killed:
                killed.append(key)
                asyncio.get_running_loop().call_later(0.0 if when == "before the answer" else 0.001, slay)

        def slay() -> None:
            with suppress(ProcessLookupError):
                scenario.signal(signal.SIGKILL)

        scenario.on_arrival = kill
        for _ in range(4):
            await scenario.gone()
            await scenario.again()
        scenario.on_arrival = lambda body: None
        if scenario.daemon.process_ended:
            await scenario.again()
        await scenario.all_told()
        scenario.assert_sound(repeats=8 * scenario.lives)
        assert len(scenario.arrivals) == len({(arrival.key, arrival.life) for arrival in scenario.arrivals})


@pytest.mark.fault("G1", "G2", "X02")
@pytest.mark.slow
async def test_killed_at_the_nth_system_call_loses_nothing(tmp_path: Path) -> None:
    needs("strace")
    allowed("strace", "-qq", "-o", "/dev/null", "true")
    calls = "sendto,sendmsg,recvfrom,pwrite64,fdatasync,ftruncate,unlink"
    async with running_scenario(tmp_path) as scenario:
        await scenario.daemon.stop(signal.SIGKILL)
        for nth in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
            scenario.daemon.before = (
                "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}",
                "-e", f"inject={calls}:signal=KILL:when={nth}",
            )  # fmt: skip
            scenario.lives += 1
            with suppress(AssertionError):
                await scenario.daemon.start()
            assert await scenario.gone() != 0
        scenario.daemon.before = ()
        await scenario.again()
        await scenario.all_told()
        scenario.assert_sound(repeats=8 * scenario.lives)
        assert len(scenario.arrivals) == len({(arrival.key, arrival.life) for arrival in scenario.arrivals})


@pytest.mark.fault("G6")
@pytest.mark.slow
async def test_killed_during_the_first_look_history_stays_history(tmp_path: Path) -> None:
    pages: list[str] = []
    daemons: list[Daemon] = []

    @web.middleware
    async def kill_at_page_3(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> Any:
        if request.method == "GET" and request.path.endswith("/jobs"):
            pages.append(request.query.get("after", ""))
            if len(pages) in (3, 6, 10):
                with suppress(ProcessLookupError, AttributeError):
                    daemons[0].process.send_signal(signal.SIGKILL)  # type: ignore[union-attr]  # suppressed
                await asyncio.sleep(1)
        return await handler(request)

    simulation = Simulation(organisations(2), pace=QUICK, traffic=Traffic(history=400, gap=(1.0, 2.0)))
    async with serve(simulation, middlewares=[kill_at_page_3]) as base_url, webhook() as hook:
        async with running(tmp_path, configuration(simulation.orgs, base_url, hook)) as daemon:
            daemons.append(daemon)
            before = time.time()
            scenario = Scenario(simulation=simulation, daemon=daemon, hook=hook, before=before)
            hook.answer = scenario.take
            for _ in range(3):
                await scenario.gone()
                with suppress(AssertionError):
                    await scenario.again()
            await rounds(daemon, 1)
            scenario.born = time.time()
            await asyncio.sleep(1)
            await scenario.all_told()
            scenario.assert_sound()
    assert len(pages) > 10


@pytest.mark.fault("T04")
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [pytest.param(5.0, id="for 5 s"), pytest.param(60.0, id="for 60 s")])
async def test_stopped_for_a_while_it_catches_up_once(tmp_path: Path, seconds: float) -> None:
    asked: list[float] = []

    @web.middleware
    async def note(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> Any:
        if request.path.endswith("/jobs"):
            asked.append(time.monotonic())
        return await handler(request)

    async with running_scenario(tmp_path, middlewares=[note]) as scenario:
        scenario.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        scenario.signal(signal.SIGCONT)
        went_on = time.monotonic()
        await scenario.all_told()
        burst = [at for at in asked if went_on <= at < went_on + 1.0]
        assert len(burst) <= 2 * (1.0 / 0.3 + 2), "it polls as ever, and makes up for nothing"
        scenario.assert_sound()
        assert await scenario.alive() < 1.0
