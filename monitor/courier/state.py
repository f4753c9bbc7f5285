"""What a courier remembers between its rounds; all of it may be lost with the process."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import anyio

_EXPIRE_EVERY: Final = 60.0
_SET: Final = 60.0  # a clock that moved by more, other than time does, was set


@dataclass(slots=True)
class CourierState:
    """The memory of one courier."""

    crashes: dict[str, int] = field(default_factory=dict)
    """How often this program failed to dress or send a delivery, by its key."""
    store_down: bool = False
    retired: anyio.Event = field(default_factory=anyio.Event)
    _expire_at: float = 0.0
    _ahead: float | None = None
    """By how much the wall clock was ahead of the steady one, when both were last read."""

    def time_to_expire(self, now: datetime, monotonic: float) -> bool:
        """Once a minute, and when the wall clock was set: what a wrong one has put off may be due."""
        before, self._ahead = self._ahead, now.timestamp() - monotonic
        was_set = before is not None and abs(self._ahead - before) > _SET
        if not was_set and monotonic < self._expire_at:
            return False
        self._expire_at = monotonic + _EXPIRE_EVERY
        return True
