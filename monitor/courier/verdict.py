"""What a failed attempt means for its envelope and its target."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from monitor.notifiers.base import Failure, SendError
from monitor.store import Claimed

LONGEST_WAIT: Final = 3600.0
"""No envelope waits longer for its next attempt, whatever the receiver asks, in seconds."""
_ODD_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """How long and how often it is tried. All in seconds but `max_age`."""

    timeout: float = 15.0
    """For one request, all of it."""
    retry_base: float = 5.0
    retry_max: float = 600.0
    max_age: timedelta = timedelta(hours=72)
    """Envelopes that are older are given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The receiver has it."""

    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Postpone:
    """Try again after `delay` seconds."""

    delay: float
    reason: str
    counted: bool = True
    ambiguous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bury:
    """Give up this envelope; those behind it go out."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Park:
    """Stop using the target and keep the envelope, due again after `delay` seconds."""

    delay: float
    reason: str
    counted: bool = True
    ambiguous: bool = False


Outcome = Delivered | Postpone | Bury | Park


def verdict(
    error: SendError,
    claimed: Claimed,
    policy: DeliveryPolicy,
    *,
    jitter: float,
    at_most_once_more: bool,
    odd: int,
) -> Postpone | Bury | Park:
    """What follows from a failed attempt. `jitter` is 0 to 1; `odd` counts this envelope's OTHER failures so far."""
    reason = error.reason
    delay = backoff(claimed.attempts, policy, jitter)
    asked = min(error.retry_after, LONGEST_WAIT) if error.retry_after is not None else None
    match error.failure:
        case Failure.MESSAGE:
            return Bury(reason=reason)
        case Failure.TARGET:
            return Park(delay=delay, reason=reason, ambiguous=claimed.ambiguous)
        case Failure.AMBIGUOUS if at_most_once_more and claimed.ambiguous:
            return Bury(reason="ambiguous")
        case Failure.AMBIGUOUS:
            return Postpone(delay=delay, reason=reason, ambiguous=True)
        case Failure.OTHER if odd >= _ODD_ATTEMPTS:
            return Bury(reason=reason)
        case Failure.RATE if asked is not None:  # a little later than asked, so that not all come at once
            wait = min(asked + asked * jitter / 10, LONGEST_WAIT)
            return Postpone(delay=wait, reason=reason, counted=False, ambiguous=claimed.ambiguous)
        case _:  # a limit without a time counts too: else the waits would not grow
            return Postpone(delay=max(delay, asked or 0.0), reason=reason, ambiguous=claimed.ambiguous)


def backoff(attempts: int, policy: DeliveryPolicy, jitter: float) -> float:
    """Seconds until the next attempt: between half the base and a limit that doubles with each attempt."""
    floor = policy.retry_base / 2
    ceiling = min(policy.retry_base * 2.0 ** min(max(attempts - 1, 0), 40), policy.retry_max)
    return min(floor + max(ceiling - floor, 0.0) * jitter, LONGEST_WAIT)
