"""The real process between a simulated provider, whose truth is known, and a receiver that records everything."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from monitor.simulator import Pace, Simulation, Traffic, organisations, serve
from tests.e2e.daemon import Daemon, drained, running
from tests.e2e.receivers import Inbox, webhook
from tests.e2e.test_story import configuration, rounds
from tests.faults.machine import stopwatch

QUICK = Pace(
    validation=(0.1, 0.3), queue=(0.1, 0.5), step=(0.02, 0.04), evaluation=(0.1, 0.3), announcement=(0.2, 0.4), steps=20
)
BUSY = Traffic(history=5, gap=(0.4, 1.2))
PATIENT = 60.0
"""Seconds to wait for what must arrive, even if the machine is loaded."""


@dataclass
class Arrival:
    """A received webhook."""

    key: str
    data: str
    life: int
    """How many times the process had been started by then."""
    at: float


@dataclass
class Scenario:
    """A running daemon; `lives` counts its starts."""

    simulation: Simulation
    daemon: Daemon
    hook: Inbox
    born: float = 0.0
    """When the baseline was complete: later ends must be announced."""
    before: float = 0.0
    """The time before the first poll: earlier ends are history and must not be announced."""
    lives: int = 1
    arrivals: list[Arrival] = field(default_factory=list)
    on_arrival: Callable[[dict[str, Any]], web.Response | None] = lambda body: None

    def take(self, body: dict[str, Any]) -> web.Response | None:
        """Record an arrival, accepted or not."""
        given = self.on_arrival(body)
        if given is None:
            key = f"{body['data']['transition']['id']} {body['type']}"
            data = json.dumps(body["data"], sort_keys=True)
            self.arrivals.append(Arrival(key=key, data=data, life=self.lives, at=time.time()))
        return given

    def ended(self, since: float | None = None) -> set[str]:
        """`org/job` of every job that ended between the baseline, or `since`, and now."""
        start, stop = self.born if since is None else since, time.time()
        return {
            f"{org.name}/{job.id}"
            for org in self.simulation.orgs
            for job in self.simulation.jobs(org)
            if job.plan.ended_at is not None and start < job.plan.ended_at <= stop
        }

    async def all_told(self, seconds: float = PATIENT) -> set[str]:
        """Wait until every end so far was announced. Returns these ends.

        Fails when none has arrived for this many seconds; the total time depends on the machine.
        """
        ended = self.ended()
        try:
            await drained(lambda: len(ended - set(self.hook.ends())), seconds)
        except AssertionError:
            lost = sorted(ended - set(self.hook.ends()))
            raise AssertionError(f"{len(lost)} of {len(ended)} ends were never told: {lost}") from None
        return ended

    def repeats(self) -> list[Arrival]:
        """The arrivals of deliveries that had arrived before."""
        seen: set[str] = set()
        again = []
        for arrival in self.arrivals:
            if arrival.key in seen:
                again.append(arrival)
            seen.add(arrival.key)
        return again

    def repeats_by_crash(self) -> Counter[int]:
        """The number of repetitions for each crash, which is the end of the life in which the earlier copy arrived.

        The later copy may arrive much later, if the next life was too short to send it.
        """
        latest: dict[str, int] = {}
        found: Counter[int] = Counter()
        for arrival in self.arrivals:
            if latest.get(arrival.key, arrival.life) != arrival.life:
                found[latest[arrival.key]] += 1
            latest[arrival.key] = arrival.life
        return found

    def bodies(self) -> int:
        """How many ids arrived with different bodies."""
        distinct = {(arrival.key, arrival.data) for arrival in self.arrivals}
        return sum(1 for count in Counter(key for key, _ in distinct).values() if count > 1)

    def false(self) -> set[str]:
        """Announced ends that never happened, or were history."""
        return set(self.hook.ends()) - self.ended(self.before)

    def assert_sound(self, repeats: int = 0) -> None:
        """Assert that there are no false ends, no id with two bodies, and at most this many repetitions."""
        assert self.false() == set()
        assert self.bodies() == 0
        assert len(self.repeats()) <= repeats, [arrival.key for arrival in self.repeats()]

    async def alive(self) -> float:
        """Assert that `/-/healthy` succeeds. Returns its duration in seconds."""
        assert self.daemon.process is not None
        took = stopwatch(self.daemon.process.pid)
        status, text = await self.daemon.get("/-/healthy")
        assert status == 200, text
        return took()

    async def ready(self) -> bool:
        """Whether `/-/ready` succeeds."""
        return (await self.daemon.get("/-/ready"))[0] == 200

    async def unready(self) -> bool:
        """Whether `/-/ready` fails."""
        return not await self.ready()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self.daemon.process is not None
        self.daemon.process.send_signal(number)

    async def again(self) -> None:
        """Start the process again."""
        self.lives += 1
        await self.daemon.start()

    async def gone(self, seconds: float = PATIENT) -> int:
        """Wait until the process has ended by itself. Returns its exit code."""
        assert self.daemon.process is not None
        return await asyncio.wait_for(self.daemon.process.wait(), seconds)


@asynccontextmanager
async def running_scenario(
    folder: Path,
    *,
    orgs: int = 2,
    traffic: Traffic = BUSY,
    pace: Pace = QUICK,
    middlewares: Sequence[Any] = (),
    before: tuple[str, ...] = (),
    python: str = sys.executable,
    signed: bool = True,
    **over: Any,
) -> AsyncIterator[Scenario]:
    """A daemon after its first sight of all organisations; `over` extends its configuration."""
    simulation = Simulation(organisations(orgs), pace=pace, traffic=traffic)
    async with serve(simulation, middlewares=middlewares) as base_url, webhook(Inbox(signed=signed)) as hook:
        settings = configuration(simulation.orgs, base_url, hook, **over)
        since = time.time()
        async with running(folder, settings, before=before, python=python) as daemon:
            scenario = Scenario(simulation=simulation, daemon=daemon, hook=hook, before=since)
            hook.answer = scenario.take
            await rounds(daemon, 1)
            scenario.born = time.time()
            yield scenario
