"""The clock: all other modules get the time and sleep through it, so that tests can replace it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

import anyio


class Clock(Protocol):
    """A source of time."""

    def now(self) -> datetime:
        """The wall clock time, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Monotonic seconds, for intervals."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep. A negative number of seconds counts as 0."""
        ...

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        """Wait until the event is set, but at most `seconds`."""
        ...


class SystemClock:
    """The clock of the operating system."""

    def now(self) -> datetime:
        """The wall clock time, aware and in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the Clock

    def monotonic(self) -> float:
        """Monotonic seconds since an unspecified moment."""
        return time.monotonic()  # noqa: TID251 - this is the Clock

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop."""
        await anyio.sleep(max(seconds, 0.0))  # noqa: TID251 - this is the Clock

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        """Wait on the event loop until the event is set, but at most `seconds`."""
        with anyio.move_on_after(max(seconds, 0.0)):
            await event.wait()


class Nudge:
    """Wakes a loop that waits for work. It carries no data: the loop checks for work itself."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def __call__(self) -> None:
        """Wake the waiting loop, or let its next wait return at once."""
        self._event.set()

    async def wait(self, clock: Clock, seconds: float) -> None:
        """Wait for a nudge, but at most `seconds`. A nudge since the last wait returns at once."""
        await clock.wait(self._event, seconds)
        self._event = anyio.Event()
