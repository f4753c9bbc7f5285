"""Collects what is found in a training file. Lists that grow with the file are kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO, Final

from monitor.dataset import (
    FINGERPRINT,
    METHODS,
    TO_CHAT,
    BadExample,
    FileStats,
    Format,
    Measure,
    Rules,
    applicable,
    chosen,
    container,
    foreign,
    format_of,
    lines_of,
    measured,
    parsed,
)
from monitor.domain.model import Method
from monitor.estimate.quote import EstimateRequest
from monitor.estimate.reading import CHUNK, Examiner, LineBlock, blocks_of, examined

_BUCKETS: Final = 64
_LISTED: Final = 10_000
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_BOM_WARNING: Final = "begins with a byte order mark, which some readers refuse; remove it: sed '1s/^\\xEF\\xBB\\xBF//'"


class Spool:
    """A list of line numbers and reasons on disk, which can be iterated in order any number of times."""

    def __init__(self, files: ExitStack) -> None:
        self._file: IO[str] = files.enter_context(TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115 - the stack closes it
        self.count = 0

    def add(self, values: Iterable[tuple[int, str]]) -> None:
        """Append them. Raises OSError when the disk is full."""
        for value in values:
            self._file.write(json.dumps(value) + "\n")
            self.count += 1

    def __iter__(self) -> Iterator[Any]:
        """Yield each as [line, reason]. Appending afterwards continues at the end."""
        self._file.seek(0)
        yield from map(json.loads, self._file)


class Fingerprints:
    """The fingerprints of all examples, in files by their first byte, so that only one part is in memory at a time."""

    def __init__(self, files: ExitStack) -> None:
        opened = (TemporaryFile(buffering=1 << 12) for _ in range(_BUCKETS))  # noqa: SIM115 - the stack closes them
        self._buckets: list[IO[bytes]] = [files.enter_context(file) for file in opened]

    def add(self, records: bytearray) -> None:
        """Append FINGERPRINT records. Raises OSError when the disk is full."""
        for start in range(0, len(records), FINGERPRINT.size):
            self._buckets[records[start] % _BUCKETS].write(records[start : start + FINGERPRINT.size])

    def duplicates(self) -> tuple[int, list[tuple[int, int]]]:
        """How many lines equal an earlier one, and the first 10,000 as pairs of the line and the earlier line."""
        counted = 0
        listed: list[tuple[int, int]] = []
        for bucket in self._buckets:
            first: dict[bytes, int] = {}
            listed = nsmallest(_LISTED, chain(listed, _equal(bucket, first)))
            counted += bucket.tell() // FINGERPRINT.size - len(first)
        return counted, listed


def _equal(bucket: IO[bytes], first: dict[bytes, int]) -> Iterator[tuple[int, int]]:
    """Yield lines with their earlier duplicates; `first` collects the first line of each fingerprint."""
    bucket.seek(0)
    for records in iter(lambda: bucket.read(FINGERPRINT.size << 10), b""):
        for fingerprint, line in FINGERPRINT.iter_unpack(records):
            earlier = first.setdefault(fingerprint, line)
            if earlier != line:
                yield line, earlier


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The findings in a whole file."""

    rules: Rules
    method: Method
    size: Measure
    images: int
    longest: int
    bytes_read: int
    bad: Spool
    """Every line that is not a valid example, with the reason."""
    warnings: Spool
    """Probable mistakes, and the first 10,000 lines that equal an earlier one."""
    duplicates: int
    unusable: str | None
    """Why the file cannot be used for this model at all; None if it can."""

    @property
    def examples(self) -> int:
        """The number of valid examples."""
        return self.size.examples or 0

    @property
    def refusal(self) -> str | None:
        """Why the provider would reject the file as a whole, although it is readable; None if it would not."""
        if self.examples < self.rules.fewest:
            counted = "1 example" if self.examples == 1 else f"{self.examples:,} examples"
            return f"the file has {counted}, but must have at least {self.rules.fewest:,}"
        if self.rules.most is not None and self.examples > self.rules.most:
            return f"the file has {self.examples:,} examples, but may have at most {self.rules.most:,}"
        return None


def read(file: BinaryIO, request: EstimateRequest, files: ExitStack, progress: Callable[[int], object]) -> Findings:
    """Read a file to its end in constant memory. Raises OSError and WorkerLost."""
    head = file.read(CHUNK) or b""
    rows = applicable(request.provider, request.model, request.method)
    other = container(head)
    seen, conversion = _detected(head, rows)
    rules = chosen(rows, seen)
    bad, warnings, fingerprints = Spool(files), Spool(files), Fingerprints(files)
    total, bytes_read = FileStats(), 0

    def count(size: int) -> None:
        nonlocal bytes_read
        bytes_read += size
        progress(size)

    if other is not None:
        count(len(head))
        bad.add([(1, other)])
    elif head.startswith(_BYTE_ORDER_MARK) and not rules.byte_order_mark:
        warnings.add([(1, _BOM_WARNING)])
    blocks: Iterator[LineBlock] = blocks_of(head, file, count) if other is None else iter(())
    for stats in examined(blocks, Examiner(model=request.model, rules=rules)):
        total.examples += stats.examples
        total.tokens += stats.tokens
        total.images += stats.images
        total.longest = max(total.longest, stats.longest)
        bad.add(stats.bad)
        warnings.add(stats.warnings)
        fingerprints.add(stats.fingerprints)
    duplicates, pairs = fingerprints.duplicates()
    warnings.add((line, f"is the same as line {first}") for line, first in pairs)
    return Findings(
        rules=rules,
        method=request.method or Method(METHODS.get(rules.format, "supervised")),
        size=measured(total, request.model),
        images=total.images,
        longest=total.longest,
        bytes_read=bytes_read,
        bad=bad,
        warnings=warnings,
        duplicates=duplicates,
        unusable=_unusable(other, conversion, empty=not head.strip(), examples=total.examples),
    )


def _unusable(container: str | None, conversion: str | None, *, empty: bool, examples: int) -> str | None:
    if container is not None:
        return f"the file {container}"
    if examples:
        return None
    return "the file is empty" if empty else conversion


def _detected(head: bytes, rows: tuple[Rules, ...]) -> tuple[Format | None, str | None]:
    """The format of the first line that implies one, and why these rules do not accept the file, if so."""
    for line in lines_of(head):
        try:
            example = parsed(line.removeprefix(_BYTE_ORDER_MARK))
        except BadExample:
            continue
        if (other := foreign(example, rows[0])) is not None:
            return None, f"each line is {other[0]}: {other[1]}"
        if (seen := format_of(example)) is not None:
            return seen, _wrong_format(seen, rows)
    return None, None


def _wrong_format(seen: Format, rows: tuple[Rules, ...]) -> str | None:
    formats = list(dict.fromkeys(rules.format for rules in rows))
    if seen in formats:
        return None
    wanted = f"the file is in the {seen} format, where the {' or '.join(formats)} format is expected"
    return f"{wanted}; convert it: {TO_CHAT}" if seen is Format.COMPLETION and Format.CHAT in formats else wanted
