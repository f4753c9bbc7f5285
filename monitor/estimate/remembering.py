"""What was found in a file, kept on disk where it could grow with the file: bad lines, and which lines are equal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from heapq import nsmallest
from itertools import chain
from tempfile import TemporaryFile
from typing import IO, Any, Final

from monitor.dataset import RECORD

_BUCKETS: Final = 64
_LISTED: Final = 10_000


class Spool:
    """A list on disk of JSON values, to be read in order as often as wanted."""

    def __init__(self, files: ExitStack) -> None:
        self._file: IO[str] = files.enter_context(TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115 - the stack closes it
        self.count = 0

    def add(self, values: Iterable[object]) -> None:
        """Append them. Raises OSError when the disk is full."""
        for value in values:
            self._file.write(json.dumps(value) + "\n")
            self.count += 1

    def __iter__(self) -> Iterator[Any]:
        """All of them; adding goes on at the end afterwards."""
        self._file.seek(0)
        yield from map(json.loads, self._file)


class Fingerprints:
    """Fingerprints of all lines, by their first byte in files, so that only a part of them is ever in memory."""

    def __init__(self, files: ExitStack) -> None:
        opened = (TemporaryFile(buffering=1 << 12) for _ in range(_BUCKETS))  # noqa: SIM115 - the stack closes them
        self._buckets: list[IO[bytes]] = [files.enter_context(file) for file in opened]

    def add(self, prints: bytearray) -> None:
        """Keep records of RECORD's shape. Raises OSError when the disk is full."""
        for start in range(0, len(prints), RECORD.size):
            self._buckets[prints[start] % _BUCKETS].write(prints[start : start + RECORD.size])

    def duplicates(self) -> tuple[int, list[tuple[int, int]]]:
        """How many lines are equal to an earlier one, and of the first 10,000: the line, and the earlier one."""
        counted = 0
        listed: list[tuple[int, int]] = []
        for bucket in self._buckets:
            first: dict[bytes, int] = {}
            listed = nsmallest(_LISTED, chain(listed, _equal(bucket, first)))
            counted += bucket.tell() // RECORD.size - len(first)
        return counted, listed


def _equal(bucket: IO[bytes], first: dict[bytes, int]) -> Iterator[tuple[int, int]]:
    """Lines with their earlier equals; `first` takes where each fingerprint was seen first. Reads it to its end."""
    bucket.seek(0)
    for records in iter(lambda: bucket.read(RECORD.size << 10), b""):
        for fingerprint, line in RECORD.iter_unpack(records):
            earlier = first.setdefault(fingerprint, line)
            if earlier != line:
                yield line, earlier
