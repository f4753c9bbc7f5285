"""The one place that knows the time and sleeps."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

import anyio


class Clock(Protocol):
    """Time as a parameter; tests bring their own."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever grow, for intervals."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; a negative number does not wait at all."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the Clock

    def monotonic(self) -> float:
        """Seconds since some moment in the past."""
        return time.monotonic()  # noqa: TID251 - this is the Clock

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await anyio.sleep(max(seconds, 0.0))  # noqa: TID251 - this is the Clock
