"""Serves the simulation over HTTP: authentication, rate limits, and the routes of every dialect."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

from monitor.simulator import errors
from monitor.simulator.azure import AZURE
from monitor.simulator.bedrock import BEDROCK
from monitor.simulator.clock import monotonic
from monitor.simulator.dialect import ApiCall, Dialect, Issue, Route, Sent, Stream
from monitor.simulator.errors import ApiError
from monitor.simulator.fireworks import FIREWORKS
from monitor.simulator.openai import OPENAI
from monitor.simulator.openai.files import UPLOADS
from monitor.simulator.orgs import Caller, Org
from monitor.simulator.simulation import Simulation
from monitor.simulator.together import TOGETHER
from monitor.simulator.vertex import VERTEX
from monitor.simulator.webhooks import dispatcher

DIALECTS = {dialect.provider: dialect for dialect in (OPENAI, AZURE, TOGETHER, FIREWORKS, VERTEX, BEDROCK)}

_CALLER = web.RequestKey("caller", Caller)
_LIMITS = web.RequestKey("limits", dict[str, str])
_ARRIVED = web.RequestKey("arrived", float)
_UNLIMITED = 10_000
_LARGEST_JSON = 16 * 1024 * 1024
_SHUTDOWN_TIMEOUT = 0.5
"""Seconds for open requests to end when the server stops."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Bucket:
    """A token bucket of requests, refilled continuously up to one second's worth (at least one)."""

    rate: float
    left: float
    at: float

    def take(self, now: float) -> float:
        """Take one request. Returns the seconds to wait if there is none."""
        self.left = min(max(1.0, self.rate), self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1.0:
            return (1.0 - self.left) / self.rate
        self.left -= 1.0
        return 0.0


@dataclass(frozen=True)
class RateLimiter:
    """Limits each organisation to `rate` requests per second; None: no limit."""

    rate: float | None
    buckets: dict[str, Bucket] = field(default_factory=dict)

    def admit(self, org: Org) -> dict[str, str]:
        """Count a request. Returns the rate limit headers; raises ApiError 429."""
        rate = self.rate
        if rate is None:
            return _limits(_UNLIMITED, _UNLIMITED - 1, "6ms")
        now = monotonic()
        bucket = self.buckets.setdefault(org.id, Bucket(rate, max(1.0, rate), now))
        wait = bucket.take(now)
        if wait:
            refused = errors.too_fast(org.id, rate=rate, wait=wait)
            refused.headers = {**refused.headers, **_limits(int(max(1.0, rate)), 0, f"{wait:.3f}s")}
            raise refused
        return _limits(int(max(1.0, rate)), int(bucket.left), f"{1 / rate:.3f}s")


def _limits(limit: int, left: int, reset: str) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(left),
        "x-ratelimit-reset-requests": reset,
    }


def application(simulation: Simulation, *, middlewares: Sequence[Middleware] = ()) -> web.Application:
    """The application with every dialect below its prefix. `middlewares` run first and may inject faults."""
    app = web.Application(middlewares=(*middlewares, _refusals), client_max_size=_LARGEST_JSON)
    limiter = RateLimiter(simulation.requests_per_second)
    for dialect in DIALECTS.values():
        orgs = tuple(org for org in simulation.orgs if org.provider == dialect.provider)
        for route in dialect.routes:
            path = dialect.prefix + route.path
            app.router.add_route(route.method, path, _guarded(route, dialect, orgs, simulation, limiter))
        for path, issue in dialect.tokens:
            app.router.add_post(dialect.prefix + path, _issuing(issue, orgs))
    app.on_response_prepare.append(_sign)
    app.cleanup_ctx.append(_uploads)
    app.cleanup_ctx.append(lambda _: dispatcher(simulation))
    return app


def _guarded(
    route: Route | Stream, dialect: Dialect, orgs: Sequence[Org], simulation: Simulation, limiter: RateLimiter
) -> Handler:
    """An aiohttp handler that authenticates the caller before it runs `route`."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        sent = Sent(request.method, request.rel_url.raw_path, request.rel_url.raw_query_string, request.headers)
        caller = dialect.authenticate(orgs, sent, route.scope is not None)
        request[_CALLER] = caller
        request[_LIMITS] = limiter.admit(caller.org)
        if route.scope is not None and caller.org.admin_key not in request.headers["Authorization"]:
            raise errors.not_permitted(route.scope)
        if isinstance(route, Stream):
            return await route.answer(request, simulation, caller)
        content = await request.read()
        host = f"{request.scheme}://{request.host}"
        call = ApiCall(simulation, caller, simulation.now(), request.match_info, request.query, content, host)
        return web.json_response(route.answer(call))

    return guarded


def _issuing(issue: Issue, orgs: Sequence[Org]) -> Handler:
    async def issuing(request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        return web.json_response(issue(form, orgs))

    return issuing


def _dialect(path: str) -> Dialect:
    """The dialect of a path. OpenAI's has no prefix of its own, so it has all other paths."""
    return next((each for each in DIALECTS.values() if each.prefix and path.startswith(f"{each.prefix}/")), OPENAI)


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The middleware that turns errors into the dialect's responses, also for unknown URLs and methods."""
    request[_ARRIVED] = monotonic()
    try:
        return await handler(request)
    except ApiError as error:
        refused = error
    except web.HTTPNotFound:
        refused = errors.unknown_url(request.method, request.path)
    except web.HTTPMethodNotAllowed:
        refused = errors.wrong_method(request.method, request.path)
    except web.HTTPRequestEntityTooLarge:
        refused = ApiError(413, "The request body is too large.")
    body, headers = _dialect(request.path).error_response(refused)
    return web.json_response(body, status=refused.status, headers={**refused.headers, **headers})


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    """Set the headers of every response; most are only OpenAI's."""
    response.headers["x-request-id"] = f"req_{secrets.token_hex(16)}"
    caller = request.get(_CALLER)
    if _dialect(request.path) is not OPENAI:
        return
    arrived = request.get(_ARRIVED)
    response.headers["openai-version"] = "2020-10-01"
    response.headers["openai-processing-ms"] = str(0 if arrived is None else round((monotonic() - arrived) * 1000))
    if caller is not None:
        response.headers["openai-organization"] = caller.org.name
        response.headers["openai-project"] = caller.project.id
    for name, value in request.get(_LIMITS, {}).items():
        response.headers.setdefault(name, value)


async def _uploads(app: web.Application) -> AsyncIterator[None]:
    with TemporaryDirectory(prefix="simulated-files-") as directory:
        app[UPLOADS] = Path(directory)
        yield


@asynccontextmanager
async def serve(
    simulation: Simulation, host: str = "127.0.0.1", port: int = 0, *, middlewares: Sequence[Middleware] = ()
) -> AsyncIterator[str]:
    """Serve until the context ends. Yields OpenAI's base URL, which ends in /v1. Port 0 binds a free port."""
    runner = web.AppRunner(
        application(simulation, middlewares=middlewares), access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        taken = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{taken}/v1"
    finally:
        await runner.cleanup()


def configuration(org: Org, base_url: str, folder: Path) -> dict[str, Any]:
    """The organisation's entry in a client's configuration; `base_url` is what `serve` yields.

    Credentials that clients read from files are written to `folder`.
    """
    dialect = DIALECTS[org.provider]
    entry = dialect.configuration(org, base_url.removesuffix("/v1"), folder)
    return {"name": org.name, "provider": org.provider, **entry}
