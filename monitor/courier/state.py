"""The state of a courier between two steps. None of it needs to survive a restart."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import anyio

_EXPIRE_EVERY: Final = 60.0  # seconds
AGREE_EVERY: Final = 5.0
"""Seconds between two exchanges with other replicas about the health of the target."""
SOON: Final = 0.2
"""The shortest wait in seconds for something that is due already, because another replica may have claimed it."""
_SET: Final = 60.0  # seconds: a wall clock that deviates by more from the monotonic one has been set


@dataclass(slots=True)
class CourierState:
    """The state of one courier."""

    crashes: dict[str, int] = field(default_factory=dict)
    """How often rendering or sending a delivery raised an unexpected exception, by delivery key."""
    store_down: bool = False
    adopt_settled_at: float = 0.0
    """When to take over settled deliveries under the notifier's former name, in monotonic seconds."""
    agreed: bool | None = None
    """Whether the target was suspended at the last exchange with other replicas; None before the first one."""
    retired: anyio.Event = field(default_factory=anyio.Event)
    _expire_at: float = 0.0
    _agree_at: float = 0.0
    _ahead: float | None = None
    """Wall clock minus monotonic clock, in seconds, when both were last read."""

    def time_to_agree(self, monotonic: float, *, due: bool) -> bool:
        """Whether to exchange with other replicas now: if it is `due`, and otherwise every AGREE_EVERY seconds."""
        if not due and monotonic < self._agree_at:
            return False
        self._agree_at = monotonic + AGREE_EVERY
        return True

    def time_to_expire(self, now: datetime, monotonic: float) -> bool:
        """Whether to expire deliveries now: once a minute, and after the wall clock was set."""
        before, self._ahead = self._ahead, now.timestamp() - monotonic
        was_set = before is not None and abs(self._ahead - before) > _SET
        if not was_set and monotonic < self._expire_at:
            return False
        self._expire_at = monotonic + _EXPIRE_EVERY
        return True


def until_due(due: timedelta | None, most: float) -> float:
    """Seconds to wait for something that is due in `due` (None: nothing is), from SOON up to `most`."""
    return most if due is None else min(max(due.total_seconds(), SOON), most)
