"""Bucket bounds of the duration histograms, in seconds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DAY: Final = 86400.0

INFINITY: Final = "+Inf"

# Counters are stored by bound. A bound may be added; the counts of a removed bound move to the next higher one.
QUEUE_BUCKETS: Final[tuple[float, ...]] = (
    10.0,
    30.0,
    *(n * _MINUTE for n in (1, 2, 5, 10, 20, 30)),
    *(n * _HOUR for n in (1, 2, 4, 8, 12)),
    *(n * _DAY for n in (1, 3)),
)
RUN_BUCKETS: Final[tuple[float, ...]] = (
    30.0,
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 20, 30, 45)),
    *(n * _HOUR for n in (1, 1.5, 2, 3, 4, 6, 8, 12)),
    *(n * _DAY for n in (1, 2, 4, 7)),
)


def bucket(seconds: float, bounds: Sequence[float]) -> str:
    """The `le` label of the bucket that a duration falls in, such as `60.0` or `+Inf`. `bounds` are ascending."""
    index = bisect_left(bounds, seconds)
    return str(bounds[index]) if index < len(bounds) else INFINITY
