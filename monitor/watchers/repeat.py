"""The loop of the watchers: take a step, wait until the next one is due, and retry if the store fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from monitor.clock import Clock
from monitor.store import StoreUnavailable, Unstorable
from monitor.watchers.store_trouble import StoreTrouble

_STORE_RETRY: Final = 5.0  # seconds


async def repeat(step: Callable[[], Awaitable[float]], clock: Clock, *, first: float = 0.0, **fields: str) -> None:
    """Call `step` for ever, beginning in `first` seconds. It returns the seconds until the next call.

    A step that fails because of the store is repeated after five seconds. The failure is logged once, and so is the
    recovery, with `fields` in the log event.
    """
    store = StoreTrouble()
    wait = first
    while True:
        await clock.sleep(wait)
        try:
            wait = await step()
        except (StoreUnavailable, Unstorable) as error:
            store.failed(error, **fields)
            wait = _STORE_RETRY
        else:
            store.worked(**fields)
