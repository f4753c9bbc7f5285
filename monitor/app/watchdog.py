"""Detects a stuck program: an event loop that is blocked, or a task that no longer makes progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import anyio

from monitor.clock import Clock
from monitor.log import get_logger

log = get_logger()

_TICK: Final = 1.0  # seconds
_TICK_OVERDUE: Final = 10.0  # seconds without a tick after which the event loop counts as blocked
_STUCK_AFTER: Final = 180.0  # seconds without using its clock after which a loop counts as stuck: polls take up to 60 s


@dataclass(slots=True)
class WatchedClock:
    """The clock of one loop, by whose use the watchdog sees that the loop is alive, or until when it sleeps."""

    clock: Clock
    _last_seen: float = field(init=False)
    """When the loop was last active or will wake up, in monotonic seconds."""

    def __post_init__(self) -> None:
        self._last_seen = self.clock.monotonic()

    def now(self) -> datetime:
        """The wall clock time, aware and in UTC."""
        self._last_seen = self.clock.monotonic()
        return self.clock.now()

    def monotonic(self) -> float:
        """Monotonic seconds, for intervals."""
        self._last_seen = self.clock.monotonic()
        return self._last_seen

    async def sleep(self, seconds: float) -> None:
        """Sleep. A negative number of seconds counts as 0."""
        self._last_seen = self.clock.monotonic() + max(seconds, 0.0)
        try:
            await self.clock.sleep(seconds)
        finally:
            self._last_seen = self.clock.monotonic()

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        """Wait until the event is set, but at most `seconds`."""
        self._last_seen = self.clock.monotonic() + max(seconds, 0.0)
        try:
            await self.clock.wait(event, seconds)
        finally:
            self._last_seen = self.clock.monotonic()

    def overdue(self, monotonic: float) -> bool:
        """Whether the loop has not used its clock for too long."""
        return monotonic - self._last_seen > _STUCK_AFTER


@dataclass(slots=True)
class Watchdog:
    """Observes the event loop by a regular tick, and other loops by their clocks."""

    clock: Clock
    ticked: Callable[[float], None] = lambda late: None
    """Called at each tick with the seconds by which it was late."""
    _last: float = field(init=False)
    _loops: list[tuple[str, WatchedClock]] = field(default_factory=list)
    _stuck: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._last = self.clock.monotonic()

    @contextmanager
    def watching(self, name: str, clock: Clock) -> Iterator[None]:
        """Observe a loop by its own clock until the context ends. Raises TypeError if it is no WatchedClock."""
        if not isinstance(clock, WatchedClock):
            raise TypeError(f"{name} has no clock of its own, so that nobody would see it stop")
        clock.monotonic()
        watched = (name, clock)
        self._loops.append(watched)
        try:
            yield
        finally:
            self._loops = [loop for loop in self._loops if loop is not watched]

    async def run(self) -> None:
        """Tick for ever, and log which loops become stuck and which are active again."""
        due = self.clock.monotonic()
        while True:
            self._last = self.clock.monotonic()
            self.ticked(self._last - due)
            stuck = frozenset(self._overdue())
            for name in sorted(stuck - self._stuck):
                log.error("task.silent", task=name)
            for name in sorted(self._stuck - stuck):
                log.info("task.active_again", task=name)
            self._stuck = stuck
            due = self.clock.monotonic() + _TICK
            await self.clock.sleep(_TICK)

    def alive(self) -> bool:
        """Whether the last tick is recent and no loop is stuck."""
        return self.clock.monotonic() - self._last < _TICK_OVERDUE and not any(self._overdue())

    def _overdue(self) -> Iterator[str]:
        now = self.clock.monotonic()
        return (name for name, clock in self._loops if clock.overdue(now))
