"""Receivers for tests: a real HTTP server with a script, and a raw one for what no HTTP server would do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from monitor.domain.news import EventType, Message, Severity, job_subject
from monitor.notifiers.base import Attempt

AT = datetime(2026, 11, 22, 10, 15, 2, tzinfo=UTC)


def message(**over: Any) -> Message:
    """A failed job."""
    fields: dict[str, Any] = {
        "type": "finetune.job.failed",
        "at": AT,
        "title": "support-bot failed",
        "severity": Severity.BAD,
        "subject": job_subject("research", "ftjob-abc"),
        "event_type": EventType("failed"),
        "facts": (("Model", "gpt-4o-mini"), ("Duration", "31m"), ("Trained tokens", "100,000"), ("Cost", "$2.40")),
        "error": "server_error: it broke",
        "hint": "Create the job again.",
        "link": "https://platform.openai.com/finetune/ftjob-abc",
        "data": '{"org":"research"}',
    }
    return Message(**{**fields, **over})


def attempt(**over: Any) -> Attempt:
    """The first attempt at it."""
    return Attempt(**{"key": "research/ftjob-abc/3@ops", "at": AT, **over})


@dataclass
class Heard:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers each request with the next of its script, and for ever with the last."""

    url: str
    heard: list[Heard] = field(default_factory=list)


@asynccontextmanager
async def receiver(
    *script: web.Response | tuple[int, str] | tuple[int, str, dict[str, str]],
) -> AsyncIterator[Receiver]:
    """A receiver on a port of its own."""
    heard: list[Heard] = []

    async def answer(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        heard.append(Heard(request.method, request.path, headers, await request.read()))
        said = script[min(len(heard), len(script)) - 1]
        if isinstance(said, web.Response):
            return said
        return web.Response(status=said[0], text=said[1], headers=said[2] if len(said) > 2 else None)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield Receiver(f"http://127.0.0.1:{port}", heard)
    finally:
        await runner.cleanup()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw(talk: Talk) -> AsyncIterator[str]:
    """A server that reads a request's head and then does whatever it likes with the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
