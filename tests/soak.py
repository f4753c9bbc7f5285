"""Mixed faults at speed against the real process, for minutes or hours: `python -m tests.soak MINUTES`.

Prints memory, file descriptors, threads, tasks and the database's size at the beginning and the end, and what was lost
or repeated. Fails when memory, descriptors, threads or tasks grow after the warm-up, or when anything is lost or false.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import median_low
from typing import Any

from aiohttp import web

from monitor.simulator import Traffic
from monitor.simulator.plan import Status
from tests.e2e.daemon import until
from tests.faults.scenario import Scenario, running_scenario

ORGS = 6
STUCK = 60.0
"""Seconds after which a job that would never end is cancelled. They would be followed for ever, and the load would grow
with them: after half an hour it would be three times that of the warm-up."""
TRAFFIC = Traffic(history=20, gap=(2.0, 5.0))
# longer than the process is stopped: an answer that came in time is then not taken for one that was lost
DELIVERY = {"timeout": "5s", "retry_base": "200ms", "retry_max": "1s"}
POLL = {
    "interval": "300ms",
    "idle_interval": "300ms",
    "events_interval": "1s",
    "timeout": "2s",
    "max_requests_per_second": 50,
}
GROWTH = 1.10
"""What is allowed, with a few of slack where numbers are small."""
CALM = 90.0
"""Seconds without faults and long jobs before something is measured: longer than a connection to a provider is kept
without use. Jobs are cancelled as they begin, since the number of those that run differs from moment to moment, and
with it that of tasks and connections."""
SAMPLES = 40
"""Of memory the median counts, of what is counted the least: what leaks is there at any moment. Lists are read several
times a second, and therefore not measured at equal distances, which might find them at work each time."""


_ANSWERS: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "500": (500, b'{"error": {"message": "boom"}}', {}),
    "429": (429, b'{"error": {"message": "slow"}}', {"Retry-After": "1"}),
    "html": (200, b"<html>log in</html>", {}),
    "json": (200, b'{"data": [null, 7, {"id": "x"}], "has_more": "no"}', {}),
    "401": (401, b'{"error": {"message": "no", "code": "invalid_api_key"}}', {}),
}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """The process at one moment."""

    rss: int
    """In KiB."""
    fds: int
    threads: int
    tasks: int
    """Of the event loop."""
    database: int
    """In KiB, with its WAL."""

    def __str__(self) -> str:
        mb = f"{self.rss / 1024:.1f} MB"
        return f"RSS {mb} · fds {self.fds} · threads {self.threads} · tasks {self.tasks} · database {self.database} KiB"


async def measured(scenario: Scenario) -> Measure:
    """Read it off /proc and /metrics."""
    assert scenario.daemon.process is not None
    proc = Path("/proc") / str(scenario.daemon.process.pid)
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    files = [file for file in scenario.daemon.folder.glob("monitor.db*") if file.exists()]
    return Measure(
        rss=int(status["VmRSS"].split()[0]),
        fds=len(list((proc / "fd").iterdir())),
        threads=int(status["Threads"]),
        tasks=int((await scenario.daemon.metrics())["finetune_monitor_tasks"]),
        database=sum(file.stat().st_size for file in files) // 1024,
    )


@dataclass
class Weather:
    """What goes wrong, now and then: on both sides of the process, and under it."""

    dice: random.Random
    bad: float = 0.0
    """The part of all requests that go wrong."""
    counted: dict[str, int] = field(default_factory=dict)
    slow: set[str] = field(default_factory=set)

    @property
    def middleware(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        """Makes the provider's answers go wrong."""

        @web.middleware
        async def spoil(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> Any:
            if self.dice.random() >= self.bad:
                return await handler(request)
            return await self._spoiled(request) or await handler(request)

        return spoil

    async def _spoiled(self, request: web.Request) -> web.StreamResponse | None:
        kind = self.dice.choice([*_ANSWERS, "hang", "cut", "slow"])
        self.counted[kind] = self.counted.get(kind, 0) + 1
        if kind == "cut" and request.transport is not None:
            request.transport.close()
        if kind in _ANSWERS:
            status, body, headers = _ANSWERS[kind]
            return web.Response(status=status, body=body, headers={"Content-Type": "application/json", **headers})
        await asyncio.sleep({"hang": 4.0, "slow": 0.7}.get(kind, 0.0))
        return None

    def receive(self, _body: dict[str, Any]) -> web.Response | None:
        """Makes the receiver refuse. It never accepts and says otherwise, so that a repeat is the monitor's."""
        if self.dice.random() >= self.bad:
            return None
        status = self.dice.choice([500, 502, 503, 429])
        return web.Response(status=status, headers={"Retry-After": "1"} if status == 429 else {})


async def storm(scenario: Scenario, weather: Weather, until_then: float) -> None:
    """Faults in turn, each for some seconds, with calm between them."""
    doings = [
        lambda: _bad_requests(weather, 0.3), lambda: _reloads(scenario), lambda: _lock(scenario),
        lambda: _readers(scenario),
        lambda: _bad_requests(weather, 0.8), lambda: _stop_and_go(scenario),
    ]  # fmt: skip
    number = 0
    while time.monotonic() < until_then:
        await doings[number % len(doings)]()
        await asyncio.sleep(1.0)
        number += 1
    weather.bad = 0.0


async def _bad_requests(weather: Weather, part: float) -> None:
    weather.bad = part
    await asyncio.sleep(8.0)
    weather.bad = 0.0


async def _reloads(scenario: Scenario) -> None:
    for _ in range(10):
        scenario.signal(signal.SIGHUP)
        await asyncio.sleep(0.2)


async def _lock(scenario: Scenario) -> None:
    with (
        closing(sqlite3.connect(scenario.daemon.folder / "monitor.db", isolation_level=None, timeout=10)) as other,
        other,
    ):
        other.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(4.0)
        other.execute("ROLLBACK")
    other.close()


async def _readers(scenario: Scenario) -> None:
    for _ in range(20):
        for path in ("/metrics", "/", "/api/v1/jobs", "/-/ready"):
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(scenario.daemon.get(path), 5)


async def _stop_and_go(scenario: Scenario) -> None:
    scenario.signal(signal.SIGSTOP)
    await asyncio.sleep(3.0)
    scenario.signal(signal.SIGCONT)


async def soak(folder: Path, minutes: float) -> bool:
    """Whether all held. The first half is warm-up, of ten minutes at most."""
    weather = Weather(random.Random(7))
    store = {"url": f"sqlite:///{folder}/monitor.db", "retention": "1d"}
    # jobs keep their series for a short time, so that there is a steady state: else memory grows with what is shown
    metrics = {"job_retention": "30s"}
    log = {"level": "info"}
    over: dict[str, Any] = {"poll": POLL, "delivery": DELIVERY, "store": store, "metrics": metrics, "log": log}
    async with (
        running_scenario(folder, orgs=ORGS, traffic=TRAFFIC, middlewares=[weather.middleware], **over) as scenario,
        _watched(scenario),
    ):
        scenario.on_arrival = weather.receive
        whole = minutes * 60
        warm = min(whole / 2, 600.0)
        await storm(scenario, weather, time.monotonic() + warm)
        first = await _calm(scenario)
        print(f"after the warm-up:  {first}", flush=True)
        await storm(scenario, weather, time.monotonic() + whole - warm)
        last = await _calm(scenario)
        print(f"at the end:         {last}")
        good = await _told(scenario, weather)
        good &= _flat("RSS", first.rss, last.rss, 4096)
        good &= _flat("fds", first.fds, last.fds, 4) and _flat("threads", first.threads, last.threads, 8)
        good &= _flat("tasks", first.tasks, last.tasks, 8)
        good &= await scenario.daemon.stop() == 0
        return good


@asynccontextmanager
async def _watched(scenario: Scenario) -> AsyncIterator[None]:
    """Print how it goes once a minute, and cancel what is stuck."""

    async def watch() -> None:
        minute = 0
        while True:
            await asyncio.sleep(60.0)
            minute += 1
            _cancel_stuck(scenario)
            print(f"  minute {minute:>3}        {await measured(scenario)}", flush=True)

    async with _beside(watch()):
        yield


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do this until the context ends."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


def _cancel_stuck(scenario: Scenario) -> None:
    for org in scenario.simulation.orgs:
        for job in scenario.simulation.jobs(org):
            if job.plan.ended_at is None and job.created_at < time.time() - STUCK:
                scenario.simulation.cancel(org, job.id)


@asynccontextmanager
async def _without_jobs(scenario: Scenario) -> AsyncIterator[None]:
    """Cancel all jobs as they begin."""

    async def cancel() -> None:
        simulation = scenario.simulation
        while True:
            for org in simulation.orgs:
                for job in simulation.jobs(org):
                    if job.plan.status(simulation.clock()) in (Status.QUEUED, Status.RUNNING):
                        simulation.cancel(org, job.id)
            await asyncio.sleep(0.5)

    async with _beside(cancel()):
        yield


async def _calm(scenario: Scenario) -> Measure:
    """What is measured once all is well: see `SAMPLES`."""
    samples = []
    async with _without_jobs(scenario):
        await asyncio.sleep(CALM)
        await until(scenario.ready, 90)
        for _ in range(SAMPLES):
            samples.append(await measured(scenario))
            await asyncio.sleep(random.uniform(0.1, 0.7))
    found = {each.name: [getattr(one, each.name) for one in samples] for each in fields(Measure)}
    sizes = ("rss", "database")
    return Measure(**{name: median_low(values) if name in sizes else min(values) for name, values in found.items()})


async def _told(scenario: Scenario, weather: Weather) -> bool:
    ended = scenario.ended()
    with suppress(AssertionError):
        await scenario.all_told(90)
    lost, repeats = ended - set(scenario.hook.ends()), scenario.repeats()
    metrics = await scenario.daemon.metrics()
    bugs = sum(value for name, value in metrics.items() if name.startswith("finetune_task_restarts_total"))
    print(
        f"jobs ended {len(ended)} · lost {len(lost)} · repeated {len(repeats)}",
        f"· ids with two bodies {scenario.bodies()}",
    )
    print(f"false {len(scenario.false())} · loops that broke off {bugs:.0f}")
    print(f"refused by the receiver {scenario.hook.refused} · by the provider {weather.counted}")
    return bool(ended) and not (lost or repeats or scenario.bodies() or scenario.false() or bugs)


def _flat(what: str, first: int, last: int, slack: int) -> bool:
    if last <= max(first * GROWTH, first + slack):
        return True
    print(f"{what} grew from {first} to {last}")
    return False


def main(minutes: float) -> int:
    """Run it in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        good = asyncio.run(soak(Path(folder), minutes))
        if not good:
            log = (Path(folder) / "log").read_text()
            print(*[line for line in log.splitlines() if '"level":"error"' in line][-20:], sep="\n")
    print("good" if good else "NOT GOOD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0))
