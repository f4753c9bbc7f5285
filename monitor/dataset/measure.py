"""A training file read line by line: what is wrong with it, and how many tokens one epoch over it is.

Where only the size of a file is known, the tokens are estimated from it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final

from monitor.dataset.example import BYTE_ORDER_MARK, check, format_of, parsed
from monitor.dataset.lint import warnings
from monitor.dataset.messages import BadExample
from monitor.dataset.rules import Format, Rules, example_limit, lenient
from monitor.dataset.tokens import images_of, tokens_of
from monitor.dataset.vocabulary import BANDS, Vocabulary, available, token_counter, vocabulary_of
from monitor.providers.openai.naming import base_model

FINGERPRINT: Final = struct.Struct(">8sQ")
_LINE_END: Final = b"\r\n \t"
_LENIENT: Final = {form: lenient(form) for form in Format}
# Bytes of a whole JSONL file per token: fewest, usual, most (text that JSON escapes as \uXXXX).
_SIZES: Final = {Vocabulary.O200K: (2.6, 4.6, 12.0), Vocabulary.CL100K: (1.5, 4.3, 11.0), None: (1.5, 4.3, 12.0)}
# The most that an image costs gpt-4o: 85 tokens, and 170 for each of eight tiles (2048 by 768 in squares of 512).
_IMAGE: Final = 1445


@dataclass(slots=True, kw_only=True)
class FileStats:
    """What was found in some lines of a file."""

    examples: int = 0
    tokens: int = 0
    """Of all examples, each up to the model's limit."""
    images: int = 0
    longest: int = 0
    """The tokens of the longest example, before anything is cut off."""
    bad: list[tuple[int, str]] = field(default_factory=list)
    """Lines that are no examples, by number, and why."""
    warnings: list[tuple[int, str]] = field(default_factory=list)
    """What is probably a mistake in lines that are examples."""
    fingerprints: bytearray = field(default_factory=bytearray)
    """FINGERPRINT of each example: 8 bytes that equal lines share, and the line's number."""


def examine(
    lines: Iterable[bytes],
    model: str,
    rules: Rules | None,
    *,
    first: int = 1,
    checkpoint: Callable[[], None] = lambda: None,
) -> FileStats:
    """Checks and counts lines, the first of which has that number. Blank lines are skipped.

    Without rules each line is taken in its own format, and all that can be counted is an example, without warnings.
    `checkpoint` is called at each line, and repeatedly in long ones; what it raises ends the work.
    """
    count = token_counter(vocabulary_of(model), checkpoint)
    limit = example_limit(model)
    stats = FileStats()
    for number, raw in enumerate(lines, start=first):
        checkpoint()
        line = raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw
        line = line.strip(_LINE_END)
        if not line:
            continue
        try:
            example = parsed(line)
            by = rules or _LENIENT[format_of(example) or Format.CHAT]
            check(example, by)
        except BadExample as problem:
            stats.bad.append((number, str(problem)))
            continue
        tokens, images = tokens_of(example, by, count), images_of(example, by)
        stats.examples += 1
        stats.images += images
        stats.longest = max(stats.longest, tokens)
        stats.tokens += tokens if limit is None else min(tokens, limit)
        if rules is not None:
            stats.warnings += ((number, warning) for warning in warnings(example, line, rules))
            if limit is not None and tokens > limit:
                stats.warnings.append(
                    (number, f"has {tokens:,} tokens; {base_model(model)} takes {limit:,}, and the rest is cut off")
                )
            if images and not re.search(rules.vision, base_model(model)):
                stats.warnings.append((number, f"has images, with which {base_model(model)} is not said to be trained"))
        stats.fingerprints += FINGERPRINT.pack(blake2b(line, digest_size=8).digest(), number)
    return stats


def lines_of(content: bytes) -> Iterator[bytes]:
    """The lines of some content, one at a time, so that it is never copied as a whole."""
    start = 0
    while start < len(content):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        yield content[start:end]
        start = end + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """The tokens of one epoch: the likeliest number, and the range of the true one."""

    tokens: int
    low: int
    high: int
    examples: int | None
    """None where only the size is known."""
    exact: bool
    """Counted with the model's own vocabulary: low and high are the tokens as well."""


def measured(stats: FileStats, model: str) -> Measure:
    """The tokens of what was examined for a model, with a range unless they were counted with its own vocabulary."""
    vocabulary = vocabulary_of(model)
    exact = vocabulary is not None and available()
    low, high = (stats.tokens, stats.tokens) if exact else band(stats.tokens, vocabulary)
    return Measure(tokens=stats.tokens, low=low, high=high, examples=stats.examples, exact=exact)


def measure(content: bytes, model: str, checkpoint: Callable[[], None] = lambda: None) -> Measure | None:
    """The tokens of a training file for a model, each example up to the model's limit; None where it holds no example.

    Takes about a second for each five megabytes of words, but half a minute for as much base64; made for a worker
    thread, lets others run every few milliseconds. `checkpoint` is called all the time; what it raises ends it. Without
    the model's vocabulary the count is estimated from bytes and has a range, as with images, whose size is not known.
    """
    stats = examine(lines_of(content), model, None, checkpoint=checkpoint)
    if not stats.examples:
        return None
    found = measured(stats, model)
    return replace(found, high=found.high + stats.images * _IMAGE, exact=found.exact and not stats.images)


def guess(size_bytes: int, model: str) -> Measure:
    """The tokens of a training file of which only the size is known. Images in it make the estimate far too high."""
    fewest, usual, most = _SIZES[vocabulary_of(model)]
    tokens, low, high = (round(size_bytes / size) for size in (usual, most, fewest))
    return Measure(tokens=tokens, low=low, high=high, examples=None, exact=False)


def band(tokens: int, vocabulary: Vocabulary | None) -> tuple[int, int]:
    """The range of the true number of tokens, where they were estimated from bytes."""
    low, high = BANDS[vocabulary]
    return round(tokens * low), round(tokens * high)
