"""The encoding of a scrape: lines of the text format, in deflated blocks that are cached and joined to one gzip stream.

A test compares the lines with those of `prometheus_client.generate_latest`: labels byte by byte, values as numbers.
Values are written as Python's `repr` of a float, which Go parses, and without exponents times stay readable.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

# The gzip header (RFC 1952): deflate, no time, no name, fastest compression, unknown system.
_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
_LAST_BLOCK: Final = b"\x03\x00"  # an empty block that is marked as the last (RFC 1951, section 3.2.3)
_ALL_ONES: Final = 0xFFFFFFFF
_ZEROS: Final = memoryview(bytes(1 << 20))
_BATCH: Final = 1 << 17
"""Characters per batch; rendering that many takes a thread about 2 ms."""


def label_text(labels: Mapping[str, str]) -> str:
    """Labels as between the braces of a series, sorted by name."""
    return ",".join([f'{name}="{value.translate(_ESCAPES)}"' for name, value in sorted(labels.items())])


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a scrape.

    It is deflated on its own and ends on a byte boundary, so that pieces can be joined in any order.
    """

    deflated: bytes
    size: int
    """The length of the text in bytes."""
    crc: int

    @property
    def text(self) -> bytes:
        """The text before compression."""
        return zlib.decompress(self.deflated + _LAST_BLOCK, -zlib.MAX_WBITS)


class Deflater:
    """Creates pieces; not thread-safe. Reusing one deflate stream is cheaper than creating one per piece."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(zlib.Z_BEST_SPEED, zlib.DEFLATED, -zlib.MAX_WBITS)

    def __call__(self, text: str) -> Piece:
        """Deflate a text."""
        content = text.encode()
        # A full flush ends on a byte boundary and clears the window, so the next piece does not refer to this one.
        deflated = self._stream.compress(content) + self._stream.flush(zlib.Z_FULL_FLUSH)
        return Piece(deflated, len(content), zlib.crc32(content))


def gzipped(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Join pieces to one gzip stream, in batches."""
    size = crc = 0
    batch, filled = [_HEADER], 0
    for piece in pieces:
        size += piece.size
        crc = _combined_crc(crc, piece)
        batch.append(piece.deflated)
        filled += piece.size
        if filled >= _BATCH:
            yield b"".join(batch)
            batch, filled = [], 0
    yield b"".join([*batch, _LAST_BLOCK, struct.pack("<II", crc, size & _ALL_ONES)])


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


def _combined_crc(crc: int, piece: Piece) -> int:
    """The CRC-32 of a text followed by a piece, computed from their two checksums.

    CRC-32 is linear: the first part contributes its own checksum, continued over as many zeros as the second part has
    bytes. `zlib.crc32` inverts its register at both ends, which is undone here. 1 MB takes 0.4 ms.
    """
    left = piece.size
    while left:
        zeros = _ZEROS[:left]
        crc = zlib.crc32(zeros, crc ^ _ALL_ONES) ^ _ALL_ONES
        left -= len(zeros)
    return crc ^ piece.crc
