"""Stalls that mean something."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.model import Status
from monitor.domain.stall import (
    Promise,
    StallReason,
    Usual,
    Vitals,
    promised,
    stall_reason,
    usual,
)
from tests.builders import DAY, HOUR, MINUTE, NOON, SECOND

SILENCE = {Status.VALIDATING: HOUR, Status.QUEUED: 6 * HOUR, Status.RUNNING: HOUR}
SLIPPING = Promise(made_at=NOON, finish=NOON + HOUR, slipping=True)


def vitals(status: Status = Status.RUNNING, silent: timedelta = MINUTE, **over: Any) -> Vitals:
    return Vitals(status=status, active_at=NOON - silent, **over)


@pytest.mark.parametrize(
    ("seen", "queue", "expected"),
    [
        pytest.param(vitals(), None, None, id="moves"),
        pytest.param(vitals(silent=HOUR), None, None, id="silent for as long as it may"),
        pytest.param(vitals(silent=HOUR + SECOND), None, StallReason.SILENT, id="silent"),
        pytest.param(vitals(Status.VALIDATING, silent=2 * HOUR), None, StallReason.SILENT, id="silent validation"),
        pytest.param(vitals(Status.PAUSED, silent=9 * DAY), None, None, id="a pause has no limit"),
        pytest.param(vitals(Status.SUCCEEDED, silent=9 * DAY, promise=SLIPPING), None, None, id="over"),
        pytest.param(vitals(step=9, steps=90, step_at=NOON - MINUTE), None, None, id="a fresh step"),
        pytest.param(vitals(step=9, steps=90, step_at=NOON - 2 * HOUR), None, StallReason.NO_STEP, id="no step"),
        pytest.param(vitals(step=9, step_at=NOON - 2 * HOUR), None, StallReason.NO_STEP, id="no step, of any number"),
        pytest.param(vitals(step=90, steps=90, step_at=NOON - 2 * HOUR), None, None, id="after the last step"),
        pytest.param(
            vitals(step=9, steps=90, step_at=NOON - 2 * HOUR, step_seconds=600.0), None, None, id="steps are slow"
        ),
        pytest.param(
            vitals(step=9, steps=90, step_at=NOON - 4 * HOUR, step_seconds=600.0),
            None,
            StallReason.NO_STEP,
            id="no step, and even slow ones would have come",
        ),
        pytest.param(
            vitals(step=9, steps=90, step_at=NOON - 2 * HOUR, longest_wait=2400.0),
            None,
            None,
            id="few steps are told",
        ),
        pytest.param(vitals(promise=SLIPPING), None, StallReason.SLIPPING, id="ever later"),
        pytest.param(vitals(promise=Promise(made_at=NOON, finish=NOON)), None, None, id="as promised"),
        pytest.param(vitals(silent=2 * HOUR, promise=SLIPPING), None, StallReason.SILENT, id="silence comes first"),
        pytest.param(vitals(Status.QUEUED, queued_at=NOON - 2 * HOUR), HOUR, StallReason.QUEUED, id="queued"),
        pytest.param(vitals(Status.QUEUED, queued_at=NOON - HOUR), HOUR, None, id="queued as usual"),
        pytest.param(
            vitals(Status.QUEUED, silent=9 * HOUR, queued_at=NOON - 9 * HOUR),
            10 * HOUR,
            None,
            id="long queues are usual",
        ),
        pytest.param(
            vitals(Status.QUEUED, silent=9 * HOUR, queued_at=NOON - 9 * HOUR), None, StallReason.SILENT, id="no history"
        ),
        pytest.param(vitals(Status.QUEUED, silent=9 * HOUR), HOUR, StallReason.SILENT, id="queued since nobody knows"),
        pytest.param(vitals(queued_at=NOON - 2 * HOUR), HOUR, None, id="out of the queue"),
    ],
)
def test_a_job_is_stalled_for_a_reason(seen: Vitals, queue: timedelta | None, expected: StallReason | None) -> None:
    assert stall_reason(seen, NOON, silence=SILENCE, queue=queue) is expected


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        pytest.param([HOUR] * 19, None, id="too few"),
        pytest.param([HOUR] * 20, HOUR, id="all the same"),
        pytest.param([MINUTE * minute for minute in range(101)], 95 * MINUTE, id="the 95th of a hundred"),
        pytest.param([MINUTE * minute for minute in reversed(range(101))], 95 * MINUTE, id="in any order"),
        pytest.param([HOUR] * 99 + [9 * DAY], HOUR, id="one that waited for days"),
        pytest.param([SECOND] * 50, 5 * MINUTE, id="nobody minds five minutes"),
    ],
)
def test_a_queue_is_measured_by_the_jobs_before(waits: list[timedelta], expected: timedelta | None) -> None:
    found = usual([*((wait, None) for wait in waits), (None, HOUR)])
    assert (found.queue, found.queued, found.run, found.ran) == (expected, len(waits), None, 1)


def test_a_usual_run_is_the_median_of_five_or_more() -> None:
    runs = [HOUR, 2 * HOUR, 9 * DAY, MINUTE, 3 * HOUR]
    assert usual([(None, run) for run in runs]).run == 2 * HOUR
    assert usual([(None, run) for run in runs[1:]]).run is None
    assert usual([]) == Usual()


def episodes(looks: list[tuple[timedelta, timedelta | None]]) -> list[bool]:
    """Whether it slips after each look, given when that was and which finish was estimated, both counted from noon."""
    promise: Promise | None = None
    slipping = []
    for at, finish in looks:
        promise = promised(promise, NOON + finish if finish is not None else None, NOON + at)
        slipping.append(promise is not None and promise.slipping)
    return slipping


ZERO = timedelta(0)


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        pytest.param([(ZERO, None), (HOUR, None)], [False, False], id="no estimate"),
        pytest.param([(ZERO, -HOUR), (HOUR, ZERO)], [False, False], id="an estimate that has passed is none"),
        pytest.param([(ZERO, 2 * HOUR), (HOUR, 3 * HOUR)], [False, False], id="later by just the half"),
        pytest.param([(ZERO, 2 * HOUR), (HOUR, 3 * HOUR + SECOND)], [False, True], id="later by more than the half"),
        pytest.param(
            [(ZERO, 2 * HOUR), (HOUR, 2.4 * HOUR), (2 * HOUR, 2.8 * HOUR), (2.5 * HOUR, 3.2 * HOUR)],
            [False, False, False, True],
            id="little by little",
        ),
        pytest.param([(ZERO, 2 * HOUR), (HOUR, HOUR * 1.5), (HOUR, 2.9 * HOUR)], [False] * 3, id="first earlier"),
        pytest.param([(ZERO, 2 * HOUR), (3.1 * HOUR, None)], [False, True], id="passed, and no estimate any more"),
        pytest.param([(ZERO, MINUTE), (MINUTE, 4 * MINUTE)], [False, False], id="nobody minds minutes"),
        pytest.param(
            [(ZERO, 2 * HOUR), (HOUR, 4 * HOUR), (2 * HOUR, 4 * HOUR), (3 * HOUR, 4 * HOUR)],
            [False, True, False, False],
            id="the new estimate holds",
        ),
        pytest.param(
            [(ZERO, 2 * HOUR), (HOUR, 4 * HOUR), (1.1 * HOUR, 4 * HOUR)], [False, True, True], id="not for long enough"
        ),
        pytest.param(
            [(ZERO, 2 * HOUR), (HOUR, 4 * HOUR), (2 * HOUR, 6 * HOUR), (3 * HOUR, 9 * HOUR), (4 * HOUR, 9 * HOUR)],
            [False, True, True, True, False],
            id="ever later is one episode",
        ),
        pytest.param(
            [(ZERO, 2 * HOUR), (4 * HOUR, None), (5 * HOUR, None), (6 * HOUR, 8 * HOUR), (7 * HOUR, 8 * HOUR)],
            [False, True, True, True, False],
            id="hangs, and comes back",
        ),
    ],
)
def test_a_finish_slips(looks: list[tuple[timedelta, timedelta | None]], expected: list[bool]) -> None:
    assert episodes(looks) == expected


@given(st.lists(st.tuples(st.integers(0, 9000), st.none() | st.integers(-9000, 90000)), max_size=40))
def test_what_keeps_its_word_never_slips(looks: list[tuple[int, int | None]]) -> None:
    at: datetime = NOON
    promise: Promise | None = None
    for seconds, finish in looks:
        at += timedelta(seconds=seconds)
        if promise is not None and at < promise.finish:
            earlier = min(promise.finish, at + timedelta(seconds=abs(finish or 0)))
            assert promised(promise, earlier, at) == promise or promise.slipping
        promise = promised(promise, at + timedelta(seconds=finish) if finish is not None else None, at)


def test_a_validation_that_shows_signs_of_life_is_no_stall() -> None:
    assert stall_reason(vitals(Status.VALIDATING), NOON, silence=SILENCE) is None
