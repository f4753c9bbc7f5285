"""Which days of a provider's books to read next: what is behind first, and the newest again, which change for days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

SETTLED_AFTER: Final = timedelta(days=3)
"""A day this old is thought to be booked whole; how late OpenAI books is not documented."""
_FARTHEST: Final = timedelta(days=180)  # nobody is down for longer and wants all of it afterwards


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportWindow:
    """Days to read, both ends among them."""

    since: date
    until: date
    last: bool
    """It ends today: nothing is behind then."""


def next_window(read_until: date | None, today: date, start: date, *, days: int) -> ImportWindow:
    """The next days, at most so many (more than four), given the last one that was read.

    That one was perhaps read while it was fresh, and so the days before it are read again with it. A last day in the
    future is the mark of a clock that was wrong: whatever was read by it, the import begins anew at its `start`.
    """
    if read_until is None or read_until > today:
        since = min(start, today)
    else:
        since = max(read_until, today - _FARTHEST) - SETTLED_AFTER
    until = min(since + timedelta(days=days - 1), today)
    return ImportWindow(since=since, until=until, last=until == today)


def first_day(today: date, lookback: timedelta) -> date:
    """Where a first import starts: with the month before this one, or with the lookback where that goes farther."""
    month_before = (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    return min(month_before, today - lookback)
