"""How a scrape is written: its lines, and deflated blocks that are made once and still join into one gzip stream.

A test holds the lines against those of `prometheus_client.generate_latest`: labels to the byte, values to the number.
Values are written as Python writes a finite float, which Go reads, and without an exponent people can read times too.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

# RFC 1952: deflate, no time, no name, "fastest", any system.
_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
_LAST: Final = b"\x03\x00"  # an empty block that says it is the last (RFC 1951, section 3.2.3)
_ONES: Final = 0xFFFFFFFF
_ZEROS: Final = memoryview(bytes(1 << 20))
_BATCH: Final = 1 << 17
"""Characters that are handed on at once: rendering them takes a thread some 2 ms."""


def label_text(labels: Mapping[str, str]) -> str:
    """Labels as they stand between the braces, sorted by name."""
    return ",".join([f'{name}="{value.translate(_ESCAPES)}"' for name, value in sorted(labels.items())])


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a scrape: deflated on its own, up to a byte's edge, so that any piece may follow any other."""

    deflated: bytes
    size: int
    """Bytes of the text."""
    crc: int

    @property
    def text(self) -> bytes:
        """What was deflated."""
        return zlib.decompress(self.deflated + _LAST, -zlib.MAX_WBITS)


class Deflater:
    """Makes pieces, one thread at a time. To begin a stream anew takes longer than to deflate a piece."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(zlib.Z_BEST_SPEED, zlib.DEFLATED, -zlib.MAX_WBITS)

    def __call__(self, text: str) -> Piece:
        """The piece for a text."""
        content = text.encode()
        # A full flush ends on a byte, and makes the stream forget what it has seen: the next piece refers to nothing.
        deflated = self._stream.compress(content) + self._stream.flush(zlib.Z_FULL_FLUSH)
        return Piece(deflated, len(content), zlib.crc32(content))


def gzipped(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """One gzip stream of all pieces, in batches."""
    size = crc = 0
    batch, filled = [_HEADER], 0
    for piece in pieces:
        size += piece.size
        crc = _joined(crc, piece)
        batch.append(piece.deflated)
        filled += piece.size
        if filled >= _BATCH:
            yield b"".join(batch)
            batch, filled = [], 0
    yield b"".join([*batch, _LAST, struct.pack("<II", crc, size & _ONES)])


def plain(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The text of all pieces, in batches."""
    batch: list[bytes] = []
    filled = 0
    for piece in pieces:
        batch.append(piece.text)
        filled += piece.size
        if filled >= _BATCH:
            yield b"".join(batch)
            batch, filled = [], 0
    yield b"".join(batch)


def _joined(crc: int, piece: Piece) -> int:
    """The checksum of a text and a piece behind it, without the texts.

    CRC-32 is linear: what the first part contributes is its own checksum, run on over as many zeros as the second part
    has bytes. `zlib.crc32` inverts its register at both ends, which is undone here. 1 MB takes 0.4 ms.
    """
    left = piece.size
    while left:
        zeros = _ZEROS[:left]
        crc = zlib.crc32(zeros, crc ^ _ONES) ^ _ONES
        left -= len(zeros)
    return crc ^ piece.crc
