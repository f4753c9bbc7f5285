"""Detects jumps of the wall clock, so that a correction of the clock does not expire deliveries."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from monitor.clock import Clock

_LEAST: Final = timedelta(minutes=5)
"""The smallest jump that counts. It is more than the time between two calls of `take` in a running program."""
_NONE: Final = timedelta(0)


class ClockJump:
    """Compares the wall clock with the monotonic clock.

    The age of a delivery is the difference of two readings of the wall clock. If that starts in 1970 and is then set
    right, all deliveries would seem to be half a century old.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._owed = _NONE
        self._read()

    def take(self) -> timedelta:
        """How far the wall clock was set ahead since the last call; 0 for jumps of up to five minutes."""
        wall, monotonic = self._wall, self._monotonic
        self._read()
        jump = (self._wall - wall) - timedelta(seconds=self._monotonic - monotonic)
        if jump > _LEAST:
            self._owed += jump
        owed, self._owed = self._owed, _NONE
        return owed

    def give_back(self, owed: timedelta) -> None:
        """Return a jump that could not be handled, so that the next `take` gives it again."""
        self._owed += owed

    def _read(self) -> None:
        self._wall, self._monotonic = self._clock.now(), self._clock.monotonic()
