"""What is drawn: tables that fit, curves, the bar; pure functions, looked at character by character."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.terminal.answers import Event, Job, Metrics
from monitor.terminal.bar import bar
from monitor.terminal.curve import Curve, curves, drawn
from monitor.terminal.look import Look, cells, fit, wrapped
from monitor.terminal.steps import remaining
from monitor.terminal.table import Cell, Column, table
from tests.builders import HOUR, MINUTE, NOON, SECOND

COLUMNS = (
    Column(title="ID"),
    Column(title="NAME", least=4, spare=1),
    Column(title="COST", right=True, spare=2),
    Column(title="NOTE"),
)
ROWS = [
    [Cell("ftjob-1"), Cell("a long name of a job"), Cell("$2.40"), Cell("")],
    [Cell("ftjob-2"), Cell("名前"), Cell("$12.40"), Cell("")],
]
RAMP = Curve(title="Loss", train=tuple((step, 9.0 - step) for step in range(10)), valid=((0, 9.0), (9, 0.0)))


def measured(step: int, at: datetime | None = NOON, **over: Any) -> Event:
    return Event(at=at, metrics=Metrics(step=step, steps=100, **over))


def running(**over: Any) -> Job:
    return Job(**{"id": "ftjob-1", "org": "research", "status": "running", "since": NOON - MINUTE, **over})


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        pytest.param(
            None,
            [
                "ID       NAME                    COST",
                "ftjob-1  a long name of a job   $2.40",
                "ftjob-2  名前                  $12.40",
            ],
            id="without a terminal nothing is cut; a column without text is left out",
        ),
        pytest.param(
            30,
            ["ID       NAME             COST", "ftjob-1  a long name …   $2.40", "ftjob-2  名前           $12.40"],
            id="what may be cut is cut",
        ),
        pytest.param(
            20, ["ID       NAME", "ftjob-1  a long nam…", "ftjob-2  名前"], id="then the most spare column goes"
        ),
        pytest.param(5, ["ID", "ftjob-1", "ftjob-2"], id="what is needed stays whatever the width"),
    ],
)
def test_a_table_fits_its_terminal(width: int | None, expected: list[str]) -> None:
    assert list(table(COLUMNS, ROWS, Look(width=width))) == expected


@given(st.text(), st.integers(1, 30))
def test_what_is_made_to_fit_fits(text: str, width: int) -> None:
    assert cells(fit(text, width)) <= width


@given(st.text(st.characters(exclude_categories=("Mn", "Me", "Cf"))), st.integers(2, 30))
def test_wrapping_loses_no_letter_and_keeps_to_the_width(text: str, width: int) -> None:
    lines = list(wrapped(text, width))
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(cells(line) <= width for line in lines)


def test_a_falling_loss_falls_from_one_corner_to_the_other() -> None:
    title, *canvas, axis = drawn(RAMP, Look(width=30))
    assert title == "Loss  training ⠶ 9 → 0, validation × 9 → 0"
    assert [line[:5] for line in canvas] == ["  9 │", *["    │"] * 6, "  0 │"]
    assert (canvas[0][5], canvas[-1][-1], len(canvas[-1])) == ("×", "×", 29)
    assert axis == f"     0{'step 9':>23}"
    dots = [re.findall(r"[⠁-⣿]", line) for line in canvas]
    assert all(2 <= len(row) <= 4 for row in dots)
    depths = [line.find(re.findall(r"[⠁-⣿]", line)[0]) for line in canvas]
    assert depths == sorted(depths)


def test_in_ascii_it_is_drawn_with_stars() -> None:
    look = Look(width=40, ascii=True)
    lines = [look.written(line) for line in drawn(RAMP, look)]
    assert all(line.isascii() for line in lines)
    assert lines[0] == "Loss  training * 9 > 0, validation x 9 > 0"
    assert sum(line.count("*") for line in lines[1:]) >= 8


VALUES = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(st.tuples(st.integers(0, 2**53), VALUES, st.one_of(st.none(), VALUES)), min_size=2, max_size=30),
    st.integers(20, 200),
    st.booleans(),
)
def test_whatever_was_measured_can_be_drawn_and_fits(
    points: list[tuple[int, float, float | None]], width: int, plain: bool
) -> None:
    events = [Event(metrics=Metrics(step=step, train_loss=train, valid_loss=valid)) for step, train, valid in points]
    for curve in curves(events):
        _, *canvas, _ = drawn(curve, Look(width=width, ascii=plain))
        assert len(canvas) == 8
        assert max(map(len, canvas)) <= max(width, 35)


@pytest.mark.parametrize(
    ("events", "titles"),
    [
        pytest.param([measured(1, train_loss=1.0)], [], id="one point is no curve"),
        pytest.param([measured(1, train_loss=1.0), measured(2, train_loss=0.5)], ["Loss"], id="two are"),
        pytest.param([measured(1, train_reward=0.1), measured(2, train_reward=0.5)], ["Reward"], id="reward"),
        pytest.param([Event(), Event(metrics=Metrics(train_loss=1.0))], [], id="a figure without a step has no place"),
    ],
)
def test_curves_are_drawn_of_what_was_measured(events: list[Event], titles: list[str]) -> None:
    assert [curve.title for curve in curves(events)] == titles


@pytest.mark.parametrize(
    ("job", "events", "left"),
    [
        pytest.param(running(estimated_finish=NOON + HOUR), [], HOUR, id="the provider's own estimate"),
        pytest.param(
            running(estimated_finish=NOON - SECOND),
            [measured(40, NOON - 10 * SECOND), measured(50)],
            50 * SECOND,
            id="not once it has passed",
        ),
        pytest.param(running(), [measured(50), measured(40, NOON - 10 * SECOND)], 50 * SECOND, id="the pace of steps"),
        pytest.param(
            running(started_at=NOON - 50 * SECOND), [measured(50), measured(49)], 50 * SECOND, id="since the start"
        ),
        pytest.param(
            running(), [measured(40, NOON - 20 * SECOND), measured(50, NOON - 10 * SECOND)], 40 * SECOND, id="minus ago"
        ),
        pytest.param(running(), [measured(100), measured(50, NOON - MINUTE)], timedelta(0), id="through"),
        pytest.param(running(), [measured(50)], None, id="one measurement tells no pace"),
        pytest.param(running(), [measured(50, None)], None, id="nor one without a time"),
        pytest.param(
            running(status="paused", estimated_finish=NOON + HOUR), [], None, id="what does not run has no end in sight"
        ),
        pytest.param(
            running(),
            [Event(at=NOON, metrics=Metrics(step=2, steps=2**53)), measured(1, NOON - HOUR)],
            None,
            id="a time beyond all calendars",
        ),
    ],
)
def test_the_time_left(job: Job, events: list[Event], left: timedelta | None) -> None:
    assert remaining(job, events, NOON) == left


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        pytest.param(
            80, "● running  ███████████████░░░░░░░░░░░░░░░   50%  step 50 of 100  50s left  loss 0.5", id="80 columns"
        ),
        pytest.param(40, "● running  ██████░░░░░░   50%  50s left", id="40 columns"),
        pytest.param(20, "● running   50%", id="20 columns"),
    ],
)
def test_the_bar_shows_what_fits(width: int, expected: str) -> None:
    events = [measured(50, train_loss=0.5), measured(40, NOON - 10 * SECOND)]
    shown = bar(running(progress=0.5), events, Look(width=width), NOON)
    assert cells(shown) < width
    assert re.sub(r"[█░]+", "#", shown) == re.sub(r"[█░]+", "#", expected)


@given(st.floats(0, 1), st.integers(20, 200), st.text(max_size=30))
def test_the_bar_never_wraps(progress: float, width: int, status: str) -> None:
    job = running(progress=progress, status=status, stalled=True)
    assert cells(bar(job, [measured(1, train_loss=1e300)], Look(width=width), NOON)) < width
