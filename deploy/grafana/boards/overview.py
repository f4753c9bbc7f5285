"""The overview dashboard: active jobs of all organisations, results, durations, and what is due next."""

from __future__ import annotations

from typing import Any, Final

from deploy.grafana.boards.board import Board, Place
from deploy.grafana.boards.panels import GOOD_AT_ZERO, SPENT, bars, by_status, lines, number, query
from deploy.grafana.boards.queries import ACTIVE, FINAL, MONITOR, ORG, active, newest, one, quantile, total
from deploy.grafana.boards.tables import Column, rows

FINISHED: Final = ("finetune_jobs_finished_total", "org, model, method, status")
COST: Final = ("finetune_cost_dollars_total", "org, model, method")
RUNNING: Final = f'{ORG}, status="running"'
SHUTDOWN: Final = one("finetune_model_shutdown_timestamp_seconds", "org, model, base_model")


def overview() -> Board:
    """The overview dashboard."""
    return Board(
        uid="finetune-overview",
        title="Fine-tuning overview",
        top=True,
        text="Fine-tuning jobs of all organisations: where they are, how they end, how long they take, what they cost.",
        rows=[
            ("", [Place(panel, 3, 4) for panel in _figures()]),
            ("Active jobs", [Place(_active_jobs(), 24, 9)]),
            ("Jobs", [*_jobs(), *_times()]),
            ("Batches", [Place(panel, 8) for panel in _batches()]),
            ("Training", [Place(panel, 12) for panel in _training()]),
            ("Costs and models", _ahead()),
        ],
    )


def _ended(status: str) -> str:
    return total(*FINISHED, f'{ORG}, status="{status}"') + " or vector(0)"


def _figures() -> list[Any]:
    estimated = active(one("finetune_job_estimated_cost_dollars", "org, job_id"))
    return [
        number(
            "Active jobs",
            "Jobs that have not finished: validating, queued, running, paused or cancelling.",
            query(f"sum({one('finetune_jobs', 'org, status', ACTIVE)})", "Active jobs"),
        ),
        number(
            "Running",
            "Jobs that are training now.",
            query(f"sum({one('finetune_jobs', 'org, status', RUNNING)})", "Running"),
        ),
        number(
            "Succeeded (24 h)",
            "Jobs that succeeded in the last 24 hours. Exact: the monitor's counters survive its restarts, so two "
            "totals are subtracted.",
            query(_ended("succeeded"), "Succeeded (24 h)"),
            colours=[(None, "green")],
        ),
        number(
            "Failed (24 h)",
            "Jobs that failed in the last 24 hours.",
            query(_ended("failed"), "Failed (24 h)"),
            colours=GOOD_AT_ZERO,
        ),
        number(
            "Training cost (selected range)",
            "Training cost of jobs that finished in the dashboard's time range, computed from tokens or hours and the "
            "price. Jobs without a known price are not included.",
            query(total(*COST, window="$__range"), "Cost"),
            unit="currencyUSD",
        ),
        number(
            "Estimated cost of active jobs",
            "What active jobs are expected to cost, where it can be estimated.",
            query(f"sum({estimated}) or vector(0)", "Estimated cost of active jobs"),
            unit="currencyUSD",
        ),
        number(
            "Models shutting down (90 d)",
            "Fine-tuned models that stop answering within 90 days because their base model is retired.",
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
        "Jobs that have not finished. Progress, loss and estimates appear once the provider reports them.",
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
            Column(title="Elapsed", ask=active(age), unit="s"),
            Column(title="ETA", ask=active(finish), unit="dateTimeFromNow"),
            Column(title="Training loss", ask=active(one("finetune_job_train_loss", "org, job_id")), decimals=4),
            Column(
                title="Estimated cost",
                ask=active(one("finetune_job_estimated_cost_dollars", "org, job_id")),
                unit="currencyUSD",
                decimals=2,
            ),
        ],
        sort=("Elapsed", True),
    )


