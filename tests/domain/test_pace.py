"""When an organisation is asked again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from monitor.domain.pace import Pace, relaxed, slot
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


@pytest.mark.parametrize(("minutes", "current"), [(None, True), (-1, True), (9, True), (11, False)])
def test_a_watch_is_current_until_its_poll_is_long_overdue(minutes: int | None, current: bool) -> None:
    promised = None if minutes is None else NOON - timedelta(minutes=minutes)
    state = WatchState(org="research", up=True, since=NOON, owner="a", next_poll=promised)
    assert state.current(NOON) is current
