"""Metric families of money besides training: usage, bills and budgets; and of shutdowns of fine-tuned models."""

from __future__ import annotations

from typing import Final

from monitor.metrics.aggregates import counter
from monitor.metrics.family import Family, Labels, Rows
from monitor.metrics.labels import NAME, OTHER, clean
from monitor.metrics.view import View

LINE_ITEMS: Final = 200
"""Line items with series of their own per organisation: the most expensive; the others are summed up as `other`."""


def _billed(view: View) -> Rows:
    sums: dict[Labels, float] = {}
    taken: dict[str, int] = {}
    for (org, item), usd in sorted(view.billed.items(), key=lambda line: -abs(line[1])):
        if org not in view.health.orgs:
            continue
        taken[org] = taken.get(org, 0) + 1
        label = (clean(item, NAME) or OTHER) if taken[org] <= LINE_ITEMS else OTHER
        sums[org, label] = sums.get((org, label), 0.0) + float(usd)
    return sums


def _hosted(view: View) -> Rows:
    sums: dict[Labels, float] = {}
    for (org, model), usd in view.hosted.items():
        if org in view.health.orgs:
            labels = (org, view.model_labels(org, model))
            sums[labels] = sums.get(labels, 0.0) + float(usd)
    return sums


def _reconciled(view: View) -> Rows:
    found: dict[Labels, float] = {}
    for org, billing in view.health.billing.items():
        for drift in billing.drifts:
            found[org, drift.kind.value, "computed"] = float(drift.computed)
            found[org, drift.kind.value, "billed"] = float(drift.billed)
    return found


def _limit(view: View) -> Rows:
    return {(clean(budget.name, NAME),): float(budget.limit) for budget in view.health.budgets}


def _spent(view: View) -> Rows:
    return {(clean(budget.name, NAME),): float(budget.spent) for budget in view.health.budgets}


MONEY: Final[tuple[Family, ...]] = (
    counter(
        "finetune_usage_tokens_total",
        "Tokens of requests to fine-tuned models, as the provider's usage report counts them.",
        "usage_tokens",
    ),
    counter(
        "finetune_usage_cost_dollars_total",
        "Cost of requests to fine-tuned models in US dollars, by the price on their day.",
        "usage_nanodollars",
        1_000_000_000,
    ),
    Family(
        name="finetune_billed_cost_month_dollars",
        kind="gauge",
        text="The provider's whole bill for the current UTC month so far, in US dollars, not only for fine-tuning.",
        labels=("org", "line_item"),
        rows=_billed,
    ),
    Family(
        name="finetune_hosting_cost_month_dollars",
        kind="gauge",
        text="Computed cost of hosting fine-tuned models in the current UTC month, in US dollars.",
        labels=("org", "model"),
        rows=_hosted,
    ),
    Family(
        name="finetune_reconciled_cost_dollars",
        kind="gauge",
        text="Computed and billed costs in US dollars over the settled days of the last 30.",
        labels=("org", "kind", "source"),
        rows=_reconciled,
    ),
    Family(
        name="finetune_budget_limit_dollars",
        kind="gauge",
        text="The budget's limit for one period, in US dollars.",
        labels=("budget",),
        rows=_limit,
    ),
    Family(
        name="finetune_budget_spent_dollars",
        kind="gauge",
        text="Spent in the budget's current period, in US dollars: computed costs and estimates of active jobs.",
        labels=("budget",),
        rows=_spent,
    ),
    Family(
        name="finetune_model_shutdown_timestamp_seconds",
        kind="gauge",
        text="When the fine-tuned model will be shut down; absent where no date is known.",
        labels=("org", "model", "base_model"),
        rows=lambda view: view.shutdowns.rows,
    ),
    Family(
        name="finetune_model_series_dropped",
        kind="gauge",
        text="Tuned models with a shutdown date but without series of their own: beyond 5,000, the latest dates.",
        rows=lambda view: {(): view.shutdowns.dropped},
    ),
)
