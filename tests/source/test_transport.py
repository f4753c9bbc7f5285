"""One request against servers that misbehave: bounded in time and size, and its failures are typed."""

from __future__ import annotations

import asyncio
import gzip
import resource
import zlib
from typing import Any

import pytest

from monitor.domain.flow import Known
from monitor.providers.base import Malformed, ProviderUnavailable, SourceError, TimedOut
from monitor.source.transport import transport
from tests.builders import NOON
from tests.source.servers import (
    Api,
    Script,
    answering,
    asking,
    body,
    http,
    job,
    listing,
    serving,
    source,
    speaking,
)

NEVER = Known(org="research")
PAGE = listing(job("ftjob-1", "succeeded"))


async def first_look(url: str, **over: Any) -> list[str]:
    """The ids that a first look sees."""
    async with asking(url, **over) as asked:
        return [each.id for each in (await asked.source.observe(NEVER, NOON)).jobs]


async def failed_look(url: str, **over: Any) -> SourceError:
    async with asking(url, **over) as asked:
        with pytest.raises(SourceError) as caught:
            await asked.source.observe(NEVER, NOON)
    return caught.value


def saying(*parts: bytes, pause: float = 0.0) -> Script:
    """Says this, in parts, and closes."""

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)

    return script


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        pytest.param(PAGE, "identity", id="plain"),
        pytest.param(gzip.compress(PAGE), "gzip", id="gzip"),
        pytest.param(gzip.compress(PAGE), "X-GZIP", id="gzip under its old name"),
        pytest.param(gzip.compress(PAGE[:9]) + gzip.compress(PAGE[9:]), "gzip", id="gzip in two members"),
        pytest.param(gzip.compress(PAGE) + bytes(20), "gzip", id="gzip with padding"),
        pytest.param(zlib.compress(PAGE), "deflate", id="deflate as specified"),
        pytest.param(zlib.compress(PAGE, wbits=-15), "deflate", id="deflate without its header"),
    ],
)
async def test_every_encoding_that_was_asked_for_is_understood(content: bytes, encoding: str) -> None:
    async with serving(answering(body(content, Content_Encoding=encoding))) as url:
        assert await first_look(url) == ["ftjob-1"]


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream", "nonsense", ""])
async def test_the_content_type_is_no_matter(content_type: str) -> None:
    async with serving(answering(body(PAGE, Content_Type=content_type))) as url:
        assert await first_look(url) == ["ftjob-1"]


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        pytest.param(b"<html>Sign in</html>", {"Content_Type": "text/html"}, id="a portal"),
        pytest.param(
            b"<html>Sign in</html>", {"Content_Type": "application/json"}, id="a portal that calls itself JSON"
        ),
        pytest.param(b"", {}, id="nothing"),
        pytest.param(PAGE[:-5], {}, id="truncated JSON"),
        pytest.param(gzip.compress(PAGE)[:-9], {"Content_Encoding": "gzip"}, id="truncated gzip"),
        pytest.param(PAGE, {"Content_Encoding": "gzip"}, id="gzip that is none"),
        pytest.param(gzip.compress(PAGE) + b"x", {"Content_Encoding": "gzip"}, id="gzip with something behind"),
        pytest.param(PAGE, {"Content_Encoding": "br"}, id="an encoding that was not asked for"),
        pytest.param(gzip.compress(gzip.compress(PAGE)), {"Content_Encoding": "gzip, gzip"}, id="gzip twice"),
        pytest.param(gzip.compress(b"") * 100_000, {"Content_Encoding": "gzip"}, id="100 000 empty members"),
        pytest.param(gzip.compress(bytes(300_000_000), 1), {"Content_Encoding": "gzip"}, id="a bomb of 300 MB"),
        pytest.param(
            gzip.compress(bytes(7_000_000)) * 2, {"Content_Encoding": "gzip"}, id="members that are too large together"
        ),
        pytest.param(b" " * 9_000_000, {}, id="9 MB"),
    ],
)
async def test_an_answer_that_is_no_page_is_malformed(content: bytes, headers: dict[str, str]) -> None:
    async with serving(answering(body(content, **headers))) as url:
        assert type(await failed_look(url)) is Malformed


async def test_204_is_no_page() -> None:
    async with speaking(saying(b"HTTP/1.1 204 No Content\r\n\r\n")) as url:
        assert type(await failed_look(url)) is Malformed


async def test_a_body_without_end_is_cut_off_at_the_limit() -> None:
    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            await writer.drain()

    async with speaking(endless) as url:
        assert type(await failed_look(url)) is Malformed


