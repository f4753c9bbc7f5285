"""The type of durations in settings, with optional bounds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from monitor.domain.durations import duration, format_duration


def between(least: str, most: str) -> Callable[[timedelta], timedelta]:
    """A validator for durations from `least` to `most`, both included."""
    low, high = duration(least), duration(most)

    def bounded(span: timedelta) -> timedelta:
        if not low <= span <= high:
            raise ValueError(f"should be between {least} and {most}")
        return span

    return bounded


Duration = Annotated[
    timedelta,
    BeforeValidator(duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": "^[0-9]{1,9}(ms|s|m|h|d)$", "examples": ["500ms", "30s", "5m", "6h", "30d"]}
    ),
]
