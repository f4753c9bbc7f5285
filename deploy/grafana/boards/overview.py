"""The overview: where the jobs of all organisations are, how they end, how long they take, and what is ahead."""

from __future__ import annotations

from typing import Any, Final

from deploy.grafana.boards.board import Board, Place
from deploy.grafana.boards.panels import GOOD_AT_ZERO, SPENT, bars, by_status, lines, number, query
from deploy.grafana.boards.queries import ACTIVE, FINAL, ORG, active, one, quantile, total
from deploy.grafana.boards.tables import Column, rows

FINISHED: Final = ("finetune_jobs_finished_total", "org, model, method, status")
COST: Final = ("finetune_cost_dollars_total", "org, model, method")
RUNNING: Final = f'{ORG}, status="running"'
SHUTDOWN: Final = one("finetune_model_shutdown_timestamp_seconds", "org, model, base_model")


def overview() -> Board:
    """The dashboard to begin with."""
    return Board(
        uid="finetune-overview",
        title="Fine-tuning overview",
        text="Fine-tuning jobs of all organisations: where they are, how they end, how long they take, what they cost.",
        rows=[
            ("", [Place(panel, 3, 4) for panel in _figures()]),
            ("Active jobs", [Place(_active_jobs(), 24, 9)]),
            ("Jobs", [*_jobs(), *_times()]),
            ("Training", [Place(panel, 12) for panel in _training()]),
            ("Money and models", _ahead()),
        ],
    )


def _ended(status: str) -> str:
    return total(*FINISHED, f'{ORG}, status="{status}"') + " or vector(0)"


def _figures() -> list[Any]:
    estimated = active(one("finetune_job_estimated_cost_dollars", "org, job_id"))
    return [
        number(
            "Active jobs",
            "Jobs that are not over: validating, queued, running, paused or cancelling.",
            query(f"sum({one('finetune_jobs', 'org, status', ACTIVE)})", "Active jobs"),
        ),
        number(
            "Running",
            "Jobs that are being trained now.",
            query(f"sum({one('finetune_jobs', 'org, status', RUNNING)})", "Running"),
        ),
        number(
            "Succeeded, 24 h",
            "Jobs that succeeded in the last 24 hours. Exact: the monitor's counters survive its restarts, so two "
            "totals are subtracted.",
            query(_ended("succeeded"), "Succeeded, 24 h"),
            colours=[(None, "green")],
        ),
        number(
            "Failed, 24 h",
            "Jobs that failed in the last 24 hours.",
            query(_ended("failed"), "Failed, 24 h"),
            colours=GOOD_AT_ZERO,
        ),
        number(
            "Cost, chosen range",
            "What the training of jobs that ended in the dashboard's time range cost, as computed from tokens or "
            "hours and the price. Jobs without a known price are not in it.",
            query(total(*COST, window="$__range"), "Cost"),
            unit="currencyUSD",
        ),
        number(
            "Cost ahead",
            "What active jobs will cost, as far as it can be estimated.",
            query(f"sum({estimated}) or vector(0)", "Cost ahead"),
            unit="currencyUSD",
        ),
        number(
            "Models at risk",
            "Fine-tuned models that stop answering within 90 days, because their base model is shut down.",
            query(f"count({SHUTDOWN} - time() < 90 * 86400 and {SHUTDOWN} > time()) or vector(0)", "models"),
            colours=[(None, "green"), (1, "orange")],
        ),
        number(
            "Organisations down",
            "Organisations whose last poll failed.",
            query(f"count({one('finetune_org_up', 'org', fold='min')} == 0) or vector(0)", "Organisations down"),
            colours=GOOD_AT_ZERO,
        ),
    ]


