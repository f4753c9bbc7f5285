"""Events folded fast and folded plainly are the same."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.model import EventKind, JobEvent, Metrics, Training
from monitor.domain.training import fold, in_order
from tests.builders import NOON
from tests.domain import plain_training

STEPS = st.none() | st.integers(0, 6)
FIGURES = st.none() | st.floats(0, 9)
METRICS = st.builds(
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


@given(st.lists(st.lists(EVENTS, max_size=8), max_size=4))
def test_the_fast_folding_agrees_with_the_plain_one(readings: list[list[JobEvent]]) -> None:
    fast = plain = Training()
    for events in readings:
        fast = fold(fast, in_order(events))
        plain = plain_training.fold(plain, in_order(events))
        assert fast == plain
