"""HTTP requests to targets, with a deadline and a bounded answer, no redirects or proxies, to allowed addresses only.

`HttpNotifier` is the only place where HTTP channels reach the network: it reads the secrets, sends the channel's
request, lets the channel judge the answer, and redacts what is kept of it.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from monitor import __version__
from monitor.connector import Connector
from monitor.domain.news import Card, Message
from monitor.domain.text import line
from monitor.notifiers.address import objection
from monitor.notifiers.base import (
    ANSWER_BYTES,
    EVIDENCE,
    Attempt,
    Channel,
    FailureKind,
    HttpAnswer,
    HttpRequest,
    Picture,
    PictureChannel,
    Receipt,
    SendError,
)
from monitor.secret import Redactor, Secret

USER_AGENT: Final = f"finetune-monitor/{__version__}"
_UNPROBED_AFTER: Final = 50  # attempts, about eight hours, after which a repeat is sent without a probe
_IDLE: Final = 0.5
"""Seconds for which an unused connection is kept: less than servers do, which close it without notice."""
NO_EDITS: Final = "it has no cards: its messages cannot be edited"

# The scheme of the request that is being connected: the connector is only given addresses.
_PLAIN: ContextVar[bool] = ContextVar("plain", default=False)


class AddressRefused(OSError):
    """The peer's IP address is one to which notifications are never sent."""


class ConnectionClosed(SendError):
    """A connection that had been kept was closed before an answer came."""


@dataclass(slots=True)
class _Progress:
    """How far a request has come. A request that was not sent cannot have arrived."""

    sent: bool = False
    reused: bool = False
    """Whether the connection was used before."""


