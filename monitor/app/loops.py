"""The loops that are no part of the flow: supervision, the tick, pruning."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from monitor.clock import Clock
from monitor.log import get_logger
from monitor.store import Corrupt, Gone, Store, Unavailable

log = get_logger()

_TICK: Final = 0.5
_DEAF: Final = 10.0  # a loop that has not ticked for this long is not alive
_PRUNE_EVERY: Final = 3600.0
_RESTART: Final = (1.0, 60.0)


async def supervise(name: str, loop: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """Run a loop for ever. A bug in it is logged, and the loop begins anew: it never silences the others.

    Raises Gone and Corrupt: without its database the program must end.
    """
    wait = _RESTART[0]
    while True:
        started = clock.monotonic()
        try:
            await loop()
        except (Gone, Corrupt):
            raise
        except Exception:
            log.exception("task.failed", task=name)
        wait = _RESTART[0] if clock.monotonic() - started > _RESTART[1] else min(2 * wait, _RESTART[1])
        await clock.sleep(wait)


@dataclass(slots=True)
class Pulse:
    """Whether the event loop still turns."""

    clock: Clock
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock.monotonic()

    async def run(self) -> None:
        """Tick."""
        while True:
            self._last = self.clock.monotonic()
            await self.clock.sleep(_TICK)

    def alive(self) -> bool:
        """Whether it ticked lately."""
        return self.clock.monotonic() - self._last < _DEAF


async def prune(store: Store, clock: Clock, retention: timedelta) -> None:
    """Forget what is older than the retention, now and every hour."""
    while True:
        try:
            removed = await store.prune(clock.now(), retention)
        except Unavailable as error:
            log.warning("prune.failed", error=str(error))
        else:
            if removed:
                log.info("pruned", jobs=removed)
        await clock.sleep(_PRUNE_EVERY)
