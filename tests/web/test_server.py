"""Floods of clients, and clients that never finish a request, leave file descriptors for the program."""

from __future__ import annotations

import ast
import asyncio
import re
import resource
import socket
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from monitor.clock import SystemClock
from monitor.web import server
from monitor.web.server import ConnectionLimiter, most_connections
from monitor.web.tls import Tls, server_context
from tests.faults.certificates import SERVER, client_side
from tests.web.site import Site, site


class FakeConnection(server.Connection):
    """A connection without a socket."""

    def __init__(self, *, idle: bool = True) -> None:
        self.waits = idle
        self.closed = False

    @property
    def idle(self) -> bool:
        return self.waits

    def abort(self) -> None:
        self.closed = True


def test_the_oldest_idle_connection_is_closed_first_and_else_the_oldest() -> None:
    crowd = ConnectionLimiter(3)
    busy, idle, newer = FakeConnection(idle=False), FakeConnection(), FakeConnection()
    for one in (busy, idle, newer):
        crowd.enter(one)
    crowd.enter(FakeConnection(idle=False))
    assert [one.closed for one in (busy, idle, newer)] == [False, True, False]
    newer.waits = False
    crowd.enter(FakeConnection())
    assert [one.closed for one in (busy, newer)] == [True, False]


def test_a_closed_connection_takes_no_room() -> None:
    crowd, here, gone = ConnectionLimiter(2), FakeConnection(), FakeConnection()
    crowd.enter(here)
    crowd.enter(gone)
    crowd.leave(gone)
    crowd.leave(gone)
    crowd.enter(FakeConnection())
    assert not here.closed


@pytest.mark.parametrize(("limit", "expected"), [(64, 10), (1024, 250), (1_000_000, 2000), (16, 8), (-1, 2000)])
def test_connections_are_limited_to_a_quarter_of_the_descriptors(
    limit: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (limit, limit))
    assert most_connections() == expected


async def begun(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send an incomplete request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
    await writer.drain()
    return reader, writer


async def test_incomplete_requests_do_not_keep_others_from_being_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 8)
    async with site(tmp_path) as shown:
        slow = [await begun(shown) for _ in range(40)]
        assert (await shown.get("/-/healthy")).status == 200
        await asyncio.sleep(0.1)
        assert sum(not reader.at_eof() for reader, _ in slow) <= 8
        for _, writer in slow:
            writer.close()


async def test_the_first_request_has_a_deadline_and_a_kept_connection_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_FIRST_REQUEST", 0.2)
    async with site(tmp_path) as shown:
        half, writer = await begun(shown)
        kept, asking = await asyncio.open_connection("127.0.0.1", shown.port)
        asking.write(b"GET /-/healthy HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert await asyncio.wait_for(half.read(), 5) == b""
        assert (await kept.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.3)
        asking.write(b"GET /-/healthy HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await asyncio.wait_for(kept.readuntil(b"ok\n"), 5)).startswith(b"HTTP/1.1 200")
        for each in (writer, asking):
            each.close()


async def silent(site_port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that sends nothing."""
    return await asyncio.open_connection("127.0.0.1", site_port)


@pytest.mark.fault("P12")
async def test_connections_without_a_tls_handshake_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ok(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    monkeypatch.setattr(server, "most_connections", lambda: 8)
    app = web.Application()
    app.router.add_get("/", ok)
    tls = server_context(Tls(cert=SERVER.cert, key=SERVER.key))
    async with server.serve(app, "127.0.0.1", 0, tls) as (_, port), aiohttp.ClientSession() as client:
        quiet = [await silent(port) for _ in range(40)]
        async with client.get(f"https://127.0.0.1:{port}/", ssl=client_side()) as answer:
            assert answer.status == 200
        await asyncio.sleep(0.1)
        assert sum(not reader.at_eof() for reader, _ in quiet) <= 8
        for _, writer in quiet:
            writer.close()


@pytest.mark.fault("P12")
async def test_failures_to_accept_are_logged_once() -> None:
    tried = asyncio.Semaphore(0)

    class Waiting(SystemClock):
        async def sleep(self, seconds: float) -> None:
            tried.release()
            await super().sleep(seconds / 1000)

    closed = socket.socket()
    closed.setblocking(False)
    closed.close()
    listener = server.Listener(protocol=asyncio.Protocol, limiter=ConnectionLimiter(8), tls=None, clock=Waiting())
    with capture_logs() as logs:
        accepting = asyncio.create_task(listener.accept(closed))
        for _ in range(5):
            await tried.acquire()
        accepting.cancel()
    assert [line["event"] for line in logs] == ["web.accept_failed"]


@pytest.mark.parametrize("host", ["", "localhost", "0.0.0.0"])  # noqa: S104 - it is what is asked for
async def test_every_host_that_may_be_configured_is_listened_on(host: str) -> None:
    async with server.serve(web.Application(), host, 0) as (_, port), aiohttp.ClientSession() as client:
        async with client.get(f"http://127.0.0.1:{port}/") as answer:
            assert answer.status == 404


async def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(OSError, match="annot assign"):
        async with server.serve(web.Application(), "203.0.113.9", 0):
            pass


LIBRARIES = {"aiohttp", "anyio", "asyncio", "bcrypt", "jinja2", "markupsafe", "msgspec", "ssl"}


@pytest.mark.parametrize("path", sorted(Path(server.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_no_private_attributes_of_libraries_are_used(path: Path) -> None:
    """Private attributes are used only of our own objects, and of library classes only Protocol is extended."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    private = [
        f"{ast.unparse(node)}, line {node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and re.match("_(?!_)", node.attr)
        and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    ]
    parents = {ast.unparse(base) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases}
    assert private == []
    assert {name for name in parents if name.split(".")[0] in {*LIBRARIES, "web"}} <= {"asyncio.Protocol"}
