"""What a decision writes, to the last field."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from monitor.domain.decide import Policy, decide, evolve, slices
from monitor.domain.diff import GONE
from monitor.domain.flow import (
    GONE_AFTER,
    SLICE,
    Change,
    Doubt,
    Known,
    Observation,
    Tracked,
    Transition,
    TransitionKind,
)
from monitor.domain.model import NO_TUNING, UNKNOWN_COST, Basis, Cost, Method, Metrics, Status, Training
from monitor.domain.news import Delivery, EventType
from monitor.domain.pricing import Prices, Rate
from monitor.domain.render import Labelling, render
from monitor.domain.routing import Rule
from monitor.domain.stall import Stall, StallReason
from tests.builders import DAY, HOUR, MINUTE, NOON, SECOND, job, known, measured, on, read, seen, tracked

Q, R, F = Status.QUEUED, Status.RUNNING, Status.FAILED
MILLISECOND = timedelta(milliseconds=1)
HOURLY = Rate(models=("o4-mini",), methods=frozenset({Method.REINFORCEMENT}), per_hour=Decimal(100))
MILLION = Rate(models=("mini",), methods=frozenset({Method.SUPERVISED}), per_million=Decimal(8))
TOLD = Rule(on=on("started", "failed", "stalled"), notify=("chat", "ops"))
POLICY = Policy(
    labelling=Labelling(labels={"team": "search"}),
    stall_after={R: HOUR},
    rules=(TOLD,),
    prices=Prices(training=(HOURLY, MILLION)),
)


def transition(seq: int, kind: TransitionKind, before: Status | None, after: Status, **over: bool) -> Transition:
    return Transition(org="research", job="ftjob-1", seq=seq, at=NOON, kind=kind, before=before, after=after, **over)


def test_a_start_is_written_and_told() -> None:
    before = tracked(job(status=Q), seq=4)
    change = decide(known(before, version=7), seen(job(status=R)), POLICY)
    runs = Tracked(job=job(status=R), seq=5, since=NOON, last_activity_at=NOON, ran_at=NOON)
    moved = transition(5, TransitionKind.MOVED, Q, R)
    message = render(moved, runs, EventType.STARTED, Labelling(labels={"team": "search"}))
    assert change == Change(
        org="research",
        based_on=7,
        at=NOON,
        tracked=(runs,),
        transitions=(moved,),
        deliveries=tuple(
            Delivery(subject=moved.subject, seq=5, notifier=notifier, message=message) for notifier in ("chat", "ops")
        ),
    )
    assert [delivery.key for delivery in change.deliveries] == ["research/ftjob-1/5@chat", "research/ftjob-1/5@ops"]


def test_a_first_sight_is_written_and_not_told() -> None:
    change = decide(Known(org="research"), seen(job(status=F), job("b"), complete=True), POLICY)
    assert change.transitions == (
        transition(1, TransitionKind.BASELINE, None, F),
        replace(transition(1, TransitionKind.BASELINE, None, R), job="b"),
    )
    assert change.tracked == (
        Tracked(
            job=job(status=F, finished_at=None),
            seq=1,
            since=NOON,
            last_activity_at=NOON - HOUR,
            finalized=True,
            cost=UNKNOWN_COST,
        ),
        Tracked(job=job("b"), seq=1, since=NOON, last_activity_at=NOON - HOUR),
    )
    assert (change.based_on, change.deliveries, change.counters, change.horizon) == (0, (), (), NOON - MILLISECOND)
    assert not change.empty
    assert not decide(Known(org="research"), seen(), POLICY).empty, "an empty organisation was seen too"


def test_a_stall_is_written_and_told() -> None:
    before = tracked(job(), seq=2, since=NOON - 3 * HOUR, last_activity_at=NOON - 2 * HOUR)
    change = decide(known(before), seen(reads=(read(),)), POLICY)
    assert change.transitions == (transition(3, TransitionKind.STALLED, R, R),)
    stall = Stall(reason=StallReason.SILENT, since=NOON - 2 * HOUR)
    assert change.tracked == (replace(before, seq=3, stalled=True, stall=stall),), "no new status, no sign of life"
    assert [(delivery.seq, delivery.message.event_type) for delivery in change.deliveries] == [(3, "stalled")] * 2


def test_silence_of_exactly_the_limit_is_no_stall() -> None:
    before = tracked(last_activity_at=NOON - HOUR)
    assert decide(known(before), seen(reads=(read(),)), POLICY).empty
    assert not decide(known(before), seen(reads=(read(),), at=NOON + SECOND), POLICY).empty


def test_a_stalled_job_stays_stalled_until_it_stirs() -> None:
    before = tracked(stalled=True, missing=1)
    assert decide(known(before), seen(job()), POLICY).tracked == (replace(before, missing=0),)


def test_a_stall_is_not_judged_when_the_job_itself_changed() -> None:
    before = tracked(last_activity_at=NOON - 2 * HOUR)
    change = decide(known(before), seen(job(estimated_finish=NOON + HOUR), reads=(read(),)), POLICY)
    assert change.transitions == ()
    assert change.tracked[0].last_activity_at == NOON


def test_a_job_that_is_missing_once_is_counted_and_kept() -> None:
    before = tracked(seq=2)
    change = decide(known(before), seen(missing=frozenset({"ftjob-1"})), POLICY)
    assert change == Change(org="research", based_on=1, at=NOON, tracked=(replace(before, missing=1),))


def test_events_that_are_read_in_between_do_not_make_it_be_there() -> None:
    before = tracked(missing=GONE_AFTER - 1)
    assert decide(known(before), seen(reads=(read(),), at=NOON + SECOND), POLICY).tracked == ()


@pytest.mark.fault("U22")
def test_a_job_that_is_missing_for_the_third_time_is_gone_and_nobody_hears_of_it() -> None:
    before = tracked(seq=2, missing=GONE_AFTER - 1)
    change = decide(known(before), seen(missing=frozenset({"ftjob-1"})), POLICY)
    gone = job(status=Status.UNKNOWN, raw_status=GONE)
    assert change.tracked == (replace(before, job=gone, seq=3, since=NOON, missing=GONE_AFTER),)
    assert change.transitions == (transition(3, TransitionKind.GONE, R, Status.UNKNOWN),)
    assert change.deliveries == ()


@pytest.mark.parametrize(
    ("before", "look"),
    [
        pytest.param(tracked(job(status=F)), seen(missing=frozenset({"ftjob-1"})), id="an ended job is not missed"),
        pytest.param(
            tracked(job(status=Status.UNKNOWN), missing=GONE_AFTER),
            seen(missing=frozenset({"ftjob-1"})),
            id="nor twice",
        ),
        pytest.param(tracked(), seen(), id="a job that is not on the page"),
        pytest.param(tracked(), seen(job()), id="a job as it was"),
    ],
)
def test_nothing_is_written(before: Tracked, look: Observation) -> None:
    assert decide(known(before), look, POLICY).empty


@pytest.mark.parametrize("seed", range(20))
def test_of_a_quiet_poll_nothing_is_written_whatever_is_known(seed: int) -> None:
    dice = Random(seed)
    jobs = [tracked(job(f"ftjob-{n}", status=dice.choice(list(Status))), missing=dice.randrange(5)) for n in range(9)]
    before = known(*dice.sample(jobs, dice.randrange(9)), horizon=NOON - dice.randrange(2) * DAY)
    look = seen(at=NOON + dice.randrange(9) * DAY, provider_now=NOON, settled_until=NOON - MINUTE)
    assert look.quiet
    assert decide(before, look, POLICY).empty


@pytest.mark.parametrize(
    "more",
    [{"jobs": (job(),)}, {"missing": frozenset({"a"})}, {"shift": DAY}, {"listed": False}, {"complete": False}],
)
def test_a_poll_that_shows_something_is_not_quiet(more: dict[str, Any]) -> None:
    assert not replace(seen(), **more).quiet


def test_a_job_that_started_is_not_tallied_again_when_it_is_gone_or_the_clock_is_set() -> None:
    before = known(tracked(job(started_at=NOON - MINUTE), missing=GONE_AFTER - 1))
    assert decide(before, seen(missing=frozenset({"ftjob-1"})), POLICY).counters == ()
    assert decide(before, seen(shift=DAY, at=NOON + DAY), POLICY).counters == ()


def test_a_job_that_is_back_goes_on_where_it_was() -> None:
    before = tracked(job(status=Status.UNKNOWN, raw_status=GONE), seq=3, missing=GONE_AFTER)
    change = decide(known(before), seen(job()), POLICY)
    assert change.transitions == (transition(4, TransitionKind.BACK, Status.UNKNOWN, R),)
    assert change.tracked == (Tracked(job=job(), seq=4, since=NOON, last_activity_at=NOON),)


def test_a_clock_that_was_set_moves_every_memory_along_and_writes_it() -> None:
    before = tracked(seq=2), tracked(job("b"), seq=3)
    change = decide(known(*before), seen(job(), shift=DAY, at=NOON + DAY), POLICY)
    assert change.tracked == tuple(
        replace(one, since=one.since + DAY, last_activity_at=NOON - 2 * MINUTE + DAY) for one in before
    )
    assert change.transitions == ()


def test_what_is_known_follows_from_what_was_written() -> None:
    before = known(tracked(job("a")), tracked(job("b"), seq=2), version=3, final={"old": F}, horizon=NOON - DAY)
    finalized, moved = tracked(job("a", status=F), finalized=True), tracked(job("b", status=F), seq=3)
    after = evolve(before, Change(org="research", based_on=3, at=NOON, tracked=(finalized, moved)))
    assert after == Known(org="research", version=4, jobs={"b": moved}, final={"old": F, "a": F}, horizon=NOON - DAY)
    later = Change(org="research", based_on=4, at=NOON, horizon=NOON)
    assert evolve(after, later) == replace(after, version=5, horizon=NOON)
    corrected = Change(org="research", based_on=4, at=NOON, tracked=(tracked(job("a"), corrected=True),))
    assert evolve(after, corrected).final == {"old": F}
    assert set(evolve(after, corrected).jobs) == {"a", "b"}


def test_history_is_what_ended_before_the_lookback_and_what_is_active_never_is() -> None:
    edge = NOON - 30 * DAY
    jobs = (
        job("before", status=F, created_at=edge - SECOND),
        job("older", status=F, created_at=edge - DAY),
        job("on", status=F, created_at=edge),
        job("active", created_at=edge - DAY),
        job("undated", status=F, created_at=None),
    )
    change = decide(Known(org="research"), seen(*jobs), POLICY)
    assert [one.job.id for one in change.tracked] == ["on", "active", "undated"]
    assert change.horizon == NOON - MILLISECOND


@pytest.mark.parametrize(
    ("over", "kinds"),
    [
        pytest.param({"finished_at": NOON - SECOND}, [], id="it had ended when we came"),
        pytest.param({"finished_at": NOON + SECOND}, [TransitionKind.APPEARED], id="it ended later: no end is missed"),
        pytest.param({"created_at": NOON - DAY}, [], id="without an end, its creation tells"),
        pytest.param({"created_at": None}, [TransitionKind.APPEARED], id="without any time it is news"),
        pytest.param(
            {"created_at": NOON + SECOND, "finished_at": NOON - 9000 * DAY},
            [TransitionKind.APPEARED],
            id="an end years before the creation is none",
        ),
        pytest.param(
            {"created_at": NOON + 9000 * DAY, "finished_at": NOON - HOUR}, [], id="nor is a creation in the far future"
        ),
    ],
)
def test_what_nobody_knew_is_news_by_its_end(over: dict[str, Any], kinds: list[TransitionKind]) -> None:
    change = decide(known(horizon=NOON), seen(job(status=F, **{"created_at": NOON - HOUR, **over})), POLICY)
    assert [one.kind for one in change.transitions] == kinds


def test_the_first_sight_is_by_the_provider_s_clock() -> None:
    change = decide(Known(org="research"), seen(job(), provider_now=NOON - 10 * MINUTE), POLICY)
    assert change.horizon == NOON - 10 * MINUTE - MILLISECOND


@pytest.mark.parametrize("at", [NOON, NOON + 0.7 * SECOND])
def test_what_ended_in_the_second_of_the_first_look_and_was_not_seen_by_it_is_news(at: datetime) -> None:
    first = decide(Known(org="research"), seen(job("a", status=F, finished_at=NOON), at=at), POLICY)
    after = evolve(Known(org="research"), first)
    assert dict(after.final) | {id_: one.job.status for id_, one in after.jobs.items()} == {"a": F}
    second = decide(
        after, seen(job("b", status=F, finished_at=NOON), job("c", status=F, finished_at=NOON - SECOND)), POLICY
    )
    assert [(one.job, one.kind) for one in second.transitions] == [("b", TransitionKind.APPEARED)]


def test_what_an_earlier_poll_would_have_seen_is_no_news() -> None:
    late = seen(job(status=F, finished_at=NOON - 2 * HOUR), settled_until=NOON - HOUR)
    change = decide(known(), late, POLICY)
    assert (change.transitions, change.horizon) == ((), NOON - HOUR)


def test_a_long_list_is_stored_in_slices_the_oldest_first() -> None:
    jobs = [job(f"j{number:04}", created_at=NOON - number * SECOND) for number in range(2 * SLICE + 1)]
    parts = list(slices(seen(*jobs, missing=frozenset({"gone"}))))
    assert [len(part.jobs) for part in parts] == [SLICE, SLICE, 1]
    assert [one.id for part in parts for one in part.jobs] == [one.id for one in jobs[::-1]]
    assert [(part.last, bool(part.missing)) for part in parts] == [(False, False), (False, False), (True, True)]


def test_a_first_sight_that_was_cut_off_goes_on_as_one() -> None:
    jobs = [job(f"j{number:04}", status=F, created_at=NOON - number * MINUTE) for number in range(SLICE + 1)]
    first, last = slices(seen(*jobs))
    begun = evolve(Known(org="research"), decide(Known(org="research"), first, POLICY))
    assert begun.first_sight
    change = decide(begun, last, POLICY)
    assert ([one.kind for one in change.transitions], change.deliveries) == ([TransitionKind.BASELINE], ())
    assert not evolve(begun, change).first_sight


def test_undated_ended_jobs_are_news_after_the_first_sight() -> None:
    change = decide(known(horizon=NOON), seen(job(status=F, created_at=None)), POLICY)
    assert [one.kind for one in change.transitions] == [TransitionKind.APPEARED]


RFT = job(model="o4-mini", method=Method.REINFORCEMENT)
HALF = Training(latest=Metrics(step=5, steps=10), loop_seconds=1800.0, counted_step=5)


@pytest.mark.parametrize(
    ("look", "cost"),
    [
        pytest.param(job(model="mini"), None, id="nothing is guessed of an active job"),
        pytest.param(
            job(model="mini", trained_tokens=10**6),
            Cost(basis=Basis.ESTIMATED, usd=Decimal(8)),
            id="unless its tokens are told already",
        ),
        pytest.param(
            replace(RFT, training=HALF),
            Cost(basis=Basis.ESTIMATED, usd=Decimal(100)),
            id="or half of its steps are done",
        ),
        pytest.param(
            replace(RFT, status=Status.CANCELLED, training=HALF),
            Cost(basis=Basis.ESTIMATED, usd=Decimal(50)),
            id="at the end what was done is paid, if no more steps are told",
        ),
        pytest.param(
            replace(RFT, status=Status.SUCCEEDED, training=replace(HALF, counted_step=10)),
            Cost(basis=Basis.COMPUTED, usd=Decimal(50)),
            id="when all steps are told it is certain",
        ),
        pytest.param(job(model="mini", status=F), UNKNOWN_COST, id="an end without tokens has no cost"),
    ],
)
def test_a_job_has_its_cost(look: object, cost: Cost | None) -> None:
    assert decide(known(), seen(look), POLICY).tracked[0].cost == cost  # type: ignore[arg-type]  # a table


def test_a_cost_that_was_unknown_comes_with_the_tokens_and_then_stays() -> None:
    ended = tracked(job(model="mini", status=F, finished_at=NOON), cost=UNKNOWN_COST)
    told = seen(job(model="mini", status=F, trained_tokens=10**6))
    priced = decide(known(ended), told, POLICY)
    assert priced.tracked[0].cost == Cost(basis=Basis.COMPUTED, usd=Decimal(8))
    assert [(one.metric, one.amount) for one in priced.counters] == [
        ("trained_tokens", 10**6),
        ("cost_nanodollars", 8 * 10**9),
    ]
    dearer = replace(POLICY, prices=Prices(training=(replace(MILLION, per_million=Decimal(9)),)))
    assert decide(evolve(known(ended), priced), told, dearer).empty


def test_an_estimate_gives_way_to_the_cost() -> None:
    active = tracked(RFT, cost=Cost(basis=Basis.ESTIMATED, usd=Decimal(100)))
    over = seen(replace(RFT, status=Status.SUCCEEDED), reads=(read(measured(1, 1, loop_seconds=7200.0)),))
    assert decide(known(active), over, POLICY).tracked[0].cost == Cost(basis=Basis.COMPUTED, usd=Decimal(200))


def test_a_short_list_is_one_slice() -> None:
    look = seen(job())
    assert list(slices(look)) == [look]


def test_without_any_horizon_what_nobody_knew_is_news() -> None:
    change = decide(known(horizon=None), seen(job(status=F, finished_at=NOON - DAY)), POLICY)
    assert ([one.kind for one in change.transitions], change.horizon) == ([TransitionKind.APPEARED], None)


def test_an_end_that_is_corrected_corrects_its_costs() -> None:
    paid = Cost(basis=Basis.COMPUTED, usd=Decimal(8))
    over = job(model="mini", status=Status.SUCCEEDED, finished_at=NOON, trained_tokens=10**6)
    doubted = tracked(over, seq=3, cost=paid, doubt=Doubt(status=F, polls=2, at=NOON))
    change = decide(known(doubted), seen(job(model="mini", status=F), at=NOON + MINUTE), POLICY)
    assert [one.kind for one in change.transitions] == [TransitionKind.CORRECTED]
    assert [(one.usd, one.at) for one in change.spendings] == [(Decimal(0), NOON + MINUTE)]
    assert [one.message.title for one in change.deliveries] == [
        "ftjob-1 failed (corrected: it had been reported as succeeded)"
    ] * 2


def test_only_what_has_ended_has_an_end() -> None:
    assert tracked().ended_at is None
    assert tracked(job(status=F), seq=1).ended_at is None, "it was over when we came"
    assert tracked(job(status=F), seq=2, since=NOON).ended_at == NOON


def test_the_outline_of_an_outline_is_itself() -> None:
    one = job(metadata={"team": "search"})
    outline = one.outline(one.id)
    assert outline.outline(one.id) is outline
    assert outline.metadata == {}


def test_outlines_share_what_they_have_in_common() -> None:
    ids = ["ftjob-0", "ftjob-1"]
    one, other = (job(id_, model=str(b"gpt-4o", "ascii"), seed=1).outline(id_) for id_ in ids)
    assert one.id is ids[0]
    assert one.tuning is other.tuning is NO_TUNING
    assert one.model is other.model
