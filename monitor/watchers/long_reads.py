"""Bounds how many event streams are read to their beginning at the same time, because all of their events are held in
memory until they are committed: at the first start, thousands of jobs have hundreds of events each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio

from monitor.clock import Clock

_MOST: Final = 24
_LONGEST: Final = 5.0  # seconds for which a turn counts: a server that does not answer keeps nobody else waiting


@dataclass(slots=True)
class LongReads:
    """The turns of the readers of all organisations."""

    most: int = _MOST
    _begun: deque[float] = field(default_factory=deque)
    """When each turn that has not ended began, in monotonic seconds, oldest first."""
    _waiting: deque[anyio.Event] = field(default_factory=deque)

    @asynccontextmanager
    async def turn(self, clock: Clock) -> AsyncIterator[None]:
        """Wait for a turn, and keep it until the context ends. `clock` is the reader's."""
        while (wait := self._wait(clock.monotonic())) > 0.0:
            ended = anyio.Event()
            self._waiting.append(ended)
            try:
                await clock.wait(ended, wait)
            finally:
                if ended in self._waiting:
                    self._waiting.remove(ended)
        began = clock.monotonic()
        self._begun.append(began)
        try:
            yield
        finally:
            self._begun.remove(began)
            if self._waiting:
                self._waiting.popleft().set()

    def _wait(self, now: float) -> float:
        """Seconds until there may be a turn; 0 if there is one."""
        counted = [began for began in self._begun if now - began < _LONGEST]
        return counted[0] + _LONGEST - now if len(counted) >= self.most else 0.0
