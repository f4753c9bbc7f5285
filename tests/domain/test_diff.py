"""What a look at a job means, as tables."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from monitor.domain.decide import Policy, decide, evolve
from monitor.domain.event_ids import RECENT, RecentIds
from monitor.domain.flow import Known, Observation, TransitionKind
from monitor.domain.model import Basis, Checkpoint, Cost, EventKind, JobError, Metrics, Status
from tests.builders import DAY, HOUR, MINUTE, NOON, SECOND, event, job, known, measured, read, seen, started, tracked
from tests.domain.curves import real_run

pytestmark = pytest.mark.fault("G8", "G9")

R, Q, P = Status.RUNNING, Status.QUEUED, Status.PAUSED
STALL = {Status.RUNNING: HOUR, Status.QUEUED: 6 * HOUR, Status.VALIDATING: HOUR}
POLICY = Policy(stall_after=STALL)
NEVER = Known(org="research")


def kinds(before: Known, look: Observation) -> list[tuple[TransitionKind, Status | None, Status]]:
    return [(one.kind, one.before, one.after) for one in decide(before, look, POLICY).transitions]


@pytest.mark.parametrize(
    ("before", "look", "expected"),
    [
        pytest.param(
            NEVER, seen(job(status=R)), [(TransitionKind.BASELINE, None, R)], id="the first sight is a baseline"
        ),
        pytest.param(
            known(), seen(job(status=R)), [(TransitionKind.APPEARED, None, R)], id="a job that was not there is new"
        ),
        pytest.param(
            known(),
            seen(job(status=Status.FAILED)),
            [(TransitionKind.APPEARED, None, Status.FAILED)],
            id="a job that came and ended while we were away is news",
        ),
        pytest.param(
            known(horizon=NOON - HOUR),
            seen(job(status=Status.FAILED, created_at=NOON - HOUR)),
            [],
            id="an unknown job from before the horizon is history",
        ),
        pytest.param(
            known(horizon=NOON - HOUR),
            seen(job(status=R, created_at=NOON - 2 * HOUR)),
            [(TransitionKind.APPEARED, None, R)],
            id="but an active one is followed, however old",
        ),
        pytest.param(known(tracked(job(status=R))), seen(job(status=R)), [], id="nothing new is nothing told"),
        pytest.param(
            known(tracked(job(status=Q))), seen(job(status=R)), [(TransitionKind.MOVED, Q, R)], id="queued to running"
        ),
        pytest.param(
            known(tracked(job(status=Status.SUCCEEDED))), seen(job(status=R)), [], id="final is final, even unsettled"
        ),
        pytest.param(
            known(final=frozenset({"ftjob-1"})), seen(job(status=R)), [], id="a settled job is no longer heard"
        ),
        pytest.param(
            known(tracked(job(status=R), missing=2)),
            seen(missing=frozenset({"ftjob-1"})),
            [(TransitionKind.GONE, R, Status.UNKNOWN)],
            id="missing three times in a row is gone",
        ),
        pytest.param(
            known(tracked(job(status=R), missing=1)),
            seen(missing=frozenset({"ftjob-1"})),
            [],
            id="missing twice is not",
        ),
        pytest.param(
            known(tracked(job(status=Status.UNKNOWN), missing=3)),
            seen(job(status=R)),
            [(TransitionKind.BACK, Status.UNKNOWN, R)],
            id="a gone job that is there again is back, which is no news",
        ),
        pytest.param(
            known(tracked(job(status=Status.UNKNOWN), missing=3)),
            seen(job(status=Status.FAILED)),
            [(TransitionKind.MOVED, Status.UNKNOWN, Status.FAILED)],
            id="a gone job that ended is news",
        ),
    ],
)
def test_a_look_means(before: Known, look: Observation, expected: list[object]) -> None:
    assert kinds(before, look) == expected


def quiet(since: timedelta, *, status: Status = R, stalled: bool = False) -> Known:
    return known(tracked(job(status=status), last_activity_at=NOON - since, stalled=stalled))


@pytest.mark.parametrize(
    ("before", "look", "told"),
    [
        pytest.param(quiet(61 * MINUTE), seen(reads=(read(),)), True, id="an hour without a sign of life is a stall"),
        pytest.param(quiet(59 * MINUTE), seen(reads=(read(),)), False, id="less is not"),
        pytest.param(quiet(61 * MINUTE), seen(job(status=R)), False, id="nor is it when the events were not read"),
        pytest.param(quiet(61 * MINUTE), seen(reads=(read(event("e")),)), False, id="an event is a sign of life"),
        pytest.param(quiet(9 * HOUR, stalled=True), seen(reads=(read(),)), False, id="a stall is told once"),
        pytest.param(quiet(61 * MINUTE, status=Q), seen(reads=(read(),)), False, id="a queue may take longer"),
        pytest.param(quiet(7 * HOUR, status=Q), seen(reads=(read(),)), True, id="but not for ever"),
        pytest.param(quiet(9 * DAY, status=P), seen(reads=(read(),)), False, id="a paused job does not stall"),
        pytest.param(
            quiet(61 * MINUTE), seen(reads=(read(),), shift=timedelta(days=1), at=NOON + DAY - MINUTE * 2), False,
            id="a clock set a day ahead is no silence",
        ),
    ],
)  # fmt: skip
def test_silence(before: Known, look: Observation, told: bool) -> None:
    assert [kind for kind, _, _ in kinds(before, look)] == ([TransitionKind.STALLED] if told else [])


def test_a_clock_that_was_set_moves_the_memory_along() -> None:
    change = decide(quiet(10 * MINUTE), seen(shift=DAY, at=NOON + DAY), POLICY)
    assert change.tracked[0].last_activity_at == NOON + DAY - 10 * MINUTE
    assert change.counters == ()


def test_a_stalled_job_that_stirs_may_stall_again() -> None:
    change = decide(quiet(9 * HOUR, stalled=True), seen(reads=(read(event("new")),)), POLICY)
    assert not change.tracked[0].stalled
    assert change.tracked[0].last_activity_at == NOON


def test_replaying_an_observation_yields_nothing() -> None:
    look = seen(job(status=Q), job("b", status=Status.FAILED), reads=(read(event("e1"), measured(3)),))
    once = decide(known(), look, POLICY)
    again = decide(evolve(known(), once), look, POLICY)
    assert once.transitions
    assert again.empty


def test_jobs_that_ended_before_the_lookback_are_not_even_stored() -> None:
    old = job("old", status=Status.FAILED, created_at=NOON - 31 * DAY)
    change = decide(NEVER, seen(old, job("new", status=Status.FAILED)), POLICY)
    assert [one.job.id for one in change.tracked] == ["new"]


def test_the_watermark_is_made_of_the_newest_events() -> None:
    events = [event(f"e{number}", NOON + number * SECOND) for number in range(RECENT + 50)]
    once = decide(known(), seen(job(), reads=(read(*events),)), POLICY)
    again = decide(evolve(known(), once), seen(reads=(read(*events, whole=True),)), POLICY)
    assert once.tracked[0].recent_ids == RecentIds.of(one.id for one in events[-RECENT:])
    assert again.tracked == ()


def test_history_is_settled_at_once_and_costs_nothing_in_the_tallies() -> None:
    change = decide(NEVER, seen(job(status=Status.SUCCEEDED, trained_tokens=1)), POLICY)
    assert change.tracked[0].finalized
    assert change.counters == ()
    assert evolve(NEVER, change).final == {"ftjob-1": Status.SUCCEEDED}


def test_a_started_job_has_its_start_from_its_events() -> None:
    change = decide(known(tracked(job(status=Q))), seen(job(status=R), reads=(read(started(NOON - MINUTE)),)), POLICY)
    assert change.tracked[0].job.started_at == NOON - MINUTE
    assert change.tracked[0].job.queue_time == 59 * MINUTE


@pytest.mark.parametrize(
    ("finished", "events", "expected"),
    [
        pytest.param(NOON - SECOND, (event("e"),), NOON - SECOND, id="the provider's end"),
        pytest.param(None, (event("e", NOON - 5 * SECOND),), NOON - 5 * SECOND, id="else the last event"),
        pytest.param(None, (), NOON, id="else when it was first seen over"),
    ],
)
def test_an_end_has_a_time(finished: object, events: tuple[object, ...], expected: object) -> None:
    ended = job(status=Status.CANCELLED, finished_at=finished)
    change = decide(known(tracked()), seen(ended, reads=(read(*events),)), POLICY)  # type: ignore[arg-type]  # a table
    assert change.tracked[0].job.finished_at == expected


def test_an_older_answer_takes_nothing_back() -> None:
    ended = tracked(job(status=Status.FAILED, finished_at=NOON, error=JobError(code="x"), trained_tokens=7))
    change = decide(known(ended), seen(job(status=Status.RUNNING), reads=(read(event("late")),)), POLICY)
    now = change.tracked[0].job
    assert (now.status, now.finished_at, now.error) == (Status.FAILED, NOON, JobError(code="x"))
    assert now.tuning.trained_tokens == 7


def test_a_job_is_settled_by_a_whole_reading_some_seconds_after_its_end() -> None:
    ended = tracked(job(status=Status.FAILED, finished_at=NOON), since=NOON)
    early = decide(known(ended), seen(at=NOON + 9 * SECOND, reads=(read(event("e"), whole=True),)), POLICY)
    late = decide(known(ended), seen(at=NOON + 10 * SECOND, reads=(read(event("e"), whole=True),)), POLICY)
    assert not early.tracked[0].finalized
    assert late.tracked[0].finalized


def test_steps_are_counted_once_however_they_come() -> None:
    steps = [measured(step, loop_seconds=10.0) for step in (1, 2, 3)]
    once = decide(known(), seen(job(), reads=(read(*steps),)), POLICY)
    again = decide(evolve(known(), once), seen(reads=(read(*steps, measured(4, loop_seconds=5.0)),)), POLICY)
    whole = decide(evolve(known(), once), seen(reads=(read(*reversed(steps), whole=True),)), POLICY)
    assert again.tracked[0].job.training.loop_seconds == 35.0
    assert again.events[0].id == "ev-4"
    assert len(again.events) == 1
    assert whole.tracked == ()


def test_numbers_of_transitions_go_up_by_one() -> None:
    before = known(tracked(job(status=Q), seq=4))
    assert decide(before, seen(job(status=R)), POLICY).transitions[0].id == "research/ftjob-1/5"


def test_a_resumed_job_is_not_started_again() -> None:
    paused = tracked(job(status=P, started_at=NOON - HOUR))
    queued = decide(known(paused), seen(job(status=Q)), POLICY)
    runs = decide(evolve(known(paused), queued), seen(job(status=R)), POLICY)
    assert queued.transitions[0].resumed
    assert runs.transitions[0].restarted


def test_a_paused_job_keeps_its_start() -> None:
    was = tracked(replace(job(status=R), started_at=NOON - HOUR))
    was = decide(known(was), seen(job(status=R), reads=(read(started(NOON - HOUR)),)), POLICY).tracked[0]
    assert decide(known(was), seen(job(status=P)), POLICY).tracked[0].job.started_at == NOON - HOUR


def polled(was: Known, look: Observation) -> tuple[Known, list[TransitionKind]]:
    """What is known after a poll, and what it brought."""
    change = decide(was, look, POLICY)
    return (was if change.empty else evolve(was, change)), [one.kind for one in change.transitions]


SAYS = {
    "cancelled": Status.CANCELLED,
    "succeeded": Status.SUCCEEDED,
    "failed": Status.FAILED,
    "running": Status.RUNNING,
}


@pytest.mark.parametrize(
    ("says", "every", "expected"),
    [
        pytest.param("failed failed", MINUTE, [], id="two polls are not believed"),
        pytest.param("failed failed failed", MINUTE, [TransitionKind.CORRECTED], id="three are"),
        pytest.param("failed failed failed", 20 * SECOND, [], id="not when they are close to each other"),
        pytest.param("failed failed succeeded failed failed", MINUTE, [], id="nor with another in between"),
        pytest.param("failed running failed running", MINUTE, [], id="nor when it says something else each time"),
        pytest.param(
            "running running running failed",
            MINUTE,
            [TransitionKind.CORRECTED, TransitionKind.MOVED],
            id="a job that was not over after all ends later",
        ),
        pytest.param(
            "failed failed failed succeeded succeeded succeeded succeeded",
            MINUTE,
            [TransitionKind.CORRECTED],
            id="it is corrected once",
        ),
    ],
)
@pytest.mark.parametrize("finalized", [False, True])
def test_an_end_is_final_unless_it_is_contradicted_for_good(
    says: str, every: timedelta, expected: list[TransitionKind], *, finalized: bool
) -> None:
    ended = tracked(job(status=Status.SUCCEEDED, finished_at=NOON), seq=4, finalized=finalized)
    now, found = (known(final={"ftjob-1": Status.SUCCEEDED}) if finalized else known(ended)), []
    stored = ended
    for number, word in enumerate(says.split(), start=1):
        doubtful = stored.doubt is not None or stored.job.status is not SAYS[word]
        disputed = {"ftjob-1": stored} if "ftjob-1" in now.final and doubtful else {}
        look = seen(job(status=SAYS[word]), at=NOON + number * every, disputed=disputed)
        change = decide(now, look, POLICY)
        stored = change.tracked[-1] if change.tracked else stored
        now, kinds = polled(now, look)
        found += kinds
    assert found == expected


def test_a_flapping_start_is_one_start() -> None:
    now, starts = known(tracked(job(status=Q))), []
    for number in range(6):
        look = seen(job(status=R if number % 2 == 0 else Q), at=NOON + number * MINUTE)
        starts += [one for one in decide(now, look, POLICY).transitions if one.after is R and not one.restarted]
        now, _ = polled(now, look)
    assert len(starts) == 1


def test_without_a_start_of_the_provider_s_it_is_when_we_saw_it_run() -> None:
    now, _ = polled(known(tracked(job(status=Q))), seen(job(status=R)))
    assert now.jobs["ftjob-1"].started_at == NOON
    over = decide(now, seen(job(status=Status.SUCCEEDED, finished_at=NOON + HOUR), at=NOON + HOUR), POLICY)
    assert over.tracked[0].job.run_time == HOUR
    assert {"queue_milliseconds", "run_milliseconds", "total_milliseconds"} < {one.metric for one in over.counters}


def test_a_start_that_events_may_still_tell_is_waited_for() -> None:
    now, _ = polled(known(tracked(job(status=Q))), seen(job(status=R)))
    now, _ = polled(now, seen(reads=(read(event("e", NOON)),)))
    now, _ = polled(now, seen(job(status=Status.SUCCEEDED, finished_at=NOON + HOUR), at=NOON + HOUR))
    assert now.jobs["ftjob-1"].job.started_at is None
    over = decide(now, seen(reads=(read(event("e", NOON), whole=True),), at=NOON + HOUR + MINUTE), POLICY)
    assert over.tracked[0].job.run_time == HOUR


def test_a_gone_job_counts_for_nothing_and_comes_back() -> None:
    gone = known(tracked(job(), missing=2, cost=Cost(basis=Basis.ESTIMATED, usd=Decimal(9))))
    now, kinds = polled(gone, seen(missing=frozenset({"ftjob-1"})))
    one = now.jobs["ftjob-1"]
    assert (kinds, one.gone, one.active, one.cost) == ([TransitionKind.GONE], True, False, None)
    assert polled(now, seen(missing=frozenset({"ftjob-1"})))[1] == []
    back, kinds = polled(now, seen(job(status=Status.FAILED)))
    assert (kinds, back.jobs["ftjob-1"].missing) == ([TransitionKind.MOVED], 0)


def test_a_stalled_job_that_shows_a_sign_of_life_is_moving() -> None:
    before = quiet(9 * HOUR, stalled=True)
    change = decide(before, seen(reads=(read(event("new")),)), POLICY)
    assert [one.kind for one in change.transitions] == [TransitionKind.MOVING]
    assert change.tracked[0].since == before.jobs["ftjob-1"].since, "its status is the old one"
    assert polled(evolve(before, change), seen(reads=(read(event("new"), event("newer")),)))[1] == []


RISING = tuple(measured(step, 40, train_loss=2.0 + step / 10) for step in range(1, 41))


def test_a_job_that_succeeded_is_judged_by_its_curve() -> None:
    ended = seen(job(status=Status.SUCCEEDED, finished_at=NOON), curves={"ftjob-1": RISING})
    now, _ = polled(known(tracked()), ended)
    verdict = now.jobs["ftjob-1"].verdict
    assert verdict is not None
    events = [measured(step, 40, NOON, train_loss=2.0 / step) for step in range(1, 41)]
    over = decide(now, seen(reads=(read(*events, whole=True),), at=NOON + MINUTE), POLICY)
    assert over.tracked[0].finalized
    assert over.tracked[0].verdict is None, "all of it says that it learnt"


def test_the_best_checkpoint_is_known_once_its_event_has_come() -> None:
    run = real_run("overfit-0")
    steps = [measured(step, run.steps, NOON, train_loss=loss) for step, loss in enumerate(run.train_loss, 1)]
    evals = [event(f"v-{step}", metrics=Metrics(step=step, valid_loss=loss)) for step, loss in run.evals]
    saved = event("saved", kind=EventKind.CHECKPOINT, checkpoint=Checkpoint(step=60, name="ckpt-60"))
    ended = seen(job(status=Status.SUCCEEDED, finished_at=NOON), curves={"ftjob-1": [*steps, *evals]})
    now, _ = polled(known(tracked()), ended)
    over = decide(now, seen(reads=(read(*steps, *evals, saved, whole=True),), at=NOON + MINUTE), POLICY)
    verdicts = [now.jobs["ftjob-1"].verdict, over.tracked[0].verdict]
    found = [(one.best_step, one.best_checkpoint) for one in verdicts if one is not None]
    assert found == [(60, None), (60, "ckpt-60")]


def test_only_what_succeeded_is_judged() -> None:
    now, _ = polled(known(tracked()), seen(job(status=Status.FAILED), curves={"ftjob-1": RISING}))
    assert now.jobs["ftjob-1"].verdict is None
