"""Some lines of a training file, looked at together: their tokens, and every line that is no example."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from monitor.dataset.example import BadExample, Format, check, format_of, parsed
from monitor.dataset.limits import example_limit
from monitor.dataset.vocabulary import counter, vocabulary_of
from monitor.dataset.weighing import images_of, tokens_of

RECORD: Final = struct.Struct(">8sQ")
_LINE_END: Final = b"\r\n \t"
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a file is read: for which model, and in which format; None takes each line in its own."""

    model: str
    format: Format | None = None


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was found so far; tallies of neighbouring blocks can be added up."""

    examples: int = 0
    tokens: int = 0
    """Of all examples, each up to the model's limit."""
    images: int = 0
    longest: int = 0
    """The tokens of the longest example, before anything is cut off."""
    bad: list[tuple[int, str]] = field(default_factory=list)
    """Lines that are no examples, by number, and why."""
    long: list[tuple[int, int]] = field(default_factory=list)
    """Examples beyond the model's limit: line and tokens."""
    prints: bytearray = field(default_factory=bytearray)
    """For each example 16 bytes: 8 that equal lines share, and the line's number."""


def examine(
    lines: Iterable[bytes], reading: Reading, *, first: int = 1, attend: Callable[[], None] = lambda: None
) -> Tally:
    """Looks at lines, the first of which has that number. Blank lines are nothing; counts are those of the cookbook.

    `attend` is called at each line, and again and again in long ones; what it raises ends the work.
    """
    count, _ = counter(vocabulary_of(reading.model), attend)
    limit = example_limit(reading.model)
    tally = Tally()
    for number, raw in enumerate(lines, start=first):
        attend()
        line = raw.removeprefix(_BOM) if number == 1 else raw
        line = line.strip(_LINE_END)
        if not line:
            continue
        try:
            example = parsed(line)
            form = reading.format or format_of(example) or Format.CHAT
            check(example, form)
            tokens = tokens_of(example, form, count)
        except BadExample as problem:
            tally.bad.append((number, str(problem)))
            continue
        tally.examples += 1
        tally.images += images_of(example, form)
        tally.longest = max(tally.longest, tokens)
        if limit is not None and tokens > limit:
            tally.long.append((number, tokens))
        tally.tokens += tokens if limit is None else min(tokens, limit)
        tally.prints += RECORD.pack(blake2b(line, digest_size=8).digest(), number)
    return tally


def lines_of(content: bytes) -> Iterator[bytes]:
    """The lines of some content, one at a time, so that a second copy of it is never made."""
    start = 0
    while start < len(content):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        yield content[start:end]
        start = end + 1
