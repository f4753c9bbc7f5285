"""A training file read through: what was counted and found in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from monitor.dataset import (
    MIN_EXAMPLES,
    BadExample,
    Format,
    Measure,
    Reading,
    available,
    band,
    expected_format,
    format_of,
    lines_of,
    parsed,
    vocabulary_of,
)
from monitor.domain.model import Method
from monitor.estimate.blocks import Block, blocks
from monitor.estimate.crew import tallies
from monitor.estimate.quote import Wish
from monitor.estimate.remembering import Fingerprints, Spool

METHODS = {Format.PREFERENCE: Method.DPO, Format.REINFORCEMENT: Method.REINFORCEMENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All of a file."""

    format: Format
    method: Method
    size: Measure
    examples: int
    images: int
    longest: int
    bytes_read: int
    bad: Spool
    """[line, reason] of every line that is no example."""
    long: Spool
    """[line, tokens] of every example beyond the model's limit."""
    duplicates: tuple[int, list[tuple[int, int]]]

    @property
    def refusal(self) -> str | None:
        """Why the file as a whole would be refused."""
        if self.examples >= MIN_EXAMPLES:
            return None
        return f"the file has {self.examples} example(s), but must have at least {MIN_EXAMPLES}"


def read(file: BinaryIO, wish: Wish, files: ExitStack, progress: Callable[[int], object]) -> Findings:
    """Read a file to its end, in memory that does not grow with it. Raises OSError and WorkerLost."""
    total = 0

    def seen(size: int) -> None:
        nonlocal total
        total += size
        progress(size)

    found = blocks(file, seen)
    first = next(found, Block(first=1, lines=b""))
    form = expected_format(wish.model, wish.method) or _format_in(first)
    bad, long, prints = Spool(files), Spool(files), Fingerprints(files)
    examples = tokens = images = longest = 0
    for tally in tallies(chain((first,), found), Reading(model=wish.model, format=form)):
        examples += tally.examples
        tokens += tally.tokens
        images += tally.images
        longest = max(longest, tally.longest)
        bad.add(tally.bad)
        long.add(tally.long)
        prints.add(tally.prints)
    method = wish.method or METHODS.get(form, Method.SUPERVISED)
    return Findings(
        format=form, method=method, size=_size(tokens, examples, wish.model),
        examples=examples, images=images, longest=longest, bytes_read=total, bad=bad, long=long,
        duplicates=prints.duplicates(),
    )  # fmt: skip


def _format_in(block: Block) -> Format:
    """The format of the first line that seems to have one; chat, where none does."""
    return next(_formats(block.lines or b""), Format.CHAT)


def _formats(content: bytes) -> Iterator[Format]:
    for line in lines_of(content):
        try:
            form = format_of(parsed(line.removeprefix(b"\xef\xbb\xbf")))
        except BadExample:
            continue
        if form is not None:
            yield form


def _size(tokens: int, examples: int, model: str) -> Measure:
    vocabulary = vocabulary_of(model)
    exact = vocabulary is not None and available()
    low, high = (tokens, tokens) if exact else band(tokens, vocabulary)
    return Measure(tokens=tokens, low=low, high=high, examples=examples, exact=exact)
