"""Real servers on the loopback: a fine-tuning API in a few lines, and peers that speak raw bytes."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web
from aiolimiter import AsyncLimiter

from monitor import source as sources
from monitor.clock import SystemClock
from monitor.domain.flow import Known
from monitor.domain.model import Status
from monitor.providers.base import Provider
from monitor.providers.openai import provider
from monitor.secret import Redactor, Secret
from monitor.source import Client, Limits, Source, Transport
from tests import builders as b
from tests.builders import NOON

KEY = "sk-proj-Zk3vN8qWx2LmT7Rb5YcD1fHsJ9gPaE4u"
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Api:
    """A fine-tuning API with these jobs and events, newest first. `faults` answer instead, by path."""

    jobs: list[dict[str, Any]] = field(default_factory=list)
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    faults: dict[str, Handler] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Path and query of each request, without the limit."""
    headers: list[dict[str, str]] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    """How many items each request for a page wanted."""
    limit: int = 100

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        after = request.query.get("after")
        path = request.path.removeprefix("/v1/fine_tuning/")
        self.asked.append(path + (f"?after={after}" if after else ""))
        self.headers.append(dict(request.headers))
        assert request.method == "GET"
        if (fault := self.faults.get(self.asked[-1]) or self.faults.get(path)) is not None:
            return await fault(request)
        match path.split("/"):
            case ["jobs"]:
                return self._page(request, self.jobs)
            case ["jobs", job, "events"]:
                return self._page(request, self.events.get(job, []))
            case ["jobs", job]:
                return next((web.json_response(each) for each in self.jobs if each["id"] == job), refusal(404))
        return refusal(404)

    def _page(self, request: web.BaseRequest, items: list[dict[str, Any]]) -> web.Response:
        after = request.query.get("after")
        self.limits.append(int(request.query.get("limit", "20")))
        end = start = 0 if after is None else [item["id"] for item in items].index(after) + 1
        end += min(self.limit, self.limits[-1])
        return web.json_response({"object": "list", "data": items[start:end], "has_more": end < len(items)})


def refusal(status: int, message: str = "no", **headers: str) -> web.Response:
    """An error in OpenAI's envelope; header names with underscores."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response({"error": {"message": message}}, status=status, headers=names)


def answering(*responses: Callable[[], web.StreamResponse]) -> Handler:
    """Answers with these, one after the other, the last for ever."""
    left = list(responses)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return (left.pop(0) if len(left) > 1 else left[0])()

    return answer


async def hang(request: web.BaseRequest) -> web.StreamResponse:
    """Never answers."""
    await asyncio.Event().wait()
    return web.Response()


def body(content: bytes, **headers: str) -> Callable[[], web.StreamResponse]:
    """A 200 with these bytes."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: web.Response(body=content, headers=names)


def job(id: str = "ftjob-1", status: str = "running", at: datetime = NOON, **fields: Any) -> dict[str, Any]:  # noqa: A002 - the API's own name
    """A job object."""
    return {"id": id, "status": status, "created_at": int(at.timestamp()), "model": "gpt-4o-mini-2024-07-18", **fields}


def history(count: int, status: str = "succeeded", start: datetime = NOON) -> list[dict[str, Any]]:
    """Jobs `ftjob-count` to `ftjob-1`, newest first, each a minute older than the one before."""
    return [job(f"ftjob-{count - n}", status, start - timedelta(minutes=n)) for n in range(count)]


def event(id: str, at: datetime = NOON, message: str = "x", **fields: Any) -> dict[str, Any]:  # noqa: A002 - the API's own name
    """An event object."""
    return {
        "id": id,
        "created_at": int(at.timestamp()),
        "level": "info",
        "message": message,
        "type": "message",
        **fields,
    }


def stream(count: int) -> list[dict[str, Any]]:
    """Events `ev-count` to `ev-1`, newest first."""
    return [event(f"ev-{n}", NOON + timedelta(seconds=n)) for n in range(count, 0, -1)]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A web server; its base URL."""
    runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def speaking(script: Script) -> AsyncIterator[str]:
    """A server that runs this script on each connection, once the head of the first request is read."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await script(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client had enough
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def http(content: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole HTTP answer."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(content), *headers, b"", b""]
    return b"\r\n".join(lines) + content


def listing(*items: dict[str, Any], has_more: bool = False) -> bytes:
    """A page as bytes."""
    return json.dumps({"object": "list", "data": items, "has_more": has_more}).encode()


@dataclass
class Asked:
    """A source, and what it counted."""

    source: Source
    counted: list[tuple[str, str]]


def source(base_url: str, *, transport: Transport, **over: Any) -> Asked:
    """A source that asks this server, as `research`, fast and with short limits."""
    counted: list[tuple[str, str]] = []
    redactor = Redactor()
    org = over.pop("org", "research")
    vendor: Provider = over.pop("vendor", provider(org, base_url))
    of = {name: over.pop(name) for name in ("lookback", "deadline") if name in over}
    fields: dict[str, Any] = {
        "org": org,
        "base_url": vendor.base_url,
        "auth": vendor.auth,
        "headers": vendor.headers,
        "secrets": {"api_key": over.pop("secret", Secret(KEY, redactor=redactor))},
        "transport": transport,
        "limiter": AsyncLimiter(1000, 1.0),
        "redact": redactor,
        "clock": SystemClock(),
        "count": lambda operation, code: counted.append((operation, code)),
        "limits": Limits(**{"timeout": 5.0, **over.pop("limits", {})}),
    }
    client = Client(**{**fields, **over})
    return Asked(
        source=Source(client=client, provider=vendor, **{"lookback": timedelta(days=30), **of}), counted=counted
    )


@asynccontextmanager
async def asking(base_url: str, *, proxy: str | None = None, **over: Any) -> AsyncIterator[Asked]:
    """The same, with a session of its own."""
    async with sources.transport(proxy=proxy) as transport:
        yield source(base_url, transport=transport, **over)


RUNNING, SUCCEEDED = Status.RUNNING, Status.SUCCEEDED

NEVER = Known(org="research")


def known(*running: str, final: set[str] | None = None, **over: object) -> Known:
    """Knowledge of these running jobs, whose events were read, and of finalized ones that succeeded."""
    tracked = (b.tracked(b.job(id_, RUNNING), recent=("ev-1",)) for id_ in running)
    return b.known(*tracked, final=dict.fromkeys(final or (), SUCCEEDED), **over)  # type: ignore[arg-type]  # Known's own fields
