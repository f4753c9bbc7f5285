"""What a failed attempt means for its delivery and its target."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from monitor.domain.news import Card
from monitor.notifiers.base import FailureKind, SendError
from monitor.store import ClaimedDelivery

LONGEST_WAIT: Final = 3600.0
"""No delivery waits longer for its next attempt, whatever the receiver asks, in seconds."""
_CRASHES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """How long and how often it is tried. All in seconds but `max_age`."""

    timeout: float = 15.0
    """For one request, all of it."""
    retry_base: float = 5.0
    retry_max: float = 600.0
    max_age: timedelta = timedelta(hours=72)
    """Deliveries that are older become dead letters."""

    @property
    def lease(self) -> timedelta:
        """How long what is claimed is ours: long enough for four requests.

        Those of a delivery are a probe before a repeat, what goes below a card that is gone, and a refused message once
        more as plain text; those of a card the edit and the post of a lost one, each once more as plain text.
        """
        return timedelta(seconds=4 * self.timeout + 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The receiver has it."""

    reference: str | None = None
    posted: Card | None = None
    """It became the card of its subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postpone:
    """Try again after `delay` seconds."""

    delay: float
    reason: str
    answer: str = ""
    """The status and the beginning of the answer, where there was one."""
    counted: bool = True
    ambiguous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Give up this delivery; those behind it go out."""

    reason: str
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    """Stop using the target and keep the delivery, due again after `delay` seconds."""

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
    """What follows from a failed attempt. `jitter` is 0 to 1; `crashes` counts this delivery's CRASH failures so far.

    A target that is not `idempotent` gets what may have arrived once more at most.
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
        case FailureKind.RATE if asked is not None:  # a little later than asked, so that not all come at once
            wait = min(asked + asked * jitter / 10, LONGEST_WAIT)
            return Postpone(delay=wait, reason=reason, answer=answer, counted=False, ambiguous=claimed.ambiguous)
        case _:  # a limit without a time counts too: else the waits would not grow
            wait = max(delay, asked or 0.0)
            return Postpone(delay=wait, reason=reason, answer=answer, ambiguous=claimed.ambiguous)


def evidence(error: SendError) -> str:
    """What the target answered, for whoever inspects a dead letter: `413 too large`; empty without an answer."""
    return f"{error.status} {error.answer}".rstrip() if error.status is not None else ""


def backoff(attempts: int, policy: DeliveryPolicy, jitter: float) -> float:
    """Seconds until the next attempt: between half the base and a limit that doubles with each attempt."""
    floor = policy.retry_base / 2
    ceiling = min(policy.retry_base * 2.0 ** min(max(attempts - 1, 0), 40), policy.retry_max)
    return min(floor + max(ceiling - floor, 0.0) * jitter, LONGEST_WAIT)
