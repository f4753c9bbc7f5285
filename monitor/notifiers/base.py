"""What a channel is: it dresses a message as a request and says what the answer means. Nothing here does I/O."""

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
"""As much of an answer is read, unless a channel needs more of it."""
EVIDENCE: Final = 300
"""Characters of an answer that are kept with a dead letter."""


class FailureKind(StrEnum):
    """What a failed attempt means for the delivery and its target."""

    RATE = "rate"
    """The target asks us to wait; not counted as a failure."""
    TRANSIENT = "transient"
    """Try again with growing back-off, for as long as `delivery.max_age` allows."""
    AMBIGUOUS = "ambiguous"
    """It may have arrived."""
    TARGET = "target"
    """The credential or the address is refused: suspend the target and keep its deliveries."""
    MESSAGE = "message"
    """The answer is known to concern this one message: it becomes a dead letter, those behind it go out."""
    CARD = "card"
    """An edit is refused because the card is gone or too old: post anew."""
    CRASH = "crash"
    """This program failed to dress or send it: transient, with a small attempt cap."""


class SendError(Exception):
    """An attempt that failed. `reason` is a short closed word for metrics; the text is safe to show and bounded."""

    def __init__(self, kind: FailureKind, reason: str, text: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(text or reason)
        self.kind = kind
        self.reason = reason
        self.retry_after = retry_after
        self.status: int | None = None
        """The HTTP or SMTP status of the answer, where there was one."""
        self.answer = ""
        """The beginning of the answer, redacted: at most 300 characters on one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Which try this is, and when: what a channel needs beside the message."""

    key: str
    """The delivery key, which is the receiver's idempotency key."""
    at: datetime
    number: int = 1
    repeated: bool = False
    """The answer to an earlier try was lost, so that this may be a second copy."""
    card: Card | None = None
    """The card that it goes below, where the channel knows such a place."""
    plain: bool = False
    """The receiver refused how the message was dressed: send the bare text, where the channel knows such a form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the receiver said of an accepted message: enough to find it again for an edit."""

    reference: str | None = None
    """The message's id at the receiver, where it has one (Slack's `ts`)."""
    place: str | None = None
    """Where it stands there (the id of Slack's channel)."""

    @property
    def card(self) -> Card | None:
        """The message as one that can be edited; None where the receiver did not say enough for that."""
        if self.place is None or self.reference is None:
            return None
        return Card(place=self.place, reference=self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request, all of it as values."""

    url: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"
    limit: int = ANSWER_BYTES
    """How many bytes of the answer are read."""
    card_lost: frozenset[str] = frozenset()
    """The reasons of a refusal that say that the card of this request is gone, with its channel or without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What a target answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """The beginning, at most as long as was asked for."""
    lost: bool = False
    """Whether the body broke off before that, with the connection or at the deadline."""

    @property
    def text(self) -> str:
        """The body as text, without white space around it."""
        return self.body.decode("utf-8", "replace").strip()

    @property
    def fields(self) -> Mapping[str, Any]:
        """The body's JSON object; empty where it has none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def html(self) -> bool:
        """Whether this is a page for people: a portal's or a proxy's, and not the receiver's own answer."""
        return "html" in self.headers.get("content-type", "") or self.body.lstrip()[:1] == b"<"

    @property
    def document(self) -> bool:
        """Whether this is a whole page. Flask, Django and PHP call every answer HTML, a plain `ok` too."""
        return _DOCUMENT.match(self.body) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture to be shown below a card."""

    name: str
    """Of the file."""
    title: str
    content: bytes


Steps = Generator[HttpRequest, HttpAnswer, None]
"""Several requests, each made of the answers before it. Raises SendError where one of them is refused."""


@runtime_checkable
class PictureChannel(Protocol):
    """A channel that can show pictures."""

    def attach(self, card: Card, picture: Picture) -> Steps:
        """The requests that show a picture below a card."""
        ...


class Channel(Protocol):
    """One channel with its credentials. Pure: it neither waits nor reads a file or a clock."""

    def post(self, message: Message, attempt: Attempt) -> HttpRequest:
        """The request that delivers the message."""
        ...

    def edit(self, card: Card, message: Message, attempt: Attempt) -> HttpRequest | None:
        """The request that makes an earlier message say this; None where the channel cannot edit."""
        ...

    def judge(self, answer: HttpAnswer, now: datetime) -> Receipt | SendError:
        """What the answer to `post` or `edit` means."""
        ...

    def probe(self) -> HttpRequest:
        """A request that asks whether the receiver works, without a message."""
        ...

    def judge_probe(self, answer: HttpAnswer, now: datetime) -> SendError | None:
        """What the answer to `probe` means; None is well."""
        ...


class Notifier(Protocol):
    """One configured target of one channel, with its I/O."""

    name: str
    lane: str
    """Notifiers with the same lane share one rate limit (one Slack channel)."""
    min_gap: float
    """Seconds between two messages of a lane."""
    idempotent: bool
    """The receiver knows the delivery key; otherwise an ambiguous attempt is repeated at most once."""

    def preview(self, message: Message, attempt: Attempt) -> str:
        """What `send` would send, for people. Raises SendError."""

    async def send(self, message: Message, attempt: Attempt) -> Receipt:
        """Deliver it. Raises SendError."""
        ...

    async def check(self) -> None:
        """Ask whether the credentials work, without a message. Raises SendError."""
        ...


def judge_status(answer: HttpAnswer, now: datetime) -> Receipt | SendError:
    """What an answer means by its status alone: the table that every HTTP channel stands on.

    A 4xx is no verdict on the message: while a secret, a route or a policy is rolled out, receivers answer 400, 402
    or 451 to what they take a minute later. Only 413 concerns the message; 401, 403, 404 and 410 concern the target.
    """
    status, wait = answer.status, retry_after(answer.headers, now)
    text = f"the receiver answered {status}"
    if 200 <= status < 300:
        return Receipt()
    if status == 429 or (status == 503 and wait is not None):
        return SendError(FailureKind.RATE, "rate_limited", text, retry_after=wait)
    if status >= 500 or status in {408, 425}:
        return SendError(FailureKind.TRANSIENT, "server_error", text, retry_after=wait)
    if status < 400:  # a maintenance page goes away again; an address that has moved is for the operator to fix
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
    """JSON as a request's body: UTF-8, in which a lone surrogate cannot be, and never NaN."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
