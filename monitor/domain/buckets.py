"""The bounds of the duration histograms, and the bucket that an observation falls in."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DAY: Final = 86400.0

INFINITY: Final = "+Inf"

# Stored counters are kept by these bounds. A new bound may be added; a bound that goes away folds into the next one up.
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
    """The smallest bound that is not below the observation, as the text of its `le` label: `60.0`, `+Inf`."""
    index = bisect_left(bounds, seconds)
    return str(bounds[index]) if index < len(bounds) else INFINITY
