"""Security headers, the Host header and error responses."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import anyio
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from monitor.web import serve
from monitor.web.guard import harden, known_host, shaped
from tests.web.site import site

pytestmark = pytest.mark.fault("G34", "H02")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:10877",
        "10.1.2.3",
        "[::1]:10877",
        "[fe80::1]",
        "localhost:10877",
        "LOCALHOST",
        "monitor:10877",
        "monitor.localhost",
        "monitor.prod.svc:10877",
        "monitor.prod.svc.cluster.local",
        "printer.local.",
        "monitor.corp.internal",
        "monitor.example.com",
        "Monitor.Example.Com.:443",
    ],
)
def test_host_names_that_nobody_else_can_own_are_allowed(host: str) -> None:
    assert known_host(host, frozenset({"monitor.example.com"}))


@pytest.mark.parametrize(
    "host",
    [
        "evil.com",
        "evil.com:10877",
        "127.0.0.1.evil.com",
        "127.0.0.1.nip.io",
        "monitor.prod.svc.evil.com",
        "localhost.evil.com",
        "evil.com.",
        "x.monitor.example.com",
        "evil.com:10877@localhost",
        "[::1].evil.com",
        "[evil.com]",
        "[::1",
        "",
        ":80",
    ],
)
def test_other_host_names_are_not_allowed(host: str) -> None:
    assert not known_host(host, frozenset({"monitor.example.com"}))


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/jobs", "/-/ready"])
async def test_dns_rebinding_is_refused(tmp_path: Path, path: str) -> None:
    async with site(tmp_path) as here:
        answer = await here.get(path, headers={"Host": "evil.example.org"})
        assert answer.status == 403
        assert "research" not in answer.text
        assert "evil" not in answer.text
        assert (await here.get(path, headers={"Host": "monitor"})).status != 403


async def test_the_operator_can_allow_a_host_name(tmp_path: Path) -> None:
    async with site(tmp_path, hosts=frozenset({"Monitor.Example.com"})) as here:
        assert (await here.get("/", headers={"Host": "monitor.example.com"})).status == 200


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/jobs", "/api/v1/jobs?x=1", "/nowhere", "/static/../x"]
)
async def test_every_response_has_security_headers(tmp_path: Path, path: str) -> None:
    async with site(tmp_path) as here:
        headers = (await here.get(path)).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert re.search(r"script-src (?!'sha256-[A-Za-z0-9+/]{43}='(;|$))", policy) is None
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Server"] == "finetune-monitor"
    assert not [name for name in headers if name.lower().startswith("access-control")]


async def test_a_hostile_path_is_not_echoed(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        answer = await here.get("/%3Cscript%3Ealert(1)%3C/script%3E?%3Cimg%3E=1", headers={"Accept": "text/html"})
    assert (answer.status, answer.text) == (404, "there is nothing at this address\n")
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"GARBAGE\r\n\r\n", id="garbage"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="a TLS greeting"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", id="a header too long"),
        pytest.param(b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", id="a line too long"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: 1\r\n" % n for n in range(500)) + b"\r\n",
            id="many headers",
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", id="two hosts"),
    ],
)
async def test_an_invalid_request_gets_a_text_error_and_is_not_logged(
    tmp_path: Path, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(tmp_path) as here:
        reader, writer = await asyncio.open_connection(here.host, here.port)
        with capture_logs() as logs:
            writer.write(raw)
            async with asyncio.timeout(5):
                answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.close()
        await writer.wait_closed()
        assert answer.startswith(("HTTP/1.1 400 ", "HTTP/1.0 400 ", "HTTP/1.1 403 ")), answer
        assert "Content-Type: text/plain" in answer
        assert logs == []
        assert caplog.records == []
        assert (await here.get("/-/healthy")).status == 200


async def test_a_bug_is_logged_and_answered_in_one_line() -> None:
    async def broken(_request: web.Request) -> web.Response:
        raise KeyError("a detail that is nobody's business")

    app = web.Application(middlewares=[shaped])
    app.on_response_prepare.append(harden())
    app.router.add_get("/api/broken", broken)
    async with serve(app, "127.0.0.1", 0) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        with capture_logs() as logs:
            writer.write(b"GET /api/broken HTTP/1.0\r\nHost: a\r\nAccept: text/html\r\n\r\n")
            answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    assert " 500 " in head
    assert "Content-Security-Policy" in head
    assert json.loads(body) == {"error": {"message": "something went wrong here; the log says what"}}
    (line,) = logs
    assert (line["event"], line["path"]) == ("web.failed", "/api/broken")
    assert isinstance(line["exc_info"], KeyError)


async def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        with pytest.raises(OSError, match="in use"):
            async with serve(web.Application(), "127.0.0.1", here.port):
                pass


async def test_an_open_connection_does_not_delay_shutdown(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with site(tmp_path) as here:
        _, idle = await asyncio.open_connection(here.host, here.port)
        _, half = await asyncio.open_connection(here.host, here.port)
        half.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
        await half.drain()
        before = loop.time()
    assert loop.time() - before < 2
    for writer in (idle, half):
        writer.close()


async def test_a_cancelled_server_releases_its_port() -> None:
    port = 0
    with anyio.move_on_after(0.05) as scope:
        async with serve(web.Application(), "127.0.0.1", 0) as (_, port):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    async with serve(web.Application(), "127.0.0.1", port) as (_, again):
        assert again == port
