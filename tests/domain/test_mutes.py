"""Muted times through the changes of clocks, as tables of cases in two zones."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from monitor.domain.mutes import MuteTime, Window, moment_of
from monitor.domain.news import Hold
from monitor.domain.routing import Rule, route
from tests.builders import on

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
EVERY_DAY, WORKDAYS, WEEKEND = frozenset(range(7)), frozenset(range(5)), frozenset({5, 6})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(start: str, end: str, days: frozenset[int] = EVERY_DAY) -> Window:
    return Window(days=days, start=time.fromisoformat(start), end=time.fromisoformat(end))


def muted(zone: ZoneInfo, *windows: Window) -> MuteTime:
    return MuteTime(name="m", zone=zone, windows=windows)


@pytest.mark.parametrize(
    ("zone", "windows", "now", "end"),
    [
        # winter time: Berlin is UTC+1, New York UTC-5
        pytest.param(BERLIN, window("22:00", "07:00"), "2026-01-12T20:59", None, id="just before it begins"),
        pytest.param(BERLIN, window("22:00", "07:00"), "2026-01-12T21:00", "2026-01-13T06:00", id="as it begins"),
        pytest.param(BERLIN, window("22:00", "07:00"), "2026-01-13T05:59", "2026-01-13T06:00", id="its last minute"),
        pytest.param(BERLIN, window("22:00", "07:00"), "2026-01-13T06:00", None, id="as it ends"),
        pytest.param(NEW_YORK, window("22:00", "07:00"), "2026-01-13T03:00", "2026-01-13T12:00", id="New York"),
        pytest.param(
            BERLIN, window("22:00", "07:00", WORKDAYS), "2026-01-17T05:00", "2026-01-17T06:00", id="Friday's night"
        ),
        pytest.param(BERLIN, window("22:00", "07:00", WORKDAYS), "2026-01-17T22:00", None, id="no night of Saturday"),
        pytest.param(BERLIN, window("12:00", "13:00"), "2026-01-12T11:30", "2026-01-12T12:00", id="within a day"),
        pytest.param(BERLIN, window("00:00", "00:00", WEEKEND), "2026-01-17T12:00", "2026-01-18T23:00", id="weekend"),
        # clocks are put forward in Berlin on 2026-03-29 at 01:00Z (02:00 to 03:00), in New York on 2026-03-08 at 07:00Z
        pytest.param(BERLIN, window("22:00", "07:00"), "2026-03-28T21:30", "2026-03-29T05:00", id="a short night"),
        pytest.param(BERLIN, window("22:00", "02:30"), "2026-03-29T00:59", "2026-03-29T01:00", id="ends when skipped"),
        pytest.param(BERLIN, window("02:30", "07:00"), "2026-03-29T00:59", None, id="before it begins, skipped"),
        pytest.param(BERLIN, window("02:30", "07:00"), "2026-03-29T01:00", "2026-03-29T05:00", id="begins skipped"),
        pytest.param(NEW_YORK, window("22:00", "07:00"), "2026-03-08T06:59", "2026-03-08T11:00", id="New York, short"),
        pytest.param(NEW_YORK, window("02:15", "02:45"), "2026-03-08T07:00", None, id="skipped as a whole"),
        # clocks are put back in Berlin on 2026-10-25 at 01:00Z (03:00 to 02:00), in New York on 2026-11-01 at 06:00Z
        pytest.param(BERLIN, window("22:00", "07:00"), "2026-10-24T20:30", "2026-10-25T06:00", id="a long night"),
        pytest.param(BERLIN, window("22:00", "02:30"), "2026-10-25T00:45", "2026-10-25T01:30", id="ends the second"),
        pytest.param(BERLIN, window("02:30", "07:00"), "2026-10-25T00:30", "2026-10-25T06:00", id="begins the first"),
        pytest.param(BERLIN, window("02:30", "07:00"), "2026-10-25T01:10", "2026-10-25T06:00", id="between the two"),
        pytest.param(NEW_YORK, window("22:00", "07:00"), "2026-11-01T05:30", "2026-11-01T12:00", id="New York, long"),
        pytest.param(NEW_YORK, window("01:00", "02:00"), "2026-11-01T06:30", "2026-11-01T07:00", id="two hours of one"),
    ],
)
def test_what_happens_is_held_back_until(zone: ZoneInfo, windows: Window, now: str, end: str | None) -> None:
    assert muted(zone, windows).ends(utc(now)) == (utc(end) if end else None)


def test_windows_that_follow_each_other_are_one_and_for_ever_is_a_week() -> None:
    nights = muted(BERLIN, window("20:00", "00:00"), window("00:00", "06:00"), window("05:30", "08:00"))
    assert nights.ends(utc("2026-01-12T19:30")) == utc("2026-01-13T07:00")
    always = muted(BERLIN, window("00:00", "00:00"))
    end = always.ends(utc("2026-01-12T19:30"))
    assert end is not None
    assert timedelta(days=8) <= end - utc("2026-01-12T19:30") <= timedelta(days=9)


@pytest.mark.parametrize(
    ("local", "fold", "expected"),
    [
        ("2026-03-29T02:30", 0, "2026-03-29T01:00"),
        ("2026-03-29T02:30", 1, "2026-03-29T01:00"),
        ("2026-10-25T02:30", 0, "2026-10-25T00:30"),
        ("2026-10-25T02:30", 1, "2026-10-25T01:30"),
    ],
)
def test_a_local_time_is_one_moment_also_where_it_is_skipped_or_comes_twice(
    local: str, fold: int, expected: str
) -> None:
    at = datetime.fromisoformat(local)
    assert moment_of(at.date(), at.time(), BERLIN, fold=fold) == utc(expected)


NIGHT = MuteTime(name="n", zone=BERLIN, windows=(window("22:00", "07:00"),), passing=on("failed"))
AT_NIGHT, MORNING = utc("2026-01-12T23:00"), utc("2026-01-13T06:00")
WAIT = timedelta(seconds=30)


@pytest.mark.parametrize(
    ("rules", "event", "now", "holds"),
    [
        pytest.param([Rule(notify=("a",))], "succeeded", AT_NIGHT, {"a": None}, id="no mute"),
        pytest.param(
            [Rule(notify=("a",), mutes=(NIGHT,))],
            "succeeded",
            AT_NIGHT,
            {"a": Hold(group="until 2026-01-13T06:00:00Z", until=MORNING)},
            id="held back",
        ),
        pytest.param([Rule(notify=("a",), mutes=(NIGHT,))], "failed", AT_NIGHT, {"a": None}, id="urgent passes"),
        pytest.param([Rule(notify=("a",), mutes=(NIGHT,))], "succeeded", MORNING, {"a": None}, id="by day"),
        pytest.param(
            [Rule(notify=("a",), mutes=(NIGHT,)), Rule(notify=("a",))],
            "succeeded",
            AT_NIGHT,
            {"a": None},
            id="another route does not mute",
        ),
        pytest.param(
            [Rule(notify=("a", "pager"), group_wait=WAIT, mutes=(NIGHT,), alone=frozenset({"pager"}))],
            "stalled",
            AT_NIGHT,
            {
                "a": Hold(group="until 2026-01-13T06:00:00Z", until=MORNING, wait=WAIT),
                "pager": Hold(group="alone", until=MORNING),
            },
            id="who groups by itself gets each",
        ),
        pytest.param(
            [Rule(notify=("a", "pager"), group_wait=WAIT, alone=frozenset({"pager"}))],
            "failed",
            AT_NIGHT,
            {"a": Hold(group="wait", wait=WAIT), "pager": None},
            id="waits for others",
        ),
    ],
)
def test_a_rule_holds_back(rules: list[Rule], event: str, now: datetime, holds: dict[str, Hold | None]) -> None:
    (of,) = on(event)
    found = route((of,), rules, lambda _: True, now=now)
    assert {to: recipient.hold for to, recipient in found.items()} == holds
