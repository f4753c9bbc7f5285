"""The values of cost metrics besides training."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from monitor.domain.costs import TunedModel
from monitor.domain.health import BillingHealth, BudgetState
from monitor.domain.reconcile import Drift, LineItemKind
from monitor.metrics.money import LINE_ITEMS
from tests.metrics.scrapes import counter, health, of, scrape, snapshot

MODEL = "ft:gpt-4o-mini-2024-07-18:acme::abc"
END = date(2027, 1, 14)


def test_use_is_counted_by_model_and_kind() -> None:
    sums = (
        counter("usage_tokens", 1_000_000, model=MODEL, kind="input"),
        counter("usage_tokens", 7, model=MODEL, kind="of another version"),
        counter("usage_nanodollars", 3_750_000_000, model=MODEL, kind="input"),
    )
    found = scrape(snapshot(counters=sums))
    mine = of(org="research", model=MODEL, kind="input")
    assert found["finetune_usage_tokens_total"] == {
        mine: 1_000_000,
        of(org="research", model=MODEL, kind="other"): 7,
    }
    assert found["finetune_usage_cost_dollars_total"] == {mine: 3.75}


def test_the_bill_is_shown_by_line_item_and_credits_are_negative() -> None:
    billed = {("research", "ft-gpt-4o, input"): Decimal("1.25"), ("research", "credit"): Decimal(-2)}
    found = scrape(snapshot(billed=billed | {("gone", "x"): Decimal(1)}))["finetune_billed_cost_month_dollars"]
    assert found == {
        of(org="research", line_item="ft-gpt-4o, input"): 1.25,
        of(org="research", line_item="credit"): -2,
    }


def test_the_costliest_line_items_have_series_and_the_others_share_one() -> None:
    billed = {("research", f"item {n}"): Decimal(n) for n in range(LINE_ITEMS + 3)}
    found = scrape(snapshot(billed=billed))["finetune_billed_cost_month_dollars"]
    assert len(found) == LINE_ITEMS + 1
    assert found[of(org="research", line_item="other")] == 0 + 1 + 2
    assert sum(found.values()) == sum(range(LINE_ITEMS + 3))


def test_line_items_equal_after_cleaning_are_summed() -> None:
    billed = {("research", "a\u202e"): Decimal(1), ("research", "a"): Decimal(2)}
    assert scrape(snapshot(billed=billed))["finetune_billed_cost_month_dollars"] == {
        of(org="research", line_item="a"): 3
    }


def test_a_budget_shows_its_limit_and_what_was_spent() -> None:
    state = health()
    state.budgets = (BudgetState(name="search", limit=Decimal(500), spent=Decimal("410.50")),)
    found = scrape(snapshot(), state=state)
    assert found["finetune_budget_limit_dollars"] == {of(budget="search"): 500}
    assert found["finetune_budget_spent_dollars"] == {of(budget="search"): 410.5}


def test_computed_and_billed_costs_are_both_shown() -> None:
    state = health()
    drifts = (Drift(org="research", kind=LineItemKind.TRAINING, computed=Decimal(100), billed=Decimal(125)),)
    state.billing = {"research": BillingHealth(org="research", drifts=drifts)}
    assert scrape(snapshot(), state=state)["finetune_reconciled_cost_dollars"] == {
        of(org="research", kind="training", source="computed"): 100,
        of(org="research", kind="training", source="billed"): 125,
    }


def tuned(id_: str, shutdown: date | None = END, org: str = "research") -> TunedModel:
    return TunedModel(org=org, id=id_, base="gpt-4o-mini-2024-07-18", shutdown=shutdown)


def test_a_model_ends_at_the_start_of_its_last_day_in_utc() -> None:
    models = (tuned(MODEL), tuned("ft:other", shutdown=None), tuned("ft:theirs", org="gone"))
    found = scrape(snapshot(models=models))["finetune_model_shutdown_timestamp_seconds"]
    assert found == {
        of(org="research", model=MODEL, base_model="gpt-4o-mini-2024-07-18"): datetime(
            2027, 1, 14, tzinfo=UTC
        ).timestamp()
    }


def test_models_beyond_those_that_have_series_are_counted() -> None:
    models = (tuned(MODEL), tuned("ft:other"), tuned("ft:other\n"))
    scraped = scrape(snapshot(models=models, shutdowns={END: 7, date(2028, 1, 1): 1}))
    assert len(scraped["finetune_model_shutdown_timestamp_seconds"]) == 2, "two have the same harmless name"
    assert scraped["finetune_model_series_dropped"] == {of(): 6}
