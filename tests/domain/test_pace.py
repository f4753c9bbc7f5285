"""When an organisation is asked again."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.pace import Pace, next_turn, relaxed, slot, turn_of
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
    [(7.5, 67.5), (7.6, 67.5), (7.25, 67.5), (20.0, 67.5), (66.5, 67.5)],
    ids=["in turn", "late", "a slot early", "at the start", "just before"],
)
def test_what_is_done_out_of_turn_is_done_again_in_turn(started: float, at: float) -> None:
    assert next_turn(started, 60.0, 0.125) == at


@given(started=st.floats(0, 1e7), interval=st.floats(0.1, 86_400), turn=st.floats(0, 0.999))
def test_the_next_turn_comes_within_the_interval(started: float, interval: float, turn: float) -> None:
    due = next_turn(started, interval, turn)
    assert started < due < started + interval + 0.25 + 1e-6


@pytest.mark.parametrize(
    ("count", "together", "interval", "most"),
    [(1, 12, 30.0, 1), (50, 12, 10.0, 12), (500, 12, 10.0, 24), (500, 12, 30.0, 12), (480, 2, 60.0, 2),
     (5_000, 12, 60.0, 36), (5_000, 2, 60.0, 22)],
)  # fmt: skip
def test_turns_spread_over_the_interval(count: int, together: int, interval: float, most: int) -> None:
    """Those of a group share a slot; only where there are more groups than slots, several groups share one."""
    turns = [next_turn(1_234.5, interval, turn_of(number, count, together=together)) for number in range(count)]
    shared = Counter(moment % interval // 0.25 for moment in turns)
    groups = -(-count // together)
    assert max(shared.values()) <= most
    assert len(shared) >= min(groups, 0.99 * interval / 0.25)
    apart = [(later - at) * 0.25 for at, later in pairwise(sorted(shared))]
    assert all(abs(gap - max(interval / groups, 0.25)) <= 0.25 for gap in apart)


@pytest.mark.parametrize(("minutes", "current"), [(None, True), (-1, True), (9, True), (11, False)])
def test_a_watch_is_current_until_its_poll_is_long_overdue(minutes: int | None, current: bool) -> None:
    promised = None if minutes is None else NOON - timedelta(minutes=minutes)
    state = WatchState(org="research", up=True, since=NOON, owner="a", next_poll=promised)
    assert state.current(NOON) is current
