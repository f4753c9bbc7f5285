"""Budgets as they are written, what is wrong with them, and what the program takes them for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # it comes without stubs

from monitor.config import schema
from monitor.domain.budgets import Budget, Period
from monitor.domain.routing import Match
from tests.config.conftest import ORGANIZATION, Folder


def test_a_budget_with_everything(folder: Folder) -> None:
    folder.write(
        f"""{ORGANIZATION}
budgets:
  - name: search
    match: {{org: research, provider: [openai], model: "gpt-4o*", labels: {{team: search}}, metadata: {{env: prod}}}}
    amount: 0.1
    period: week
    thresholds: [0.333, 1, 2.5]
    include_usage: true
"""
    )
    assert folder.load().limits == (
        Budget(
            name="search",
            match=Match(
                orgs=frozenset({"research"}),
                providers=frozenset({"openai"}),
                models=("gpt-4o*",),
                labels={"team": "search"},
                metadata={"env": "prod"},
            ),
            amount=Decimal("0.1"),
            period=Period.WEEK,
            thresholds=(Decimal("0.333"), Decimal(1), Decimal("2.5")),
            include_usage=True,
        ),
    )


def test_a_name_and_an_amount_are_enough(folder: Folder) -> None:
    folder.write(f"{ORGANIZATION}budgets: [{{name: all, amount: 500}}]")
    thresholds = (Decimal("0.5"), Decimal("0.8"), Decimal(1))
    assert folder.load().limits == (
        Budget(
            name="all",
            amount=Decimal(500),
            period=Period.MONTH,
            thresholds=thresholds,
        ),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("amount: 5", "2:11 budgets.0.name: is required", id="no name"),
        pytest.param("name: A b, amount: 5", "2:12 budgets.0.name: should match ^[a-z0-9]", id="an odd name"),
        pytest.param("name: a", "2:11 budgets.0.amount: is required", id="no amount"),
        pytest.param("name: a, amount: 0", "2:21 budgets.0.amount: should be greater than 0", id="nothing"),
        pytest.param("name: a, amount: -3", "2:21 budgets.0.amount: should be greater than 0", id="less than nothing"),
        pytest.param("name: a, amount: yes", "2:21 budgets.0.amount: should be a number", id="a word for an amount"),
        pytest.param("name: a, amount: true", "2:21 budgets.0.amount: should be a number", id="a switch"),
        pytest.param("name: a, amount: .nan", "2:21 budgets.0.amount: should be a number", id="no number"),
        pytest.param("name: a, amount: .inf", "2:21 budgets.0.amount: should be a number", id="without end"),
        pytest.param("name: a, amount: 1e30", "2:21 budgets.0.amount: should be less than", id="more than there is"),
        pytest.param(
            "name: a, amount: '1e-5000'", "2:21 budgets.0.amount: should be at least 1e-9", id="less than is counted"
        ),
        pytest.param("name: a, amount: 5, period: year", "2:32 budgets.0.period: should be", id="another period"),
        pytest.param("name: a, amount: 5, thresholds: []", "thresholds: should not be empty", id="no threshold"),
        pytest.param(
            "name: a, amount: 5, thresholds: [0]", "2:45 budgets.0.thresholds.0: should be g", id="at nothing"
        ),
        pytest.param("name: a, amount: 5, thresholds: [11]", "2:45 budgets.0.thresholds.0: should be l", id="far over"),
        pytest.param(
            "name: a, amount: 5, thresholds: [0.8, 0.5]", "thresholds: should be in ascending order", id="falling"
        ),
        pytest.param(
            "name: a, amount: 5, thresholds: [1, 1.0]", "thresholds: should be in ascending order", id="one twice"
        ),
        pytest.param(
            "name: a, amount: 5, thresholds: [0.5, 0.5001]",
            "at most three decimals",
            id="closer than can be told apart",
        ),
        pytest.param(
            "name: a, amount: 5, match: {org: [serch, research]}",
            "2:46 budgets.0.match.org.0: no organisation has this name",
            id="an organisation that is not there",
        ),
        pytest.param(
            "name: a, amount: 5, match: {provider: azure}",
            "2:40 budgets.0.match.provider: no organisation has this provider",
            id="a provider that nobody uses",
        ),
        pytest.param(
            "name: a, amount: 5}, {name: a, amount: 7",
            "2:34 budgets.1.name: this name is taken by budgets.0",
            id="two of one name",
        ),
        pytest.param(
            "name: a, amount: 5, notify: out", "2:32 budgets.0.notify: unknown key", id="what routes are there for"
        ),
    ],
)
def test_every_rule_has_its_sentence_and_its_place(folder: Folder, text: str, problem: str) -> None:
    found = folder.write(f"{ORGANIZATION}budgets: [{{{text}}}]").problems()
    assert len(found) == 1, found
    assert problem in found[0]


def test_intervals_of_the_books_have_bounds(folder: Folder) -> None:
    folder.write(f"{ORGANIZATION}poll: {{costs_interval: 50ms, models_interval: 8d}}")
    assert folder.problems() == [
        "2:8 poll.costs_interval: should be between 100ms and 7d",
        "2:30 poll.models_interval: should be between 100ms and 7d",
    ]


@pytest.mark.parametrize(
    ("budget", "valid"),
    [
        pytest.param({"name": "a", "amount": 500}, True, id="the least"),
        pytest.param({"name": "a", "amount": 0.5, "thresholds": [0.5, 0.8, 1]}, True, id="with thresholds"),
        pytest.param({"name": "a", "amount": 0}, False, id="nothing"),
        pytest.param({"name": "a", "amount": 5, "period": "year"}, False, id="another period"),
        pytest.param({"name": "a", "amount": 5, "thresholds": [11]}, False, id="far over"),
    ],
)
def test_an_editor_knows_the_same_rules(budget: dict[str, Any], *, valid: bool) -> None:
    tree = {"organizations": [{"name": "a", "provider": "openai", "api_key": "sk-0"}], "budgets": [budget]}
    assert Draft202012Validator(schema()).is_valid(tree) is valid


def test_an_editor_shows_the_thresholds_as_numbers() -> None:
    described = schema()["$defs"]["BudgetSettings"]["properties"]["thresholds"]
    assert described["default"] == [0.5, 0.8, 1.0]


def test_a_budget_that_no_route_tells_of_is_worth_a_warning(folder: Folder) -> None:
    folder.write(
        "organizations: [{name: a, provider: openai, api_key: sk-1}]\n"
        "budgets: [{name: b, amount: 5}]\n"
        "notifiers: [{name: c, type: console}]\n"
        "routes: [{on: [failed], notify: c}]"
    )
    assert folder.warnings() == ["2:12 budgets.0.name: no route has budget in its `on`: nobody is notified of it"]
    folder.write(folder.file.read_text().replace("[failed]", "[failed, budget]"))
    assert folder.warnings() == []
