"""Which days are read next."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from monitor.domain.import_window import first_day, next_window

TODAY = date(2026, 11, 22)
START = date(2026, 10, 1)


@pytest.mark.parametrize(
    ("read_until", "since", "until"),
    [
        pytest.param(None, START, date(2026, 10, 31), id="the first import starts at its start"),
        pytest.param(date(2026, 10, 31), date(2026, 10, 28), TODAY, id="and goes on where it is"),
        pytest.param(TODAY, date(2026, 11, 19), TODAY, id="the newest days are read again"),
        pytest.param(date(2026, 11, 21), date(2026, 11, 18), TODAY, id="a new day has begun"),
        pytest.param(date(2027, 5, 1), START, date(2026, 10, 31), id="a mark in the future is no mark"),
        pytest.param(date(2020, 1, 1), date(2026, 5, 23), date(2026, 6, 22), id="years are not made up for"),
    ],
)
def test_the_next_stretch(read_until: date | None, since: date, until: date) -> None:
    found = next_window(read_until, TODAY, START, days=31)
    assert (found.since, found.until) == (since, min(until, TODAY))
    assert found.last == (found.until == TODAY)


@pytest.mark.parametrize("days", [5, 7, 31, 93])
def test_stretches_come_to_today_and_leave_no_day_out(days: int) -> None:
    mark: date | None = None
    seen: set[date] = set()
    for _ in range(100):
        found = next_window(mark, TODAY, START, days=days)
        assert (found.until - found.since).days < days
        seen |= {found.since + timedelta(days=n) for n in range((found.until - found.since).days + 1)}
        mark = found.until
        if found.last:
            break
    assert mark == TODAY
    assert seen >= {START + timedelta(days=n) for n in range((TODAY - START).days + 1)}


@pytest.mark.parametrize(
    ("today", "lookback", "first"),
    [
        pytest.param(date(2026, 11, 22), 30, date(2026, 10, 1), id="the month before"),
        pytest.param(date(2026, 1, 1), 30, date(2025, 12, 1), id="of the year before"),
        pytest.param(date(2026, 3, 31), 0, date(2026, 2, 1), id="without a lookback, too"),
        pytest.param(date(2026, 3, 1), 90, date(2025, 12, 1), id="a lookback that goes farther"),
    ],
)
def test_the_first_day(today: date, lookback: int, first: date) -> None:
    assert first_day(today, timedelta(days=lookback)) == first
