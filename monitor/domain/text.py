"""Text from outside, made harmless before anything shows it."""

from __future__ import annotations

import unicodedata
from typing import Final

ELLIPSIS: Final = "…"
NAME: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""What the operator calls organisations, notifiers, routes and budgets: labels and parts of addresses as they are."""
_JOINERS: Final = "\u200c\u200d"  # emoji and several scripts are spelt with them
_BREAKS: Final = frozenset("\n\r\x0b\x0c\x85\u2028\u2029")
# Controls, bidi and other invisible formats, surrogates, private use, unassigned.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def clean(text: str, limit: int) -> str:
    """At most `limit` characters without control, bidi or other invisible ones; line breaks stay, as `\\n`."""
    # Looking at a bounded part keeps a megabyte of noise from holding the loop.
    shown = "".join(filter(None, map(_harmless, text[: 4 * limit]))).strip()
    if len(shown) <= limit and len(text) <= 4 * limit:
        return shown
    return shown[: limit - 1].rstrip() + ELLIPSIS


def line(text: str, limit: int) -> str:
    """The same on one line, with single spaces."""
    return " ".join(clean(text, limit).split())


def _harmless(char: str) -> str:
    if " " <= char <= "~" or char in _JOINERS:
        return char
    if char in _BREAKS:
        return "\n"
    if char == "\t":
        return " "
    return "" if unicodedata.category(char) in _HIDDEN else char
