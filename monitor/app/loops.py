"""Supervision of loops, and the loops for housekeeping of the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

from monitor.clock import Clock
from monitor.log import get_logger
from monitor.store import Corrupt, Gone, JobStore, NewerSchema, Outbox, StoreUnavailable

log = get_logger()

_PRUNE_EVERY: Final = 3600.0  # seconds
_PRUNE_RETRY: Final = 30.0  # seconds
_ORPHANS_EVERY: Final = 3600.0  # seconds
_RESTART: Final = (1.0, 60.0)  # seconds before a restart: at first, and at most
_LOST: Final = (Gone, Corrupt, NewerSchema)


async def supervise(
    name: str, loop: Callable[[], Awaitable[None]], clock: Clock, restarted: Callable[[], None] = lambda: None
) -> None:
    """Run a loop until it returns. After an exception it is restarted with backoff, so that a bug never stops it.

    The exception is logged, and `restarted` is called. Raises only Gone, Corrupt and NewerSchema: without its database
    the program must end.
    """
    wait = _RESTART[0]
    while True:
        started = clock.monotonic()
        try:
            await loop()
        except _LOST:
            raise
        except Exception as error:
            if isinstance(error, ExceptionGroup) and (lost := error.subgroup(_LOST)):
                raise lost from error
            log.exception("task.failed", task=name)
        else:
            return
        restarted()
        wait = _RESTART[0] if clock.monotonic() - started > _RESTART[1] else min(2 * wait, _RESTART[1])
        await clock.sleep(wait)


async def prune(store: JobStore, clock: Clock, retention: timedelta) -> None:
    """Delete finished jobs that are older than the retention, now and every hour."""
    while True:
        try:
            removed = await store.prune(clock.now(), retention)
        except StoreUnavailable as error:
            log.warning("prune.failed", error=str(error))
            await clock.sleep(_PRUNE_RETRY)
            continue
        if removed:
            log.info("pruned", jobs=removed)
        await clock.sleep(_PRUNE_EVERY)


async def warn_of_orphans(outbox: Outbox, notifiers: Sequence[str], clock: Clock) -> None:
    """Log pending deliveries of notifiers that are no longer configured, now and every hour."""
    while True:
        try:
            waiting = await outbox.orphans(notifiers)
        except StoreUnavailable:  # logged by the watchers
            await clock.sleep(_PRUNE_RETRY)
            continue
        for name, count in waiting.items():
            advice = f"no notifier has this name: one with `was: {name}` sends them, else they expire"
            log.warning("deliveries.orphaned", notifier=name, count=count, advice=advice)
        await clock.sleep(_ORPHANS_EVERY)
