"""HTTP requests, bounded in time and size, without redirects, and with errors that are safe to show."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import anyio
from yarl import URL

from monitor import __version__
from monitor.connector import Connector
from monitor.providers.base import Malformed, ProviderUnavailable, SourceError, TimedOut
from monitor.source.inflate import ENCODINGS
from monitor.source.resolver import Resolver

_CHUNK: Final = 64 * 1024
_IDLE: Final = 75.0  # seconds; longer than the usual poll interval: a TLS handshake costs ten small requests
_CONNECTIONS: Final = 1000  # far above what is in flight; a bound, so that hanging servers cannot take all descriptors
# Descriptors of the database and the log; of the others, half are for readers (`web/server.py`) and notifiers.
_OWN: Final = 24
_IDLE_PER_HOST: Final = 4  # idle connections to a host with one organisation: as many as it makes requests at once
# Bytes that a connection may have unread. With the kernel's megabytes, one turn of the event loop would parse thousands
# of tiny messages for each hostile server. 8 MiB still come within 15 s over a line with a round trip of 100 ms.
_UNREAD: Final = 64 * 1024
_SMALL: Final = 256 * 1024  # bytes of an answer that are always had; a usual page is smaller
_FAILURES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (aiohttp.ClientSSLError, "no TLS connection"),
    (aiohttp.ClientConnectorDNSError, "the host name does not resolve"),
    (aiohttp.ClientConnectorError, "cannot connect"),
    (aiohttp.ServerDisconnectedError, "the connection broke before an answer"),
    (aiohttp.ClientOSError, "the connection broke before an answer"),
    (aiohttp.ClientPayloadError, "the answer broke off"),
)

_WITHOUT_REASON: Final = (aiohttp.ClientSSLError, aiohttp.ClientConnectorDNSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of an organisation's requests."""

    timeout: float = 30.0
    """Seconds for one request, from connecting to the last byte."""
    max_bytes: int = 8 * 1024 * 1024
    """The largest answer, both compressed and decompressed."""
    max_pages: int = 200
    """The most pages of a job list in one poll."""
    max_event_pages: int = 50
    """The most pages of an event stream in one read."""
    concurrency: int = 4
    """The most concurrent requests for jobs and event streams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer as received, still compressed."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """The headers, with names in lower case; the values of repeated ones are joined by commas."""
    body: bytes = b""

    @property
    def encoding(self) -> str:
        """The encoding of the body; empty if it is not compressed."""
        return self.headers.get("content-encoding", "")

    @property
    def date(self) -> datetime | None:
        """The time of the answer by the server's clock; None if it does not give one."""
        try:
            date = parsedate_to_datetime(self.headers["date"])
        except (KeyError, ValueError):
            return None
        return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


@dataclass(slots=True)
class MemoryBudget:
    """The memory for large answers of all servers together, so that many hostile ones need no more than a few."""

    left: int = 48 * 1024 * 1024
    """The bytes that are left for the parts of answers beyond 256 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """The connections to all providers, and what their requests share."""

    session: aiohttp.ClientSession
    memory: MemoryBudget = field(default_factory=MemoryBudget)
    decode_limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(2))
    """The threads that parse large answers."""
    file_limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))
    """The thread that counts training files, which takes so long that answers must not wait for it."""
    waits: dict[str, float] = field(default_factory=dict)
    """Until when a server accepts no requests with some credentials, in monotonic seconds, by a digest of both."""


@asynccontextmanager
async def transport(*, proxy: str | None = None, addresses: Collection[str] = ()) -> AsyncIterator[Transport]:
    """The transport, which is closed with the context. It uses nothing from the environment, and no cookies.

    Connections are not kept alive if the addresses that will be requested are of too many hosts, because aiohttp does
    not limit the number of idle ones. Organisations at one host share its connections.
    """
    descriptors = _descriptors()
    most = max(min(_CONNECTIONS, descriptors), 8)
    hosts = {urlsplit(address)[:2] for address in addresses}
    keep = len(hosts) <= min(most // 2, descriptors // _IDLE_PER_HOST)
    keeping: dict[str, Any] = {"keepalive_timeout": _IDLE} if keep else {"force_close": True}
    async with aiohttp.ClientSession(
        connector=Connector(limit=most, resolver=Resolver(), socket_factory=_socket, **keeping),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"finetune-monitor/{__version__}", "Accept-Encoding": ENCODINGS},
        timeout=aiohttp.ClientTimeout(total=None),  # every request has its own deadline
        trust_env=False,
        auto_decompress=False,
        read_bufsize=_CHUNK,
        proxy=proxy,
    ) as session:
        yield Transport(session=session)


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD)
    return made


def _descriptors() -> int:
    """The descriptors for connections to providers, so that as many are left for the rest of the program."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (descriptors - _OWN) // 2 if descriptors != resource.RLIM_INFINITY else sys.maxsize


async def exchange(
    shared: Transport, url: URL, headers: Mapping[str, str], limits: Limits, *, method: str = "GET", body: bytes = b""
) -> Answer:
    """Make a request and read the whole answer. Raises SourceError.

    If a kept-alive connection turns out to be dead, aiohttp replaces it once for every GET.
    """
    try:
        async with (
            asyncio.timeout(limits.timeout),
            shared.session.request(method, url, headers=headers, data=body or None, allow_redirects=False) as response,
        ):
            read = await _body(response, limits.max_bytes, shared.memory)
            return Answer(status=response.status, headers=_lower(response.headers), body=read)
    except TimeoutError:
        raise TimedOut(f"no complete answer within {limits.timeout:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _failure(error) from None


async def _body(response: aiohttp.ClientResponse, limit: int, shared: MemoryBudget) -> bytes:
    if (response.content_length or 0) > limit:
        raise Malformed(f"the answer is larger than {limit} bytes")
    body, taken = bytearray(), 0
    try:
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > limit:
                raise Malformed(f"the answer is larger than {limit} bytes")
            more = max(len(body) - _SMALL, 0) - taken
            if more > shared.left:
                raise ProviderUnavailable("too many large answers come at the same time")
            shared.left -= more
            taken += more
        return bytes(body)
    finally:
        shared.left += taken
        body.clear()  # an error's traceback holds this frame until somebody has dealt with the error


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _failure(error: Exception) -> SourceError:
    """The SourceError for an error of aiohttp, without that error's text, which may contain headers and addresses."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "")
        return ProviderUnavailable(f"the certificate is refused: {why}"[:200])
    if isinstance(error, aiohttp.ClientResponseError):
        return Malformed("the answer is not sound HTTP")
    if not isinstance(error, (aiohttp.ClientError, OSError)):
        return Malformed("the request cannot be made: is base_url right?")
    texts = (words for kind, words in _FAILURES if isinstance(error, kind))
    text = next(texts, f"the request failed: {type(error).__name__}")
    return ProviderUnavailable(f"{text}{_system_reason(error)}")


def _system_reason(error: Exception) -> str:
    """Why the system could not connect, such as `: connection refused`; empty if it does not say."""
    if not isinstance(error, aiohttp.ClientConnectorError) or isinstance(error, _WITHOUT_REASON):
        return ""
    code = error.os_error.errno or 0
    return f": {os.strerror(code).lower()}" if code in errno.errorcode else ""
