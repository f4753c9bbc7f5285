"""Tells the C library to give memory back: a daemon that reads large answers in threads would else keep the holes."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

from anyio import to_thread

from monitor.clock import Clock

_TRIM_EVERY: Final = 60.0
# glibc's malloc.h
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_LARGE: Final = 128 * 1024


def settle() -> None:
    """Two arenas for all threads, and every large block a mapping of its own, which is returned when it is freed.

    glibc would else make an arena for each thread, and take blocks of up to 32 MiB from them once it has seen some.
    Other C libraries are left as they are.
    """
    with suppress(OSError, AttributeError):
        tune = ctypes.CDLL(None).mallopt
        for what, value in ((_ARENA_MAX, 2), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _LARGE)):
            tune(what, value)


async def keep_trim(clock: Clock) -> None:
    """Give the holes back every minute.

    Whatever is large for a moment (a burst of jobs, the pages of a snapshot) leaves free pages between small blocks
    that stay, and glibc keeps those for ever: 16 MB after half an hour of changing load.
    """
    while True:
        await clock.sleep(_TRIM_EVERY)
        await to_thread.run_sync(trim)


def trim() -> None:
    """Return the free pages inside the heap to the system, where the C library is glibc; takes milliseconds."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
