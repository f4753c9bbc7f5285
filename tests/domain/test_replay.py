"""What a replay sends: to whom, and never with what came later."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.decide import Policy, decide
from monitor.domain.flow import Transition, TransitionKind
from monitor.domain.model import Basis, Cost, JobError, Metrics, Status
from monitor.domain.news import EventType
from monitor.domain.render import Labelling
from monitor.domain.replay import MOST_LISTED, Past, Replayed, ReplayedDelivery, StoredDelivery, as_of, plan
from monitor.domain.routing import Match, Rule
from monitor.domain.stall import Stall, StallReason
from monitor.domain.verdict import Verdict, VerdictKind
from tests.builders import HOUR, MINUTE, NOON, job, known, seen, tracked, trained

ALL = frozenset(
    {
        EventType.APPEARED,
        EventType.STARTED,
        EventType.PAUSED,
        EventType.RESUMED,
        EventType.SUCCEEDED,
        EventType.FAILED,
        EventType.CANCELLED,
        EventType.STALLED,
    }
)
PAID = Cost(basis=Basis.COMPUTED, usd=Decimal("2.40"))
FAILED = job(
    status=Status.FAILED,
    name="tone",
    started_at=NOON - 31 * MINUTE,
    finished_at=NOON,
    trained_tokens=900,
    fine_tuned_model="ft:tone",
    error=JobError(code="server_error"),
    metadata={"env": "prod"},
    url="https://platform.openai.com/finetune/ftjob-1",
)
ENDED = tracked(trained(FAILED, latest=Metrics(step=42, steps=100)), seq=3, cost=PAID)


def transition(
    seq: int = 3, after: Status = Status.FAILED, kind: TransitionKind = TransitionKind.MOVED, **over: Any
) -> Transition:
    fields: dict[str, Any] = {"at": NOON - (3 - seq) * 10 * MINUTE, "before": Status.QUEUED}
    return Transition(org="research", job="ftjob-1", seq=seq, kind=kind, after=after, **{**fields, **over})


def past(of: Transition | None = None, **stored: StoredDelivery) -> Past:
    return Past(transition=of or transition(), tracked=ENDED, stored=stored)


def policies(*rules: Rule, **labels: str) -> dict[str, Policy]:
    return {
        "research": Policy(rules=rules or (Rule(on=ALL, notify=("ops", "chat")),), labelling=Labelling(labels=labels))
    }


WAITS = StoredDelivery(key="research/ftjob-1/3@waits", type="t", title="waits", waits=True)
SETTLED = StoredDelivery(key="research/ftjob-1/3@sent", type="t", title="settled", waits=False)


def test_what_is_there_goes_out_again_what_waits_is_left_and_what_lacks_is_new() -> None:
    rules = Rule(on=ALL, notify=("sent", "waits", "late"))
    planned = plan([past(sent=SETTLED, waits=WAITS, retired=SETTLED)], policies(rules))
    assert [(letter.key, letter.title, letter.new) for letter in planned.deliveries] == [
        ("research/ftjob-1/3@sent", "settled", False),
        ("research/ftjob-1/3@late", "tone failed", True),
    ]
    assert (planned.again, planned.waiting) == (("research/ftjob-1/3@sent",), 1)
    assert [delivery.key for delivery in planned.new] == ["research/ftjob-1/3@late"]


def test_what_is_told_for_the_first_time_is_what_decide_would_have_told() -> None:
    policy = policies(team="nlp")["research"]
    running = tracked(replace(FAILED, status=Status.RUNNING, finished_at=None, error=None), seq=2)
    change = decide(known(running), seen(FAILED), policy)
    (moved,), (now,) = change.transitions, change.tracked
    planned = plan([Past(transition=moved, tracked=now)], {"research": policy})
    assert planned.new == change.deliveries
    assert len(planned.new) == 2


@pytest.mark.parametrize(
    ("of", "heard"),
    [
        pytest.param(transition(), ["ops", "chat"], id="an end"),
        pytest.param(transition(1, Status.QUEUED, TransitionKind.APPEARED), ["ops", "chat"], id="an appearance"),
        pytest.param(transition(2, Status.RUNNING, TransitionKind.STALLED), ["ops", "chat"], id="a stall"),
        pytest.param(transition(kind=TransitionKind.BASELINE), [], id="history is never news"),
        pytest.param(transition(2, Status.UNKNOWN, TransitionKind.GONE), [], id="nor is a job that is gone"),
        pytest.param(transition(2, Status.RUNNING, TransitionKind.BACK), [], id="or back"),
        pytest.param(replace(transition(), org="left"), [], id="an organisation that is not watched any more"),
    ],
)
def test_who_hears_of_what(of: Transition, heard: list[str]) -> None:
    assert [letter.notifier for letter in plan([past(of)], policies()).deliveries] == heard


@pytest.mark.parametrize(
    ("rule", "deliveries"),
    [
        pytest.param(Rule(notify=("ops",)), 1, id="only ends are asked for"),
        pytest.param(Rule(on=ALL, notify=("ops",)), 2, id="all is asked for"),
        pytest.param(
            Rule(on=ALL, match=Match(models=("ft:tone",)), notify=("ops",)), 1, id="its model came with its end"
        ),
        pytest.param(Rule(on=ALL, match=Match(labels={"team": "nlp"}), notify=("ops",)), 2, id="the labels of today"),
        pytest.param(Rule(on=ALL, match=Match(labels={"team": "old"}), notify=("ops",)), 0, id="labels of yesterday"),
    ],
)
def test_the_routes_of_today_say_who_hears_of_it(rule: Rule, deliveries: int) -> None:
    both = [past(transition(2, Status.RUNNING)), past()]
    assert len(plan(both, policies(rule, team="nlp")).deliveries) == deliveries


def test_one_notifier_alone_can_be_asked_for() -> None:
    planned = plan([past(ops=SETTLED, chat=WAITS)], policies(), "ops")
    assert ([letter.notifier for letter in planned.deliveries], planned.waiting) == (["ops"], 0)


def test_an_earlier_transition_is_told_without_anything_that_came_later() -> None:
    (delivery, _) = plan([past(transition(2, Status.RUNNING))], policies()).new
    message = delivery.message
    assert (message.type, message.title, message.at) == ("finetune.job.started", "tone started", NOON - 10 * MINUTE)
    assert (message.error, message.hint) == (None, None)
    assert dict(message.facts).keys() == {"Organisation", "Model", "Queued for", "Job"}
    told = json.loads(message.data)["job"]
    known_then = {
        "id",
        "kind",
        "provider_id",
        "name",
        "model",
        "method",
        "metadata",
        "url",
        "status",
        "created_at",
        "started_at",
    }
    assert {name for name, value in told.items() if value is not None} == known_then | {"queue_seconds", "cost"}
    assert (told["status"], told["cost"]) == ("running", {"usd": None, "basis": "unknown"})


def test_an_earlier_transition_knows_the_base_but_no_verdict() -> None:
    tuned = replace(ENDED.job, model="ft:gpt-4o:acme::abc", base_model="gpt-4o")
    verdict = Verdict(kind=VerdictKind.OVERFITS, text="Overfits since step 40.")
    ended = replace(ENDED, job=tuned, verdict=verdict)
    then = as_of(ended, transition(2, Status.RUNNING))
    assert (then.job.base, then.verdict) == ("gpt-4o", None)


def test_the_newest_transition_is_told_with_all_that_is_known_now() -> None:
    assert as_of(ENDED, transition()) == ENDED


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        pytest.param(transition(2, Status.RUNNING), NOON - 31 * MINUTE, id="it ran"),
        pytest.param(transition(2, Status.QUEUED), None, id="it had not started"),
        pytest.param(transition(2, Status.QUEUED, restarted=True), NOON - 31 * MINUTE, id="it was queued again"),
        pytest.param(transition(2, Status.RUNNING, at=NOON - HOUR), None, id="this start was another one"),
    ],
)
def test_the_start_is_told_where_it_had_been(of: Transition, expected: Any) -> None:
    assert as_of(ENDED, of).job.started_at == expected


def test_a_stall_that_is_over_is_told_without_a_silence_that_nobody_remembers() -> None:
    stall = transition(3, Status.RUNNING, TransitionKind.STALLED)
    stirred = tracked(job(), seq=3)
    silent = tracked(job(), seq=3, stalled=True, stall=Stall(reason=StallReason.SILENT, since=NOON - HOUR))
    facts = [
        dict(plan([Past(transition=stall, tracked=one)], policies()).new[0].message.facts) for one in (stirred, silent)
    ]
    assert ["Stalled since" in one for one in facts] == [False, True]


def test_all_letters_are_counted_and_the_first_are_named() -> None:
    deliveries = [
        ReplayedDelivery(org="o", job="j", seq=n, address="ops", type="t", title="", new=n % 2 == 0, key=f"o/j/{n}@ops")
        for n in range(MOST_LISTED)
    ]
    told = Replayed().plus(deliveries, 3).plus(deliveries[:7], 4)
    assert told == Replayed(
        deliveries=tuple(deliveries), again=MOST_LISTED // 2 + 3, new=MOST_LISTED // 2 + 4, waiting=7
    )
