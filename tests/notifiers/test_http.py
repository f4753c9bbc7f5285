import asyncio
import gzip
import socket
import time
from datetime import datetime
from typing import cast

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from monitor.domain.news import Message
from monitor.notifiers.address import url_problem
from monitor.notifiers.base import Attempt, Channel, FailureKind, HttpAnswer, HttpRequest, Receipt, SendError
from monitor.notifiers.http import HttpNotifier, post, session
from monitor.secret import Redactor
from tests.notifiers.receivers import attempt, message, raw, receiver

pytestmark = pytest.mark.fault("D17")


async def posted(url: str, *, timeout: float = 5.0) -> HttpAnswer:
    async with session() as client:
        return await post(client, HttpRequest(url=url, body=b"{}"), timeout=timeout)


async def refused(url: str, *, timeout: float = 5.0) -> SendError:
    with pytest.raises(SendError) as caught:
        await posted(url, timeout=timeout)
    return caught.value


async def test_what_was_refused_at_the_door_never_arrived() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await refused(f"http://127.0.0.1:{unused.getsockname()[1]}/T000/secret")
    assert (error.kind, error.reason) == (FailureKind.TRANSIENT, "unreachable")
    assert "secret" not in str(error)


async def test_a_host_without_address_is_a_passing_trouble() -> None:
    error = await refused("https://nowhere.invalid/T000/secret")
    assert (error.kind, error.reason) == (FailureKind.TRANSIENT, "unreachable")


async def test_a_connection_cut_after_the_request_may_have_delivered_it() -> None:
    async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with raw(cut) as url:
        assert (await refused(url)).kind is FailureKind.AMBIGUOUS


async def test_half_a_status_line_may_have_delivered_it() -> None:
    async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 20")

    async with raw(half) as url:
        assert (await refused(url)).kind is FailureKind.AMBIGUOUS


async def test_silence_ends_at_the_deadline_and_may_have_delivered_it() -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw(silent) as url:
        start = time.monotonic()
        error = await refused(url, timeout=0.2)
    assert error.kind is FailureKind.AMBIGUOUS
    assert time.monotonic() - start < 2


