"""Simulated time: the real clock, sped up."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field


def unix_now() -> float:
    """Real unix seconds."""
    return time.time()  # noqa: TID251 - the simulator imports nothing of the rest, so this is its clock


def monotonic() -> float:
    """Real seconds since some moment in the past."""
    return time.monotonic()  # noqa: TID251 - the simulator imports nothing of the rest, so this is its clock


async def sleep(seconds: float) -> None:
    """Wait in real time."""
    await asyncio.sleep(seconds)  # noqa: TID251 - the simulator imports nothing of the rest, so this is its clock


@dataclass(frozen=True)
class SimClock:
    """Simulated unix time: it starts at `epoch` (now unless given) and runs `speed` times as fast as real time.

    With a speed above 1 it runs ahead of the wall clock; whoever compares its timestamps to "now" needs this clock too.
    """

    speed: float = 1.0
    epoch: float = field(default_factory=unix_now)
    _started: float = field(default_factory=monotonic, init=False, repr=False)

    def __call__(self) -> float:
        """Simulated unix seconds."""
        return self.epoch + (monotonic() - self._started) * self.speed
