"""Events folded fast and folded plainly are the same."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.model import EventKind, JobEvent, Metrics, Training
from monitor.domain.training import fold, in_order
from tests.builders import NOON, measured
from tests.domain import plain_training

STEPS = st.none() | st.integers(0, 6)
FIGURES = st.none() | st.floats(0, 9)
LOST = st.builds(Metrics, step=STEPS, valid_loss=FIGURES, lost=st.just(True))
METRICS = LOST | st.builds(
    Metrics,
    step=STEPS,
    steps=st.none() | st.just(6),
    train_loss=FIGURES,
    valid_loss=FIGURES,
    train_reward=FIGURES,
    loop_seconds=FIGURES,
)
EVENTS = st.builds(
    JobEvent,
    org=st.just("research"),
    job=st.just("ftjob-1"),
    id=st.text("ab", max_size=3),
    at=st.none() | st.integers(-5, 5).map(lambda minutes: NOON + timedelta(minutes=minutes)),
    level=st.just("info"),
    message=st.just("…"),
    kind=st.sampled_from(EventKind),
    metrics=st.none() | METRICS,
)


def test_a_loss_that_is_no_number_any_more_is_not_the_one_before() -> None:
    fine, lost = measured(1, train_loss=2.0), measured(2, lost=True)
    assert fold(Training(), [fine, lost]).latest == Metrics(step=2, steps=100, lost=True)
    assert fold(Training(), [lost, fine]).latest.lost, "of an earlier step"
    assert fold(Training(), [fine, lost, measured(3, train_loss=3.0)]).latest == Metrics(
        step=3, steps=100, train_loss=3.0
    )


@given(st.lists(st.lists(EVENTS, max_size=8), max_size=4))
def test_the_fast_folding_agrees_with_the_plain_one(readings: list[list[JobEvent]]) -> None:
    fast = plain = Training()
    for events in readings:
        fast = fold(fast, in_order(events))
        plain = plain_training.fold(plain, in_order(events))
        assert fast == plain
