"""Signals: the process ends in time, whatever hangs, and continues where it was after a restart."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.simulator import Traffic
from tests.faults.machine import allowed, needs
from tests.faults.scenario import PATIENT, Scenario, running_scenario

pytestmark = pytest.mark.timeout(180)


@asynccontextmanager
async def hanging() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A server that accepts connections and never answers. Yields its address, and an event set by a connection."""
    came, done = asyncio.Event(), asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await done.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", came
    finally:
        done.set()
        server.close()


async def ends(scenario: Scenario, *signals: signal.Signals) -> tuple[int, float]:
    """The exit code, and the seconds since the last of the signals."""
    for number in signals[:-1]:
        scenario.signal(number)
        await asyncio.sleep(0.3)
    began = time.monotonic()
    scenario.signal(signals[-1])
    return await scenario.gone(30), time.monotonic() - began


@pytest.mark.fault("G21", "X03")
async def test_sigterm_in_idleness_ends_at_once(tmp_path: Path) -> None:
    async with running_scenario(tmp_path, traffic=Traffic()) as scenario:
        code, seconds = await ends(scenario, signal.SIGTERM)
    assert code == 0
    assert seconds < 5


@asynccontextmanager
async def stuck(folder: Path) -> AsyncIterator[Scenario]:
    """A process with a poll and a delivery in progress, both to servers that never answer."""
    stop = asyncio.Event()
    hangs: list[bool] = []

    @web.middleware
    async def hang(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> Any:
        if hangs:
            await stop.wait()
        return await handler(request)

    slow = {"timeout": "30s"}
    async with hanging() as (url, came), running_scenario(folder, middlewares=[hang], delivery=slow) as scenario:
        good, scenario.hook.url = scenario.hook.url, url
        scenario.daemon.settings["notifiers"][0]["url"] = url
        scenario.daemon.write()
        scenario.signal(signal.SIGHUP)
        await asyncio.wait_for(came.wait(), PATIENT)
        hangs.append(True)
        await asyncio.sleep(0.7)
        yield scenario
        hangs.clear()
        stop.set()
        scenario.daemon.settings["notifiers"][0]["url"] = good
        await scenario.again()
        await scenario.all_told()
        scenario.assert_sound()


@pytest.mark.fault("G21", "X03")
@pytest.mark.slow
async def test_sigterm_amid_a_hanging_poll_and_delivery_ends_in_order_within_10_s(tmp_path: Path) -> None:
    async with stuck(tmp_path) as scenario:
        code, seconds = await ends(scenario, signal.SIGTERM)
        assert code == 0
        assert seconds < 10


@pytest.mark.fault("G21", "X03")
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    async with stuck(tmp_path) as scenario:
        code, seconds = await ends(scenario, signal.SIGTERM, number)
        assert code == 128 + number
        assert seconds < 1


@pytest.mark.fault("G21", "X03")
@pytest.mark.slow
async def test_sigterm_during_the_start_ends_it(tmp_path: Path) -> None:
    async with running_scenario(tmp_path) as scenario:
        for wait in (0.2, 0.5, 0.8, 1.1, 1.4, 1.8):
            await scenario.daemon.stop()
            with suppress(TimeoutError, AssertionError):
                await asyncio.wait_for(scenario.daemon.start(), wait)
            began = time.monotonic()
            # Before Python reaches our first line, a signal has its default effect.
            assert await scenario.daemon.stop() in (0, -signal.SIGTERM)
            assert time.monotonic() - began < 10
        await scenario.again()
        await scenario.all_told()
        scenario.assert_sound()


@pytest.mark.fault("G21", "X06")
@pytest.mark.slow
async def test_as_process_1_it_hears_signals_also_the_second(tmp_path: Path) -> None:
    needs("unshare")
    allowed("unshare", "--pid", "--fork", "true")
    async with hanging() as (url, came):
        notifier = {"name": "stuck", "type": "webhook", "url": url}
        over: dict[str, Any] = {
            "delivery": {"timeout": "30s"},
            "before": ("unshare", "--pid", "--fork", "--kill-child"),
        }
        async with running_scenario(tmp_path, **over) as scenario:
            await scenario.all_told()
            os.kill(first_child(scenario), signal.SIGTERM)
            assert await scenario.gone(12) == 0
            scenario.daemon.settings["notifiers"].append(notifier)
            scenario.daemon.settings["routes"].append({"notify": ["stuck"]})
            await scenario.again()
            await asyncio.wait_for(came.wait(), PATIENT)
            child = first_child(scenario)
            os.kill(child, signal.SIGTERM)
            await asyncio.sleep(0.3)
            os.kill(child, signal.SIGTERM)
            assert await scenario.gone(2) == 128 + signal.SIGTERM


def first_child(scenario: Scenario) -> int:
    assert scenario.daemon.process is not None
    pid = scenario.daemon.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
