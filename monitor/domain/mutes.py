"""When notifications are held back: windows of local time, through the changes of clocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from monitor.domain.news import EventType

_DAY: Final = timedelta(days=1)
_MINUTE: Final = timedelta(minutes=1)
_LONGEST: Final = timedelta(days=8)
"""Windows that follow each other for ever hold nothing back for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From one time of the day until another, on some days."""

    days: frozenset[int]
    """The days on which it begins; 0 is Monday."""
    start: time
    end: time
    """Not after `start`: it ends on the next day."""

    def on(self, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """The moments, in UTC, between which it holds when it begins on this day.

        Where clocks are put back, it begins at the first and ends at the second of two equal times; a time that is
        skipped is the moment of the change.
        """
        until = day if self.end > self.start else day + _DAY
        return moment_of(day, self.start, zone, fold=0), moment_of(until, self.end, zone, fold=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteTime:
    """Windows in one time zone, in which all but the most urgent news waits."""

    name: str
    zone: ZoneInfo
    windows: tuple[Window, ...]
    passing: frozenset[EventType] = frozenset()
    """Events that do not wait."""

    def ends(self, now: datetime) -> datetime | None:
        """When what happens now may be sent: the end of the windows that hold, one after the other; None outside."""
        end = now
        while end < now + _LONGEST and (later := max(self._ends(end), default=None)) is not None:
            end = later
        return end if end > now else None

    def _ends(self, now: datetime) -> Iterator[datetime]:
        today = now.astimezone(self.zone).date()
        for window in self.windows:
            for day in (today - _DAY, today):
                start, end = window.on(day, self.zone)
                if day.weekday() in window.days and start <= now < end:
                    yield end


def moment_of(day: date, at: time, zone: ZoneInfo, *, fold: int) -> datetime:
    """The moment of a local time, in UTC: of two equal ones the first (`fold` 0) or the second; one that is skipped is
    the moment when clocks are put forward."""
    naive = datetime.combine(day, at)
    while True:
        found = naive.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if found.astimezone(zone).replace(tzinfo=None) == naive:
            return found
        naive += _MINUTE
