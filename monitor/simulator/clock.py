"""Simulated time: the real clock, accelerated."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field


def unix_now() -> float:
    """The real Unix time in seconds."""
    return time.time()  # noqa: TID251 - the simulator imports nothing of the rest, so this is its clock


def monotonic() -> float:
    """Real seconds on a monotonic clock."""
    return time.monotonic()  # noqa: TID251 - the simulator imports nothing of the rest, so this is its clock


async def sleep(seconds: float) -> None:
    """Sleep in real time."""
    await asyncio.sleep(seconds)  # noqa: TID251 - the simulator imports nothing of the rest, so this is its clock


@dataclass(frozen=True)
class SimClock:
    """Simulated Unix time, which starts at `epoch` (by default now) and runs `speed` times as fast as real time.

    With a speed above 1 it gets ahead of real time, so whatever compares its timestamps with the current time needs
    this clock too.
    """

    speed: float = 1.0
    epoch: float = field(default_factory=unix_now)
    _started: float = field(default_factory=monotonic, init=False, repr=False)

    def __call__(self) -> float:
        """Simulated unix seconds."""
        return self.epoch + (monotonic() - self._started) * self.speed
