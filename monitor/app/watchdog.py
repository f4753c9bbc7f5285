"""Whether the program is alive: the event loop turns, and every loop on it comes round."""

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

_TICK: Final = 0.5
_TICK_OVERDUE: Final = 10.0  # an event loop that has not ticked for this long does not turn
_STUCK_AFTER: Final = 180.0  # the longest that any loop is busy without asking the time: a look takes up to 60 s


@dataclass(slots=True)
class WatchedClock:
    """The clock of one loop. Whoever asks for the time is alive; whoever sleeps says until when it will be silent."""

    clock: Clock
    _last_seen: float = field(init=False)
    """When it was last active, or will wake up."""

    def __post_init__(self) -> None:
        self._last_seen = self.clock.monotonic()

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        self._last_seen = self.clock.monotonic()
        return self.clock.now()

    def monotonic(self) -> float:
        """Seconds that only ever grow, for intervals."""
        self._last_seen = self.clock.monotonic()
        return self._last_seen

    async def sleep(self, seconds: float) -> None:
        """Wait; a negative number does not wait at all."""
        self._last_seen = self.clock.monotonic() + max(seconds, 0.0)
        try:
            await self.clock.sleep(seconds)
        finally:
            self._last_seen = self.clock.monotonic()

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        """Wait until it happens, or for so many seconds."""
        self._last_seen = self.clock.monotonic() + max(seconds, 0.0)
        try:
            await self.clock.wait(event, seconds)
        finally:
            self._last_seen = self.clock.monotonic()

    def overdue(self, monotonic: float) -> bool:
        """Whether it has been silent for too long."""
        return monotonic - self._last_seen > _STUCK_AFTER


@dataclass(slots=True)
class Watchdog:
    """The event loop's own tick, and the clocks of the loops that are watched."""

    clock: Clock
    ticked: Callable[[float], None] = lambda late: None
    """Hears of each tick by how many seconds it was late."""
    _last: float = field(init=False)
    _loops: list[tuple[str, WatchedClock]] = field(default_factory=list)
    _stuck: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._last = self.clock.monotonic()

    @contextmanager
    def watching(self, name: str, clock: Clock) -> Iterator[None]:
        """Expect the loop of this clock, which is its own, to come round, from now until the context ends."""
        if not isinstance(clock, WatchedClock):
            raise TypeError(f"{name} has no clock of its own, so that nobody would see it stop")
        clock.monotonic()
        watched = (name, clock)
        self._loops.append(watched)
        try:
            yield
        finally:
            self._loops = [one for one in self._loops if one is not watched]

    async def run(self) -> None:
        """Tick, and log which loops fall silent and which are back."""
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
        """Whether it ticked lately and every loop was active."""
        return self.clock.monotonic() - self._last < _TICK_OVERDUE and not any(self._overdue())

    def _overdue(self) -> Iterator[str]:
        now = self.clock.monotonic()
        return (name for name, clock in self._loops if clock.overdue(now))
