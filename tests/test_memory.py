"""A daemon that reads large answers gives their memory back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

MAPPED = """
import ctypes, sys
from monitor.app import memory
if sys.argv[1] == "settled":
    memory.settle()
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
