"""The web application: its routes, and the handlers of health checks and /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import anyio
from aiohttp import hdrs, web
from anyio import to_thread

from monitor.clock import Clock
from monitor.domain.health import Health
from monitor.domain.snapshot import Snapshot
from monitor.metrics.exposition import Exposition, parse_scrape_request
from monitor.metrics.process import ProcessMetrics
from monitor.store import CostStore, Reader
from monitor.web import query
from monitor.web.access import AccessControl
from monitor.web.admin import AdminActions, add_admin_actions
from monitor.web.api import ApiRoutes
from monitor.web.guard import guarded, harden, shaped
from monitor.web.pages import PageRoutes
from monitor.web.single_flight import SingleFlight
from monitor.web.stream import ChangeStream
from monitor.web.webhooks import Webhooks

_MOST_NAMES: Final = 200
_JOB: Final = "{org:[^/]+}/{job_id:[^/]+}"  # without the pattern, ids with braces would not match
_AT_ONCE: Final = 2  # requests that read a whole snapshot; others wait


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderLimits:
    """How many ended jobs are shown, and the base URL of links."""

    job_retention: timedelta = timedelta(hours=24)
    max_jobs: int = 5000
    monitor_url: str = ""
    """The public base URL of our own pages, without a trailing slash. Empty: the API has no links to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The dependencies of the web application, with the handlers of health checks and /metrics."""

    reader: Reader
    costs: CostStore
    health: Health
    process: ProcessMetrics
    clock: Clock
    alive: Callable[[], bool]
    """Whether the event loop makes progress."""
    limits: Callable[[], ReaderLimits] = ReaderLimits
    """Called for each request, so that a reload takes effect at once."""
    hosts: frozenset[str] = frozenset()
    """Host names that are accepted besides those of `guard.known_host`."""
    actions: AdminActions | None = None
    """The actions of the admin endpoints; None if they are disabled."""
    webhooks: Webhooks | None = None
    """The receiver of providers' webhooks."""
    access: AccessControl = field(default_factory=AccessControl)
    following: set[anyio.CancelScope] = field(default_factory=set)
    """The open event streams. Cancelling a scope ends its stream."""
    exposition: Exposition = field(default_factory=Exposition)
    shared: SingleFlight = field(default_factory=lambda: SingleFlight(_AT_ONCE))
    threads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_AT_ONCE))

    async def healthy(self, _request: web.Request) -> web.Response:
        """GET /-/healthy: whether the event loop makes progress. Uses neither the store nor a provider."""
        if self.alive():
            return web.Response(text="ok\n")
        return web.Response(text="the event loop is stuck\n", status=503)

    async def ready(self, _request: web.Request) -> web.Response:
        """GET /-/ready: whether the store works and each organisation has been polled."""
        reasons = [] if self.reader.healthy else ["the store does not work"]
        if not reasons and (waiting := (await self.read_health()).waiting):
            reasons.append(f"not polled yet: {', '.join(waiting)}")
        if reasons:
            return web.Response(text="".join(f"{reason}\n" for reason in reasons), status=503)
        return web.Response(text="ready\n")

    async def metrics(self, request: web.Request) -> web.Response:
        """GET /metrics: a scrape."""
        self.process.counted(len(asyncio.all_tasks()))
        names = request.query.getall("name[]", [])[:_MOST_NAMES]
        accept = ",".join(request.headers.getall(hdrs.ACCEPT, []))
        compress = query.accepts_gzip(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, [])))

        scrape, content_type = parse_scrape_request(accept, compressed=compress, names=names)

        async def make() -> tuple[bytes, ...]:
            snapshot = await self.read_snapshot()
            batches = self.exposition.scrape(
                snapshot, self.health.seen(snapshot.watching, snapshot.at), self.process, scrape
            )
            # In one piece: a busy event loop would take its time between two batches.
            return await to_thread.run_sync(tuple, batches, limiter=self.threads)

        content = await self.shared.get(("metrics", scrape), make)
        headers = {hdrs.CONTENT_TYPE: content_type, hdrs.VARY: "Accept, Accept-Encoding"}
        if compress:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=_each(content), headers=headers)

    async def read_snapshot(self) -> Snapshot:
        """Read a snapshot of the store as of now."""
        limits = self.limits()
        return await self.reader.snapshot(
            self.clock.now(),
            orgs=tuple(self.health.orgs),
            job_retention=limits.job_retention,
            max_jobs=limits.max_jobs,
        )

    async def read_health(self) -> Health:
        """Read the health of all organisations as of now."""
        return self.health.seen(await self.reader.watching(tuple(self.health.orgs)), self.clock.now())


async def _each(batches: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the batches one by one: writing them at once would block the event loop while they are copied."""
    for batch in batches:
        yield batch


def application(site: Web) -> web.Application:
    """Build the aiohttp application with its routes and middlewares."""
    middlewares = [shaped, guarded(site.hosts), site.access.middleware()]
    app = web.Application(middlewares=middlewares, client_max_size=1024)
    app.on_response_prepare.append(harden(lambda: site.access.headers))
    app.router.add_get("/metrics", site.metrics)
    app.router.add_get("/-/healthy", site.healthy)
    app.router.add_get("/-/ready", site.ready)
    add_admin_actions(app.router, site.actions)
    _add_pages(app.router, site)
    _add_api(app.router, site)
    if site.webhooks is not None:
        site.webhooks.add_to(app.router)
    stream = ChangeStream(
        changes=site.reader.changes,
        health=site.health,
        read_health=site.read_health,
        access=site.access,
        clock=site.clock,
        following=site.following,
    )
    app.router.add_get("/api/v1/stream", stream.follow)
    app.on_shutdown.append(stream.close)
    return app


def _add_pages(router: web.UrlDispatcher, site: Web) -> None:
    pages = PageRoutes(
        reader=site.reader,
        health=site.health,
        read_snapshot=site.read_snapshot,
        window=lambda: site.limits().job_retention,
        now=site.clock.now,
        suspended=lambda: site.process.suspended,
        shared=site.shared,
        threads=site.threads,
    )
    router.add_get("/", pages.status)
    router.add_get(f"/jobs/{_JOB}", pages.job)


def _add_api(router: web.UrlDispatcher, site: Web) -> None:
    api = ApiRoutes(
        reader=site.reader,
        costs_store=site.costs,
        health=site.health,
        read_health=site.read_health,
        clock=site.clock,
        monitor_url=lambda: site.limits().monitor_url,
        threads=site.threads,
    )
    router.add_get("/api/v1/jobs", api.jobs)
    router.add_get(f"/api/v1/jobs/{_JOB}", api.job)
    router.add_get(f"/api/v1/jobs/{_JOB}/events", api.events)
    router.add_get("/api/v1/orgs", api.orgs)
    router.add_get("/api/v1/deliveries", api.deliveries)
    router.add_get("/api/v1/costs", api.costs)
    router.add_get("/api/v1/models", api.models)
    router.add_get("/api/v1/budgets", api.budgets)
