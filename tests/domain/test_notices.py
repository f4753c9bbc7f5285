"""What is told of budgets and of models' ends: to whom, once, and in which words."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.budgets import Budget, Period, Sum, period_of, periods
from monitor.domain.costs import TunedModel
from monitor.domain.news import EventType, News, Severity
from monitor.domain.notices import budget_news, budget_recipients, shutdown_news
from monitor.domain.routing import Match, OrgRef, Recipient, Rule
from tests.builders import DAY, NOON, on

RESEARCH = OrgRef(org="research", provider="openai", labels={"team": "search"})
LEGAL = OrgRef(org="legal", provider="azure")
BUDGET = Budget(name="search", amount=Decimal(500), period=Period.MONTH)
ON_BUDGET = Rule(on=on("budget"), notify=("ops",))
OPS = {"ops": Recipient(event=EventType.BUDGET, rule=ON_BUDGET)}
END = date(2027, 1, 14)
ON_SHUTDOWN = Rule(on=on("shutdown"), notify=("ops",))


def crossing(
    spent: str, *, told: Collection[str] = (), budget: Budget = BUDGET, rules: tuple[Rule, ...] = (ON_BUDGET,),
    now: datetime = NOON,
) -> News | None:  # fmt: skip
    counted = Sum(computed=Decimal(spent))
    span = period_of(budget.period, now)
    notified = told if isinstance(told, Mapping) else dict.fromkeys(told)
    return budget_news(
        budget,
        counted,
        span,
        recipients=budget_recipients(budget, (RESEARCH, LEGAL), rules),
        notified=notified,
        now=now,
    )


@pytest.mark.parametrize(
    ("spent", "told", "expected"),
    [
        pytest.param("249", [], None, id="below the first threshold"),
        pytest.param("250", [], "budget:search/2026-11/500", id="the first"),
        pytest.param("399", ["budget:search/2026-11/500"], None, id="the first again"),
        pytest.param("410", ["budget:search/2026-11/500"], "budget:search/2026-11/800", id="the second after it"),
        pytest.param("410", [], "budget:search/2026-11/800", id="of two at once, the higher"),
        pytest.param("260", ["budget:search/2026-11/800"], None, id="a lower one after a higher, never"),
        pytest.param("900", ["budget:search/2026-11/1000"], None, id="more of what is spent already"),
        pytest.param("260", ["budget:search/2026-10/1000"], "budget:search/2026-11/500", id="a new period"),
        pytest.param("260", ["budget:search-eu/2026-11/1000"], "budget:search/2026-11/500", id="another budget's"),
    ],
)
def test_the_highest_new_threshold_is_told_once_a_period(spent: str, told: list[str], expected: str | None) -> None:
    found = crossing(spent, told=told)
    assert (found.id if found else None) == expected


def test_a_raised_amount_is_judged_anew() -> None:
    earlier = {"budget:search/2026-11/500": "50.00", "budget:search/2026-11/1000": "50.00"}
    found = crossing("260", told=earlier)
    assert found is not None
    assert (found.id, found.judged_by) == ("budget:search/2026-11@500.00/500", "500.00")
    assert crossing("260", told={**earlier, found.id: found.judged_by}) is None
    again = crossing("410", told={**earlier, found.id: found.judged_by})
    assert again is not None
    assert again.id == "budget:search/2026-11@500.00/800"


@pytest.mark.fault("P6")
def test_what_became_known_after_a_period_has_ended_is_notified_for_a_day() -> None:
    first = datetime(2026, 12, 1, 0, 0, 20, tzinfo=UTC)
    before, present = periods(Period.MONTH, first)
    assert (before.id, present.id) == ("2026-11", "2026-12")
    assert [span.id for span in periods(Period.MONTH, first + DAY)] == ["2026-12"]
    counted = Sum(computed=Decimal(510))
    found = budget_news(BUDGET, counted, before, recipients=OPS, notified={}, now=first)
    assert found is not None
    assert found.id == "budget:search/2026-11/1000"
    assert found.deliveries[0].message.title == "Budget search is at 102% ($510 of $500 in 2026-11)"


def test_a_clock_set_back_and_forth_tells_nothing_twice() -> None:
    told: list[str] = []
    for now in (NOON, NOON - 30 * DAY, NOON, NOON - 30 * DAY):
        found = crossing("510", told=told, now=now)
        told += [found.id] if found else []
    assert told == ["budget:search/2026-11/1000", "budget:search/2026-10/1000"]


def test_a_total_is_told_once_for_ever() -> None:
    total = Budget(name="all", amount=Decimal(500), period=Period.TOTAL)
    first = crossing("510", budget=total)
    assert first is not None
    assert first.id == "budget:all/total/1000"
    assert crossing("5100", budget=total, told=[first.id], now=NOON + 900 * DAY) is None


@pytest.mark.parametrize(
    ("match", "events", "hears"),
    [
        pytest.param(Match(), {"budget"}, True, id="a rule without conditions"),
        pytest.param(Match(), {"succeeded", "shutdown"}, False, id="a rule on other words"),
        pytest.param(Match(orgs=frozenset({"research"})), {"budget"}, True, id="an organisation it covers"),
        pytest.param(Match(orgs=frozenset({"legal"})), {"budget"}, False, id="one that it does not"),
        pytest.param(Match(providers=frozenset({"azure"})), {"budget"}, False, id="another provider"),
        pytest.param(Match(labels={"team": "search"}), {"budget"}, True, id="a label of one that it covers"),
        pytest.param(Match(labels={"team": "law"}), {"budget"}, False, id="another label"),
        pytest.param(Match(models=("gpt-5*",), metadata={"a": "b"}), {"budget"}, True, id="models are not asked for"),
    ],
)
def test_who_hears_of_a_budget_is_asked_of_the_organisations_it_covers(
    match: Match, events: set[str], *, hears: bool
) -> None:
    budget = Budget(
        name="search", amount=Decimal(5), period=Period.MONTH, match=Match(orgs=frozenset({"research", "gone"}))
    )
    rule = Rule(match=match, on=on(*events), notify=("ops",))
    found = crossing("5", budget=budget, rules=(rule,))
    assert ([one.key for one in found.deliveries] if found else []) == (
        ["budget:search/2026-11/1000@ops"] if hears else []
    )


def test_a_notifier_of_several_rules_hears_of_a_budget_once() -> None:
    found = crossing("250", rules=(ON_BUDGET, Rule(on=on("budget", "failed"), notify=("chat", "ops"))))
    assert found is not None
    assert [one.notifier for one in found.deliveries] == ["ops", "chat"]
    assert len({one.message for one in found.deliveries}) == 1


def test_a_budget_s_message_has_the_three_sums_apart() -> None:
    counted = Sum(computed=Decimal("300.25"), estimated=Decimal("99.75"), usage=Decimal("10.0001"), unknown_jobs=3)
    budget = Budget(
        name="search", amount=Decimal(500), period=Period.MONTH, include_usage=True,
        match=Match(labels={"team": "search"}, models=("gpt-4o*",)),
    )  # fmt: skip
    found = budget_news(budget, counted, period_of(budget.period, NOON), recipients=OPS, notified={}, now=NOON)
    assert found is not None
    [delivery] = found.deliveries
    message = delivery.message
    assert (message.type, message.event_type, message.severity) == (
        "finetune.budget.crossed",
        "budget",
        Severity.WARNING,
    )
    assert message.title == "Budget search is at 82% ($410 of $500 this month)"
    assert message.facts == (
        ("Period", "2026-11"),
        ("Threshold", "80%"),
        ("Finished jobs", "$300.25"),
        ("Active jobs", "about $99.75"),
        ("Model usage", "$10"),
        ("Unknown cost", "3 active jobs"),
    )
    assert json.loads(message.data) == {
        "budget": {
            "name": "search",
            "amount": "500.00",
            "currency": "USD",
            "period": "month",
            "period_start": "2026-11-01T00:00:00Z",
            "period_end": "2026-12-01T00:00:00Z",
            "threshold": "0.8",
            "spent": "410.0001",
            "computed": "300.25",
            "estimated": "99.75",
            "usage": "10.0001",
            "unknown_jobs": 3,
            "match": {
                "org": [], "provider": [], "model": ["gpt-4o*"], "labels": {"team": "search"}, "metadata": {},
            },
        }
    }  # fmt: skip


@pytest.mark.parametrize(
    ("amount", "spent", "period", "title"),
    [
        pytest.param("500", "499.999", "month", "at 99% ($500 of $500 this month)", id="nearly all is not all"),
        pytest.param("1500", "12345.6", "day", "at 823% ($12,345.60 of $1,500 today)", id="far over"),
        pytest.param("0.002", "0.001", "week", "at 50% ($0.001 of $0.002 this week)", id="parts of a cent"),
        pytest.param("1e9", "1e9", "total", "at 100% ($1,000,000,000 of $1,000,000,000 in all)", id="all there is"),
    ],
)
def test_amounts_are_said_as_people_say_them(amount: str, spent: str, period: str, title: str) -> None:
    found = crossing(spent, budget=Budget(name="a", amount=Decimal(amount), period=Period(period)))
    assert found is not None
    assert found.deliveries[0].message.title == f"Budget a is {title}"


def test_a_budget_that_is_spent_is_bad() -> None:
    found = crossing("500")
    assert found is not None
    assert found.deliveries[0].message.severity is Severity.BAD


def models(count: int, base: str = "gpt-4o-mini-2024-07-18", day: date | None = END) -> list[TunedModel]:
    names = (f"ft:{base}:acme:bot:{number:03}" for number in range(count))
    return [TunedModel(org="research", id=name, base=base, shutdown=day) for name in names]


def ends(of: list[TunedModel], left: int, *, told: Collection[str] = (), rules: Any = (ON_SHUTDOWN,)) -> list[News]:
    now = datetime(2027, 1, 14, 9, 0, tzinfo=UTC) - timedelta(days=left)
    return list(shutdown_news(RESEARCH, of, rules=rules, notified=told, now=now))


@pytest.mark.parametrize(
    ("left", "told", "expected"),
    [
        pytest.param(91, [], [], id="too far"),
        pytest.param(52, [], ["1"], id="first seen between two milestones"),
        pytest.param(52, ["1"], [], id="seen again"),
        pytest.param(30, ["1"], ["2"], id="the next one"),
        pytest.param(5, [], ["3"], id="first seen late, only the latest"),
        pytest.param(6, ["2", "3"], [], id="a model that came later waits for the next one"),
        pytest.param(1, ["3"], ["4"], id="the last"),
        pytest.param(0, ["4"], [], id="the day itself, when the last was told"),
        pytest.param(0, ["3"], ["4"], id="the day itself, after the last day was missed"),
        pytest.param(-1, [], [], id="over"),
        pytest.param(40, ["4"], [], id="a clock that was set back"),
    ],
)
def test_each_milestone_is_told_once(left: int, told: list[str], expected: list[str]) -> None:
    known = [f"research/shutdown:2027-01-14/{number}" for number in told]
    found = [notice.id for notice in ends(models(2), left, told=known)]
    assert found == [f"research/shutdown:2027-01-14/{number}" for number in expected]


def test_a_day_is_told_in_one_message_with_all_its_models() -> None:
    [notice] = ends(models(12), 52)
    [delivery] = notice.deliveries
    message = delivery.message
    assert delivery.key == "research/shutdown:2027-01-14/1@ops"
    assert (message.type, message.event_type, message.severity) == (
        "finetune.model.shutdown",
        "shutdown",
        Severity.WARNING,
    )
    assert message.title == "12 fine-tuned models of research shut down on 14 January 2027, in 52 days"
    assert [value for label, value in message.facts if label == "Model"] == [model.id for model in models(12)]
    assert json.loads(message.data) == {
        "org": "research",
        "provider": "openai",
        "labels": {"team": "search"},
        "shutdown_date": "2027-01-14",
        "days_left": 52,
        "model_count": 12,
        "base_models": [{"id": models(1)[0].base, "model_count": 12}],
        "models": [{"id": model.id, "base_model": model.base} for model in models(12)],
    }


def test_of_many_models_people_see_twenty_and_receivers_all() -> None:
    [notice] = ends(models(1234), 52)
    message = notice.deliveries[0].message
    assert message.title.startswith("1,234 fine-tuned models")
    assert len(message.facts) == 1 + 20 + 1
    assert message.facts[-1] == ("Model", "and 1,214 more")
    assert len(json.loads(message.data)["models"]) == 1234


def test_models_are_grouped_by_their_base_and_it_is_said_what_to_do() -> None:
    [notice] = ends([*models(1), *models(3, base="gpt-4.1-2025-04-14")], 52)
    message = notice.deliveries[0].message
    assert [value for label, value in message.facts if label == "Base model"] == [
        "gpt-4.1-2025-04-14: 3 models",
        f"{models(1)[0].base}: 1 model",
    ]
    assert (message.hint or "").startswith("Before that day, fine-tune a base model that remains")
    [late] = ends(models(1), 0)
    assert (late.deliveries[0].message.hint or "").startswith("Requests to these models fail now")


def test_of_more_models_than_a_message_holds_receivers_get_the_number() -> None:
    [notice] = ends(models(6000), 52)
    told = json.loads(notice.deliveries[0].message.data)
    assert (told["model_count"], len(told["models"])) == (6000, 5000)


@pytest.mark.parametrize(
    ("left", "title", "severity"),
    [
        pytest.param(8, "in 8 days", Severity.WARNING, id="a week and a day"),
        pytest.param(7, "in 7 days", Severity.BAD, id="a week"),
        pytest.param(1, "tomorrow", Severity.BAD, id="the last day"),
        pytest.param(0, "today", Severity.BAD, id="the day itself"),
    ],
)
def test_the_nearer_the_worse(left: int, title: str, severity: Severity) -> None:
    [notice] = ends(models(1), left)
    message = notice.deliveries[0].message
    assert message.title == f"A fine-tuned model of research shuts down on 14 January 2027, {title}"
    assert message.severity is severity


def test_two_days_are_two_notices_and_another_organisation_s_models_none() -> None:
    theirs = TunedModel(org="legal", id="ft:x:y", base="x", shutdown=END)
    found = ends([*models(1), *models(1, "gpt-4.1-2025-04-14", date(2027, 2, 1)), theirs], 20)
    assert [notice.id for notice in found] == [
        "research/shutdown:2027-01-14/2",
        "research/shutdown:2027-02-01/1",
    ]


@pytest.mark.parametrize(
    ("match", "count"),
    [
        pytest.param(Match(), 3, id="a rule without conditions"),
        pytest.param(Match(orgs=frozenset({"research"}), labels={"team": "search"}), 3, id="its organisation"),
        pytest.param(Match(orgs=frozenset({"legal"})), 0, id="another organisation"),
        pytest.param(Match(labels={"team": "law"}), 0, id="another label"),
        pytest.param(Match(providers=frozenset({"azure"})), 0, id="another provider"),
        pytest.param(Match(models=("gpt-4.1*",)), 1, id="some of the bases"),
        pytest.param(Match(models=("ft:gpt-4o-mini*:000",)), 1, id="one of the models"),
        pytest.param(Match(models=("gpt-5*",)), 0, id="none of the models"),
        pytest.param(Match(metadata={"env": "prod"}), 0, id="metadata, which models have not"),
    ],
)
def test_a_rule_hears_of_the_models_it_names(match: Match, count: int) -> None:
    rule = Rule(match=match, on=on("shutdown"), notify=("chat",))
    found = ends([*models(2), *models(1, "gpt-4.1-2025-04-14")], 52, rules=(rule,))
    listed = [
        model for notice in found for one in notice.deliveries for model in json.loads(one.message.data)["models"]
    ]
    assert len(listed) == count
    assert len(found) == (count > 0)


def test_a_notifier_of_several_rules_hears_of_all_models_that_any_of_them_names() -> None:
    rules = [
        Rule(match=Match(models=(pattern,)), on=on("shutdown"), notify=("ops",)) for pattern in ("*:000", "*:00[01]")
    ]
    [notice] = ends(models(3), 52, rules=rules)
    [delivery] = notice.deliveries
    assert [one["id"][-3:] for one in json.loads(delivery.message.data)["models"]] == ["000", "001"]


def test_what_nobody_hears_is_not_told_yet() -> None:
    deaf = Rule(on=on("failed"), notify=("ops",))
    assert ends(models(1), 52, rules=(deaf,)) == []
    assert crossing("410", rules=(deaf,)) is None