@dataclass(slots=True, kw_only=True)
class HttpNotifier:
    """A target that is reached by HTTP."""

    name: str
    connect: Callable[[Mapping[str, tuple[str, ...]]], Channel]
    """Returns the channel with the current texts of `secrets`."""
    secrets: Mapping[str, tuple[Secret, ...]]
    session: aiohttp.ClientSession
    """Uses each connection once."""
    redact: Redactor
    timeout: float
    """Seconds for a whole request."""
    lane: str
    min_gap: float = 0.0
    idempotent: bool = True
    kept: aiohttp.ClientSession | None = None
    """Keeps its connections for a moment. It is used until one is closed without notice, and only if the target
    recognises duplicates: the message is then sent again at once.
    """

    def preview(self, message: Message, attempt: Attempt) -> str:
        """The body of the request, without secrets. Raises SendError."""
        return self.redact(self._channel().post(message, attempt).body.decode())

    def preview_edit(self, card: Card, message: Message, attempt: Attempt) -> str:
        """The body of the request that edits a card, without secrets. Raises SendError."""
        edited = self._channel().edit(card, message, attempt)
        if edited is None:
            raise SendError(FailureKind.CARD, "no_edits", NO_EDITS)
        return self.redact(edited.body.decode())

    async def send(self, message: Message, attempt: Attempt) -> Receipt:
        """Deliver the message, as plain text if the formatted one is rejected. Raises SendError.

        After a lost answer, a target that does not recognise duplicates gets the message only once more. It is probed
        first, so that the repeat is not wasted during an outage. Since some receivers reject every probe, the repeat is
        sent without one after many attempts.
        """
        channel = self._channel()
        if attempt.repeated and not self.idempotent and attempt.number < _UNPROBED_AFTER:
            await self._probe(channel, attempt.at)
        return await self._formatted_or_plain(channel, partial(channel.post, message), attempt)

    async def edit(self, card: Card, message: Message, attempt: Attempt) -> None:
        """Replace the content of a card. Raises SendError, of kind CARD if it can no longer be edited."""
        channel = self._channel()
        await self._formatted_or_plain(channel, partial(channel.edit, card, message), attempt)

    async def check(self) -> None:
        """Check whether the credentials work, without sending a message. Raises SendError."""
        await self._probe(self._channel(), datetime.min.replace(tzinfo=UTC))

    async def attach(self, card: Card, picture: Picture) -> None:
        """Show a picture below a card, if the channel supports pictures. Raises SendError."""
        channel = self._channel()
        if not isinstance(channel, PictureChannel):
            return
        steps = channel.attach(card, picture)
        outgoing = next(steps)
        while True:
            answer = await post(self.session, outgoing, timeout=self.timeout)
            try:
                outgoing = steps.send(answer)
            except StopIteration:
                return
            except SendError as error:
                raise self._evidence(error, answer) from None

    async def _formatted_or_plain(
        self, channel: Channel, build: Callable[[Attempt], HttpRequest | None], attempt: Attempt
    ) -> Receipt:
        """Send the formatted request, and the plain one if the message is rejected. Raises SendError."""
        formatted = build(attempt)
        if formatted is None:
            raise SendError(FailureKind.CARD, "no_edits", NO_EDITS)
        try:
            return await self._exchange(channel, formatted, attempt.at)
        except SendError as error:
            if error.kind is not FailureKind.MESSAGE:
                raise
            plain = build(replace(attempt, plain=True))
            if plain is None or plain == formatted:
                raise
        return await self._exchange(channel, plain, attempt.at)

    def _channel(self) -> Channel:
        try:
            return self.connect(
                {name: tuple(secret.read() for secret in group) for name, group in self.secrets.items()}
            )
        except (OSError, ValueError) as error:
            text = f"a secret cannot be read: {type(error).__name__}"
            raise SendError(FailureKind.TRANSIENT, "secret", text) from None

    async def _probe(self, channel: Channel, now: datetime) -> None:
        """Raises SendError if the target does not work; never as ambiguous, since no message was sent."""
        try:
            answer = await post(self.session, channel.probe(), timeout=self.timeout)
        except SendError as error:
            if error.kind is not FailureKind.AMBIGUOUS:
                raise
            raise SendError(FailureKind.TRANSIENT, error.reason, str(error)) from None
        refused = channel.judge_probe(answer, now)
        if refused is not None:
            raise self._evidence(refused, answer)

    async def _exchange(self, channel: Channel, outgoing: HttpRequest, now: datetime) -> Receipt:
        answer = await self._answer(outgoing)
        verdict = channel.judge(answer, now)
        if isinstance(verdict, Receipt):
            return verdict
        if verdict.reason in outgoing.card_lost:
            verdict.kind = FailureKind.CARD
        if verdict.kind is FailureKind.TRANSIENT and answer.status >= 500 and not self.idempotent:
            verdict.kind = FailureKind.AMBIGUOUS  # after a gateway's 502 or 504, the message may have arrived
        raise self._evidence(verdict, answer)

    async def _answer(self, outgoing: HttpRequest) -> HttpAnswer:
        if self.idempotent and self.kept is not None:
            try:
                return await post(self.kept, outgoing, timeout=self.timeout)
            except ConnectionClosed:
                self.kept = None
        return await post(self.session, outgoing, timeout=self.timeout)

    def _evidence(self, error: SendError, answer: HttpAnswer) -> SendError:
        """The error with the status and the beginning of the answer, which a dead letter shows."""
        text = self.redact(answer.text[: 8 * EVIDENCE])  # before it is shortened, which could leave a part of a secret
        explained = SendError(error.kind, error.reason, self.redact(str(error)), retry_after=error.retry_after)
        explained.status, explained.answer = answer.status, line(text, EVIDENCE)
        return explained


def session(*, public_only: bool = False, keep: bool = False) -> aiohttp.ClientSession:
    """A client session of all notifications: no cookies, nothing from the environment, and only allowed addresses.

    With `public_only`, private and loopback addresses are refused too, whatever their host name. Each connection is
    used once: on a kept-alive one that has died, it would be unknown whether a message has arrived. With `keep`, those
    of a burst of messages are used again.
    """
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_note_sent)
    trace.on_connection_reuseconn.append(_note_reused)
    keeping: dict[str, Any] = {"keepalive_timeout": _IDLE} if keep else {"force_close": True}
    return aiohttp.ClientSession(
        connector=Connector(socket_factory=partial(_guarded_socket, public_only), limit=0, **keeping),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        trust_env=False,
        auto_decompress=False,
        read_bufsize=ANSWER_BYTES,
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
    )


