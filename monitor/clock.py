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

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        """Wait until it happens, or for so many seconds."""
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

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        """Wait on the event loop, until it happens or for so many seconds."""
        with anyio.move_on_after(max(seconds, 0.0)):
            await event.wait()


class Nudge:
    """Wakes whoever waits for something to do. It carries no data: who is woken looks for itself."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def __call__(self) -> None:
        """Wake whoever waits now, or else waits next."""
        self._event.set()

    async def wait(self, clock: Clock, seconds: float) -> None:
        """Wait until somebody nudges, or for so many seconds. A nudge from before this call counts."""
        await clock.wait(self._event, seconds)
        self._event = anyio.Event()
