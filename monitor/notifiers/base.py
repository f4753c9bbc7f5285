"""What a notifier is: it sends one message and says what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from monitor.domain.news import Message


class Failure(StrEnum):
    """What a failed attempt means for the envelope and its target."""

    RATE = "rate"  # the target asks us to wait; not counted as a failure
    TRANSIENT = "transient"  # try again with back-off, for as long as the age limit
    AMBIGUOUS = "ambiguous"  # it may have arrived
    TARGET = "target"  # the credential or address is refused: park the target, keep the envelopes
    MESSAGE = "message"  # this message is refused: bury it, those behind it go out
    OTHER = "other"  # not in any table: transient, with a small attempt cap


class SendError(Exception):
    """An attempt that failed. `reason` is a short closed word for metrics; the text is safe to show and bounded."""

    def __init__(self, failure: Failure, reason: str, text: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(text or reason)
        self.failure = failure
        self.reason = reason
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Which try this is, and when: what a channel needs beside the message."""

    key: str
    """The delivery key, which is the receiver's idempotency key."""
    at: datetime
    number: int = 1
    repeated: bool = False
    """The answer to an earlier try was lost, so that this may be a second copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the receiver said of an accepted message."""

    reference: str | None = None
    """The message's id at the receiver, where it has one (Slack's `ts`)."""


class Notifier(Protocol):
    """One configured target of one channel."""

    name: str
    lane: str
    """Notifiers with the same lane share one rate limit (one Slack channel)."""
    min_gap: float
    """Seconds between two messages of a lane."""
    at_most_once_more: bool
    """The receiver knows no idempotency key: an ambiguous attempt is repeated at most once."""

    async def send(self, message: Message, attempt: Attempt) -> Receipt:
        """Deliver it. Raises SendError."""
        ...

    async def check(self) -> None:
        """Ask whether the credentials work, without a message. Raises SendError."""
        ...