async def post(client: aiohttp.ClientSession, outgoing: HttpRequest, *, timeout: float) -> HttpAnswer:
    """Send a request once and read the beginning of the answer. Raises SendError, without the URL, if none came."""
    progress = _Progress()
    plain = _PLAIN.set(_scheme(outgoing.url) == "http")
    try:
        async with client.request(
            outgoing.method,
            outgoing.url,
            data=outgoing.body,
            headers=outgoing.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout),
            trace_request_ctx=progress,
        ) as answer:
            start, lost = await _beginning(answer, outgoing.limit)
            return HttpAnswer(
                status=answer.status,
                headers={name.lower(): value for name, value in answer.headers.items()},
                body=start,
                lost=lost,
            )
    except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
        if progress.reused and isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
            raise ConnectionClosed(FailureKind.AMBIGUOUS, "answer_lost", "the connection was closed") from None
        raise _unanswered(error, sent=progress.sent) from None  # the cause's text may show the URL
    finally:
        _PLAIN.reset(plain)


def _scheme(url: str) -> str:
    """The URL's scheme. Raises SendError unless it is http or https: aiohttp would accept `ws://`."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in {"http", "https"}:
        raise SendError(FailureKind.TARGET, "bad_settings", "the URL must be an http or https URL")
    return scheme


async def _beginning(answer: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """The body's first bytes, and whether the rest was lost. The status counts even if the body is incomplete."""
    read = bytearray()
    try:
        while len(read) < limit and (chunk := await answer.content.read(limit - len(read))):
            read += chunk
    except (aiohttp.ClientError, OSError):
        return bytes(read), True
    return bytes(read), False


def _unanswered(error: Exception, *, sent: bool) -> SendError:
    """The meaning of a missing answer."""
    refused = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    if isinstance(refused, AddressRefused):
        return SendError(FailureKind.TARGET, "address_refused", str(refused))
    if isinstance(error, (aiohttp.InvalidURL, ValueError)) and not isinstance(error, aiohttp.ClientConnectorError):
        return SendError(FailureKind.TARGET, "bad_settings", "the URL, a header or the credential cannot be sent")
    if sent:
        text = "no answer in time" if isinstance(error, TimeoutError) else "the connection was lost before the answer"
        return SendError(FailureKind.AMBIGUOUS, "answer_lost", text)
    if isinstance(error, TimeoutError):
        return SendError(FailureKind.TRANSIENT, "unreachable", "no connection in time")
    if isinstance(error, aiohttp.ClientSSLError):
        return SendError(FailureKind.TRANSIENT, "tls", f"TLS failed: {type(error).__name__}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return SendError(FailureKind.TRANSIENT, "unreachable", "the host name does not resolve")
    code = (refused.errno if refused is not None else None) or 0  # the text of asyncio's errors contains the address
    text = os.strerror(code).lower() if code in errno.errorcode else type(error).__name__
    return SendError(FailureKind.TRANSIENT, "unreachable", f"cannot connect: {text}"[:200])


async def _note_sent(
    _client: aiohttp.ClientSession, context: SimpleNamespace, _sent: aiohttp.TraceRequestHeadersSentParams
) -> None:
    context.trace_request_ctx.sent = True


async def _note_reused(
    _client: aiohttp.ClientSession, context: SimpleNamespace, _reused: aiohttp.TraceConnectionReuseconnParams
) -> None:
    context.trace_request_ctx.reused = True


def _guarded_socket(public_only: bool, target: tuple[Any, ...]) -> socket.socket:
    """The socket for one resolved address: the last moment at which the actual peer can be refused."""
    family, kind, protocol, _, peer = target
    reason = objection(str(ip_address(peer[0])), plain=_PLAIN.get(), public_only=public_only)
    if reason is not None:
        raise AddressRefused(0, reason)
    return socket.socket(family=family, type=kind, proto=protocol)
