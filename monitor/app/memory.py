"""Keeps memory and pauses small: makes glibc return free memory to the system, which it would keep after large
responses were read in threads, and sets up garbage collection and the switching between threads.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import sys
from contextlib import suppress
from typing import Final

from anyio import to_thread

from monitor.clock import Clock

_TRIM_EVERY: Final = 60.0  # seconds
_COLLECT_EVERY: Final = 10  # minutes
# Parameters of mallopt in glibc's malloc.h:
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_LARGE: Final = 128 * 1024  # bytes
_SWITCH: Final = 0.001  # seconds; with 5 ms, threads that decode large answers slow each read of a socket down
# New objects between two collections of the first generation (Python's 700 take a twentieth of a poll); collections of
# the first between two of the second; of the second between two full ones, which is never reached.
_GARBAGE: Final = (3_000, 4, 1_000_000_000)


def configure_malloc() -> None:
    """Limit malloc to two arenas, and allocate large blocks with mmap, which returns them when they are freed.

    By default, glibc creates an arena per thread, and raises the mmap threshold to up to 32 MiB once large blocks are
    freed. Other C libraries are left as they are.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((_ARENA_MAX, 2), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _LARGE)):
            mallopt(parameter, value)


def tune_interpreter() -> None:
    """Make threads block the event loop for less time, and collections of garbage too.

    A collection takes a microsecond for each object it visits. Small ones visit only new objects. A full one visits all
    that is known of every job, and happens every ten minutes (`keep_small`). What is loaded by now is never visited.
    """
    sys.setswitchinterval(_SWITCH)
    gc.set_threshold(*_GARBAGE)
    gc.enable()  # the command has disabled it for the start
    gc.freeze()


async def keep_small(clock: Clock) -> None:
    """Trim the heap every minute, and collect all garbage every ten minutes.

    Short bursts (many jobs, the pages of a snapshot) leave free pages between small blocks that stay allocated. glibc
    would keep these pages: 16 MB after half an hour of changing load. Garbage in cycles is rare: some hundred
    objects a minute, since errors that are kept lose their tracebacks (`tracebacks.py`).
    """
    for minute in itertools.count(1):
        await clock.sleep(_TRIM_EVERY)
        await to_thread.run_sync(trim)
        if minute % _COLLECT_EVERY == 0:
            gc.collect()


def trim() -> None:
    """Return free pages inside the heap to the system, if the C library is glibc. Takes milliseconds."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
