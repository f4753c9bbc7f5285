"""What a look adds to a job: its events, its end, its start."""

from dataclasses import replace
from datetime import datetime

import pytest

from monitor.domain.decide import Policy, decide
from monitor.domain.event_ids import RecentIds
from monitor.domain.flow import Known, Tracked
from monitor.domain.model import UNKNOWN_COST, JobError, Status, Training
from tests.builders import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    event,
    job,
    known,
    measured,
    read,
    seen,
    started,
    tracked,
    trained,
)

Q, R, F = Status.QUEUED, Status.RUNNING, Status.FAILED
POLICY = Policy()


def test_events_that_are_known_are_not_written_again() -> None:
    first, second = event("e1", NOON - 2 * SECOND), event("e2", NOON - SECOND)
    change = decide(known(tracked(recent=("e1",))), seen(reads=(read(first, second),)), POLICY)
    assert change.events == (second,)
    assert change.tracked[0].recent_ids == RecentIds.of(("e1", "e2"))
    assert change.tracked[0].last_activity_at == NOON


def test_events_of_one_second_keep_the_provider_s_order() -> None:
    change = decide(known(), seen(job(), reads=(read(event("a"), event("b"), event("c"), event("c")),)), POLICY)
    assert change.tracked[0].recent_ids == RecentIds.of(("a", "b", "c"))
    assert [one.id for one in change.events] == ["a", "b", "c", "c"]


def test_an_event_without_a_time_is_a_sign_of_life_too() -> None:
    silent = known(tracked(last_activity_at=NOON - 2 * HOUR))
    look = seen(reads=(read(replace(event("e"), at=None)),))
    assert decide(silent, look, Policy(stall_after={R: HOUR})).transitions == ()


def test_what_events_told_is_kept_when_they_are_not_read() -> None:
    before = tracked(trained(job(), loop_seconds=10.0, counted_step=1))
    assert decide(known(before), seen(job()), POLICY).empty


def test_a_part_of_the_events_adds_and_the_whole_counts_anew() -> None:
    steps = [measured(step, loop_seconds=10.0) for step in (1, 2, 3)]
    late = decide(known(), seen(job(), reads=(read(steps[2]),)), POLICY).tracked[0]
    more = decide(known(late), seen(reads=(read(measured(4, loop_seconds=5.0)),)), POLICY)
    whole = decide(known(late), seen(reads=(read(*steps, whole=True),)), POLICY)
    assert late.job.training.loop_seconds == 10.0
    assert more.tracked[0].job.training.loop_seconds == 15.0
    assert whole.tracked[0].job.training.loop_seconds == 30.0


def test_a_whole_reading_replaces_the_memory_of_events() -> None:
    before = tracked(recent=("forgotten", "e1"))
    look = seen(reads=(read(event("e1", NOON - SECOND), event("e2"), whole=True),))
    assert decide(known(before), look, POLICY).tracked[0].recent_ids == RecentIds.of(("e1", "e2"))


@pytest.mark.parametrize(
    ("over", "whole", "finalized"),
    [
        pytest.param({"since": NOON - 10 * SECOND}, True, True, id="ten seconds after its end"),
        pytest.param({"since": NOON + 10 * SECOND}, True, True, id="also where the clock went back"),
        pytest.param({"since": NOON - 9 * SECOND}, True, False, id="not sooner"),
        pytest.param({"since": NOON - 10 * SECOND}, False, False, id="not by a part of its events"),
    ],
)
def test_an_ended_job_is_settled(over: dict[str, object], whole: bool, finalized: bool) -> None:
    before = tracked(job(status=F, finished_at=NOON - MINUTE), **over)
    change = decide(known(before), seen(reads=(read(event("e"), whole=whole),)), POLICY)
    assert change.tracked[0].finalized is finalized


def test_a_later_look_fills_in_what_an_end_lacked() -> None:
    ended = job(status=F, finished_at=NOON, fine_tuned_model=None)
    later = job(
        status=F,
        finished_at=NOON + HOUR,
        trained_tokens=9,
        fine_tuned_model="ft:x",
        result_files=("file-1",),
        error=JobError(code="x"),
        name="renamed",
    )
    change = decide(known(tracked(ended)), seen(later, reads=(read(started(NOON - MINUTE)),)), POLICY)
    assert change.tracked[0].job == replace(
        later,
        finished_at=NOON,
        name=None,
        started_at=NOON - MINUTE,
        training=Training(started_at=NOON - MINUTE, last_event_at=NOON - MINUTE),
    )


