"""A daemon that reads large answers gives their memory back."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import weakref

import pytest

from monitor.app import memory
from monitor.clock import SystemClock

MAPPED = """
import ctypes, sys
from monitor.app import memory
if sys.argv[1] == "settled":
    memory.configure_malloc()
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
        ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
body = bytearray(20_000_000)  # an answer that is mapped, and makes the C library expect more of its size
del body
before = libc.mallinfo2().hblks
bodies = [bytearray(1_000_000) for _ in range(10)]
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has other ways")
@pytest.mark.parametrize(("how", "mapped"), [("settled", 10), ("as it comes", 0)])
def test_a_large_block_is_a_mapping_of_its_own_even_after_larger_ones(how: str, mapped: int) -> None:
    done = subprocess.run([sys.executable, "-c", MAPPED, how], capture_output=True, text=True, check=True)
    assert int(done.stdout) == mapped


HOLES = """
import sys
from monitor.app import memory
memory.configure_malloc()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4
blocks = [bytes(30_000) for _ in range(3_000)]
kept = blocks[::30]  # one in thirty stays, and keeps what is before it from being returned
before = resident()
del blocks
if sys.argv[1] == "trimmed":
    memory.trim()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has other ways")
@pytest.mark.parametrize(("how", "least", "most"), [("trimmed", 70_000, 100_000), ("as it comes", 0, 10_000)])
def test_holes_between_blocks_that_stay_are_given_back(how: str, least: int, most: int) -> None:
    done = subprocess.run([sys.executable, "-c", HOLES, how], capture_output=True, text=True, check=True)
    assert least <= int(done.stdout) <= most


class Ring:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.itself = self


async def test_they_are_given_back_every_minute_and_all_garbage_is_collected_every_ten() -> None:
    slept: list[float] = []
    alive: list[bool] = []
    ring = weakref.ref(Ring())

    class Stop(Exception):
        """Enough."""

    class TenMinutes(SystemClock):
        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)
            alive.append(ring() is not None)
            if len(slept) > 10:
                raise Stop

    gc.disable()
    try:
        with pytest.raises(Stop):
            await memory.keep_small(TenMinutes())
    finally:
        gc.enable()
    assert slept == [60.0] * 11
    assert alive == [True] * 10 + [False]


UNVISITED = """
import gc
from monitor.app import memory
memory.tune_interpreter()
before = [each["collections"] for each in gc.get_stats()]
kept = [[number] for number in range(300_000)]
after = [each["collections"] for each in gc.get_stats()]
small, middle, full = (now - then for now, then in zip(after, before))
assert small > 50 and middle > 10, (small, middle)
assert full == 0, "nothing that stays is visited again and again"
"""


def test_what_stays_is_not_visited_by_collections_that_python_starts() -> None:
    subprocess.run([sys.executable, "-c", UNVISITED], check=True)
