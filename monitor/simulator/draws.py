"""Every random choice and id of a simulation: drawn from named seeds, so that a run can be repeated."""

from __future__ import annotations

import hashlib
import string
from random import Random
from zlib import crc32

Span = tuple[float, float]
"""The least and the most that a drawn number may be."""

_ALPHABET = string.ascii_letters + string.digits


def dice(*seeds: object) -> Random:
    """Random numbers that depend on `seeds` alone, between processes too."""
    return Random("/".join(map(str, seeds)))  # noqa: S311 - must repeat; nothing here keeps a secret


def within(rng: Random, span: Span) -> float:
    """A number between the ends of `span`."""
    return rng.uniform(*span)


def alphanumeric(rng: Random, length: int) -> str:
    """`length` letters and digits, as the API's ids end."""
    return "".join(rng.choices(_ALPHABET, k=length))


def digits(rng: Random, length: int) -> str:
    """A decimal number of exactly `length` digits."""
    return str(rng.randrange(10 ** (length - 1), 10**length))


def derived(length: int, *facts: object) -> str:
    """`length` hexadecimal digits that follow from `facts`: the same facts give the same id."""
    return hashlib.sha256("/".join(map(str, facts)).encode()).hexdigest()[:length]


def noise(*facts: object) -> float:
    """A number in [0, 1) that follows from `facts`, for the price of a checksum: every step of every job has some."""
    return crc32("/".join(map(str, facts)).encode()) / 2**32
