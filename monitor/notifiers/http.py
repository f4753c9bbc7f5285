"""One request to a target: a deadline, a bounded answer, no redirects, no proxies, no way round the address rules.

`HttpNotifier` is the only place where channels meet the network: it reads the secrets, sends what the channel dressed,
asks the channel what the answer means, and redacts what it keeps of it.
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
_PATIENCE: Final = 50
NO_EDITS: Final = "it has no cards: its messages cannot be edited"

# The connector gets addresses, not URLs: this carries the scheme of the request that is being connected.
_PLAIN: ContextVar[bool] = ContextVar("plain", default=False)


class AddressRefused(OSError):
    """The peer's real address is one that notifications never go to."""


@dataclass(slots=True)
class _Flight:
    """How far a request got: what was never sent cannot have arrived."""

    sent: bool = False


@dataclass(slots=True, kw_only=True)
class HttpNotifier:
    """One target of a channel that speaks HTTP."""

    name: str
    connect: Callable[[Mapping[str, tuple[str, ...]]], Channel]
    """The channel with the present texts of `secrets`."""
    secrets: Mapping[str, tuple[Secret, ...]]
    session: aiohttp.ClientSession
    redact: Redactor
    timeout: float
    """Seconds for one request, all of it."""
    lane: str
    min_gap: float = 0.0
    idempotent: bool = True

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
        """Deliver it, as bare text where its dress is refused and the channel has such a form. Raises SendError.

        A target that knows no delivery key is asked first whether it works before it gets the one repeat that a lost
        answer allows: during an outage the repeat would be spent in vain. Some receivers take no question well; after
        so many attempts (about eight hours) it is sent all the same.
        """
        channel = self._channel()
        if attempt.repeated and not self.idempotent and attempt.number < _PATIENCE:
            await self._probe(channel, attempt.at)
        return await self._dressed_or_bare(channel, partial(channel.post, message), attempt)

    async def edit(self, card: Card, message: Message, attempt: Attempt) -> None:
        """Let a card say this. Raises SendError: of the kind CARD where it can be edited no more."""
        channel = self._channel()
        await self._dressed_or_bare(channel, partial(channel.edit, card, message), attempt)

    async def check(self) -> None:
        """Ask whether the credentials work, without a message. Raises SendError."""
        await self._probe(self._channel(), datetime.min.replace(tzinfo=UTC))

    async def attach(self, card: Card, picture: Picture) -> None:
        """Show a picture below a card, where the channel can. Raises SendError."""
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

    async def _dressed_or_bare(
        self, channel: Channel, dress: Callable[[Attempt], HttpRequest | None], attempt: Attempt
    ) -> Receipt:
        dressed = dress(attempt)
        if dressed is None:
            raise SendError(FailureKind.CARD, "no_edits", NO_EDITS)
        try:
            return await self._exchange(channel, dressed, attempt.at)
        except SendError as error:
            if error.kind is not FailureKind.MESSAGE:
                raise
            bare = dress(replace(attempt, plain=True))
            if bare is None or bare == dressed:
                raise
        return await self._exchange(channel, bare, attempt.at)

    def _channel(self) -> Channel:
        try:
            return self.connect({name: tuple(one.read() for one in group) for name, group in self.secrets.items()})
        except (OSError, ValueError) as error:
            text = f"a secret cannot be read: {type(error).__name__}"
            raise SendError(FailureKind.TRANSIENT, "secret", text) from None

    async def _probe(self, channel: Channel, now: datetime) -> None:
        """Raises SendError where the target does not work; never as ambiguous, since no message was sent."""
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
        answer = await post(self.session, outgoing, timeout=self.timeout)
        verdict = channel.judge(answer, now)
        if isinstance(verdict, Receipt):
            return verdict
        if verdict.reason in outgoing.card_lost:
            verdict.kind = FailureKind.CARD
        if verdict.kind is FailureKind.TRANSIENT and answer.status >= 500 and not self.idempotent:
            verdict.kind = FailureKind.AMBIGUOUS  # a gateway's 502 or 504 says nothing of what is behind it
        raise self._evidence(verdict, answer)

    def _evidence(self, error: SendError, answer: HttpAnswer) -> SendError:
        """The error with what the target said, so that a dead letter can be understood."""
        text = self.redact(answer.text[: 8 * EVIDENCE])  # before it is cut to size: a part of a secret could be left
        seen = SendError(error.kind, error.reason, self.redact(str(error)), retry_after=error.retry_after)
        seen.status, seen.answer = answer.status, line(text, EVIDENCE)
        return seen


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


async def post(client: aiohttp.ClientSession, outgoing: HttpRequest, *, timeout: float) -> HttpAnswer:
    """Send it once and read the answer's beginning. Raises SendError where no answer came; its text names no URL."""
    flight = _Flight()
    plain = _PLAIN.set(_scheme(outgoing.url) == "http")
    try:
        async with client.request(
            outgoing.method,
            outgoing.url,
            data=outgoing.body,
            headers=outgoing.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout),
            trace_request_ctx=flight,
        ) as answer:
            start, lost = await _beginning(answer, outgoing.limit)
            return HttpAnswer(
                status=answer.status,
                headers={name.lower(): value for name, value in answer.headers.items()},
                body=start,
                lost=lost,
            )
    except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
        raise _unanswered(error, sent=flight.sent) from None  # the cause's text may show the URL
    finally:
        _PLAIN.reset(plain)


def _scheme(url: str) -> str:
    """Raises SendError unless it is http or https: aiohttp would take `ws://` for a plain request."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in {"http", "https"}:
        raise SendError(FailureKind.TARGET, "bad_settings", "the URL must be an http or https URL")
    return scheme


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
    code = (refused.errno if refused is not None else None) or 0  # asyncio's own words repeat the address
    text = os.strerror(code).lower() if code in errno.errorcode else type(error).__name__
    return SendError(FailureKind.TRANSIENT, "unreachable", f"cannot connect: {text}"[:200])


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
