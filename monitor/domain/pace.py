"""The time until the next poll: short while jobs are active, longer when idle, with backoff after failures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from monitor.domain.flow import Reason, Trouble

_FLOOR: Final = 0.5  # seconds: a failing organisation is polled at most twice a second
_CEILING: Final = 300.0  # seconds: the longest backoff
_TRUSTED: Final = 3  # consecutive ends that webhooks must have reported first
_STRETCH: Final = 4  # the largest factor by which the interval grows
_SLOT: Final = 0.25  # seconds: the longest time by which a poll comes early
_SLOW: Final = frozenset({Reason.AUTH, Reason.NOT_ELIGIBLE})  # a person has to act, so that retries may be rare


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The configured polling intervals, in seconds."""

    interval: float = 30.0
    """The interval while the organisation has active jobs."""
    idle_interval: float = 300.0
    """The interval otherwise."""


def relaxed(pace: Pace, pushed: int) -> Pace:
    """A slower pace for a provider whose webhooks prove reliable.

    `pushed` is the number of consecutive job ends that a webhook reported before a poll did. From the third on the
    interval grows, up to four times but never beyond the idle interval, because starts, pauses and stalls have no
    webhook. An end that a poll finds first sets `pushed` back to 0.
    """
    factor = min(max(pushed - _TRUSTED + 2, 1), _STRETCH)
    return replace(pace, interval=max(min(pace.interval * factor, pace.idle_interval), pace.interval))


def next_delay(pace: Pace, *, active: bool, failures: int, trouble: Trouble | None, jitter: float) -> float:
    """Seconds from the start of one poll to the next. `jitter` is uniform in [0, 1).

    After a failure, backoff is exponential with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"),
    up to ten intervals but at most 5 minutes. A provider's Retry-After is a lower bound. After a success, the next poll
    comes up to 5 % early, so that the polls of organisations drift apart.
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
    """The moment at which to do what is due at `due` and again after `interval` seconds: at most 0.25 s early.

    It is the start of a time slot. All organisations use the same slots and stay in theirs, because waking the event
    loop costs five times as much as a request, which requests in the same slot share.
    """
    length = _slot_length(interval)
    return math.floor(due / length + 1e-6) * length


def turn_of(number: int, count: int, *, together: int) -> float:
    """The part of the interval, from 0 to less than 1, after which organisation `number` of `count` has its turn.

    So many organisations have theirs `together`, because they share what waking the event loop costs, and these groups
    spread over the interval.
    """
    groups = -(-count // together)
    return number // together / groups


def next_turn(started: float, interval: float, turn: float) -> float:
    """When to do again what began at `started`, out of turn, and is done every `interval` seconds from then on.

    Turns come at this part of each interval, counted from 0, at the start of a time slot (see `slot`). So organisations
    that all began at once, as at the start, spread over the interval. The next turn may come at once.
    """
    at_least = started + _slot_length(interval)
    return slot((math.floor(at_least / interval - turn + 1) + turn) * interval, interval)


def _slot_length(interval: float) -> float:
    return min(_SLOT, interval / 4)