async def test_headers_that_drip_do_not_outlive_the_deadline() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for _number in range(100):
            writer.write(b"x: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with raw(drip) as url:
        assert (await refused(url, timeout=0.2)).kind is FailureKind.AMBIGUOUS


@pytest.mark.fault("G31", "D08")
async def test_an_endless_answer_is_read_no_further_than_its_limit() -> None:
    sent = 0

    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with raw(pour) as url:
        answer = await posted(url)
    assert len(answer.body) == 4096
    assert not answer.lost
    assert sent < 20_000_000  # what the two kernels buffer, not what was offered


async def test_a_compressed_answer_is_never_inflated() -> None:
    async def bomb(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packed = gzip.compress(b"0" * 5_000_000)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n" + packed)

    async with raw(bomb) as url:
        answer = await posted(url)
    assert answer.body[:2] == b"\x1f\x8b"


async def test_a_burst_shares_a_connection_and_one_that_was_idle_is_not_used_again() -> None:
    connections = 0

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await reader.readexactly(2)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await reader.readuntil(b"\r\n\r\n")

    async with raw(keep) as url, session(keep=True) as client:
        for _ in range(5):
            assert (await post(client, HttpRequest(url=url, body=b"{}"), timeout=5)).body == b"ok"
        assert connections == 1
        await asyncio.sleep(0.7)
        await post(client, HttpRequest(url=url, body=b"{}"), timeout=5)
        assert connections == 2


async def test_what_a_server_says_unasked_is_no_answer_to_the_next_message() -> None:
    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with raw(twice) as url, session(keep=True) as client:
        for _ in range(3):
            assert (await post(client, HttpRequest(url=url, body=b"{}"), timeout=5)).status == 200
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("idempotent", [True, False])
async def test_a_server_that_closes_without_notice_gets_each_message_once(*, idempotent: bool) -> None:
    arrived: list[bytes] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(await reader.readexactly(2))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")  # and no `Connection: close`
        await reader.read(1)

    class Plain:
        """A channel that accepts every status."""

        def post(self, message: Message, attempt: Attempt) -> HttpRequest:  # noqa: ARG002 - the protocol's
            return HttpRequest(url=url, body=message.title.encode())

        def judge(self, answer: HttpAnswer, now: datetime) -> Receipt:  # noqa: ARG002 - the protocol's
            assert answer.status == 200
            return Receipt()

    async with raw(once) as url, session() as client, session(keep=True) as kept:
        notifier = HttpNotifier(
            name="n",
            connect=lambda _: cast("Channel", Plain()),
            secrets={},
            session=client,
            redact=Redactor(),
            timeout=5,
            lane="n",
            idempotent=idempotent,
            kept=kept,
        )
        for number in range(10, 15):
            await notifier.send(message(title=str(number)), attempt())
    assert arrived == [b"10", b"11", b"12", b"13", b"14"]


async def test_a_body_that_hangs_does_not_hide_the_status() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Busy\r\ncontent-length: 100\r\n\r\nhalf")
        await reader.read()

    async with raw(hang) as url:
        answer = await posted(url, timeout=0.2)
    assert (answer.status, answer.body, answer.lost) == (503, b"half", True)


@pytest.mark.fault("G31", "D05")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_nothing_follows_it(status: int) -> None:
    async with receiver((200, "ok")) as elsewhere, receiver((status, "", {"Location": elsewhere.url})) as target:
        answer = await posted(target.url)
    assert answer.status == status
    assert elsewhere.heard == []


async def test_proxies_and_cookies_stay_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver((200, "ok")) as proxy, receiver((200, "ok", {"Set-Cookie": "a=b"})) as target:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with session() as client:
            for _ in range(2):
                await post(client, HttpRequest(url=target.url, body=b"{}"), timeout=5)
    assert proxy.heard == []
    assert len(target.heard) == 2
    assert "cookie" not in target.heard[1].headers


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://169.254.169.254/latest", id="an IP literal, which no resolver sees"),
        pytest.param("https://[::ffff:169.254.169.254]/", id="a mapped literal"),
        pytest.param("http://0.0.0.0:1/", id="unspecified"),
        pytest.param("http://8.8.8.8/", id="public without TLS"),
    ],
)
async def test_a_refused_address_suspends_the_target_without_a_packet(url: str) -> None:
    error = await refused(url)
    assert (error.kind, error.reason) == (FailureKind.TARGET, "address_refused")


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f000001"])
async def test_an_address_in_an_unusual_spelling_is_refused(host: str) -> None:
    error = await refused(f"http://{host}:1/")
    assert error.kind in {FailureKind.TARGET, FailureKind.TRANSIENT}
    assert error.reason in {"bad_settings", "unreachable"}


class Rebinding(AbstractResolver):
    """A name server that answers with an address of its choice."""

    def __init__(self, host: str) -> None:
        self.host = host

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - aiohttp gives it
    ) -> list[ResolveResult]:
        kind = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        return [ResolveResult(hostname=host, host=self.host, port=port, family=kind, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("host", ["169.254.169.254", "::ffff:169.254.169.254", "8.8.8.8"])
async def test_the_address_behind_a_name_is_what_counts(host: str) -> None:
    async with session() as client:
        assert isinstance(client.connector, aiohttp.TCPConnector)
        client.connector._resolver = Rebinding(host)
        with pytest.raises(SendError) as caught:
            await post(client, HttpRequest(url="http://hooks.example.com/"), timeout=5)
    assert caught.value.reason == "address_refused"


@pytest.mark.parametrize(
    ("url", "good"),
    [
        pytest.param("https://hooks.slack.com/services/T/B/x", True, id="https"),
        pytest.param("http://127.0.0.1:8080/hook", True, id="http to loopback"),
        pytest.param("http://mattermost.internal/hooks/x", True, id="http to a name, checked at each connection"),
        pytest.param("http://8.8.8.8/", False, id="http to a public address"),
        pytest.param("https://169.254.169.254/", False, id="the metadata service"),
        pytest.param("ftp://example.com/", False, id="another scheme"),
        pytest.param("https:///path", False, id="no host"),
        pytest.param("https://example.com:port/", False, id="a port that is none"),
        pytest.param("https://example.com/\nx", False, id="a line break"),
        pytest.param("https://[::1/", False, id="a broken literal"),
        pytest.param("", False, id="empty"),
    ],
)
def test_a_url_is_checked_when_it_is_configured(url: str, *, good: bool) -> None:
    problem = url_problem(url)
    assert (problem is None) is good
