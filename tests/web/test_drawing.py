"""The geometry of charts and timelines: nothing leaves its box, whatever the values and times are."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.model import Status
from monitor.web.drawing import HEIGHT, WIDTH, chart, spark, timeline
from tests.builders import DAY, HOUR, MINUTE, NOON, job, measured, tracked

ANYTHING = st.none() | st.floats(allow_nan=False, allow_infinity=False)
STEPS = st.integers(-(2**70), 2**70)


def places(path: str) -> list[tuple[float, float]]:
    """The points of a path."""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?\d+) (-?\d+)", path)]


def test_a_chart_has_round_numbers_at_its_axes_and_both_lines() -> None:
    found = chart("loss", "Loss", [measured(1, train_loss=2.1, valid_loss=1.9), measured(101, train_loss=0.4)],
                  "train_loss", "valid_loss")  # fmt: skip
    assert found is not None
    assert found.heights == ("2.5", "2", "1.5", "1", "0.5", "0")
    assert found.widths == ("1", "51", "101")
    training, validation = found.lines
    assert places(training.path) == [(0, 48), (1000, 252)]
    assert (training.first, training.last, training.lone) == ("2.1", "0.4", None)
    assert validation.lone is not None, "a path of one point could not be seen"
    assert found.rows == (("1", "2.1", "1.9"), ("101", "0.4", "–"))


def test_without_measurements_no_chart_is_drawn() -> None:
    assert chart("loss", "Loss", [measured(1)], "train_loss", "valid_loss") is None
    assert spark([measured(1, train_loss=2.0)]) is None


def test_a_sparkline_has_a_text_alternative() -> None:
    assert spark([measured(1, train_reward=0.1), measured(3, train_reward=0.7)]) == (
        "M0 300L1000 0",
        "Reward from 0.1 to 0.7",
    )


@given(st.lists(st.tuples(STEPS, ANYTHING, ANYTHING), max_size=30))
def test_no_measurement_leaves_the_box(told: list[tuple[int, float | None, float | None]]) -> None:
    events = [measured(step, train_loss=train, valid_loss=valid) for step, train, valid in told]
    found = chart("loss", "Loss", events, "train_loss", "valid_loss")
    curve = spark(events)
    paths = [line.path for line in found.lines] if found is not None else []
    for x, y in (place for path in [*paths, *(curve[:1] if curve else ())] for place in places(path)):
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT
    if found is not None:
        assert 2 <= len(found.heights) <= 8


def test_lanes_show_the_wait_and_the_run_side_by_side() -> None:
    jobs = [
        tracked(job("a", created_at=NOON - HOUR, started_at=NOON - 30 * MINUTE)),
        tracked(job("b", Status.SUCCEEDED, created_at=NOON - HOUR, started_at=NOON - 45 * MINUTE,
                    finished_at=NOON - 30 * MINUTE)),
        tracked(job("c", Status.QUEUED, org="search", created_at=NOON - 15 * MINUTE)),
    ]  # fmt: skip
    found = timeline(jobs, NOON, DAY)
    assert found is not None
    assert found.window == "hour"
    assert found.ticks == ("11:00", "11:12", "11:24", "11:36", "11:48", "12:00")
    research, search = found.lanes
    assert [(bar.x, bar.queue, bar.run, bar.status) for bar in research.bars] == [
        (0, 500, 500, "running"),
        (0, 250, 250, "succeeded"),
    ]
    assert len({bar.y for bar in research.bars}) == 2, "they overlap"
    assert [(bar.x, bar.queue, bar.run) for bar in search.bars] == [(750, 250, 0)]


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Status)), *(st.none() | st.integers(-(10**9), 10**9) for _ in range(3))),
        max_size=20,
    )
)
def test_no_job_leaves_its_lane(lives: list[tuple[Status, int | None, int | None, int | None]]) -> None:
    jobs = []
    for number, (status, *seconds) in enumerate(lives):
        moments = [NOON + timedelta(seconds=at) if at is not None else None for at in seconds]
        fields = dict(zip(("created_at", "started_at", "finished_at"), moments, strict=True))
        jobs.append(tracked(job(f"j{number}", status, **fields)))
    found = timeline(jobs, NOON, DAY)
    for lane in found.lanes if found is not None else ():
        for bar in lane.bars:
            assert bar.x >= 0
            assert bar.queue >= 0
            assert bar.run >= 0
            assert bar.x + bar.queue + bar.run <= WIDTH + 0.2
            assert bar.y + 10 <= lane.height


@pytest.mark.parametrize("count", [1, 500])
def test_excess_jobs_are_cut_off_and_counted(count: int) -> None:
    found = timeline([tracked(job(f"j{n}", created_at=NOON - MINUTE)) for n in range(count)], NOON, DAY)
    assert found is not None
    (lane,) = found.lanes
    assert len(lane.bars) == min(count, 8)
    assert len(lane.bars) + lane.more == min(count, 300)


def test_lanes_show_recently_active_organisations_and_count_the_others() -> None:
    past = NOON - 12 * HOUR
    long_over = [
        tracked(job("old", Status.SUCCEEDED, org=f"a{n}", created_at=past, started_at=past, finished_at=past + MINUTE))
        for n in range(20)
    ]
    lately = [tracked(job(f"new{n}", org=f"z{n % 25:02}", created_at=NOON - MINUTE)) for n in range(200)]
    found = timeline([*long_over, *lately], NOON, DAY)
    assert found is not None
    assert [lane.org for lane in found.lanes] == [f"z{n:02}" for n in range(20)]
    assert found.more == 5


def test_a_job_first_seen_ended_is_a_mark_at_its_start() -> None:
    found = timeline([tracked(job("a", Status.FAILED, created_at=NOON - 14 * HOUR))], NOON, DAY)
    assert found is None or [bar.run for lane in found.lanes for bar in lane.bars] == [4.0]
    found = timeline([tracked(job("a", Status.FAILED, created_at=NOON - 40 * MINUTE)), tracked(job("b"))], NOON, DAY)
    assert found is not None
    assert [bar.run for lane in found.lanes for bar in lane.bars if bar.status == "failed"] == [4.0]


def test_only_a_job_that_waits_is_drawn_as_waiting() -> None:
    found = timeline([tracked(job("a")), tracked(job("b", Status.QUEUED))], NOON, DAY)
    assert found is not None
    assert {bar.status: bar.queue for lane in found.lanes for bar in lane.bars} == {"running": 0.0, "queued": 1000.0}
