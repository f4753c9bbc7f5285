"""How many tokens one epoch over a training file is: counted in its content, or guessed from its size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from monitor.dataset.block import Reading, examine, lines_of
from monitor.dataset.vocabulary import BANDS, Vocabulary, available, vocabulary_of

# Bytes of a whole JSONL file per token: fewest, usual, most (text that JSON escapes as \uXXXX).
_SIZES: Final = {Vocabulary.O200K: (2.6, 4.6, 12.0), Vocabulary.CL100K: (1.5, 4.3, 11.0), None: (1.5, 4.3, 12.0)}
# The most that an image is to gpt-4o: 85 tokens, and 170 for each of eight tiles (2048 by 768 in squares of 512).
_IMAGE: Final = 1445


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """The tokens of one epoch: the likeliest number, and between which two the true one is."""

    tokens: int
    low: int
    high: int
    examples: int | None
    """None where only the size is known."""
    exact: bool
    """Counted with the model's own vocabulary: then low and high are the tokens as well."""


def measure(content: bytes, model: str, attend: Callable[[], None] = lambda: None) -> Measure | None:
    """The tokens of a training file for a model, each example up to the model's limit; None where it holds no example.

    Takes about a second for each five megabytes of words, but half a minute where there are none, as in base64; made
    for a worker thread, lets others run every few milliseconds. What `attend`, called all the time, raises, ends it.
    Without the model's vocabulary the count is from the bytes of the texts and has a band, and so it has with images,
    of which a line does not tell how large they are.
    """
    tally = examine(lines_of(content), Reading(model=model), attend=attend)
    if not tally.examples:
        return None
    vocabulary = vocabulary_of(model)
    if vocabulary is not None and available() and not tally.images:
        return Measure(tokens=tally.tokens, low=tally.tokens, high=tally.tokens, examples=tally.examples, exact=True)
    low, high = band(tally.tokens, vocabulary)
    if tally.images and available():  # of the texts all is known, of an image no more than what it may cost at most
        low, high = tally.tokens, tally.tokens + tally.images * _IMAGE
    return Measure(tokens=tally.tokens, low=low, high=high, examples=tally.examples, exact=False)


def guess(size_bytes: int, model: str) -> Measure:
    """The tokens of a training file of which only the size is known. Images in it make the guess far too high."""
    fewest, usual, most = _SIZES[vocabulary_of(model)]
    return Measure(
        tokens=round(size_bytes / usual),
        low=round(size_bytes / most),
        high=round(size_bytes / fewest),
        examples=None,
        exact=False,
    )


def band(tokens: int, vocabulary: Vocabulary | None) -> tuple[int, int]:
    """Between which two numbers the tokens are that were told from bytes."""
    low, high = BANDS[vocabulary]
    return round(tokens * low), round(tokens * high)
