"""Compresses similar values, such as the jobs of one organisation, to about a tenth of their size in memory."""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any, Final, Generic, TypeVar

import msgspec

T = TypeVar("T")

_WINDOW: Final = -13  # zlib's wbits: a window of 8 KiB, which bounds the used part of the pattern; no header
_MEMORY: Final = 6  # zlib's memLevel: a smaller one makes the initialisation for each value faster

_encode: Final = msgspec.msgpack.Encoder().encode


class Packer(Generic[T]):
    """Compresses values of one type with the first value as the dictionary.

    For a job, `pack` takes about 15 µs and `unpack` about 10 µs.
    """

    __slots__ = ("_kind", "_pattern")

    def __init__(self, kind: type[T]) -> None:
        self._kind: Any = kind
        self._pattern = b""

    def pack(self, value: T) -> bytes:
        """Encode and compress a value."""
        plain = _encode(value)
        self._pattern = self._pattern or plain
        stream = zlib.compressobj(1, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, self._pattern)
        return stream.compress(plain) + stream.flush()

    def unpack(self, packed: bytes) -> T:
        """The value that was packed. Fields that are excluded from comparison may differ."""
        plain = zlib.decompressobj(_WINDOW, zdict=self._pattern).decompress(packed)
        value: T = _decoder(self._kind).decode(plain)
        return value


@cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)
