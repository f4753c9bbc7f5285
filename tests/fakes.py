"""Stand-ins that tests share."""

from __future__ import annotations

from typing import Protocol

import anyio


class _Sleeper(Protocol):
    async def sleep(self, seconds: float) -> None: ...


class Waits:
    """What a clock of a test does while it waits for something: it sleeps, unless that has happened already."""

    async def wait(self: _Sleeper, event: anyio.Event, seconds: float) -> None:
        """Wait until it happens, or for so many seconds."""
        if not event.is_set():
            await self.sleep(seconds)
