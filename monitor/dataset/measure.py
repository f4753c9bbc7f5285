"""Examines a training file line by line: which lines are invalid, and how many tokens one epoch has.

Where only the size of a file is known, its tokens are estimated from that.
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
# Bytes of a whole JSONL file per token: lowest, usual and highest (for text that JSON escapes as \uXXXX).
_SIZES: Final = {Vocabulary.O200K: (2.6, 4.6, 12.0), Vocabulary.CL100K: (1.5, 4.3, 11.0), None: (1.5, 4.3, 12.0)}
# The most tokens of an image for gpt-4o: 85, and 170 for each of eight tiles (2048 by 768 in squares of 512).
_IMAGE: Final = 1445


@dataclass(slots=True, kw_only=True)
class FileStats:
    """The results for some lines of a file."""

    examples: int = 0
    tokens: int = 0
    """The tokens of all examples, each up to the model's limit."""
    images: int = 0
    longest: int = 0
    """The tokens of the longest example, before truncation."""
    bad: list[tuple[int, str]] = field(default_factory=list)
    """The numbers of lines that are not valid examples, with the reasons."""
    warnings: list[tuple[int, str]] = field(default_factory=list)
    """The numbers of valid lines with probable mistakes, with the warnings."""
    fingerprints: bytearray = field(default_factory=bytearray)
    """One FINGERPRINT per example: a digest of 8 bytes, equal for equal lines, and the line's number."""


def examine(
    lines: Iterable[bytes],
    model: str,
    rules: Rules | None,
    *,
    first: int = 1,
    checkpoint: Callable[[], None] = lambda: None,
) -> FileStats:
    """Check and count lines. `first` is the number of the first line; blank lines are skipped.

    Without rules each line is checked leniently in the format that it seems to have, without warnings. `checkpoint` is
    called at each line, and repeatedly in long ones; an exception that it raises aborts the work.
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
                stats.warnings.append(
                    (number, f"has images, which {base_model(model)} is not documented to be trained with")
                )
        stats.fingerprints += FINGERPRINT.pack(blake2b(line, digest_size=8).digest(), number)
    return stats


def lines_of(content: bytes) -> Iterator[bytes]:
    """The lines of some content, one at a time, so that the content is never copied as a whole."""
    start = 0
    while start < len(content):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        yield content[start:end]
        start = end + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """The tokens of one epoch: the most likely number, and the range that contains the true one."""

    tokens: int
    low: int
    high: int
    examples: int | None
    """None if only the size of the file is known."""
    exact: bool
    """Whether they were counted with the model's own vocabulary; `low` and `high` then equal `tokens`."""


def measured(stats: FileStats, model: str) -> Measure:
    """The tokens of examined lines for a model; a range, unless they were counted with its own vocabulary."""
    vocabulary = vocabulary_of(model)
    exact = vocabulary is not None and available()
    low, high = (stats.tokens, stats.tokens) if exact else band(stats.tokens, vocabulary)
    return Measure(tokens=stats.tokens, low=low, high=high, examples=stats.examples, exact=exact)


def measure(content: bytes, model: str, checkpoint: Callable[[], None] = lambda: None) -> Measure | None:
    """The tokens of a training file for a model, each example up to the model's limit; None if it has no examples.

    Takes about a second for five megabytes of words, but half a minute for as much base64. It is meant for a worker
    thread, and lets other threads run every few milliseconds. `checkpoint` is called repeatedly; an exception that it
    raises aborts the work. Without the model's vocabulary the tokens are estimated from bytes and have a range; so have
    images, whose size is unknown.
    """
    stats = examine(lines_of(content), model, None, checkpoint=checkpoint)
    if not stats.examples:
        return None
    found = measured(stats, model)
    return replace(found, high=found.high + stats.images * _IMAGE, exact=found.exact and not stats.images)


def guess(size_bytes: int, model: str) -> Measure:
    """The tokens of a training file by its size alone. With images in it, the estimate is far too high."""
    fewest, usual, most = _SIZES[vocabulary_of(model)]
    tokens, low, high = (round(size_bytes / size) for size in (usual, most, fewest))
    return Measure(tokens=tokens, low=low, high=high, examples=None, exact=False)


def band(tokens: int, vocabulary: Vocabulary | None) -> tuple[int, int]:
    """The range of the true number of tokens, where `tokens` was estimated from bytes."""
    low, high = BANDS[vocabulary]
    return round(tokens * low), round(tokens * high)
