"""Decompresses a body, up to a limit."""

from __future__ import annotations

import zlib
from typing import Final

from monitor.providers.base import Malformed

ENCODINGS: Final = "gzip, deflate"
_GZIP: Final = 31  # the window bits of zlib for data with a gzip header
_ZLIB: Final = 15
_RAW: Final = -15
_PIECE: Final = 16 * 1024  # bytes at a time: in one go, a bomb would need several times the limit
_MOST_MEMBERS: Final = 16  # usually one; each copies the rest, so that thousands would take quadratic time


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its Content-Encoding. Raises Malformed if it is invalid or larger than `limit` bytes."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip"):
        return _gunzip(body, limit)
    if encoding == "deflate":
        # Servers disagree whether "deflate" has zlib's header, as RFC 9110 says, or none.
        return _member(body, _ZLIB if body[:1] == b"\x78" else _RAW, limit)[0]
    raise Malformed("the answer has a compression that was not requested")


def _gunzip(body: bytes, limit: int) -> bytes:
    """All members of a gzip file. Zeros after them are padding."""
    parts = b""
    for _ in range(_MOST_MEMBERS):
        part, body = _member(body, _GZIP, limit - len(parts))
        parts += part
        if not body.rstrip(b"\0"):
            return parts
    raise Malformed("the compressed answer has too many parts")


def _member(body: bytes, window: int, limit: int) -> tuple[bytes, bytes]:
    """One decompressed stream, and the bytes after it."""
    stream, inflated, at = zlib.decompressobj(window), bytearray(), 0
    while not stream.eof and at < len(body):
        try:
            inflated += stream.decompress(body[at : at + _PIECE], limit + 1 - len(inflated))
        except zlib.error:
            raise Malformed("the compressed answer is broken") from None
        if len(inflated) > limit:
            inflated.clear()  # it would otherwise live as long as the traceback
            raise Malformed(f"the answer is larger than {limit} bytes when inflated")
        at += _PIECE
    if not stream.eof:
        raise Malformed("the compressed answer breaks off")
    return bytes(inflated), stream.unused_data + body[at:]
