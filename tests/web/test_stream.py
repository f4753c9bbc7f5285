"""Server-sent events: every client learns of changes as long as it is connected."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web

from monitor.domain.health import Health
from monitor.domain.model import Status
from monitor.domain.snapshot import WatchState
from monitor.store import Changes
from monitor.web import AccessControl, serve
from monitor.web.stream import ChangeStream
from tests.builders import NOON, job, tracked
from tests.web.site import Noon, Site, site
from tests.web.test_pages import NASTY


class EventReader:
    """Reads the events of one stream as a browser does."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self, within: float = 3.0) -> tuple[str, Any] | None:
        """The kind and content of the next event; None at the end. Comments have the kind `comment`."""
        lines: list[str] = []
        async with asyncio.timeout(within):
            async for line in self.answer.content:
                text = line.decode().rstrip("\n")
                if text:
                    lines.append(text)
                elif lines:
                    break
        if not lines:
            return None
        fields = dict(line.split(": ", 1) for line in lines)
        if "event" not in fields:
            return "comment", lines
        return fields["event"], json.loads(fields["data"])


@asynccontextmanager
async def following(here: Site) -> AsyncIterator[EventReader]:
    """Open an event stream."""
    async with here.client.get(f"http://127.0.0.1:{here.port}/api/v1/stream") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        heard = EventReader(answer)
        assert await heard.next() == ("hello", {})
        yield heard


@asynccontextmanager
async def serving(stream: ChangeStream) -> AsyncIterator[int]:
    """Serve only that stream. Yields the port."""
    app = web.Application()
    app.router.add_get("/", stream.follow)
    async with serve(app, "127.0.0.1", 0) as (_, port):
        yield port


async def test_a_committed_change_is_sent_at_once(tmp_path: Path) -> None:
    async with site(tmp_path) as here, following(here) as heard:
        await here.keep(tracked(job(status=Status.FAILED)), told=("chat",))
        assert await heard.next() == ("job", {"org": "research", "job": "ftjob-1", "status": "failed"})
        (claimed,) = await here.store.outbox.claim("chat", owner="me", limit=1, lease=timedelta(minutes=1))
        await here.store.outbox.delivered(claimed)
        assert await heard.next() == ("delivery", {"org": "research", "job": "ftjob-1"})
        await here.store.jobs.record(WatchState(org="research", up=False, since=NOON, owner="another replica"))
        assert await heard.next() == ("org", {"org": "research", "up": False})


async def test_a_reader_too_far_behind_gets_a_reset(tmp_path: Path) -> None:
    async with site(tmp_path) as here, following(here) as heard:
        await here.keep(*(tracked(job(f"ftjob-{number}")) for number in range(1200)))
        assert await heard.next() == ("much", {})


@pytest.mark.parametrize("nasty", NASTY, ids=lambda text: ascii(text[:30]))
async def test_nasty_names_cannot_forge_an_event(tmp_path: Path, nasty: str) -> None:
    name = f"{nasty}\n\nevent: much\ndata: {{}}\n\n".replace("\x00", "")
    async with site(tmp_path) as here, following(here) as heard:
        await here.keep(tracked(job(id=name)))
        assert await heard.next() == ("job", {"org": "research", "job": name, "status": "running"})
        await here.keep(tracked(job(id="ftjob-2")))
        assert await heard.next() == ("job", {"org": "research", "job": "ftjob-2", "status": "running"})


async def test_excess_readers_get_503_until_one_leaves(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        for _ in range(99):
            here.streams.add(anyio.CancelScope())
        async with following(here):
            refused = await here.get("/api/v1/stream")
            assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        async with asyncio.timeout(5):
            while len(here.streams) == 100:  # noqa: ASYNC110 - the server says nothing when somebody has left
                await asyncio.sleep(0.02)
        async with following(here):
            pass
        here.streams.clear()


async def test_a_reload_ends_streams_so_that_readers_reconnect(tmp_path: Path) -> None:
    async with site(tmp_path) as here, following(here) as heard:
        here.health.orgs = dict(here.health.orgs)
        assert await heard.next() is None


async def test_streams_end_cleanly_and_at_once_on_shutdown(tmp_path: Path) -> None:
    async with asyncio.timeout(10):
        async with site(tmp_path) as here:
            session = aiohttp.ClientSession()
            answer = await session.get(f"http://127.0.0.1:{here.port}/api/v1/stream")
            heard = EventReader(answer)
            await heard.next()
        assert await heard.next() is None, "its end was written: no connection broke"
        await session.close()


async def test_a_stream_without_authorisation_is_refused(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        assert (await here.get("/api/v1/stream", headers={"Host": "evil.example.com"})).status == 403
        assert (await here.get("/api/v1/stream?token=1")).status == 400
        assert (await here.get("/api/v1/stream", method="HEAD")).status == 200


async def test_many_readers_cost_no_more_queries_than_one(tmp_path: Path) -> None:
    asked, changes = 0, Changes()
    async with site(tmp_path) as here:

        async def count() -> Health:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0.01)
            return here.health

        stream = ChangeStream(
            changes=changes, health=here.health, read_health=count, access=AccessControl(), clock=Noon()
        )
        async with serving(stream) as port, AsyncExitStack() as stack:
            client = await stack.enter_async_context(aiohttp.ClientSession())
            readers = [
                EventReader(await stack.enter_async_context(client.get(f"http://127.0.0.1:{port}/"))) for _ in range(20)
            ]
            assert [await one.next() for one in readers] == [("hello", {})] * 20
            changes.jobs([tracked(job())])
            told = ("job", {"org": "research", "job": "ftjob-1", "status": "running"})
            assert [await one.next() for one in readers] == [told] * 20
        assert asked < 10  # one a second, and those who come at the same time wait for it together


async def test_idle_streams_get_heartbeats_and_stalled_readers_are_dropped(tmp_path: Path) -> None:
    changes, streams = Changes(), set[Any]()
    async with site(tmp_path) as here:

        async def still() -> Health:
            return here.health

        stream = ChangeStream(changes=changes, health=here.health, read_health=still, access=AccessControl(),
                              clock=Noon(), following=streams, heartbeat=0.05, patience=0.2)  # fmt: skip
        async with serving(stream) as port, aiohttp.ClientSession() as client:
            async with client.get(f"http://127.0.0.1:{port}/") as answer:
                heard = EventReader(answer)
                assert [await heard.next() for _ in range(2)] == [("hello", {}), ("comment", [": still here"])]
            with socket.create_connection(("127.0.0.1", port)) as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                async with asyncio.timeout(20):
                    while not streams:  # noqa: ASYNC110 - nor when somebody has come
                        await asyncio.sleep(0.01)
                    while streams:
                        # Fewer at a time than are remembered between two writes, or only "much" would be sent.
                        changes.jobs(tracked(job("x" * 8000 + str(number))) for number in range(100))
                        await asyncio.sleep(0.05)
