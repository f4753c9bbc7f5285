"""Byte-pair merging: how many tokens a word is that the vocabulary does not hold as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from typing import Final

_SHORT: Final = 48
_NEVER: Final = 1 << 30


def merged(word: bytes, ranks: Mapping[bytes, int]) -> int:
    """The number of tokens left when neighbours are joined, the lowest rank first, the leftmost on a tie."""
    return _short(word, ranks) if len(word) <= _SHORT else _long(word, ranks)


def _short(word: bytes, ranks: Mapping[bytes, int]) -> int:
    """Looks for the lowest rank anew after each join: quick for words, hopeless for long runs."""
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
    """Keeps the pairs in a heap, each as rank and place in one number; a pair that changed is known by its rank."""
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
