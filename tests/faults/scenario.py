"""The real process between a simulated provider, of which the truth is known, and a receiver that keeps all it gets."""

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
"""Seconds to wait for what must come: the machine may have other things to do."""


@dataclass
class Arrival:
    """One webhook, as the receiver saw it."""

    key: str
    data: str
    life: int
    """How many times the process had been started by then."""
    at: float


@dataclass
class Scenario:
    """A daemon at work. `lives` counts its starts, for those who kill it."""

    simulation: Simulation
    daemon: Daemon
    hook: Inbox
    born: float = 0.0
    """When the baseline was known: what ended after that must be told."""
    before: float = 0.0
    """Before the first look: what ended by then is history, and must not be told."""
    lives: int = 1
    arrivals: list[Arrival] = field(default_factory=list)
    on_arrival: Callable[[dict[str, Any]], web.Response | None] = lambda body: None

    def take(self, body: dict[str, Any]) -> web.Response | None:
        """Keep what arrived, accepted or not."""
        given = self.on_arrival(body)
        if given is None:
            key = f"{body['data']['transition']['id']} {body['type']}"
            data = json.dumps(body["data"], sort_keys=True)
            self.arrivals.append(Arrival(key=key, data=data, life=self.lives, at=time.time()))
        return given

    def ended(self, since: float | None = None) -> set[str]:
        """`org/job` of every job that ended since the baseline, or since that moment, until now."""
        start, stop = self.born if since is None else since, time.time()
        return {
            f"{org.name}/{job.id}"
            for org in self.simulation.orgs
            for job in self.simulation.jobs(org)
            if job.plan.ended_at is not None and start < job.plan.ended_at <= stop
        }

    async def all_told(self, seconds: float = PATIENT) -> set[str]:
        """Wait until everything that has ended by now was told; gives what that was.

        It is lost when for so many seconds nothing of it came: how long all of it takes is the machine's matter.
        """
        ended = self.ended()
        try:
            await drained(lambda: len(ended - set(self.hook.ends())), seconds)
        except AssertionError:
            lost = sorted(ended - set(self.hook.ends()))
            raise AssertionError(f"{len(lost)} of {len(ended)} ends were never told: {lost}") from None
        return ended

    def repeats(self) -> list[Arrival]:
        """What arrived again."""
        seen: set[str] = set()
        again = []
        for arrival in self.arrivals:
            if arrival.key in seen:
                again.append(arrival)
            seen.add(arrival.key)
        return again

    def repeats_by_crash(self) -> Counter[int]:
        """How many arrived again for each crash, which is the end of the life in which the copy before arrived.

        The copy after it may come much later, when the next life was too short to send it.
        """
        latest: dict[str, int] = {}
        found: Counter[int] = Counter()
        for arrival in self.arrivals:
            if latest.get(arrival.key, arrival.life) != arrival.life:
                found[latest[arrival.key]] += 1
            latest[arrival.key] = arrival.life
        return found

    def bodies(self) -> int:
        """How many ids arrived with more than one body."""
        distinct = {(arrival.key, arrival.data) for arrival in self.arrivals}
        return sum(1 for count in Counter(key for key, _ in distinct).values() if count > 1)

    def false(self) -> set[str]:
        """Ends that were told and never were, or were history."""
        return set(self.hook.ends()) - self.ended(self.before)

    def assert_sound(self, repeats: int = 0) -> None:
        """Nothing false, no id with two bodies, and no more repeats than that."""
        assert self.false() == set()
        assert self.bodies() == 0
        assert len(self.repeats()) <= repeats, [arrival.key for arrival in self.repeats()]

    async def alive(self) -> float:
        """How long `/-/healthy` takes, which says that all is well."""
        assert self.daemon.process is not None
        took = stopwatch(self.daemon.process.pid)
        status, text = await self.daemon.get("/-/healthy")
        assert status == 200, text
        return took()

    async def ready(self) -> bool:
        """What `/-/ready` says."""
        return (await self.daemon.get("/-/ready"))[0] == 200

    async def unready(self) -> bool:
        """The contrary."""
        return not await self.ready()

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self.daemon.process is not None
        self.daemon.process.send_signal(number)

    async def again(self) -> None:
        """Start it once more."""
        self.lives += 1
        await self.daemon.start()

    async def gone(self, seconds: float = PATIENT) -> int:
        """Wait until the process has ended by itself, and give its exit code."""
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
    """A daemon that has seen its organisations for the first time; `over` is more of its configuration."""
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
