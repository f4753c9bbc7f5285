"""When an organisation is asked again."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.pace import Pace, next_turn, relaxed, slot
from monitor.domain.snapshot import WatchState
from tests.builders import NOON


@pytest.mark.parametrize(
    ("pushed", "interval"),
    [(0, 30.0), (2, 30.0), (3, 60.0), (4, 90.0), (5, 120.0), (50, 120.0)],
)
def test_the_interval_grows_with_the_ends_that_webhooks_showed_first(pushed: int, interval: float) -> None:
    assert relaxed(Pace(interval=30.0, idle_interval=300.0), pushed).interval == interval


def test_it_never_grows_beyond_the_idle_one_nor_shrinks() -> None:
    assert relaxed(Pace(interval=30.0, idle_interval=70.0), 9).interval == 70.0
    assert relaxed(Pace(interval=30.0, idle_interval=10.0), 9).interval == 30.0


@pytest.mark.parametrize(
    ("due", "interval", "at"), [(41.3, 10.0, 41.25), (41.24, 10.0, 41.0), (41.3, 0.4, 41.3), (41.25, 300.0, 41.25)]
)
def test_what_is_due_in_the_same_quarter_of_a_second_is_done_together(due: float, interval: float, at: float) -> None:
    assert slot(due, interval) == pytest.approx(at)
    assert slot(at + interval, interval) == pytest.approx(at + interval), "whoever keeps to it stays in it"


@pytest.mark.parametrize(
    ("started", "at"),
    [(7.25, 67.25), (7.3, 67.25), (7.0, 67.25), (20.0, 67.25), (60.9, 67.25), (61.5, 97.25), (66.5, 97.25)],
    ids=["in turn", "late", "a slot early", "at the start", "soon", "too soon", "just before"],
)
def test_what_is_done_again_finds_its_turn_and_keeps_it(started: float, at: float) -> None:
    assert next_turn(started, 60.0, 7.25) == at
    for _ in range(2):
        after = next_turn(at, 60.0, 7.25)
        assert after - at == (30.0 if at == 97.25 else 60.0)
        at = after


def test_what_is_late_keeps_its_distance() -> None:
    assert next_turn(20.0, 60.0, 7.25, late=True) == 80.0


@given(started=st.floats(0, 1e7), interval=st.floats(0.1, 86_400), offset=st.floats(0, 1e5), late=st.floats(0, 0.05))
def test_what_is_done_again_is_due_within_the_interval(
    started: float, interval: float, offset: float, late: float
) -> None:
    slack = 0.25 + 1e-6
    before = next_turn(started, interval, offset)
    assert 0.1 * interval - slack < before - started < interval + slack
    for number in range(2):
        begun = before + late * interval
        due = next_turn(begun, interval, offset)
        assert number == 0 or due - before == pytest.approx(interval, abs=slack), "it keeps to its turns"
        assert due > begun
        before = due


def test_what_began_together_is_spread_over_the_interval() -> None:
    moments = dict.fromkeys(range(480), 1000.0)
    for _ in range(3):
        moments = {number: next_turn(at, 60.0, 0.125 * number) for number, at in moments.items()}
    assert set(Counter(at % 60.0 for at in moments.values()).values()) == {2}


@pytest.mark.parametrize(("minutes", "current"), [(None, True), (-1, True), (9, True), (11, False)])
def test_a_watch_is_current_until_its_poll_is_long_overdue(minutes: int | None, current: bool) -> None:
    promised = None if minutes is None else NOON - timedelta(minutes=minutes)
    state = WatchState(org="research", up=True, since=NOON, owner="a", next_poll=promised)
    assert state.current(NOON) is current
