"""Output: tables that fit, curves, the progress line; rendered by rich and compared character by character."""

from __future__ import annotations

import io
import re
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from monitor.terminal.answers import Event, Job, JobDetails, Metrics
from monitor.terminal.curve import Curve, curves, draw
from monitor.terminal.job import details
from monitor.terminal.output import Column, console, table
from monitor.terminal.watch import progress, remaining
from tests.builders import HOUR, MINUTE, NOON, SECOND

COLUMNS = (
    Column(title="ID"),
    Column(title="NAME", least=4, spare=1),
    Column(title="COST", right=True, spare=2),
    Column(title="NOTE"),
)
ROWS = [
    ["ftjob-1", "a long name of a job", "$2.40", ""],
    ["ftjob-2", "名前", "$12.40", ""],
]
RAMP = Curve(title="Loss", train=tuple((step, 9.0 - step) for step in range(10)), valid=((0, 9.0), (9, 0.0)))


def measured(step: int, at: datetime | None = NOON, **over: Any) -> Event:
    return Event(at=at, metrics=Metrics(step=step, steps=100, **over))


def running(**over: Any) -> Job:
    return Job(**{"id": "ftjob-1", "org": "research", "status": "running", "since": NOON - MINUTE, **over})


def rendered(shown: RenderableType, width: int = 1000) -> list[str]:
    """The lines that a console of this width prints, without trailing padding."""
    out = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    with out.capture() as captured:
        out.print(shown, crop=False)
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        pytest.param(
            1000,
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
def test_a_table_fits_its_terminal(width: int, expected: list[str]) -> None:
    assert rendered(table(COLUMNS, ROWS, width), width) == expected


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1), st.integers(12, 60))
def test_a_table_of_flexible_columns_fits_any_terminal(rows: list[tuple[str, str]], width: int) -> None:
    columns = (Column(title="A", least=4), Column(title="B", least=4))
    assert all(cell_len(line) <= width for line in rendered(table(columns, rows, width), width))


def test_a_falling_loss_falls_from_one_corner_to_the_other() -> None:
    title, *canvas, axis = rendered(draw(RAMP, 30))
    assert title == "Loss  training ⠶ 9 → 0, validation × 9 → 0"
    assert [line[:5] for line in canvas] == ["  9 │", *["    │"] * 6, "  0 │"]
    assert (canvas[0][5], canvas[-1][-1], len(canvas[-1])) == ("×", "×", 29)
    assert axis == f"     0{'step 9':>23}"
    dots = [re.findall(r"[⠁-⣿]", line) for line in canvas]
    assert all(2 <= len(row) <= 4 for row in dots)
    depths = [line.find(re.findall(r"[⠁-⣿]", line)[0]) for line in canvas]
    assert depths == sorted(depths)


def test_without_braille_a_curve_is_drawn_with_stars() -> None:
    title, *canvas, _ = rendered(draw(RAMP, 40, braille=False))
    assert title == "Loss  training * 9 → 0, validation × 9 → 0"
    assert sum(line.count("*") for line in canvas) >= 8


