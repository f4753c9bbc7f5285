"""The keys of Standard Webhooks (https://www.standardwebhooks.com): what a signing secret stands for."""

from __future__ import annotations

import binascii
from typing import Final

PREFIX: Final = "whsec_"


def signing_key(secret: str, *, least: int = 1) -> bytes:
    """The key behind a signing secret: base64 after an optional `whsec_`, with or without padding.

    Raises ValueError where it has fewer than `least` bytes: `""` and `whsec_` are keys that everybody knows.
    """
    bare = secret.removeprefix(PREFIX).rstrip("=")
    try:
        key = binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except ValueError:
        key = b""
    if len(key) < least:
        raise ValueError(f"must be base64 of at least {least} bytes, after an optional {PREFIX}")
    return key
