"""The series of money beside the jobs: what use cost, what was billed, the budgets, and when tuned models end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from monitor.metrics.aggregates import counter
from monitor.metrics.labels import ID, NAME, OTHER, clean
from monitor.metrics.view import View

Family = Callable[[View], Metric]
LINE_ITEMS: Final = 200
"""Line items of one organisation that have series of their own: the dearest; the others are summed up as `other`."""
MODELS: Final = 1000
"""Tuned models of one organisation that have series of their own: those that end first."""


def billed(view: View) -> Metric:
    """The provider's own bill."""
    metric = GaugeMetricFamily(
        "finetune_billed_cost_month_dollars",
        "What the provider has billed in this UTC month so far, in US dollars, fine-tuning or not.",
        labels=["org", "line_item"],
    )
    sums: dict[tuple[str, str], float] = {}
    taken: dict[str, int] = {}
    for (org, item), usd in sorted(view.billed.items(), key=lambda line: -abs(line[1])):
        if org not in view.health.orgs:
            continue
        taken[org] = taken.get(org, 0) + 1
        label = (clean(item, NAME) or OTHER) if taken[org] <= LINE_ITEMS else OTHER
        sums[org, label] = sums.get((org, label), 0.0) + float(usd)
    for labels, dollars in sums.items():
        metric.add_metric(labels, dollars)
    return metric


def reconciled(view: View) -> Metric:
    """Computed beside billed."""
    metric = GaugeMetricFamily(
        "finetune_reconciled_cost_dollars",
        "What was computed and what was billed, in US dollars, over the settled ones of the last 30 days.",
        labels=["org", "kind", "source"],
    )
    for org, books in view.health.accounts.items():
        for one in books.drifts:
            metric.add_metric([org, one.kind.value, "computed"], float(one.computed))
            metric.add_metric([org, one.kind.value, "billed"], float(one.billed))
    return metric


def budget_limit(view: View) -> Metric:
    """What may be spent."""
    metric = GaugeMetricFamily(
        "finetune_budget_limit_dollars", "What may be spent in the budget's period, in US dollars.", labels=["budget"]
    )
    for budget in view.health.budgets:
        metric.add_metric([clean(budget.name, NAME)], float(budget.limit))
    return metric


def budget_spent(view: View) -> Metric:
    """What has been spent."""
    metric = GaugeMetricFamily(
        "finetune_budget_spent_dollars",
        "What was spent in the budget's present period, in US dollars: computed costs and estimates of active jobs.",
        labels=["budget"],
    )
    for budget in view.health.budgets:
        metric.add_metric([clean(budget.name, NAME)], float(budget.spent))
    return metric


def model_shutdown(view: View) -> Metric:
    """When tuned models stop answering."""
    metric = GaugeMetricFamily(
        "finetune_model_shutdown_timestamp_seconds",
        "When the fine-tuned model is shut down; absent where no date is known.",
        labels=["org", "model", "base_model"],
    )
    met: set[tuple[str, str]] = set()
    taken: dict[str, int] = {}
    dated = [(model.shutdown, model) for model in view.models if model.shutdown is not None]
    for day, model in sorted(dated, key=lambda pair: pair[0]):
        labels = (model.org, clean(model.id, ID))
        taken[model.org] = taken.get(model.org, 0) + 1
        if model.org in view.health.orgs and labels not in met and taken[model.org] <= MODELS:
            met.add(labels)
            midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
            metric.add_metric([*labels, clean(model.base, NAME)], midnight.timestamp())
    return metric


MONEY: Final[tuple[Family, ...]] = (
    counter(
        "finetune_usage_tokens_total",
        "Tokens of requests to fine-tuned models, as the provider's usage report counts them.",
        "usage_tokens",
    ),
    counter(
        "finetune_usage_cost_dollars_total",
        "What requests to fine-tuned models cost by the price of their day, in US dollars.",
        "usage_nanodollars",
        1_000_000_000,
    ),
    billed,
    reconciled,
    budget_limit,
    budget_spent,
    model_shutdown,
)
