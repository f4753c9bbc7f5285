"""Spans of time as people write them: `500ms 30s 5m 6h 30d`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS: Final = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_TEXT: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")


def duration(text: object) -> timedelta:
    """Read a duration. Raises ValueError for anything else, and for nothing at all (`0s`)."""
    if isinstance(text, timedelta):
        return text
    found = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("should be a duration such as 500ms, 30s, 5m, 6h or 30d")
    span = int(found[1]) * _UNITS[found[2]]
    if not span:
        raise ValueError("should be longer than nothing")
    return span


def spoken(span: timedelta) -> str:
    """The shortest way to write a duration: `90s`, `5m`, `30d`."""
    unit = next((unit for unit, size in _UNITS.items() if span and not span % size), "ms")
    return f"{span // _UNITS[unit]}{unit}"


def between(least: str, most: str) -> Callable[[timedelta], timedelta]:
    """A validator for durations within bounds, both included."""
    low, high = duration(least), duration(most)

    def bounded(span: timedelta) -> timedelta:
        if not low <= span <= high:
            raise ValueError(f"should be between {least} and {most}")
        return span

    return bounded


Duration = Annotated[
    timedelta,
    BeforeValidator(duration),
    PlainSerializer(spoken, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": "^[0-9]{1,9}(ms|s|m|h|d)$", "examples": ["500ms", "30s", "5m", "6h", "30d"]}
    ),
]
