"""A real web server on a real store, for tests and for manual use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import anyio
from aiohttp import web
from structlog.testing import capture_logs
from yarl import URL

from monitor.clock import SystemClock
from monitor.courier.replaying import replay
from monitor.domain.decide import Policy
from monitor.domain.flow import Change, Tracked, Transition, TransitionKind
from monitor.domain.health import Health, OrgHealth
from monitor.domain.model import JobEvent
from monitor.domain.news import Delivery, EventType, Message, Severity, job_subject
from monitor.domain.replay import Replayed, ReplayRequest
from monitor.domain.routing import Rule
from monitor.metrics.process import ProcessMetrics
from monitor.store import Stores, opened
from monitor.web import AdminActions, ReaderLimits, Web, application, serve
from tests.builders import NOON


class Noon(SystemClock):
    """A clock that is always at noon."""

    def now(self) -> datetime:
        """Noon."""
        return NOON


@dataclass(kw_only=True)
class Site:
    """A running server with a client."""

    store: Stores
    health: Health
    process: ProcessMetrics
    client: aiohttp.ClientSession
    host: str
    port: int
    app: web.Application = field(default_factory=web.Application)
    alive: bool = True
    stored: dict[str, int] = field(default_factory=dict)
    streams: set[anyio.CancelScope] = field(default_factory=set)
    """The open event streams."""

    async def get(self, path: str, *, method: str = "GET", **over: Any) -> Answer:
        """Request a path, which is sent as it is."""
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        async with self.client.request(method, url, allow_redirects=False, **over) as response:
            return Answer(response.status, response.headers.copy(), await response.read())

    async def keep(self, *jobs: Tracked, events: tuple[JobEvent, ...] = (), told: tuple[str, ...] = ()) -> None:
        """Store jobs of one organisation, each with a transition and a delivery to each notifier in `told`."""
        org = jobs[0].job.org
        based_on = self.stored.get(org, 0)
        moved = tuple(transition(one) for one in jobs)
        await self.store.jobs.commit(
            Change(
                org=org,
                based_on=based_on,
                at=NOON,
                tracked=jobs,
                events=events,
                transitions=moved,
                deliveries=tuple(delivery(one, notifier) for one in moved for notifier in told),
            )
        )
        self.stored[org] = based_on + 1


@dataclass
class Answer:
    """A complete HTTP response."""

    status: int
    headers: Any
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def transition(of: Tracked) -> Transition:
    """The transition that led to a job's current state."""
    return Transition(
        org=of.job.org,
        job=of.job.id,
        seq=of.seq,
        at=of.since,
        kind=TransitionKind.MOVED,
        before=None,
        after=of.job.status,
    )


def delivery(of: Transition, notifier: str) -> Delivery:
    """The delivery of a transition."""
    message = Message(
        type=f"finetune.job.{of.after}",
        at=of.at,
        title=f"{of.job} {of.after}",
        severity=Severity.INFO,
        subject=job_subject(of.org, of.job),
        event_type=EventType(of.after.value) if of.after.final else EventType.STARTED,
    )
    return Delivery(subject=job_subject(of.org, of.job), seq=of.seq, notifier=notifier, message=message)


@asynccontextmanager
async def site(
    tmp_path: Path,
    *orgs: OrgHealth,
    notifiers: tuple[str, ...] = (),
    hosts: frozenset[str] = frozenset(),
    port: int = 0,
    monitor_url: str = "",
    changes: Callable[[Stores], AdminActions] | None = None,
) -> AsyncIterator[Site]:
    """A site with an empty store and the organisation `research`. `changes` creates the admin actions."""
    known = orgs or (OrgHealth(org="research", provider="openai", labels={"team": "nlp"}),)
    health = Health(orgs={org.org: org for org in known}, notifiers=notifiers)
    process, timeout = ProcessMetrics(version="1.2.3"), aiohttp.ClientTimeout(total=20)
    process.watch(health.orgs, notifiers)
    async with (
        opened(f"sqlite:///{tmp_path / 'monitor.db'}", clock=Noon()) as store,
        aiohttp.ClientSession(
            auto_decompress=False, timeout=timeout, headers={"Accept-Encoding": "identity"}
        ) as client,
    ):
        found = Site(store=store, health=health, process=process, client=client, host="", port=0)
        shown = Web(
            reader=store.reader,
            costs=store.costs,
            health=health,
            process=process,
            clock=Noon(),
            alive=lambda: found.alive,
            hosts=hosts,
            limits=lambda: ReaderLimits(monitor_url=monitor_url),
            actions=changes(store) if changes is not None else None,
            following=found.streams,
        )
        found.app = application(shown)
        async with serve(found.app, "127.0.0.1", port) as (found.host, found.port):
            yield found


def admin_actions(store: Stores, *, notifiers: tuple[str, ...] = ("ops", "chat")) -> AdminActions:
    """Admin actions where every notifier is routed for the ends of `research`, and a reload finds an error."""
    policies = {"research": Policy(rules=(Rule(notify=notifiers),))}

    async def reload() -> list[str]:
        return ["line 1: wrong", "line 2: wrong"]

    async def again(request: ReplayRequest) -> Replayed:
        with capture_logs():  # commands of this process print
            return await replay(store.outbox, policies, request, NOON)

    return AdminActions(
        reload=reload,
        requeue=lambda: store.outbox.requeue(None),
        replay=again,
        notifiers=lambda: notifiers,
        retention=lambda: timedelta(days=90),
    )


def org(name: str = "research", **over: Any) -> OrgHealth:
    """A healthy organisation."""
    fields: dict[str, Any] = {
        "provider": "openai",
        "up": True,
        "last_success": NOON - timedelta(seconds=12),
        "next_poll_at": NOON + timedelta(seconds=18),
    }
    return OrgHealth(org=name, **{**fields, **over})
