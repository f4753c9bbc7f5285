"""One POST to a target: a deadline, a bounded answer, no redirects, no proxies, no way round the address rules."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from monitor import __version__
from monitor.notifiers.address import objection
from monitor.notifiers.base import Failure, SendError

USER_AGENT: Final = f"finetune-monitor/{__version__}"
ANSWER_BYTES: Final = 4096

# The connector is told addresses, not URLs: this carries the scheme of the request that is being connected.
_PLAIN: ContextVar[bool] = ContextVar("plain", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a target answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """The beginning, at most as long as was asked for."""
    lost: bool = False
    """Whether the body broke off before that, with the connection or at the deadline."""


class AddressRefused(OSError):
    """The peer's real address is one that notifications never go to."""


@dataclass(slots=True)
class _Flight:
    """How far a request got: what was never sent cannot have arrived."""

    sent: bool = False


def session(*, public_only: bool = False) -> aiohttp.ClientSession:
    """The client session of all outgoing notifications: nothing from the environment, no cookies, checked peers.

    With `public_only`, private and loopback addresses are refused as well, by whatever name they are reached.
    A connection is used once: on a kept one that has died meanwhile nobody could say whether a message arrived.
    """
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_departed)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, socket_factory=partial(_guarded_socket, public_only), limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        trust_env=False,
        auto_decompress=False,
        read_bufsize=ANSWER_BYTES,
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
    )


def url_problem(url: str) -> str | None:
    """What is wrong with a target's URL, without showing it; None where it may be used."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in {"http", "https"} or not host or not url.isprintable() or " " in url:
        return "must be an http or https URL"
    try:
        return objection(host, plain=parts.scheme == "http")
    except ValueError:  # not an IP address: its addresses are checked at each connection
        return None


async def post(  # noqa: PLR0913 - what makes up a request
    client: aiohttp.ClientSession,
    url: str,
    *,
    body: bytes,
    headers: Mapping[str, str],
    timeout: float,
    limit: int = ANSWER_BYTES,
    method: str = "POST",
) -> Answer:
    """Send it once and read the answer's beginning. Raises SendError where no answer came; its text names no URL."""
    flight = _Flight()
    plain = _PLAIN.set(url.lower().startswith("http:"))
    try:
        async with client.request(
            method,
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout),
            trace_request_ctx=flight,
        ) as answer:
            start, lost = await _beginning(answer, limit)
            return Answer(
                status=answer.status,
                headers={name.lower(): value for name, value in answer.headers.items()},
                body=start,
                lost=lost,
            )
    except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
        raise _unanswered(error, sent=flight.sent) from None  # the cause's text may show the URL
    finally:
        _PLAIN.reset(plain)


async def _beginning(answer: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """The body's first bytes, and whether it broke off there. The status counts even where the body fails."""
    read = bytearray()
    try:
        while len(read) < limit and (chunk := await answer.content.read(limit - len(read))):
            read += chunk
    except (aiohttp.ClientError, OSError):
        return bytes(read), True
    return bytes(read), False


def _unanswered(error: Exception, *, sent: bool) -> SendError:
    """What it means that no answer came."""
    refused = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    if isinstance(refused, AddressRefused):
        return SendError(Failure.TARGET, "address_refused", str(refused))
    if isinstance(error, (aiohttp.InvalidURL, ValueError)) and not isinstance(error, aiohttp.ClientConnectorError):
        return SendError(Failure.TARGET, "bad_settings", "the URL, a header or the credential cannot be sent")
    if sent:
        text = "no answer in time" if isinstance(error, TimeoutError) else "the connection was lost before the answer"
        return SendError(Failure.AMBIGUOUS, "answer_lost", text)
    if isinstance(error, TimeoutError):
        return SendError(Failure.TRANSIENT, "unreachable", "no connection in time")
    if isinstance(error, aiohttp.ClientSSLError):
        return SendError(Failure.TRANSIENT, "tls", f"TLS failed: {type(error).__name__}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return SendError(Failure.TRANSIENT, "unreachable", "the host name has no address")
    text = (refused.strerror if refused is not None else None) or type(error).__name__
    return SendError(Failure.TRANSIENT, "unreachable", f"cannot connect: {text}"[:200])


async def _departed(
    _client: aiohttp.ClientSession, context: SimpleNamespace, _sent: aiohttp.TraceRequestHeadersSentParams
) -> None:
    context.trace_request_ctx.sent = True


def _guarded_socket(public_only: bool, target: tuple[Any, ...]) -> socket.socket:
    """The socket for one resolved address, literal or not: the last moment at which the real peer can be refused."""
    family, kind, protocol, _, peer = target
    reason = objection(str(ip_address(peer[0])), plain=_PLAIN.get(), public_only=public_only)
    if reason is not None:
        raise AddressRefused(0, reason)
    return socket.socket(family=family, type=kind, proto=protocol)
