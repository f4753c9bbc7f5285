"""Signing keys of Standard Webhooks (https://www.standardwebhooks.com)."""

from __future__ import annotations

import binascii
from typing import Final

PREFIX: Final = "whsec_"


def signing_key(secret: str, *, least: int = 1) -> bytes:
    """The key that a signing secret encodes: base64 after an optional `whsec_`, with or without padding.

    Raises ValueError if it is not base64 or has fewer than `least` bytes. The empty key of `whsec_` is no secret.
    """
    bare = secret.removeprefix(PREFIX).rstrip("=")
    try:
        key = binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except ValueError:
        key = b""
    if len(key) < least:
        raise ValueError(f"must be base64 of at least {least} bytes, after an optional {PREFIX}")
    return key
