"""What a courier remembers between its rounds; all of it may be lost with the process."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import anyio

_EXPIRE_EVERY: Final = 60.0
AGREE_EVERY: Final = 5.0
"""Seconds between two looks at what other replicas know of the target."""
SOON: Final = 0.2
"""Seconds that are waited at least for what is due: others may have it in hand."""
_SET: Final = 60.0  # a clock that moved by more, other than time does, was set


@dataclass(slots=True)
class CourierState:
    """The memory of one courier."""

    crashes: dict[str, int] = field(default_factory=dict)
    """How often this program failed to dress or send a delivery, by its key."""
    store_down: bool = False
    agreed: bool | None = None
    """Whether all replicas knew the target to be suspended when that was last looked at; None before."""
    retired: anyio.Event = field(default_factory=anyio.Event)
    _expire_at: float = 0.0
    _agree_at: float = 0.0
    _ahead: float | None = None
    """By how much the wall clock was ahead of the steady one, when both were last read."""

    def time_to_agree(self, monotonic: float, *, due: bool) -> bool:
        """Now and then, and when the target was suspended or resumed here."""
        if not due and monotonic < self._agree_at:
            return False
        self._agree_at = monotonic + AGREE_EVERY
        return True

    def time_to_expire(self, now: datetime, monotonic: float) -> bool:
        """Once a minute, and when the wall clock was set: what a wrong one has put off may be due."""
        before, self._ahead = self._ahead, now.timestamp() - monotonic
        was_set = before is not None and abs(self._ahead - before) > _SET
        if not was_set and monotonic < self._expire_at:
            return False
        self._expire_at = monotonic + _EXPIRE_EVERY
        return True


def until_due(due: timedelta | None, most: float) -> float:
    """Seconds to wait where the next thing is due then, None for nothing: a moment at least, and `most` at most."""
    return most if due is None else min(max(due.total_seconds(), SOON), most)
