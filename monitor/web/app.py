"""The addresses of the program, and what answers at each: read from one snapshot or one page of the store."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar

import anyio
from aiohttp import hdrs, web
from anyio import to_thread

from monitor.clock import Clock
from monitor.domain.model import Status
from monitor.domain.snapshot import Snapshot
from monitor.metrics.exposition import render
from monitor.metrics.health import Health
from monitor.metrics.own import Own
from monitor.store import CostStore, Reader
from monitor.web import query, views
from monitor.web.accepting import accepts_gzip
from monitor.web.books import BookRoutes
from monitor.web.door import Door
from monitor.web.guard import guarded, harden, instead, shaped
from monitor.web.lifecycle import Lifecycle, add_lifecycle
from monitor.web.pages import PageRoutes, Seen
from monitor.web.sharing import Shared
from monitor.web.stream import Stream

T = TypeVar("T")

_STATES: Final = ("pending", "sent", "dead")  # of monitor.store.DeliverySummary
_MOST_NAMES: Final = 200
_JOB: Final = "{org:[^/]+}/{job_id:[^/]+}"  # without the pattern, ids with braces would not be found
_AT_ONCE: Final = 2  # readers of whole snapshots; the others wait their turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of the past readers show."""

    job_retention: timedelta = timedelta(hours=24)
    max_jobs: int = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """What answers requests. The methods are aiohttp handlers."""

    reader: Reader
    costs: CostStore
    health: Health
    own: Own
    clock: Clock
    alive: Callable[[], bool]
    """Whether the event loop does its rounds."""
    limits: Callable[[], Limits] = Limits
    """Asked anew by each request, so that a reload holds at once."""
    hosts: frozenset[str] = frozenset()
    """Names by which requests may come, besides those of `guard.known_host`."""
    lifecycle: Lifecycle | None = None
    """What may be changed; None where that is not offered over HTTP."""
    door: Door = field(default_factory=Door)
    following: set[anyio.CancelScope] = field(default_factory=set)
    """The streams that are open; cancelled, one ends in order."""
    _shared: Shared = field(default_factory=lambda: Shared(_AT_ONCE))
    _threads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_AT_ONCE))

    async def healthy(self, _request: web.Request) -> web.Response:
        """Alive; asks nothing and nobody."""
        if self.alive():
            return web.Response(text="ok\n")
        return web.Response(text="the loop does not turn\n", status=503)

    async def ready(self, _request: web.Request) -> web.Response:
        """Whether what is shown can be relied on."""
        reasons = [] if self.reader.healthy else ["the store does not work"]
        if waiting := self.health.waiting:
            reasons.append(f"not asked yet: {', '.join(waiting)}")
        if reasons:
            return web.Response(text="".join(f"{reason}\n" for reason in reasons), status=503)
        return web.Response(text="ready\n")

    async def metrics(self, request: web.Request) -> web.Response:
        """A scrape."""
        self.own.counted(len(asyncio.all_tasks()))
        names = request.query.getall("name[]", [])[:_MOST_NAMES]
        accept = ",".join(request.headers.getall(hdrs.ACCEPT, []))
        compress = accepts_gzip(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, [])))

        def body(snapshot: Snapshot, health: Health) -> tuple[bytes, str]:
            text, content_type = render(snapshot, health, self.own, accept, names)
            return (gzip.compress(text, compresslevel=1, mtime=0) if compress else text), content_type

        content, content_type = await self._read(("metrics", accept, compress, *names), body)
        headers = {hdrs.CONTENT_TYPE: content_type, hdrs.VARY: "Accept, Accept-Encoding"}
        if compress:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=content, headers=headers)

    async def jobs(self, request: web.Request) -> web.Response:
        """Jobs, newest first."""
        given = query.only(request.query, "org", "status", "limit", "after")
        org = query.choice(given, "org", tuple(self.health.orgs))
        status = query.choice(given, "status", tuple(Status))
        listing = await self.reader.jobs(org=org, status=status, limit=query.limit(given, 50), after=given.get("after"))
        health = self.health.copy()
        return await self._json(lambda: views.page(listing, lambda tracked: views.job(tracked, health)))

    async def job(self, request: web.Request) -> web.Response:
        """One job and what became of it."""
        query.only(request.query)
        file = await self.reader.job(request.match_info["org"], request.match_info["job_id"])
        if file is None:
            raise query.NotThere("there is no such job")
        health = self.health.copy()
        return await self._json(lambda: views.encoded(views.job_file(file, health)))

    async def events(self, request: web.Request) -> web.Response:
        """A job's event stream, newest first."""
        given = query.only(request.query, "limit", "after")
        org, job_id = request.match_info["org"], request.match_info["job_id"]
        if await self.reader.job(org, job_id) is None:
            raise query.NotThere("there is no such job")
        listing = await self.reader.events(org, job_id, limit=query.limit(given, 100), after=given.get("after"))
        return await self._json(lambda: views.page(listing, views.event))

    async def orgs(self, request: web.Request) -> web.Response:
        """The organisations and how their watching goes."""
        query.only(request.query)
        shown = [views.organisation(org, self.health.accounts.get(org.org)) for org in self.health.orgs.values()]
        return await self._json(lambda: views.encoded(shown))

    async def deliveries(self, request: web.Request) -> web.Response:
        """The outbox, newest first."""
        given = query.only(request.query, "state", "limit", "after")
        state = query.choice(given, "state", _STATES)
        listing = await self.reader.deliveries(state=state, limit=query.limit(given, 50), after=given.get("after"))
        return await self._json(lambda: views.page(listing, views.delivery))

    async def look(self) -> Seen:
        """What readers show, read now."""
        limits = self.limits()
        snapshot = await self.reader.snapshot(
            self.clock.now(),
            orgs=tuple(self.health.orgs),
            job_retention=limits.job_retention,
            max_jobs=limits.max_jobs,
        )
        return Seen(snapshot=snapshot, retention=limits.job_retention)

    def pages(self) -> PageRoutes:
        """What answers people."""
        return PageRoutes(
            reader=self.reader,
            health=self.health,
            look=self.look,
            now=self.clock.now,
            parked=lambda: self.own.parked,
            shared=self._shared,
            threads=self._threads,
        )

    async def _read(self, kind: Hashable, show: Callable[[Snapshot, Health], T]) -> T:
        """Show a fresh snapshot, from a worker thread."""

        async def make() -> T:
            seen = await self.look()
            return await to_thread.run_sync(show, seen.snapshot, self.health.copy(), limiter=self._threads)

        return await self._shared.get(kind, make)

    async def _json(self, encode: Callable[[], bytes]) -> web.Response:
        content = await to_thread.run_sync(encode, limiter=self._threads)
        return web.Response(body=content, content_type="application/json")


