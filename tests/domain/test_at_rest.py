"""What is seen at a glance to be as it was, is as it was when it is looked at in full."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.diff import at_rest, enriched, moved, track
from monitor.domain.flow import EventsRead
from monitor.domain.model import Metrics, Status, Training
from monitor.domain.training import fold, in_order
from tests.builders import MINUTE, NOON, event, job, tracked
from tests.domain.test_training import EVENTS

TIMES = st.sampled_from([None, NOON - MINUTE, NOON])
JOBS = st.builds(
    job,
    status=st.sampled_from([Status.QUEUED, Status.RUNNING, Status.SUCCEEDED, Status.UNKNOWN]),
    started_at=TIMES,
    name=st.sampled_from(["a", "b"]),
    training=st.sampled_from([Training(), Training(latest=Metrics(step=1))]),
)
READS = st.none() | st.builds(
    EventsRead, job=st.just("ftjob-1"), events=st.sampled_from([(), (event("e1"),)]), whole=st.booleans()
)


@given(JOBS, JOBS, READS, st.lists(EVENTS, max_size=4), st.integers(0, 1), st.booleans())
def test_a_job_at_rest_is_what_it_was(before: Any, found: Any, read: Any, told: Any, missing: int, same: bool) -> None:
    was = tracked(replace(before, training=fold(before.training, in_order(told))), missing=missing)
    found = was.job if same else found
    if at_rest(was, found, read):
        full = enriched(found, was, read, NOON)
        assert moved(was, full, NOON) is None
        assert track(was, full, read, None, NOON) == was


@pytest.mark.parametrize(
    ("found", "read", "rests"),
    [
        pytest.param(job(), None, True, id="listed as before"),
        pytest.param(job(), EventsRead(job="ftjob-1", events=(), whole=False), True, id="no events"),
        pytest.param(job(), EventsRead(job="ftjob-1", events=(event("e"),), whole=False), False, id="an event"),
        pytest.param(job(), EventsRead(job="ftjob-1", events=(), whole=True), False, id="all of them read"),
        pytest.param(job(name="another"), None, False, id="another name"),
        pytest.param(job(status=Status.PAUSED), None, False, id="another status"),
        pytest.param(job(started_at=NOON), None, False, id="it has started"),
    ],
)
def test_a_job_is_at_rest_where_nothing_is_new(found: Any, read: EventsRead | None, rests: bool) -> None:
    assert at_rest(tracked(job(training=Training(last_event_at=NOON))), found, read) is rests