@pytest.mark.fault("U20")
def test_a_later_look_takes_nothing_back() -> None:
    ended = job(
        status=F,
        started_at=NOON - HOUR,
        finished_at=NOON,
        trained_tokens=9,
        fine_tuned_model="ft:x",
        result_files=("file-1",),
        error=JobError(code="x"),
    )
    look = seen(
        job(status=F, trained_tokens=1, fine_tuned_model="ft:y", result_files=("file-2",), error=JobError(code="y"))
    )
    assert decide(known(tracked(ended, cost=UNKNOWN_COST)), look, POLICY).empty


def test_a_later_look_that_disagrees_about_the_end_adds_only_its_events() -> None:
    ended = tracked(job(status=F, finished_at=NOON), cost=UNKNOWN_COST)
    look = seen(job(status=R, trained_tokens=9), reads=(read(started(NOON - MINUTE)),))
    now = decide(known(ended), look, POLICY).tracked[0].job
    assert (now.status, now.tuning.trained_tokens, now.started_at) == (F, None, NOON - MINUTE)


def test_a_history_without_an_end_gets_none_from_our_clock() -> None:
    change = decide(Known(org="research"), seen(job(status=F)), POLICY)
    assert change.tracked[0].job.finished_at is None


def test_the_provider_s_start_is_believed_before_the_events() -> None:
    look = seen(job(started_at=NOON - HOUR), reads=(read(started(NOON - MINUTE)),))
    assert decide(known(), look, POLICY).tracked[0].job.started_at == NOON - HOUR


@pytest.mark.parametrize(
    ("over", "kind", "resumed", "restarted"),
    [
        pytest.param({"status": Status.PAUSED}, R, True, True, id="runs again"),
        pytest.param({"status": Status.PAUSED}, Q, True, True, id="queues again"),
        pytest.param({"status": Status.PAUSED}, Status.VALIDATING, True, True, id="is validated again"),
        pytest.param({"status": Status.PAUSED}, F, False, True, id="fails out of the pause"),
        pytest.param({"status": Status.PAUSED}, Status.CANCELLING, False, True, id="is cancelled out of the pause"),
        pytest.param({"status": Q, "started_at": NOON - HOUR}, R, False, True, id="starts for the second time"),
        pytest.param(
            {"status": Q, "started_at": NOON}, R, False, False, id="starts, as its events said before the list"
        ),
        pytest.param({"status": Q, "started_at": NOON}, F, False, True, id="fails after a start of which events told"),
        pytest.param({"status": Q}, R, False, False, id="starts"),
    ],
)
def test_a_job_that_moves(over: dict[str, object], kind: Status, resumed: bool, restarted: bool) -> None:
    moved = decide(known(tracked(job(**over))), seen(job(status=kind)), POLICY).transitions[0]  # type: ignore[arg-type]  # a table
    assert (moved.resumed, moved.restarted) == (resumed, restarted)


@pytest.mark.parametrize(
    ("was", "started_at"),
    [
        pytest.param(None, NOON - 2 * HOUR, id="never seen before it was over"),
        pytest.param(tracked(job(status=R)), NOON - 2 * HOUR, id="never seen waiting"),
        pytest.param(tracked(job(status=R), ran_at=NOON - HOUR), NOON - HOUR, id="seen when it began to run"),
    ],
)
def test_a_start_that_has_waiting_in_it_stands_in_where_nobody_knows_better(
    was: Tracked | None, started_at: datetime
) -> None:
    over = replace(job(status=Status.SUCCEEDED, finished_at=NOON), started_at=None, taken_up_at=NOON - 2 * HOUR)
    change = decide(known(*filter(None, [was])), seen(over), POLICY)
    assert change.tracked[0].job.started_at == started_at


def test_of_an_active_job_it_says_nothing() -> None:
    waiting = replace(job(status=Q), started_at=None, taken_up_at=NOON - HOUR)
    assert decide(known(), seen(waiting), POLICY).tracked[0].job.started_at is None
