"""What events tell of a training, in whatever order they come."""

from datetime import datetime
from itertools import permutations

import pytest

from monitor.domain.model import JobEvent, Metrics, Training
from monitor.domain.training import fold, in_order
from tests.builders import MINUTE, NOON, SECOND, event, measured, started


def undated(id: str) -> JobEvent:  # noqa: A002 - the field's name
    return event(id, at=None)  # type: ignore[arg-type]  # what providers leave out


def test_events_stand_oldest_first_and_those_of_one_second_against_the_list() -> None:
    listed = (event("d"), event("c"), event("b", NOON - SECOND), undated("a2"), undated("a1"))
    assert [one.id for one in in_order(listed)] == ["a1", "a2", "b", "c", "d"]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param((undated("a"),), Training(), id="an event without a time tells none"),
        pytest.param((event("a"), event("b", NOON - MINUTE)), Training(last_event_at=NOON), id="the last event"),
        pytest.param((event("a", NOON - MINUTE), event("b")), Training(last_event_at=NOON), id="in whatever order"),
        pytest.param(
            (started(NOON), started(NOON - MINUTE, "again")),
            Training(started_at=NOON - MINUTE, last_event_at=NOON),
            id="the first start",
        ),
        pytest.param(
            (started(NOON - MINUTE), started(NOON, "again")),
            Training(started_at=NOON - MINUTE, last_event_at=NOON),
            id="in whatever order, too",
        ),
        pytest.param(
            (measured(1, train_loss=2.0), measured(2, valid_loss=1.0)),
            Training(
                last_event_at=NOON, latest=Metrics(step=2, steps=100, train_loss=2.0, valid_loss=1.0), counted_step=2
            ),
            id="the newest value of each figure",
        ),
        pytest.param(
            (measured(2, train_loss=1.0), measured(1, train_loss=2.0, valid_loss=3.0)),
            Training(
                last_event_at=NOON, latest=Metrics(step=2, steps=100, train_loss=1.0, valid_loss=3.0), counted_step=2
            ),
            id="the newest is that of the highest step",
        ),
        pytest.param(
            (measured(3, loop_seconds=1.5), measured(3, loop_seconds=1.5), measured(4)),
            Training(
                last_event_at=NOON,
                latest=Metrics(step=4, steps=100, loop_seconds=1.5),
                loop_seconds=1.5,
                counted_step=4,
                timed_steps=1,
            ),
            id="a step counts once, and nothing where it does not tell its seconds",
        ),
        pytest.param(
            (event("a", metrics=Metrics(train_loss=1.0)),),
            Training(last_event_at=NOON, latest=Metrics(train_loss=1.0)),
            id="figures without a step",
        ),
        pytest.param(
            (measured(0, train_loss=0.0), event("b", metrics=Metrics(step=0, train_loss=3.0))),
            Training(last_event_at=NOON, latest=Metrics(step=0, steps=100, train_loss=3.0)),
            id="of two of one step the later, and nothing is a value",
        ),
    ],
)
def test_a_training_is_folded(events: tuple[JobEvent, ...], expected: Training) -> None:
    assert fold(Training(), events) == expected


def test_a_start_without_a_time_is_none() -> None:
    nothing: datetime | None = None
    assert fold(Training(), [started(nothing)]) == Training()  # type: ignore[arg-type]  # what providers leave out


def test_what_was_known_is_kept_and_added_to() -> None:
    before = Training(
        started_at=NOON - MINUTE,
        last_event_at=NOON,
        latest=Metrics(step=5, steps=9, train_loss=1.0),
        loop_seconds=5.0,
        counted_step=5,
    )
    late = fold(
        before, [event("old", NOON - MINUTE), measured(4, steps=8, train_loss=9.0, valid_loss=2.0, loop_seconds=1.0)]
    )
    assert late == Training(
        started_at=NOON - MINUTE,
        last_event_at=NOON,
        latest=Metrics(step=5, steps=9, train_loss=1.0, valid_loss=2.0, loop_seconds=1.0),
        loop_seconds=5.0,
        counted_step=5,
    )


def test_of_a_step_told_in_words_and_in_figures_the_seconds_count_whichever_comes_first() -> None:
    words, figures = measured(1, train_reward=0.4), measured(1, loop_seconds=60.0)
    for order in permutations((words, figures, measured(2, loop_seconds=30.0))):
        training = fold(Training(), order)
        assert (training.loop_seconds, training.counted_step, training.timed_steps) == (90.0, 2, 2)
        assert training.latest.train_reward == 0.4


def test_the_order_of_steps_in_one_reading_does_not_matter() -> None:
    steps = [measured(step, train_loss=float(step), loop_seconds=float(step)) for step in (1, 2, 3)]
    assert len({fold(Training(), order) for order in permutations(steps)}) == 1
