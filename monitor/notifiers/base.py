"""The interface of channels: they turn a message into a request, and judge the answer. Nothing here does I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol, runtime_checkable

from monitor.domain.news import Card, Message
from monitor.domain.retry_after import retry_after

ANSWER_BYTES: Final = 4096
"""How much of an answer is read, unless a channel needs more."""
EVIDENCE: Final = 300
"""How many characters of an answer are kept with a dead letter."""


class FailureKind(StrEnum):
    """What a failed attempt means for the delivery and its target."""

    RATE = "rate"
    """The target asks us to wait. Does not count as a failure."""
    TRANSIENT = "transient"
    """Retry with backoff, for as long as `delivery.max_age` allows."""
    AMBIGUOUS = "ambiguous"
    """The message may have arrived."""
    TARGET = "target"
    """The credentials or the address are rejected: suspend the target and keep its deliveries."""
    MESSAGE = "message"
    """This message is rejected, and no other: it becomes a dead letter, and those behind it are sent."""
    CARD = "card"
    """The card is gone or too old to be edited: post another."""
    CRASH = "crash"
    """Rendering or sending the message raised an unexpected exception: retry, but only a few times."""


class SendError(Exception):
    """A failed attempt. `reason` is one of a closed set, for metrics; the text is bounded and has no secrets."""

    def __init__(self, kind: FailureKind, reason: str, text: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(text or reason)
        self.kind = kind
        self.reason = reason
        self.retry_after = retry_after
        self.status: int | None = None
        """The HTTP or SMTP status of the answer, if there was one."""
        self.answer = ""
        """The beginning of the answer, redacted: at most 300 characters on one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to send a message: what a channel needs to know besides the message itself."""

    key: str
    """The delivery key, which is the receiver's idempotency key."""
    at: datetime
    number: int = 1
    repeated: bool = False
    """Whether the answer to an earlier attempt was lost, so that this may be a duplicate."""
    card: Card | None = None
    """The card to which the message is a reply, if the channel has threads."""
    plain: bool = False
    """Whether to send plain text, because the receiver has rejected the formatted message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The receiver's answer to an accepted message: what is needed to edit it later."""

    reference: str | None = None
    """The message's id at the receiver, if it has one (Slack's `ts`)."""
    place: str | None = None
    """The message's location (the id of Slack's channel)."""

    @property
    def card(self) -> Card | None:
        """The message as a card that can be edited; None if the receiver did not return its id and location."""
        if self.place is None or self.reference is None:
            return None
        return Card(place=self.place, reference=self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """An HTTP request as a value."""

    url: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"
    limit: int = ANSWER_BYTES
    """The number of bytes of the answer to read."""
    card_lost: frozenset[str] = frozenset()
    """Error reasons which mean, for this request, that its card is gone, perhaps together with its channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """The answer of a target."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """The beginning of the body, up to the limit of the request."""
    lost: bool = False
    """Whether the body is incomplete, because the connection broke or the deadline passed."""

    @property
    def text(self) -> str:
        """The body as text, without surrounding white space."""
        return self.body.decode("utf-8", "replace").strip()

    @property
    def fields(self) -> Mapping[str, Any]:
        """The body's JSON object; empty if it is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def html(self) -> bool:
        """Whether this is a page for people, from a proxy or a login portal and not from the receiver itself."""
        return "html" in self.headers.get("content-type", "") or self.body.lstrip()[:1] == b"<"

    @property
    def document(self) -> bool:
        """Whether the body is a complete page. Flask, Django and PHP label every answer as HTML, even a plain `ok`."""
        return _DOCUMENT.match(self.body) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture to show below a card."""

    name: str
    """The file name."""
    title: str
    content: bytes


Steps = Generator[HttpRequest, HttpAnswer, None]
"""Several requests, each built from the answers before it. Raises SendError if one of them fails."""


@runtime_checkable
class PictureChannel(Protocol):
    """A channel that can show pictures."""

    def attach(self, card: Card, picture: Picture) -> Steps:
        """The requests that show a picture below a card."""
        ...


class Channel(Protocol):
    """One channel with its credentials. It is pure: it neither waits nor reads files or clocks."""

    def post(self, message: Message, attempt: Attempt) -> HttpRequest:
        """The request that delivers the message."""
        ...

    def edit(self, card: Card, message: Message, attempt: Attempt) -> HttpRequest | None:
        """The request that replaces the content of an earlier message; None if the channel cannot edit."""
        ...

    def judge(self, answer: HttpAnswer, now: datetime) -> Receipt | SendError:
        """Judge the answer to `post` or `edit`."""
        ...

    def probe(self) -> HttpRequest:
        """A request that shows whether the receiver works, without sending a message."""
        ...

    def judge_probe(self, answer: HttpAnswer, now: datetime) -> SendError | None:
        """Judge the answer to `probe`; None if the receiver works."""
        ...


class Notifier(Protocol):
    """A configured target, with its I/O."""

    name: str
    lane: str
    """Notifiers with the same lane, such as one Slack channel, share a rate limit."""
    min_gap: float
    """The least number of seconds between two messages of a lane."""
    idempotent: bool
    """Whether the receiver recognises duplicates by the delivery key. If not, an ambiguous attempt is repeated once."""

    def preview(self, message: Message, attempt: Attempt) -> str:
        """What `send` would send, as text. Raises SendError."""

    async def send(self, message: Message, attempt: Attempt) -> Receipt:
        """Deliver the message. Raises SendError."""
        ...

    async def check(self) -> None:
        """Check whether the credentials work, without sending a message. Raises SendError."""
        ...


def judge_status(answer: HttpAnswer, now: datetime) -> Receipt | SendError:
    """Judge an answer by its status alone, as most HTTP channels do.

    Most 4xx are retried, because receivers answer 400, 402 or 451 to valid messages while a secret, a route or a policy
    is being rolled out. Only 413 concerns the message; 401, 403, 404 and 410 concern the target.
    """
    status, wait = answer.status, retry_after(answer.headers, now)
    text = f"the receiver answered {status}"
    if 200 <= status < 300:
        return Receipt()
    if status == 429 or (status == 503 and wait is not None):
        return SendError(FailureKind.RATE, "rate_limited", text, retry_after=wait)
    if status >= 500 or status in {408, 425}:
        return SendError(FailureKind.TRANSIENT, "server_error", text, retry_after=wait)
    if status < 400:  # a maintenance page disappears again; an address that has moved has to be fixed by the operator
        return SendError(FailureKind.TRANSIENT, "redirect", f"{text}: redirects are not followed", retry_after=wait)
    if status == 404 and answer.html:  # an ingress that has no route yet
        return SendError(FailureKind.TRANSIENT, "not_found", f"{text} with a page", retry_after=wait)
    kind, reason = _REFUSALS.get(status, (FailureKind.TRANSIENT, "refused"))
    return SendError(kind, reason, text, retry_after=wait)


_DOCUMENT: Final = re.compile(
    rb"\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--[^>]{0,400}-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE
)
_REFUSALS: Final = {
    401: (FailureKind.TARGET, "unauthorized"),
    403: (FailureKind.TARGET, "unauthorized"),
    404: (FailureKind.TARGET, "not_found"),
    410: (FailureKind.TARGET, "gone"),
    413: (FailureKind.MESSAGE, "too_large"),
}


def json_body(content: object) -> bytes:
    """The content as JSON in UTF-8. Lone surrogates are replaced; NaN raises ValueError."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
