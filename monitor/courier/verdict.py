"""What follows from a failed attempt: retry, dead letter, or suspension of the target."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from monitor.domain.news import Card
from monitor.notifiers.base import FailureKind, SendError
from monitor.store import ClaimedDelivery

LONGEST_WAIT: Final = 3600.0
"""The longest wait for the next attempt in seconds, whatever the receiver asks for."""
_CRASHES: Final = 5  # crashes after which a delivery becomes a dead letter


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """Timeout and retries of deliveries. All values except `max_age` are seconds."""

    timeout: float = 15.0
    """The total timeout of one request."""
    retry_base: float = 5.0
    """The longest wait before the first retry; it doubles with each attempt."""
    retry_max: float = 600.0
    """The longest wait before any retry."""
    max_age: timedelta = timedelta(hours=72)
    """The age at which a delivery becomes a dead letter."""

    @property
    def lease(self) -> timedelta:
        """How long a claim lasts: long enough for four requests.

        A delivery may need a check before a repeat, a reply to a card that turns out to be gone, and the same message
        again as plain text. A card may need an edit and a post if it is gone, each again as plain text.
        """
        return timedelta(seconds=4 * self.timeout + 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The receiver has accepted the delivery."""

    reference: str | None = None
    """The receiver's id of the message, if it gives one."""
    posted: Card | None = None
    """The location of the message if it became the card of its subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postpone:
    """The delivery is retried after `delay` seconds."""

    delay: float
    reason: str
    answer: str = ""
    """The status and the beginning of the response; empty without one."""
    counted: bool = True
    """Whether the attempt counts for the backoff and for the metric of failures."""
    ambiguous: bool = False
    """Whether an earlier attempt may have arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """The delivery is not retried. Those behind it are sent."""

    reason: str
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    """The target is suspended, and the delivery is retried after `delay` seconds at the earliest."""

    delay: float
    reason: str
    answer: str = ""
    counted: bool = True
    ambiguous: bool = False


Outcome = Delivered | Postpone | DeadLetter | Suspend


def verdict(
    error: SendError,
    claimed: ClaimedDelivery,
    policy: DeliveryPolicy,
    *,
    jitter: float,
    idempotent: bool,
    crashes: int,
) -> Postpone | DeadLetter | Suspend:
    """The outcome of a failed attempt.

    `jitter` is a random number from 0 to 1, and `crashes` counts the CRASH failures of this delivery, including this
    one. A delivery that may have arrived is sent at most once more to a target that is not `idempotent`.
    """
    reason, answer = error.reason, evidence(error)
    delay = backoff(claimed.attempts, policy, jitter)
    asked = min(error.retry_after, LONGEST_WAIT) if error.retry_after is not None else None
    match error.kind:
        case FailureKind.MESSAGE:
            return DeadLetter(reason=reason, answer=answer)
        case FailureKind.TARGET:
            return Suspend(delay=delay, reason=reason, answer=answer, ambiguous=claimed.ambiguous)
        case FailureKind.AMBIGUOUS if claimed.ambiguous and not idempotent:
            return DeadLetter(reason="ambiguous", answer=answer)
        case FailureKind.AMBIGUOUS:
            return Postpone(delay=delay, reason=reason, answer=answer, ambiguous=True)
        case FailureKind.CRASH if crashes >= _CRASHES:
            return DeadLetter(reason=reason)
        case FailureKind.RATE if asked is not None:  # up to 10 % later than asked, so that retries are spread
            wait = min(asked + asked * jitter / 10, LONGEST_WAIT)
            return Postpone(delay=wait, reason=reason, answer=answer, counted=False, ambiguous=claimed.ambiguous)
        case _:  # a rate limit without a time also counts as an attempt, because otherwise the waits would not grow
            wait = max(delay, asked or 0.0)
            return Postpone(delay=wait, reason=reason, answer=answer, ambiguous=claimed.ambiguous)


def evidence(error: SendError) -> str:
    """The status and the beginning of the response, such as `413 too large`; empty without a response."""
    return f"{error.status} {error.answer}".rstrip() if error.status is not None else ""


def backoff(attempts: int, policy: DeliveryPolicy, jitter: float) -> float:
    """Seconds until the next attempt: random between half of `retry_base` and a limit that doubles per attempt."""
    floor = policy.retry_base / 2
    ceiling = min(policy.retry_base * 2.0 ** min(max(attempts - 1, 0), 40), policy.retry_max)
    return min(floor + max(ceiling - floor, 0.0) * jitter, LONGEST_WAIT)