@pytest.mark.parametrize(
    ("encoding", "plain", "expected"),
    [
        pytest.param("utf-8", False, "✔ 名前 → …", id="UTF-8"),
        pytest.param("utf-8", True, "+ ???? > ~", id="on request"),
        pytest.param("ascii", False, "+ ???? > ~", id="ASCII"),
        pytest.param("latin-1", False, "+ ???? > ~", id="Latin-1"),
    ],
)
def test_unencodable_characters_are_replaced_at_equal_width(
    monkeypatch: pytest.MonkeyPatch, encoding: str, plain: bool, expected: str
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    console(ascii_only=plain).print("✔ 名前 → …")
    assert written.getvalue().decode().rstrip("\n") == expected


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
        _, *canvas, _ = rendered(draw(curve, width, braille=not plain))
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
    ("job", "left"),
    [
        pytest.param(running(estimated_finish=NOON + HOUR), HOUR, id="expected"),
        pytest.param(running(estimated_finish=NOON - HOUR), -HOUR, id="overdue"),
        pytest.param(running(estimated_finish=NOON + HOUR, progress=1.0), None, id="nothing at 100 %"),
        pytest.param(running(), None, id="nobody can say"),
        pytest.param(
            running(status="paused", estimated_finish=NOON + HOUR), None, id="what does not run has no end in sight"
        ),
    ],
)
def test_the_time_left(job: Job, left: timedelta | None) -> None:
    assert remaining(job, NOON) == left


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        pytest.param(80, "● running  ━━━━━━━━━━━━━   50%  step 50 of 100  50s left  loss 0.5", id="80 columns"),
        pytest.param(40, "● running  ━━━━━━   50%  50s left", id="40 columns"),
        pytest.param(20, "● running   50%", id="20 columns"),
    ],
)
def test_the_progress_line_shows_what_fits(width: int, expected: str) -> None:
    events = [measured(50, train_loss=0.5), measured(40, NOON - 10 * SECOND)]
    job = running(progress=0.5, estimated_finish=NOON + 50 * SECOND)
    (shown,) = rendered(progress(job, events, width, NOON), width)
    assert cell_len(shown) < width
    assert re.sub("(?<=[━╸]) +", "   ", shown) == expected


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        pytest.param(running(started_at=NOON - HOUR), "● running  for 1h", id="since the start"),
        pytest.param(running(), "● running  for 1m since first seen", id="where that is unknown, since first seen"),
        pytest.param(running(status="queued"), "● queued  for 1m", id="in the queue"),
        pytest.param(running(since=None), "● running  …", id="where nothing is known"),
        pytest.param(running(estimated_finish=NOON - MINUTE), "● running  for 1m since first seen  overdue by 1m",
            id="overdue"),
    ],
)  # fmt: skip
def test_without_progress_the_line_says_for_how_long(job: Job, expected: str) -> None:
    assert rendered(progress(job, [], 80, NOON), 80) == [expected]


@given(st.floats(0, 1), st.integers(20, 200), st.text(max_size=30))
@example(0.0, 20, "a status of a newer provider")
@example(0.0, 20, "訓" * 30)
def test_the_progress_line_never_wraps(share: float, width: int, status: str) -> None:
    job = running(progress=share, status=status, stalled=True)
    (shown,) = rendered(progress(job, [measured(1, train_loss=1e300)], width, NOON), width)
    assert cell_len(shown) < width


@pytest.mark.parametrize(
    ("over", "label", "expected"),
    [
        pytest.param({"estimated_finish": NOON + HOUR}, "Expected finish", "2026-11-22 13:00:00Z, in 1h", id="ahead"),
        pytest.param({"estimated_finish": NOON - HOUR}, "Expected finish", "2026-11-22 11:00:00Z, overdue by 1h",
            id="overdue"),
        pytest.param({"estimated_finish": NOON + HOUR, "progress": 1.0}, "Expected finish", None, id="at 100 %"),
        pytest.param({"estimated_finish": NOON + HOUR, "status": "failed"}, "Expected finish", None, id="ended"),
        pytest.param({"started_at": NOON - HOUR}, "Running for", "1h", id="since the start"),
        pytest.param({}, "Running for", "1m since first seen", id="since first seen"),
        pytest.param({"status": "queued"}, "Running for", None, id="not yet running"),
    ],
)  # fmt: skip
def test_times_of_a_job_are_shown_only_when_meaningful(over: dict[str, Any], label: str, expected: str | None) -> None:
    job = JobDetails(**{"id": "a", "org": "b", "status": "running", "since": NOON - MINUTE, **over})
    lines = [line for part in details(job, [], Console(file=io.StringIO(), width=200), NOON) for line in rendered(part)]
    found = {parts[0]: parts[1] for line in lines if len(parts := re.split(" {2,}", line.strip(), maxsplit=1)) == 2}
    assert found.get(label) == expected
