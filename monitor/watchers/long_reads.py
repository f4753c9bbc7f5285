"""Limits how many organisations are seen for the first time, or event streams read to their beginning, at once.

All of their jobs and events are in memory until they are committed, and at the first start there are thousands of jobs
with hundreds of events each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio

from monitor.clock import Clock

_MOST: Final = 24  # concurrent reads
_LONGEST: Final = 5.0  # seconds after which a read without answers no longer counts: a slow server delays no others
FIRST_SIGHT: Final = 1.0
"""The same for first sights, which every organisation waits for: 300 servers that hang delay the others by 13 s."""


@dataclass(slots=True, eq=False)
class Turn:
    """A read that is running."""

    began: float
    """In monotonic seconds."""
    answered: bool = False
    """Whether what was read is in memory. It counts until it is committed then, however long that takes."""


@dataclass(slots=True)
class LongReads:
    """A limiter for long reads, shared by the watchers of all organisations."""

    most: int = _MOST
    longest: float = _LONGEST
    _running: list[Turn] = field(default_factory=list)
    _waiting: deque[anyio.Event] = field(default_factory=deque)
    """The readers that wait for a turn, in the order of their arrival."""

    @asynccontextmanager
    async def turn(self, clock: Clock) -> AsyncIterator[Turn]:
        """Wait for a turn, and hold it until the context ends. `clock` is that of the reader."""
        while (wait := self._wait(clock.monotonic())) > 0.0:
            ended = anyio.Event()
            self._waiting.append(ended)
            try:
                await clock.wait(ended, wait)
            finally:
                if ended in self._waiting:
                    self._waiting.remove(ended)
        turn = Turn(clock.monotonic())
        self._running.append(turn)
        try:
            yield turn
        finally:
            self._running.remove(turn)
            if self._waiting:
                self._waiting.popleft().set()

    def _wait(self, now: float) -> float:
        """Seconds until a turn may be free; 0 if one is free now."""
        counted = [turn for turn in self._running if turn.answered or now - turn.began < self.longest]
        if len(counted) < self.most:
            return 0.0
        return min((turn.began for turn in counted if not turn.answered), default=now) + self.longest - now
