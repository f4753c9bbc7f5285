"""Stand-ins that tests share."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import anyio

from monitor.clock import Clock
from monitor.store import Leases, Stores


class _Sleeper(Protocol):
    async def sleep(self, seconds: float) -> None: ...


class Waits:
    """What a clock of a test does while it waits for something: it sleeps, unless that has happened already."""

    async def wait(self: _Sleeper, event: anyio.Event, seconds: float) -> None:
        """Wait until it happens, or for so many seconds."""
        if not event.is_set():
            await self.sleep(seconds)


def another_replica(stores: Stores, clock: Clock, *, lasting: timedelta = timedelta(hours=1)) -> Leases:
    """What another replica holds in the same database."""
    return Leases(stores.database, clock, owner="another", duration=lasting)
