"""Tells the C library to give memory back: a daemon that reads large answers in threads would else keep the holes."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

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
