"""Metric families of single jobs: active ones, and those that ended recently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final

from monitor.domain.flow import Tracked
from monitor.domain.model import Basis, Status, span
from monitor.metrics.family import Family, JobFamily
from monitor.metrics.view import JobSeries, View

_QUEUED: Final = frozenset({Status.VALIDATING, Status.QUEUED})
_RUNNING: Final = frozenset({Status.RUNNING, Status.PAUSED, Status.CANCELLING})
_SMALLEST: Final = -1e300
_LARGEST: Final = 1e300


def _info(jobs: Sequence[JobSeries], _view: View) -> list[str]:
    return [f"finetune_job_info{{{series.info}}} 1.0\n" for series in jobs]


def _status(jobs: Sequence[JobSeries], _view: View) -> list[str]:
    return [
        f'finetune_job_status{{{series.labels},status="{series.tracked.job.status.value}"}} 1.0\n' for series in jobs
    ]


def _verdict(jobs: Sequence[JobSeries], _view: View) -> list[str]:
    return [
        f'finetune_job_verdict{{{series.labels},verdict="{verdict.kind.value}"}} 1.0\n'
        for series in jobs
        if (verdict := series.tracked.verdict) is not None
    ]


def _duration(jobs: Sequence[JobSeries], view: View) -> list[str]:
    return [
        f'finetune_job_duration_seconds{{{series.labels},phase="{phase}"}} {seconds!r}\n'
        for series in jobs
        for phase, seconds in phases(series.tracked, view.at)
    ]


def phases(tracked: Tracked, at: datetime) -> Iterator[tuple[str, float]]:
    """The seconds that a job was queued and has run, so far or finally, and its total once it ended."""
    job, started = tracked.job, tracked.started_at
    spans = {
        "queue": span(job.created_at, at if started is None and job.status in _QUEUED else started),
        "run": span(started, at if job.status in _RUNNING else job.finished_at),
        "total": job.total_time,
    }
    for phase, time in spans.items():
        if time is not None:
            yield phase, time.total_seconds()


def _expected_finish(tracked: Tracked) -> datetime | None:
    """The expected finish without regard to the current time: an estimate stays even after it has passed."""
    if not tracked.active:
        return None
    by_rate = tracked.headway.finish if tracked.headway is not None else None
    return tracked.job.estimated_finish or by_rate


def _gauge(name: str, text: str, read: Callable[[Tracked], float | None]) -> JobFamily:
    """A family with one number per job. A job without the number has no series."""

    def lines(jobs: Sequence[JobSeries], _view: View) -> list[str]:
        return [
            f"{name}{{{series.labels}}} {float(value)!r}\n"
            for series in jobs
            # Comparing is exact for integers of any size, where float() would overflow.
            if (value := read(series.tracked)) is not None and _SMALLEST < value < _LARGEST
        ]

    return JobFamily(name=name, text=text, lines=lines)


def _moment(name: str, text: str, read: Callable[[Tracked], datetime | None]) -> JobFamily:
    """A family with one time per job, in seconds since 1970."""

    def lines(jobs: Sequence[JobSeries], _view: View) -> list[str]:
        return [
            f"{name}{{{series.labels}}} {at.timestamp()!r}\n"
            for series in jobs
            if (at := read(series.tracked)) is not None
        ]

    return JobFamily(name=name, text=text, lines=lines)


def _cost(basis: Basis) -> Callable[[Tracked], float | None]:
    def usd(tracked: Tracked) -> float | None:
        cost = tracked.cost
        return float(cost.usd) if cost is not None and cost.usd is not None and cost.basis is basis else None

    return usd


def _final_cost(tracked: Tracked) -> float | None:
    return float(usd) if (usd := tracked.computed_usd) is not None else None


JOBS: Final[tuple[JobFamily, ...]] = (
    JobFamily(
        name="finetune_job_info",
        text="Always 1; the labels describe the job.",
        labels=("org", "job_id", "provider", "model", "method", "fine_tuned_model", "name"),
        lines=_info,
    ),
    JobFamily(
        name="finetune_job_status",
        text="1 for the job's current status; other statuses have no series.",
        labels=("org", "job_id", "status"),
        lines=_status,
    ),
    JobFamily(
        name="finetune_job_verdict",
        text="1 for a succeeded job whose training curve shows a problem; other jobs have no series.",
        labels=("org", "job_id", "verdict"),
        lines=_verdict,
    ),
    _moment(
        "finetune_job_created_timestamp_seconds",
        "When the job was created.",
        attrgetter("job.created_at"),
    ),
    _moment(
        "finetune_job_started_timestamp_seconds",
        "When the job's training started.",
        attrgetter("started_at"),
    ),
    _moment(
        "finetune_job_finished_timestamp_seconds",
        "When the job ended.",
        attrgetter("job.finished_at"),
    ),
    _moment(
        "finetune_job_estimated_finish_timestamp_seconds",
        "When the job is expected to end, by the provider's estimate or else by a steady pace of recent steps.",
        _expected_finish,
    ),
    _moment(
        "finetune_job_last_activity_timestamp_seconds",
        "When the job last had an event or a change of status.",
        attrgetter("last_activity_at"),
    ),
    JobFamily(
        name="finetune_job_duration_seconds",
        text="How long the job has been queued and running so far, or was in the end.",
        labels=("org", "job_id", "phase"),
        lines=_duration,
        moves=True,
    ),
    _gauge(
        "finetune_job_progress_ratio",
        "Completed share of the training's steps, from 0 to 1.",
        attrgetter("job.progress"),
    ),
    _gauge("finetune_job_step", "The last completed step of the training.", attrgetter("job.training.latest.step")),
    _gauge("finetune_job_steps", "The total number of steps of the training.", attrgetter("job.training.latest.steps")),
    _gauge(
        "finetune_job_train_loss",
        "Latest loss on the training file.",
        attrgetter("job.training.latest.train_loss"),
    ),
    _gauge(
        "finetune_job_valid_loss",
        "Latest loss on the validation file.",
        attrgetter("job.training.latest.valid_loss"),
    ),
    _gauge(
        "finetune_job_train_accuracy_ratio",
        "Latest mean token accuracy on the training file, from 0 to 1.",
        attrgetter("job.training.latest.train_accuracy"),
    ),
    _gauge(
        "finetune_job_valid_accuracy_ratio",
        "Latest mean token accuracy on the validation file, from 0 to 1.",
        attrgetter("job.training.latest.valid_accuracy"),
    ),
    _gauge(
        "finetune_job_train_reward",
        "Latest mean reward on the training file.",
        attrgetter("job.training.latest.train_reward"),
    ),
    _gauge(
        "finetune_job_valid_reward",
        "Latest mean reward on the validation file.",
        attrgetter("job.training.latest.valid_reward"),
    ),
    _gauge(
        "finetune_job_trained_tokens",
        "Billable tokens of the training: tokens of the file times epochs.",
        attrgetter("job.tuning.trained_tokens"),
    ),
    _gauge(
        "finetune_job_estimated_cost_dollars",
        "Estimated cost of the job's training in US dollars, before its end.",
        _cost(Basis.ESTIMATED),
    ),
    _gauge(
        "finetune_job_cost_dollars",
        "Cost of the job's training in US dollars, computed or as the vendor reports it.",
        _final_cost,
    ),
)
DROPPED: Final = Family(
    name="finetune_job_series_dropped",
    kind="gauge",
    text="Jobs without series of their own: beyond max_jobs, or with labels that are not unique.",
    rows=lambda view: {(): view.dropped},
)
