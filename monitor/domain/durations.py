"""Durations as text: `500ms`, `30s`, `5m`, `6h`, `30d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_TEXT: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")


def duration(text: object) -> timedelta:
    """Parse a duration such as `30s`; a timedelta is returned as it is. Raises ValueError for other values and `0s`."""
    if isinstance(text, timedelta):
        return text
    found = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("should be a duration such as 500ms, 30s, 5m, 6h or 30d")
    span = int(found[1]) * _UNITS[found[2]]
    if not span:
        raise ValueError("should be longer than 0")
    return span


def format_duration(span: timedelta) -> str:
    """The shortest text of a duration, in its largest whole unit: `90s`, `5m`, `30d`."""
    unit = next((unit for unit, size in _UNITS.items() if span and not span % size), "ms")
    return f"{span // _UNITS[unit]}{unit}"
