"""Cleans untrusted text before it is displayed."""

from __future__ import annotations

import unicodedata
from typing import Final

ELLIPSIS: Final = "…"
NAME: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""The pattern for configured names of organisations, notifiers, routes and budgets, safe in labels and URLs."""
_JOINERS: Final = "\u200c\u200d"  # zero-width joiners are part of emoji and of several scripts
_BREAKS: Final = frozenset("\n\r\x0b\x0c\x85\u2028\u2029")
# Unicode categories: control, format (including bidi), surrogate, private use, unassigned.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def clean(text: str, limit: int) -> str:
    """The text without control, bidi and other invisible characters, truncated to `limit` characters.

    Every kind of line break becomes `\\n`.
    """
    # Only a bounded part is examined, so that a megabyte of noise does not block the event loop.
    shown = "".join(filter(None, map(_harmless, text[: 4 * limit]))).strip()
    if len(shown) <= limit and len(text) <= 4 * limit:
        return shown
    return shown[: limit - 1].rstrip() + ELLIPSIS


def line(text: str, limit: int) -> str:
    """The text as by `clean`, on one line with single spaces."""
    return " ".join(clean(text, limit).split())


def _harmless(char: str) -> str:
    if " " <= char <= "~" or char in _JOINERS:
        return char
    if char in _BREAKS:
        return "\n"
    if char == "\t":
        return " "
    return "" if unicodedata.category(char) in _HIDDEN else char
