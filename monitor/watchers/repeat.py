"""The loop of the watchers: take a step, wait until the next one is due, and ride out a store that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from monitor.clock import Clock
from monitor.store import StoreUnavailable, Unstorable
from monitor.watchers.store_trouble import StoreTrouble

_STORE_RETRY: Final = 5.0


async def repeat(step: Callable[[], Awaitable[float]], clock: Clock, *, first: float = 0.0, **of: str) -> None:
    """Take a step for ever, `first` seconds from now on; each step says in how many seconds the next one is due.

    A step that the store fails is taken again after a few seconds. That is logged once, however often it happens, and
    once more when the store works again; `of` says whose step it was.
    """
    store = StoreTrouble()
    wait = first
    while True:
        await clock.sleep(wait)
        try:
            wait = await step()
        except (StoreUnavailable, Unstorable) as error:
            store.failed(error, **of)
            wait = _STORE_RETRY
        else:
            store.worked(**of)
