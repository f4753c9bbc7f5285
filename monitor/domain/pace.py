"""When to look again: often while jobs are active, seldom when idle, ever later while it fails."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from monitor.domain.flow import Reason, Trouble

_FLOOR: Final = 0.5  # a failing organisation is asked at most twice a second
_CEILING: Final = 300.0
_TRUSTED: Final = 3  # ends in a row
_STRETCH: Final = 4
_SLOT: Final = 0.25  # seconds
_SLOW: Final = frozenset({Reason.AUTH, Reason.NOT_ELIGIBLE})  # a human has to act: no hurry


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The configured intervals, in seconds."""

    interval: float = 30.0
    """While the organisation has a job that is not over."""
    idle_interval: float = 300.0


def relaxed(pace: Pace, pushed: int) -> Pace:
    """The pace while the provider's webhooks prove reliable. `pushed`: how many ends in a row they have shown first.

    From the third on the interval grows, to four times as long but never beyond the idle one: starts, pauses and stalls
    have no webhook. An end that a poll shows first, because its webhook was lost or late, makes it what it was.
    """
    factor = min(max(pushed - _TRUSTED + 2, 1), _STRETCH)
    return replace(pace, interval=max(min(pace.interval * factor, pace.idle_interval), pace.interval))


def next_delay(pace: Pace, *, active: bool, failures: int, trouble: Trouble | None, jitter: float) -> float:
    """Seconds from the start of one poll to the next. `jitter` is uniform in [0, 1).

    Back-off is exponential with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"), up to ten
    intervals or 5 minutes. A provider's Retry-After is a lower bound. What works comes up to 5 % early, so that
    organisations drift apart.
    """
    if trouble is None:
        return (pace.interval if active else pace.idle_interval) * (1.0 - 0.05 * jitter)
    asked = max(trouble.retry_after or 0.0, _FLOOR) * (1.0 + 0.1 * jitter)
    longest = min(_CEILING, 10.0 * pace.interval)
    if trouble.reason in _SLOW:
        return max(longest * (0.5 + 0.5 * jitter), asked)
    if trouble.retry_after is not None:
        return asked
    bound = min(longest, pace.interval * 2.0 ** min(failures - 1, 16))
    return max(bound * jitter, _FLOOR)


def slot(due: float, interval: float) -> float:
    """When to do what is due at this moment and comes again after so many seconds: up to a quarter of a second early.

    All organisations keep to the same slots, and stay in theirs. To wake for one request costs five times the request;
    a dozen that are made together, and answered together, share that.
    """
    length = min(_SLOT, interval / 4)
    return math.floor(due / length + 1e-6) * length
