"""Several real daemons on one real PostgreSQL, between a simulated provider and a receiver that records everything."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from aiohttp import web

from monitor.simulator import Pace, Simulation, Traffic, organisations, serve
from tests.e2e.daemon import Daemon, running, until
from tests.e2e.receivers import Inbox, webhook
from tests.e2e.test_story import configuration
from tests.faults.scenario import BUSY, QUICK, Scenario
from tests.replicas.cluster import Cluster

LEASE = 3.0
"""Seconds; the shortest lease that leaves time for a poll on a loaded machine."""
WORD = "X-Replica"


@dataclass(frozen=True)
class Poll:
    """A poll of a list of jobs, as the provider saw it."""

    at: float
    key: str
    """The organisation's key."""
    replica: str


@dataclass
class Polls:
    """Which replica polled when. Each replica's configuration adds a header with its name."""

    seen: list[Poll] = field(default_factory=list)

    @property
    def middleware(self) -> Any:
        """The middleware for the simulator."""

        @web.middleware
        async def note(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
            if request.path.endswith("/fine_tuning/jobs") and "after" not in request.query:
                key = request.headers["Authorization"]
                self.seen.append(Poll(at=time.monotonic(), key=key, replica=request.headers.get(WORD, "")))
            return await handler(request)

        return note

    def by_org(self, since: float = 0.0) -> dict[str, list[Poll]]:
        """The polls of each organisation, in order."""
        found: dict[str, list[Poll]] = defaultdict(list)
        for poll in self.seen:
            if poll.at >= since:
                found[poll.key].append(poll)
        return found

    def owners(self, since: float) -> dict[str, str]:
        """The replica that polled each organisation last, for organisations that were polled since then."""
        return {key: polls[-1].replica for key, polls in self.by_org(since).items()}

    def shortest_change(self, since: float = 0.0) -> float:
        """The shortest time in seconds between polls of the same organisation by different replicas."""
        changes = (
            later.at - earlier.at
            for polls in self.by_org(since).values()
            for earlier, later in pairwise(polls)
            if earlier.replica != later.replica
        )
        return min(changes, default=float("inf"))


@dataclass
class Fleet:
    """The replicas by name, and what is observed of them."""

    scenario: Scenario
    replicas: dict[str, Daemon]
    polls: Polls

    async def shares(self) -> dict[str, float]:
        """How many organisations each running replica reports to have."""
        running = {name: daemon for name, daemon in self.replicas.items() if not daemon.process_ended}
        return {name: (await daemon.metrics())["finetune_monitor_organizations"] for name, daemon in running.items()}

    async def fair(self) -> bool:
        """Whether the shares differ by at most one and add up to all organisations."""
        shares = (await self.shares()).values()
        return max(shares) - min(shares) <= 1 and sum(shares) == len(self.scenario.simulation.orgs)

    def copies(self) -> Counter[str]:
        """How often each delivery arrived."""
        return Counter(self.scenario.hook.ids)


@asynccontextmanager
async def fleet(
    folder: Path,
    urls: dict[str, str],
    *,
    orgs: int = 6,
    traffic: Traffic = BUSY,
    pace: Pace = QUICK,
    lease: float = LEASE,
    before: dict[str, Sequence[str]] | None = None,
    start: Sequence[str] | None = None,
    each_org: dict[str, Any] | None = None,
    middlewares: Sequence[Any] = (),
    signed: bool = True,
    **over: Any,
) -> AsyncIterator[Fleet]:
    """Replicas after the first sight of the organisations, each with its own URL of the database.

    `start`: those to start.
    """
    simulation, polls = Simulation(organisations(orgs), pace=pace, traffic=traffic), Polls()
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(serve(simulation, middlewares=[polls.middleware, *middlewares]))
        hook = await stack.enter_async_context(webhook(Inbox(signed=signed)))
        replicas: dict[str, Daemon] = {}
        since = time.time()
        for name, url in urls.items():
            settings = configuration(simulation.orgs, base_url, hook, **over)
            settings["store"] = {"url": url, "lease": f"{int(lease * 1000)}ms"}
            for org in settings["organizations"]:
                org |= {"headers": {WORD: name}, **(each_org or {})}
            (folder / name).mkdir()
            command = tuple((before or {}).get(name, ()))
            if start is None or name in start:
                daemon = await stack.enter_async_context(running(folder / name, settings, before=command))
            else:
                daemon = Daemon(folder / name, settings, before=command)
            replicas[name] = daemon
        first = next(daemon for daemon in replicas.values() if not daemon.process_ended)
        scenario = Scenario(simulation=simulation, daemon=first, hook=hook, before=since)
        hook.answer = scenario.take
        seen = Fleet(scenario=scenario, replicas=replicas, polls=polls)
        await until(lambda: _first_seen(replicas) >= orgs, 60 + orgs)
        scenario.born = time.time()
        yield seen
        for daemon in replicas.values():
            assert "Traceback" not in daemon.log, daemon.log[daemon.log.index("Traceback") - 500 :][:4000]


def _first_seen(replicas: dict[str, Daemon]) -> int:
    return sum(daemon.log.count('"event":"org.first_seen"') for daemon in replicas.values())


def direct(server: Cluster, *names: str) -> dict[str, str]:
    """The server's own URL for each of these replicas."""
    return dict.fromkeys(names, server.url())
