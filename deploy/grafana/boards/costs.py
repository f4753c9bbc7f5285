"""The dashboard of costs: computed, estimated, billed; use of fine-tuned models; budgets; unpriced jobs."""

from __future__ import annotations

from typing import Any, Final

from deploy.grafana.boards.board import Board, Place
from deploy.grafana.boards.panels import SPENT, bars, lines, number, query
from deploy.grafana.boards.queries import MONITOR, ORG, active, one, total
from deploy.grafana.boards.tables import Column, rows

COST: Final = ("finetune_cost_dollars_total", "org, model, method")
USE: Final = ("finetune_usage_cost_dollars_total", "org, model, kind")
USED: Final = ("finetune_usage_tokens_total", "org, model, kind")
BILL: Final = one("finetune_billed_cost_month_dollars", "org, line_item")
UNPRICED: Final = one("finetune_unpriced_jobs", "org, model")


def costs() -> Board:
    """The costs dashboard."""
    return Board(
        uid="finetune-costs",
        title="Fine-tuning costs",
        text="Training and inference costs of fine-tuned models, computed and billed, against the budgets.",
        since="now-7d",
        rows=[
            ("", [Place(panel, 4, 4) for panel in _figures()]),
            ("Budgets", _budgets()),
            ("Training", [Place(panel, 8) for panel in _training()]),
            ("Inference on fine-tuned models", [Place(panel, 8) for panel in _use()]),
            ("Bills", _bills()),
        ],
    )


def _figures() -> list[Any]:
    ahead = active(one("finetune_job_estimated_cost_dollars", "org, job_id"))
    return [
        number(
            "Training cost (selected range)",
            "Computed cost of jobs that finished in the dashboard's time range.",
            query(total(*COST, window="$__range"), "training"),
            unit="currencyUSD",
        ),
        number(
            "Estimated cost of active jobs",
            "What active jobs are expected to cost, where it can be estimated.",
            query(f"sum({ahead}) or vector(0)", "ahead"),
            unit="currencyUSD",
        ),
        number(
            "Inference cost (selected range)",
            "Requests to fine-tuned models at the price of their day, up to the latest usage report of the provider.",
            query(total(*USE, window="$__range"), "use"),
            unit="currencyUSD",
        ),
        number(
            "Billed this month",
            "The provider's whole bill for this UTC month, including other uses than fine-tuning.",
            query(f"sum({BILL})", "billed"),
            unit="currencyUSD",
        ),
        number(
            "Largest difference to the bill",
            "The largest difference between billed and computed costs over the settled days of the last 30.",
            query(f"max({_drift()})", "drift"),
            unit="currencyUSD",
        ),
        number(
            "Jobs without a known cost",
            "Finished jobs whose cost is unknown because a price or a number of tokens is missing. They are not "
            "included in the sums.",
            query(f"sum({UNPRICED}) or vector(0)", "jobs"),
            colours=[(None, "green"), (1, "orange")],
        ),
    ]


def _reconciled(source: str, by: str = "org, kind") -> str:
    return one("finetune_reconciled_cost_dollars", by, f'{ORG}, source="{source}"')


def _drift() -> str:
    return f"abs({_reconciled('billed')} - {_reconciled('computed')})"


def _budgets() -> list[Place]:
    spent = one("finetune_budget_spent_dollars", "budget", MONITOR)
    limit = one("finetune_budget_limit_dollars", "budget", MONITOR)
    return [
        Place(
            rows(
                "Budgets",
                "Each budget in its current period: computed costs and the estimates of active jobs.",
                {"budget": "Budget"},
                [
                    Column(title="Spent", ask=spent, unit="currencyUSD", decimals=2),
                    Column(title="Limit", ask=limit, unit="currencyUSD", decimals=2),
                    Column(title="Left", ask=f"{limit} - {spent}", unit="currencyUSD", decimals=2),
                    Column(title="Share", ask=f"{spent} / {limit}", unit="percentunit", bar=1, colours=SPENT),
                ],
                sort=("Share", True),
            ),
            12,
        ),
        Place(
            lines(
                "Budgets over time",
                "The spent share of each budget; it drops when a new period begins.",
                query(f"{spent} / {limit}", "{{budget}}"),
                unit="percentunit",
            ),
            12,
        ),
    ]


def _training() -> list[Any]:
    tokens = ("finetune_trained_tokens_total", "org, model, method")
    return [
        bars(
            "Training cost by organisation (selected range)",
            "Computed cost of jobs that finished in the dashboard's time range.",
            query(f"sort_desc({total(*COST, to='org', window='$__range')})", "{{org}}", instant=True),
        ),
        bars(
            "Training cost by base model (selected range)",
            "Computed cost of jobs that finished in the dashboard's time range.",
            query(
                f"sort_desc({total(*COST, to='model, method', window='$__range')})",
                "{{model}} {{method}}",
                instant=True,
            ),
        ),
        lines(
            "Trained tokens (24 h)",
            "Billable tokens of jobs that finished in the 24 hours before each point.",
            query(total(*tokens, to="org"), "{{org}}"),
            stacked=True,
        ),
    ]


def _use() -> list[Any]:
    return [
        bars(
            "Inference cost by organisation (selected range)",
            "Cost of requests to fine-tuned models.",
            query(f"sort_desc({total(*USE, to='org', window='$__range')})", "{{org}}", instant=True),
        ),
        bars(
            "Inference cost by model (selected range)",
            "Cost of requests to fine-tuned models, by model.",
            query(f"topk(15, {total(*USE, to='model', window='$__range')})", "{{model}}", instant=True),
        ),
        lines(
            "Inference tokens (24 h)",
            "Input and output tokens of fine-tuned models in the 24 hours before each point.",
            query(total(*USED, to="kind"), "{{kind}}"),
            stacked=True,
        ),
    ]


def _bills() -> list[Place]:
    computed, billed = _reconciled("computed"), _reconciled("billed")
    return [
        Place(
            rows(
                "Bill this month",
                "Month to date, as the provider reports it, including other uses than fine-tuning.",
                {"org": "Organisation", "line_item": "Line item"},
                [Column(title="Billed", ask=BILL, unit="currencyUSD", decimals=2)],
                sort=("Billed", True),
            ),
            10,
            10,
        ),
        Place(
            rows(
                "Billed and computed",
                "Over the settled days of the last 30: the newest three are left out.",
                {"org": "Organisation", "kind": "Kind"},
                [
                    Column(title="Computed", ask=computed, unit="currencyUSD", decimals=2),
                    Column(title="Billed", ask=billed, unit="currencyUSD", decimals=2),
                    Column(title="Difference", ask=f"{billed} - {computed}", unit="currencyUSD", decimals=2),
                ],
                sort=("Difference", True),
            ),
            7,
            10,
        ),
        Place(
            rows(
                "Jobs without a known cost",
                "Finished jobs without a price. Add one to the file named by pricing.file.",
                {"org": "Organisation", "model": "Base model"},
                [Column(title="Jobs", ask=f"{UNPRICED} > 0", decimals=0)],
                sort=("Jobs", True),
            ),
            7,
            10,
        ),
    ]
