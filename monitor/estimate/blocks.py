"""A training file as blocks of whole lines, in memory that does not grow with the file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_CHUNK: Final = 1 << 18
LONGEST_LINE: Final = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some whole lines, the first of which has that number; None for one line that is too long to be kept."""

    first: int
    lines: bytes | None


@contextmanager
def opened(name: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The file, or standard input for `-`, and its size where it has one. Raises OSError."""
    if name == "-":
        yield sys.stdin.buffer, None
        return
    path = Path(name)
    with path.open("rb", buffering=0) as file:
        yield file, path.stat().st_size if path.is_file() else None


def blocks(file: BinaryIO, seen: Callable[[int], object]) -> Iterator[Block]:
    """The file's blocks in order; tells how many bytes were read each time. Raises OSError."""
    number, rest, skipping = 1, bytearray(), False
    while chunk := file.read(_CHUNK):
        seen(len(chunk))
        if skipping:
            _, end, chunk = chunk.partition(b"\n")
            if not end:
                continue
            skipping, number = False, number + 1
        cut = chunk.rfind(b"\n") + 1
        if cut:
            lines = bytes(rest) + chunk[:cut]
            yield Block(first=number, lines=lines)
            number += lines.count(b"\n")
            rest.clear()
        rest += chunk[cut:]
        if len(rest) > LONGEST_LINE:
            yield Block(first=number, lines=None)
            rest, skipping = bytearray(), True
    if rest:
        yield Block(first=number, lines=bytes(rest))