async def test_a_declared_size_beyond_the_limit_is_not_waited_for() -> None:
    async with speaking(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", pause=5)) as url:
        assert type(await failed_look(url)) is Malformed


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(saying(b"", pause=5), id="silence"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 50, pause=0.05), id="a head in drips"),
        pytest.param(saying(http(PAGE)[:-50], *[b" "] * 50, pause=0.05), id="a body in drips"),
        pytest.param(saying(b"HTTP/1.1 102 Processing\r\n\r\n" * 10, pause=5), id="1xx and then silence"),
        pytest.param(saying(*[b"HTTP/1.1 102 Processing\r\n\r\n" * 100] * 10_000, pause=0.01), id="endless 1xx"),
    ],
)
async def test_the_deadline_is_for_all_of_a_request(script: Script) -> None:
    async with speaking(script) as url:
        assert type(await failed_look(url, limits={"timeout": 0.2})) is TimedOut


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(b"", ProviderUnavailable, id="closed without a word"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", ProviderUnavailable, id="closed in the head"),
        pytest.param(http(PAGE)[:-5], ProviderUnavailable, id="closed in the body"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Malformed, id="another protocol"),
        pytest.param(http(PAGE, b"X: " + b"x" * 2_000_000), Malformed, id="a header of 2 MB"),
        pytest.param(http(PAGE, *[b"X%d: x" % n for n in range(10_000)]), Malformed, id="10 000 headers"),
        pytest.param(http(PAGE, b"Content-Length: 3"), Malformed, id="two lengths"),
        pytest.param(http(PAGE, b"Transfer-Encoding: chunked"), Malformed, id="a length and chunks"),
        pytest.param(http(b"zz\r\n", b"Bad Header"), Malformed, id="a header that is none"),
    ],
)
async def test_what_is_no_http_is_a_failed_look(said: bytes, expected: type[SourceError]) -> None:
    async with speaking(saying(said)) as url:
        assert type(await failed_look(url)) is expected


async def test_a_reset_connection_is_a_failed_look() -> None:
    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with speaking(reset) as url:
        assert type(await failed_look(url)) is ProviderUnavailable


async def test_nobody_there_and_no_such_host_are_failed_looks() -> None:
    async with speaking(saying()) as url:
        pass
    refused = await failed_look(url)
    assert (type(refused), str(refused)) == (ProviderUnavailable, "cannot connect: connection refused")
    assert type(await failed_look("http://nobody.invalid/v1")) is ProviderUnavailable


async def test_plain_http_is_no_tls() -> None:
    async with serving(Api()) as url:
        assert type(await failed_look(url.replace("http:", "https:"))) is ProviderUnavailable


async def test_a_pooled_connection_that_turns_out_to_be_dead_is_replaced_once() -> None:
    answered, silent = 0, 0

    async def one_answer_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered, silent
        answered += 1
        writer.write(http(PAGE))
        await reader.readuntil(b"\r\n\r\n")
        silent += 1

    async with speaking(one_answer_each) as url, asking(url) as asked:
        for _ in range(3):
            await asked.source.check()
    assert (answered, silent, len(asked.counted)) == (3, 2, 3)


async def test_an_answer_that_nobody_asked_for_answers_no_later_request() -> None:
    seen, poison = 0, asyncio.Event()

    async def poisoned(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        writer.write(http(listing(job(f"ftjob-{seen}", "succeeded"))))
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(http(listing(job("ftjob-poison", "failed"))))
        await writer.drain()
        poison.set()
        await reader.read()

    async with speaking(poisoned) as url, asking(url) as asked:
        ids = []
        for _ in range(3):
            ids += [each.id for each in (await asked.source.observe(NEVER, NOON)).jobs]
            await poison.wait()
            poison.clear()
            await asyncio.sleep(0.05)
    assert ids == ["ftjob-1", "ftjob-2", "ftjob-3"]


@pytest.mark.parametrize(
    ("descriptors", "address", "count", "opened"),
    [
        pytest.param(16_384, "http://127.0.0.1:{}/org/v1", 501, 3, id="too_many_hosts"),
        pytest.param(16_384, "http://127.0.0.1:{}/org/v1", 500, 1, id="not_too_many"),
        pytest.param(resource.RLIM_INFINITY, "http://127.0.0.1:{}/org/v1", 500, 1, id="unlimited_descriptors"),
        pytest.param(1024, "http://127.0.0.1:{}/org/v1", 126, 3, id="too_many_hosts_for_its_descriptors"),
        pytest.param(1024, "http://127.0.0.1:{}/org/v1", 125, 1, id="four_idle_connections_to_each"),
        pytest.param(1024, "http://127.0.0.1/org-{}/v1", 501, 1, id="one_host_for_all"),
    ],
)
async def test_connections_are_kept_unless_there_are_too_many_hosts(
    descriptors: int, address: str, count: int, opened: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (descriptors, descriptors))
    seen = 0

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        while True:
            writer.write(http(PAGE))
            await reader.readuntil(b"\r\n\r\n")

    addresses = [address.format(number + 1) for number in range(count)]
    async with speaking(answers) as url, transport(addresses=addresses) as shared:
        asked = source(url, transport=shared)
        for _ in range(3):
            await asked.source.check()
    assert seen == opened