def application(of: Web) -> web.Application:
    """The application: addresses, guard and headers."""
    middlewares = [shaped, guarded(of.hosts), of.door.middleware()]
    app = web.Application(middlewares=middlewares, client_max_size=1024)
    app.on_response_prepare.extend([instead(lambda: of.door.headers), harden])
    pages = of.pages()
    app.router.add_get("/", pages.status)
    app.router.add_get(f"/jobs/{_JOB}", pages.job)
    app.router.add_get("/metrics", of.metrics)
    app.router.add_get("/-/healthy", of.healthy)
    app.router.add_get("/-/ready", of.ready)
    add_lifecycle(app.router, of.lifecycle)
    app.router.add_get("/api/v1/jobs", of.jobs)
    app.router.add_get(f"/api/v1/jobs/{_JOB}", of.job)
    app.router.add_get(f"/api/v1/jobs/{_JOB}/events", of.events)
    app.router.add_get("/api/v1/orgs", of.orgs)
    app.router.add_get("/api/v1/deliveries", of.deliveries)
    stream = Stream(changes=of.reader.changes, health=of.health, door=of.door, clock=of.clock, following=of.following)
    app.router.add_get("/api/v1/stream", stream.follow)
    app.on_shutdown.append(stream.close)
    books = BookRoutes(store=of.costs, health=of.health, clock=of.clock)
    app.router.add_get("/api/v1/costs", books.costs)
    app.router.add_get("/api/v1/models", books.models)
    app.router.add_get("/api/v1/budgets", books.budgets)
    return app