def _active_jobs() -> Any:
    labels = {
        "org": "Organisation",
        "job_id": "Job",
        "name": "Name",
        "model": "Base model",
        "method": "Method",
        "status": "Status",
    }
    age = f"sum by (org, job_id) ({one('finetune_job_duration_seconds', 'org, job_id, phase')})"
    finish = f"1000 * {one('finetune_job_estimated_finish_timestamp_seconds', 'org, job_id')}"
    return rows(
        "Active jobs",
        "Jobs that are not over. Progress, loss and estimates are there once the provider has told enough.",
        labels,
        [
            Column(ask=active(one("finetune_job_info", "org, job_id, name, model, method"))),
            Column(ask=one("finetune_job_status", "org, job_id, status", ACTIVE)),
            Column(
                title="Progress",
                ask=active(one("finetune_job_progress_ratio", "org, job_id")),
                unit="percentunit",
                bar=1,
            ),
            Column(title="Queued and run", ask=active(age), unit="s"),
            Column(title="Expected end", ask=active(finish), unit="dateTimeFromNow"),
            Column(title="Training loss", ask=active(one("finetune_job_train_loss", "org, job_id")), decimals=4),
            Column(
                title="Estimated cost",
                ask=active(one("finetune_job_estimated_cost_dollars", "org, job_id")),
                unit="currencyUSD",
                decimals=2,
            ),
        ],
        sort=("Queued and run", True),
    )


def _jobs() -> list[Place]:
    waiting = one("finetune_jobs", "org, status", f'{ORG}, status!~"{FINAL}"')
    return [
        Place(
            by_status(
                lines(
                    "Jobs by status",
                    "How many jobs are in each status that is not final.",
                    query(f"sum by (status) ({waiting})", "{{status}}"),
                    stacked=True,
                    decimals=0,
                )
            ),
            12,
        ),
        Place(
            by_status(
                lines(
                    "Ended per day",
                    "Jobs that ended in the 24 hours before each moment. While Prometheus is younger than a day, all "
                    "that the monitor has counted.",
                    query(total(*FINISHED, to="status"), "{{status}}"),
                    stacked=True,
                    decimals=0,
                )
            ),
            12,
        ),
    ]


def _times() -> list[Place]:
    shares = (0.50, 0.90, 0.99)
    queue = [quantile(share, "finetune_queue_duration_seconds", "org, model") for share in shares]
    run = [quantile(share, "finetune_run_duration_seconds", "org, model, status") for share in shares]
    return [
        Place(
            lines(
                "Failures per day by reason",
                "Who can mend the failures of the 24 hours before each moment: the data, the request, the provider, "
                "the account.",
                query(total("finetune_job_failures_total", "org, model, reason", to="reason"), "{{reason}}"),
                stacked=True,
                decimals=0,
            ),
            8,
        ),
        Place(
            lines(
                "Time in the queue",
                "From creation to the start of training, of jobs that started it and ended in the 24 hours before "
                "each moment: half, nine in ten, and ninety-nine in a hundred waited no longer.",
                *(query(asked, f"{share:.0%}") for share, asked in zip(shares, queue, strict=True)),
                unit="s",
            ),
            8,
        ),
        Place(
            lines(
                "Time of training",
                "From the start of training to the end, of jobs that ended in the 24 hours before each moment: half, "
                "nine in ten, and ninety-nine in a hundred took no longer.",
                *(query(asked, f"{share:.0%}") for share, asked in zip(shares, run, strict=True)),
                unit="s",
            ),
            8,
        ),
    ]


def _training() -> list[Any]:
    return [
        lines(
            f"{title} loss",
            f"Loss on the {title.lower()} file, of every job that has one, while it was active.",
            query(active(one(metric, "org, job_id")), "{{org}} {{job_id}}"),
        )
        for title, metric in (("Training", "finetune_job_train_loss"), ("Validation", "finetune_job_valid_loss"))
    ]


def _ahead() -> list[Place]:
    spent = (
        f"{one('finetune_budget_spent_dollars', 'budget', '')} / {one('finetune_budget_limit_dollars', 'budget', '')}"
    )
    return [
        Place(
            bars(
                "Cost by organisation, chosen range",
                "Training costs of jobs that ended in the dashboard's time range.",
                query(f"sort_desc({total(*COST, to='org', window='$__range')})", "{{org}}", instant=True),
            ),
            8,
        ),
        Place(
            bars(
                "Budgets",
                "How much of each budget is spent in its present period, with the estimates of active jobs.",
                query(f"sort_desc({spent})", "{{budget}}", instant=True),
                unit="percentunit",
                colours=SPENT,
                max=1,
            ),
            8,
        ),
        Place(
            rows(
                "Models that end",
                "Fine-tuned models by the day on which they will stop answering.",
                {"org": "Organisation", "base_model": "Base model", "model": "Tuned model"},
                [Column(title="Ends", ask=f"1000 * ({SHUTDOWN} > time())", unit="dateTimeFromNow")],
                sort=("Ends", False),
            ),
            8,
        ),
    ]
