"""How far the wall clock was set ahead, so that nothing ages by a correction of the clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from monitor.clock import Clock

_LEAST: Final = timedelta(minutes=5)
"""More than passes between two questions in a running program, so that what came after a jump can be told apart."""
_NONE: Final = timedelta(0)


class ClockJump:
    """Compares the wall clock with time that passed. A wait in the outbox is measured between two readings of a wall
    clock; one that starts in 1970 and is then set right would make everything in there half a century old."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._owed = _NONE
        self._read()

    def take(self) -> timedelta:
        """By how much the clock was set ahead since this was asked last; 0 where it was not, or by little."""
        wall, steady = self._wall, self._steady
        self._read()
        jump = (self._wall - wall) - timedelta(seconds=self._steady - steady)
        if jump > _LEAST:
            self._owed += jump
        owed, self._owed = self._owed, _NONE
        return owed

    def give_back(self, owed: timedelta) -> None:
        """It was not accounted for after all."""
        self._owed += owed

    def _read(self) -> None:
        self._wall, self._steady = self._clock.now(), self._clock.monotonic()