def _jobs() -> list[Place]:
    waiting = one("finetune_jobs", "org, status", f'{ORG}, status!~"{FINAL}"')
    return [
        Place(
            by_status(
                lines(
                    "Jobs by status",
                    "Number of active jobs by status.",
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
                    "Finished jobs (24 h)",
                    "Jobs that finished in the 24 hours before each point: a sliding window, not a running total. "
                    "While Prometheus has less than a day of data, everything the monitor has counted.",
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
                "Failures by reason (24 h)",
                "Failures in the 24 hours before each point, by who can fix them: you (data, settings), the provider, "
                "or the account.",
                query(total("finetune_job_failures_total", "org, model, reason", to="reason"), "{{reason}}"),
                stacked=True,
                decimals=0,
            ),
            8,
        ),
        Place(
            lines(
                "Time in queue",
                "From creation to the start of training, for jobs that finished in the 24 hours before each point: "
                "median, 90th and 99th percentile.",
                *(query(asked, f"{share:.0%}") for share, asked in zip(shares, queue, strict=True)),
                unit="s",
            ),
            8,
        ),
        Place(
            lines(
                "Training time",
                "From the start of training to the end, for jobs that finished in the 24 hours before each point: "
                "median, 90th and 99th percentile.",
                *(query(asked, f"{share:.0%}") for share, asked in zip(shares, run, strict=True)),
                unit="s",
            ),
            8,
        ),
    ]


def _batches() -> list[Any]:
    waiting = one("finetune_batches", "org, status", ACTIVE)
    took = [quantile(share, "finetune_batch_duration_seconds", "org, model, status") for share in (0.50, 0.90)]
    return [
        by_status(
            lines(
                "Batches by status",
                "Number of active batches by status, where organisations watch them.",
                query(f"sum by (status) ({waiting})", "{{status}}"),
                stacked=True,
                decimals=0,
            )
        ),
        lines(
            "Requests of batches (24 h)",
            "Requests of the batches that ended in the 24 hours before each point, by whether they were answered.",
            query(total("finetune_batch_requests_total", "org, model, result", to="result"), "{{result}}"),
            stacked=True,
            decimals=0,
        ),
        lines(
            "Batch duration",
            "From creation to the end, for batches that ended in the 24 hours before each point: median and 90th "
            "percentile.",
            *(query(asked, share) for asked, share in zip(took, ("50%", "90%"), strict=True)),
            unit="s",
        ),
    ]


def _training() -> list[Any]:
    return [
        lines(
            f"{title} loss",
            f"Loss on the {title.lower()} file of the $top newest jobs that report one.",
            query(newest(metric), "{{name}} {{org}} {{job_id}}"),
        )
        for title, metric in (("Training", "finetune_job_train_loss"), ("Validation", "finetune_job_valid_loss"))
    ]


def _ahead() -> list[Place]:
    spent, limit = (one(f"finetune_budget_{what}_dollars", "budget", MONITOR) for what in ("spent", "limit"))
    return [
        Place(
            bars(
                "Training cost by organisation (selected range)",
                "Training cost of jobs that finished in the dashboard's time range.",
                query(f"sort_desc({total(*COST, to='org', window='$__range')})", "{{org}}", instant=True),
            ),
            8,
        ),
        Place(
            bars(
                "Budgets",
                "How much of each budget is spent in its current period, including the estimates of active jobs.",
                query(f"sort_desc({spent} / {limit})", "{{budget}}", instant=True),
                unit="percentunit",
                colours=SPENT,
                max=1,
            ),
            8,
        ),
        Place(
            rows(
                "Upcoming shutdowns",
                "Fine-tuned models by the day on which they stop answering.",
                {"org": "Organisation", "base_model": "Base model", "model": "Fine-tuned model"},
                [Column(title="Shutdown", ask=f"1000 * ({SHUTDOWN} > time())", unit="dateTimeFromNow")],
                sort=("Shutdown", False),
            ),
            8,
        ),
    ]
