"""Random choices and ids of a simulation, drawn from named seeds so that a run can be repeated."""

from __future__ import annotations

import hashlib
import string
from random import Random
from zlib import crc32

Span = tuple[float, float]
"""The lowest and the highest value of a random number."""

_ALPHABET = string.ascii_letters + string.digits


def dice(*seeds: object) -> Random:
    """A random generator that depends only on `seeds`, also across processes."""
    return Random("/".join(map(str, seeds)))  # noqa: S311 - must repeat; nothing here keeps a secret


def within(rng: Random, span: Span) -> float:
    """A random number within `span`."""
    return rng.uniform(*span)


def alphanumeric(rng: Random, length: int) -> str:
    """`length` letters and digits, like the end of OpenAI's ids."""
    return "".join(rng.choices(_ALPHABET, k=length))


def digits(rng: Random, length: int) -> str:
    """A random decimal number with exactly `length` digits."""
    return str(rng.randrange(10 ** (length - 1), 10**length))


def derived(length: int, *facts: object) -> str:
    """`length` hexadecimal digits computed from `facts`: equal facts give equal ids."""
    return hashlib.sha256("/".join(map(str, facts)).encode()).hexdigest()[:length]


def noise(*facts: object) -> float:
    """A number in [0, 1) computed from `facts`, as cheaply as a checksum, since every step of every job needs some."""
    return crc32("/".join(map(str, facts)).encode()) / 2**32
