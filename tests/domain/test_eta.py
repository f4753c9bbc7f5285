"""When a run will be through, against when real ones were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from struct import iter_unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.eta import StepRate
from tests.builders import HOUR, MINUTE, NOON, SECOND
from tests.domain.curves import RealRun, real_run, real_runs

each_real_run = pytest.mark.parametrize("run", real_runs(), ids=lambda run: run.name)


def rate_of(samples: list[tuple[datetime, int]]) -> StepRate:
    """The rate after these steps, folded one at a time: as they come."""
    rate = StepRate()
    for sample in samples:
        rate = rate.after([sample])
    return rate


def estimate_finish(samples: list[tuple[datetime, int]], steps: int, now: datetime) -> datetime | None:
    finish = StepRate().after(samples).finish(steps)
    return finish if finish is not None and finish > now else None


def steady(count: int, every: timedelta = MINUTE, first: int = 1) -> list[tuple[datetime, int]]:
    return [(NOON + every * step, step) for step in range(first, first + count)]


def off(run: RealRun, part: float, slower: int = 1) -> float | None:
    """How far the rest that is estimated after this part of the run is off the true rest; None without an estimate."""
    samples = run.samples(slower)
    done = samples[: int(part * run.steps)]
    now, end = done[-1][0], samples[-1][0]
    finish = estimate_finish(done, run.steps, now)
    return (finish - now) / (end - now) - 1.0 if finish is not None else None


@pytest.mark.parametrize("part", [0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9])
@each_real_run
def test_the_estimate_for_a_real_run_is_at_most_a_quarter_off(run: RealRun, part: float) -> None:
    error = off(run, part)
    assert error is None or abs(error) <= 0.25


def test_most_of_the_real_runs_have_an_estimate_at_a_quarter_and_nearly_all_at_half() -> None:
    quarter, half = ([run.name for run in real_runs() if off(run, part) is not None] for part in (0.25, 0.5))
    assert len(quarter) >= 16
    assert len(half) >= 19


@pytest.mark.parametrize("name", ["healthy-slow-storage-0", "healthy-slow-storage-1", "half-precision-0"])
def test_a_rate_that_means_nothing_yet_gives_no_estimate(name: str) -> None:
    assert off(real_run(name), 0.25) is None


@each_real_run
def test_whole_seconds_are_enough(run: RealRun) -> None:
    samples = [(at.replace(microsecond=0), step) for at, step in run.samples(slower=60)]
    done = samples[: run.steps // 4]
    finish = estimate_finish(done, run.steps, done[-1][0])
    assert finish is None or abs((finish - done[-1][0]) / (samples[-1][0] - done[-1][0]) - 1.0) <= 0.25


@pytest.mark.parametrize(
    ("samples", "steps", "now", "expected"),
    [
        pytest.param([], 100, NOON, None, id="nothing"),
        pytest.param(steady(20), 100, NOON, None, id="too few steps"),
        pytest.param(steady(50), 100, NOON + 50 * MINUTE, NOON + 100 * MINUTE, id="a steady run"),
        pytest.param(steady(16), 30, NOON + 16 * MINUTE, NOON + 30 * MINUTE, id="the half of a short run"),
        pytest.param(steady(50), 100, NOON + 99 * MINUTE, NOON + 100 * MINUTE, id="no event for a while"),
        pytest.param(steady(50), 100, NOON + 100 * MINUTE, None, id="passed"),
        pytest.param(steady(100), 100, NOON + 100 * MINUTE, None, id="done"),
        pytest.param(steady(100), 50, NOON, None, id="more steps than there are"),
        pytest.param(steady(50), 2**53, NOON, None, id="beyond the calendar"),
        pytest.param(steady(50, timedelta(0)), 100, NOON - SECOND, None, id="all in one second"),
        pytest.param(steady(50)[::10], 100, NOON, None, id="too few marks to know their spread"),
        pytest.param(steady(500)[9::10], 1000, NOON + 500 * MINUTE, NOON + 1000 * MINUTE, id="every tenth step"),
        pytest.param(
            [(NOON - 9 * HOUR, 1), (NOON - 5 * HOUR, 2), *steady(50, first=3)],
            100,
            NOON + 52 * MINUTE,
            NOON + 100 * MINUTE,
            id="a warm-up of hours",
        ),
        pytest.param(
            [(NOON + MINUTE * step + (HOUR if step > 40 else 0 * HOUR), step) for step in range(1, 60)],
            100,
            NOON + 2 * HOUR,
            None,
            id="a pause in it",
        ),
        pytest.param(
            [*steady(100, SECOND), *((NOON + 100 * SECOND + MINUTE * step, 100 + step) for step in range(1, 201))],
            400,
            NOON + 100 * SECOND + 200 * MINUTE,
            NOON + 100 * SECOND + 300 * MINUTE,
            id="the recent rate, not the first one",
        ),
    ],
)
def test_a_finish_is_estimated(
    samples: list[tuple[datetime, int]], steps: int, now: datetime, expected: datetime | None
) -> None:
    assert estimate_finish(samples, steps, now) == expected


def test_steps_that_are_late_or_come_twice_change_nothing() -> None:
    samples = steady(60)
    assert rate_of([*samples, *samples, samples[7]]) == rate_of(samples)


def test_a_run_that_goes_back_warms_up_again() -> None:
    rate = rate_of(steady(60)).after([(NOON + 2 * HOUR, 40)])
    assert rate.finish(100) is None
    assert rate.step_seconds is None
    for step in range(41, 90):
        rate = rate.after([(NOON + 2 * HOUR + 2 * MINUTE * (step - 40), step)])
    assert rate.finish(100) == NOON + 4 * HOUR


def test_a_pause_is_no_step() -> None:
    rate = rate_of(steady(60)).reset()
    for step in range(61, 99):
        rate = rate.after([(NOON + 99 * HOUR + MINUTE * step, step)])
    assert rate.finish(100) == NOON + 99 * HOUR + 100 * MINUTE
    assert rate_of(steady(60)).reset().reset() == rate_of(steady(60)).reset()
    assert StepRate().reset() == StepRate()


def test_a_step_takes_its_mean() -> None:
    assert rate_of(steady(9)).step_seconds == 60.0
    assert rate_of(steady(3)).step_seconds is None


def test_a_step_that_is_told_a_little_late_is_no_restart() -> None:
    rate = rate_of(steady(60))
    assert rate.after([(NOON + 61 * MINUTE, 58)]) == rate


def test_steps_one_by_one_and_all_at_once_are_the_same() -> None:
    assert StepRate().after(steady(200)) == rate_of(steady(200))


def test_it_is_known_how_long_it_takes_until_the_next_step_is_told() -> None:
    assert rate_of(steady(3)).longest_wait is None
    assert rate_of([*steady(9), (NOON + 2 * HOUR, 10)]).longest_wait == 6660.0


MOMENTS = st.datetimes(timezones=st.just(UTC))
SAMPLES = st.lists(st.tuples(MOMENTS, st.integers(0, 2**53)), max_size=80)


@given(SAMPLES, st.integers(1, 2**53), MOMENTS)
def test_no_stream_is_too_strange(samples: list[tuple[datetime, int]], steps: int, now: datetime) -> None:
    finish = estimate_finish(samples, steps, now)
    assert finish is None or finish > now


@given(st.lists(st.tuples(st.integers(0, 600), st.integers(1, 50)), max_size=300))
def test_the_state_is_bounded_and_of_distinct_steps(gaps: list[tuple[int, int]]) -> None:
    rate, at, step = StepRate(), NOON, 0
    for seconds, steps in gaps:
        at, step = at + timedelta(seconds=seconds), step + steps
        rate = rate.after([(at, step)])
        assert len(rate.marks) <= 32 * 16
        numbers = [number for _, number in iter_unpack("<qq", rate.marks)]
        assert all(b - a >= rate.stride for a, b in pairwise(numbers))
    assert rate.newest == ((at, step) if gaps else None)


@given(st.integers(40, 3000), st.integers(1, 3600), st.floats(0.3, 0.95))
def test_a_steady_run_is_estimated_exactly(steps: int, seconds: int, part: float) -> None:
    done = steady(max(int(part * steps), 35), timedelta(seconds=seconds))
    finish = estimate_finish(done, steps, done[-1][0])
    assert finish is not None
    assert abs(finish - (NOON + timedelta(seconds=seconds * steps))) < SECOND
