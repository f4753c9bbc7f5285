"""The dashboard of one job: status, progress, metrics, times and costs."""

from __future__ import annotations

from typing import Any, Final

from deploy.grafana.boards.board import Board, Place
from deploy.grafana.boards.panels import by_status, lines, number, query, states, word
from deploy.grafana.boards.queries import JOB, one
from deploy.grafana.boards.tables import Column, rows

ID: Final = "org, job_id"


def job() -> Board:
    """The job dashboard."""
    return Board(
        uid="finetune-job",
        title="Fine-tuning job",
        text="One job: its status and progress, loss, accuracy and reward, time and cost. Status changes are marked.",
        of_one_job=True,
        since="now-3h",
        rows=[
            ("", [Place(panel, width, 4) for panel, width in zip(_figures(), (4, 2, 3, 3, 3, 3, 3, 3), strict=True)]),
            ("", [Place(_description(), 24, 4)]),
            ("Progress", [Place(panel, 12, 7) for panel in _course()]),
            ("Training metrics", [Place(panel, 8, 9) for panel in _learning()]),
            ("Time and cost", [Place(panel, 12, 7) for panel in _cost()]),
        ],
    )


def _of(metric: str) -> str:
    return one(f"finetune_job_{metric}", ID, JOB)


def _phase(phase: str) -> str:
    return one("finetune_job_duration_seconds", ID, f'{JOB}, phase="{phase}"')


def _figures() -> list[Any]:
    return [
        by_status(
            word(
                "Status",
                "Current status of the job.",
                query(one("finetune_job_status", f"{ID}, status", JOB), "{{status}}", instant=True),
            )
        ),
        number(
            "Progress",
            "Steps done out of all steps, as far as the provider reports them.",
            query(_of("progress_ratio"), "progress"),
            unit="percentunit",
            max=1,
        ),
        number("Time in queue", "From creation to the start of training.", query(_phase("queue"), "queue"), unit="s"),
        number(
            "Training time",
            "From the start of training until now, or until its end.",
            query(_phase("run"), "run"),
            unit="s",
        ),
        number(
            "ETA",
            "The provider's estimate, while the job is active.",
            query(f"1000 * {_of('estimated_finish_timestamp_seconds')}", "end", instant=True),
            unit="dateTimeFromNow",
        ),
        number(
            "Last activity",
            "The last event or change of status.",
            query(f"1000 * {_of('last_activity_timestamp_seconds')}", "last", instant=True),
            unit="dateTimeFromNow",
        ),
        number(
            "Trained tokens", "Billable tokens: tokens of the file × epochs.", query(_of("trained_tokens"), "tokens")
        ),
        number(
            "Cost",
            "Computed once the job is finished; estimated before, where possible.",
            query(f"{_of('cost_dollars')} or {_of('estimated_cost_dollars')}", "cost"),
            unit="currencyUSD",
        ),
    ]


def _description() -> Any:
    labels = {
        "org": "Organisation",
        "job_id": "Job",
        "name": "Name",
        "provider": "Provider",
        "model": "Base model",
        "method": "Method",
        "fine_tuned_model": "Fine-tuned model",
    }
    return rows(
        "Details",
        "The job's properties and timestamps.",
        labels,
        [
            Column(ask=one("finetune_job_info", ", ".join(labels), JOB)),
            *(
                Column(title=title, ask=f"1000 * {_of(metric)}", unit="dateTimeAsIso")
                for title, metric in (
                    ("Created", "created_timestamp_seconds"),
                    ("Started", "started_timestamp_seconds"),
                    ("Finished", "finished_timestamp_seconds"),
                )
            ),
        ],
        sort=("Created", True),
    )


def _course() -> list[Any]:
    return [
        states(
            "Status over time",
            "One row for each status the job was in.",
            query(one("finetune_job_status", f"{ID}, status", JOB), "{{status}}"),
        ),
        lines(
            "Steps",
            "Steps done, and the total number of steps.",
            query(_of("step"), "done"),
            query(_of("steps"), "total"),
        ),
    ]


def _learning() -> list[Any]:
    return [
        lines(
            title,
            text,
            query(_of(f"train_{metric}"), "training"),
            query(_of(f"valid_{metric}"), "validation"),
            unit=unit,
            min=least,
        )
        for title, text, metric, unit, least in (
            ("Loss", "On the training file, and on the validation file if there is one.", "loss", "short", 0),
            ("Accuracy", "Share of correctly predicted tokens.", "accuracy_ratio", "percentunit", 0),
            ("Reward", "Mean grader score of reinforcement jobs.", "reward", "short", None),
        )
    ]


def _cost() -> list[Any]:
    return [
        lines(
            "Cost over time",
            "Estimated while the job is active, computed once it is finished.",
            query(_of("estimated_cost_dollars"), "estimated"),
            query(_of("cost_dollars"), "computed"),
            unit="currencyUSD",
        ),
        lines(
            "Time spent",
            "In the queue and in training.",
            query(_phase("queue"), "queue"),
            query(_phase("run"), "training"),
            unit="s",
            stacked=True,
        ),
    ]
