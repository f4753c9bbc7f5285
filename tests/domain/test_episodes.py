"""How a job gets on, and when it counts as stuck: through whole decisions, one look after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.decide import Policy, decide, evolve
from monitor.domain.episodes import on_clock
from monitor.domain.flow import Headway, Known, Tracked, TransitionKind
from monitor.domain.model import Job, Metrics, Status
from monitor.domain.stall import Promise, Stall, StallReason, Usual
from tests.builders import HOUR, MINUTE, NOON, SECOND, event, job, known, measured, read, seen, tracked, trained
from tests.domain.curves import RealRun, real_runs

MODEL = "gpt-4o-mini-2024-07-18"
POLICY = Policy(stall_after={Status.VALIDATING: HOUR, Status.QUEUED: 6 * HOUR, Status.RUNNING: HOUR})
R, Q, P = Status.RUNNING, Status.QUEUED, Status.PAUSED
STALLED, MOVING = TransitionKind.STALLED, TransitionKind.MOVING


@dataclass
class Story:
    """One job, look by look. What is known goes through its stored form each time, as over a restart."""

    known: Known = field(default_factory=lambda: known(tracked(job(status=R), since=NOON, last_activity_at=NOON)))
    usual: Usual = field(default_factory=Usual)

    def look(self, at: datetime, *events: object, job: Job | None = None, unread: bool = False) -> list[TransitionKind]:
        reads = () if unread else (read(*events),)  # type: ignore[arg-type]  # events of any kind
        jobs = () if job is None else (job,)
        found = seen(*jobs, at=at, reads=reads, usual={MODEL: self.usual})
        change = decide(self.known, found, POLICY)
        self.known = restarted(self.known if change.empty else evolve(self.known, change))
        return [one.kind for one in change.transitions]

    @property
    def now(self) -> Tracked:
        return self.known.jobs["ftjob-1"]

    @property
    def reason(self) -> StallReason | None:
        return self.now.stall.reason if self.now.stall is not None else None


def restarted(of: Known) -> Known:
    return msgspec.json.decode(msgspec.json.encode(of), type=Known)


def steps(first: int, last: int, start: datetime, every: timedelta = MINUTE, of: int = 400) -> list[object]:
    return [measured(step, of, start + every * (step - first)) for step in range(first, last + 1)]


def test_an_estimate_comes_from_the_steps_and_survives_restarts() -> None:
    story = Story()
    for minute in range(0, 100, 10):
        story.look(NOON + (minute + 10) * MINUTE, *steps(minute + 1, minute + 10, NOON + (minute + 1) * MINUTE))
    assert story.now.expected_finish(NOON + 100 * MINUTE) == NOON + 400 * MINUTE
    assert story.now.expected_finish(NOON + 400 * MINUTE) is None


def test_the_provider_s_estimate_comes_first_until_it_has_passed() -> None:
    by_rate = Headway(finish=NOON + 2 * HOUR)
    one = tracked(job(estimated_finish=NOON + HOUR), headway=by_rate)
    assert one.expected_finish(NOON) == NOON + HOUR
    assert one.expected_finish(NOON + HOUR) == NOON + 2 * HOUR
    assert one.expected_finish(NOON + 2 * HOUR) == NOON + HOUR, "overdue"
    assert tracked(job(status=Status.SUCCEEDED), headway=by_rate).expected_finish(NOON) is None


@pytest.mark.parametrize("run", real_runs(), ids=lambda run: run.name)
def test_real_runs_are_estimated_within_a_quarter_as_their_events_come(run: RealRun) -> None:
    samples = run.samples(slower=60)
    story, done = Story(), samples[: run.steps // 4]
    for start in range(0, len(done), 7):
        part = done[start : start + 7]
        story.look(part[-1][0], *(measured(step, run.steps, at) for at, step in part))
    now, end = done[-1][0], samples[-1][0]
    finish = story.now.expected_finish(now)
    assert finish is None or abs((finish - now) / (end - now) - 1) <= 0.25


def test_a_vendor_that_tells_steps_in_the_job_or_a_share_alone_is_timed_by_our_looks() -> None:
    tellings: list[Callable[[int], Job]] = [
        lambda done: trained(job(), latest=Metrics(step=done, steps=100)),
        lambda done: job(reported_progress=done / 100),
    ]
    for told in tellings:
        story = Story()
        for done in range(1, 61):
            story.look(NOON + done * MINUTE, job=told(done))
        finish = story.now.expected_finish(NOON + HOUR)
        assert finish is not None
        assert abs(finish - NOON - 100 * MINUTE) <= MINUTE


def test_what_is_remembered_of_a_run_does_not_grow_with_it() -> None:
    story = Story()
    sizes = []
    for block in range(30):
        story.look(NOON + block * HOUR, *steps(60 * block + 1, 60 * block + 60, NOON + block * HOUR, of=10**6))
        sizes.append(len(msgspec.json.encode(story.now.headway)))
    assert max(sizes) < 1200


def test_after_a_pause_the_rate_is_measured_anew_and_no_step_is_missed() -> None:
    story = Story()
    story.look(NOON + 50 * MINUTE, *steps(1, 50, NOON))
    assert story.look(NOON + HOUR, job=job(status=P), unread=True) == [TransitionKind.MOVED]
    assert story.now.expected_finish(NOON + HOUR) is None
    story.look(NOON + 50 * HOUR, job=job(status=Q), unread=True)
    story.look(NOON + 51 * HOUR, job=job(status=R), unread=True)
    assert story.look(NOON + 52 * HOUR, event("alive")) == []
    story.look(NOON + 52 * HOUR + 59 * MINUTE, *steps(51, 110, NOON + 52 * HOUR))
    assert story.now.expected_finish(NOON + 53 * HOUR) == NOON + 52 * HOUR + (400 - 51) * MINUTE


def test_a_step_that_does_not_advance_is_a_stall_however_much_is_said() -> None:
    story = Story()
    story.look(NOON, *steps(1, 9, NOON - 9 * SECOND, SECOND))
    told = [story.look(NOON + minute * MINUTE, event(f"e-{minute}")) for minute in (30, 61, 90)]
    assert told == [[], [STALLED], []]
    assert story.now.stall == Stall(reason=StallReason.NO_STEP, since=NOON)
    assert story.look(NOON + 3 * HOUR) == [], "silence is the same episode"
    assert story.reason is StallReason.SILENT
    assert story.look(NOON + 4 * HOUR, event("again")) == [], "and a word alone does not end it"
    assert story.look(NOON + 5 * HOUR, measured(10)) == [MOVING]
    assert not story.now.stalled
    assert story.reason is None


def test_who_could_not_read_the_events_says_nothing() -> None:
    story = Story()
    assert story.look(NOON + 9 * HOUR, job=job(status=R), unread=True) == []
    assert story.look(NOON + 9 * HOUR) == [STALLED]


def test_an_end_that_slips_by_more_than_its_half_is_a_stall_and_a_new_one_that_holds_is_none() -> None:
    story = Story()

    def expected(at: timedelta, finish: timedelta) -> list[TransitionKind]:
        return story.look(NOON + at, event(str(at)), job=job(estimated_finish=NOON + finish))

    assert [expected(MINUTE * 10 * number, 2 * HOUR) for number in range(3)] == [[], [], []]
    assert expected(HOUR, 3 * HOUR) == []
    assert expected(HOUR + MINUTE, 3 * HOUR + MINUTE) == [STALLED]
    assert story.now.stall == Stall(reason=StallReason.SLIPPING, since=NOON, promised=NOON + 2 * HOUR)
    assert expected(HOUR + 2 * MINUTE, 3 * HOUR + MINUTE) == []
    assert expected(2 * HOUR, 3 * HOUR) == [MOVING]


def test_an_end_that_passes_without_another_estimate_slips_too() -> None:
    story = Story()
    late = job(estimated_finish=NOON + 2 * HOUR)
    assert [story.look(NOON + HOUR * at, event(str(at)), job=late) for at in (0.5, 1, 1.5, 2, 2.5)] == [[]] * 5
    assert story.look(NOON + 3 * HOUR, event("3"), job=late) == [STALLED]


def queued(created: timedelta) -> Story:
    """A job that waits since then, where nineteen of twenty wait an hour at most."""
    one = tracked(job(status=Q, created_at=NOON - created), since=NOON - MINUTE, last_activity_at=NOON - MINUTE)
    return Story(known=known(one), usual=Usual(queue=HOUR, queued=40))


def test_a_queue_longer_than_usual_is_a_stall_until_the_job_leaves_it() -> None:
    story = queued(59 * MINUTE)
    assert story.look(NOON) == []
    assert story.look(NOON + 2 * MINUTE) == [STALLED]
    assert story.now.stall == Stall(reason=StallReason.QUEUED, since=NOON - 59 * MINUTE, usual=story.usual)
    story.usual = Usual(queue=3 * HOUR, queued=41)
    assert story.look(NOON + 3 * MINUTE, event("in the queue")) == [], "that others wait as long now moves nothing"
    assert story.look(NOON + HOUR, job=job(status=R, created_at=NOON - HOUR), unread=True) == [TransitionKind.MOVED]
    assert not story.now.stalled
    assert story.reason is None


def test_where_it_is_known_that_queues_are_long_the_limit_of_silence_does_not_count() -> None:
    story = queued(10 * HOUR)
    story.usual = Usual(queue=12 * HOUR, queued=40)
    assert story.look(NOON + HOUR) == []
    story.usual = Usual()
    assert story.look(NOON + 7 * HOUR) == [STALLED]
    assert story.reason is StallReason.SILENT


def test_a_job_that_queues_again_after_a_pause_waits_from_then_on() -> None:
    again = tracked(job(status=Q, created_at=NOON - 9 * HOUR, started_at=NOON - 8 * HOUR), since=NOON)
    story = Story(known=known(again), usual=Usual(queue=HOUR, queued=40))
    assert story.look(NOON + HOUR) == []
    assert story.look(NOON + HOUR + SECOND) == [STALLED]


def test_an_episode_of_an_older_version_is_told_no_second_time() -> None:
    story = Story(known=known(tracked(since=NOON - 9 * HOUR, last_activity_at=NOON - 9 * HOUR, stalled=True)))
    assert story.look(NOON) == []
    assert story.reason is StallReason.SILENT
    assert story.look(NOON + MINUTE, event("alive")) == [MOVING]


def test_a_clock_that_was_set_is_neither_a_stall_nor_a_slip() -> None:
    story = Story()
    story.look(NOON + 50 * MINUTE, *steps(1, 50, NOON), job=job(estimated_finish=NOON + 7 * HOUR))
    day = timedelta(days=1)
    change = decide(story.known, seen(at=NOON + day + HOUR, reads=(read(),), shift=day), POLICY)
    (now,) = change.tracked
    assert change.transitions == ()
    assert now.headway is not None
    assert now.headway.step_at == NOON + day + 50 * MINUTE
    assert now.headway.promise is None, "the finish is by the provider's clock, which was not set"


@pytest.mark.parametrize("minutes", [10, -10])
def test_an_estimate_of_the_provider_does_not_slip_because_our_clock_was_set(minutes: int) -> None:
    story, shift = Story(), minutes * MINUTE
    expected = job(status=R, estimated_finish=NOON + 20 * MINUTE)
    story.look(NOON, event("1"), job=expected)
    for number, (at, moved) in enumerate(((NOON + MINUTE + shift, shift), (NOON + 2 * MINUTE, -shift))):
        change = decide(story.known, seen(expected, at=at, reads=(read(event(f"e{number}")),), shift=moved), POLICY)
        assert change.transitions == ()
        story.known = evolve(story.known, change)


def test_how_long_a_job_queues_is_measured_by_the_provider_s_clock() -> None:
    story = queued(30 * MINUTE)
    ahead = seen(at=NOON + HOUR, reads=(read(),), usual={MODEL: story.usual}, provider_now=NOON)
    assert decide(story.known, ahead, POLICY).transitions == ()
    right = seen(at=NOON + HOUR, reads=(read(),), usual={MODEL: story.usual})
    assert [one.kind for one in decide(story.known, right, POLICY).transitions] == [STALLED]


LOOKS = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 400) | st.none(), st.sampled_from([R, R, R, Q, P])), max_size=25
)


@settings(max_examples=60)
@given(LOOKS)
def test_whatever_happens_beginnings_and_ends_of_episodes_alternate_within_a_status(
    looks: list[tuple[int, int | None, Status]],
) -> None:
    story, at = Story(usual=Usual(queue=20 * MINUTE, queued=20)), NOON
    stuck = False
    for seconds, step, status in looks:
        at += timedelta(seconds=seconds)
        events = [measured(step, 400, at)] if step is not None else []
        for kind in story.look(at, *events, job=job(status=status)):
            assert kind in (TransitionKind.MOVED, MOVING if stuck else STALLED)
            stuck = kind is STALLED
        assert story.now.stalled is stuck
        assert (story.now.stall is not None) is stuck


def test_an_episode_of_slipping_lasts_through_a_clock_that_is_set() -> None:
    slipping = Promise(made_at=NOON, finish=NOON + HOUR, slipping=True)
    found = on_clock(Headway(promise=slipping), HOUR).promise
    assert found == Promise(made_at=NOON + HOUR, finish=NOON + HOUR, slipping=True)
