"""The series of single jobs: active ones, and those that ended lately."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final

from monitor.domain.flow import Tracked
from monitor.domain.model import Basis, Status, span
from monitor.metrics.family import Family, JobFamily
from monitor.metrics.view import JobSeries, View

_QUEUING: Final = frozenset({Status.VALIDATING, Status.QUEUED})
_UNDER_WAY: Final = frozenset({Status.RUNNING, Status.PAUSED, Status.CANCELLING})
_LEAST: Final = -1e300
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
    """How long a job queued and ran, in seconds, so far or in the end; and in total once it ended."""
    job, started = tracked.job, tracked.started_at
    spans = {
        "queue": span(job.created_at, at if started is None and job.status in _QUEUING else started),
        "run": span(started, at if job.status in _UNDER_WAY else job.finished_at),
        "total": job.total_time,
    }
    for phase, time in spans.items():
        if time is not None:
            yield phase, time.total_seconds()


def _expected_finish(tracked: Tracked) -> datetime | None:
    """What does not change with the time alone: an estimate that has passed is the job's, too."""
    if not tracked.active:
        return None
    by_rate = tracked.headway.finish if tracked.headway is not None else None
    return tracked.job.estimated_finish or by_rate


def _gauge(name: str, text: str, read: Callable[[Tracked], float | None]) -> JobFamily:
    """A family with one number per job; a job of which the number is not known has no series."""

    def lines(jobs: Sequence[JobSeries], _view: View) -> list[str]:
        return [
            f"{name}{{{series.labels}}} {float(value)!r}\n"
            for series in jobs
            # A comparison is exact for any integer, where float() would overflow.
            if (value := read(series.tracked)) is not None and _LEAST < value < _LARGEST
        ]

    return JobFamily(name=name, text=text, lines=lines)


def _moment(name: str, text: str, read: Callable[[Tracked], datetime | None]) -> JobFamily:
    """A family with one moment per job, in seconds since 1970."""

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
        text="A metric that is always 1; its labels say what the job is.",
        labels=("org", "job_id", "provider", "model", "method", "fine_tuned_model", "name"),
        lines=_info,
    ),
    JobFamily(
        name="finetune_job_status",
        text="1 for the present status of the job; other statuses have no series.",
        labels=("org", "job_id", "status"),
        lines=_status,
    ),
    JobFamily(
        name="finetune_job_verdict",
        text="1 for a job whose training went badly though it succeeded; healthy ones have no series.",
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
        "When the job will end, by the provider's estimate, else by its recent steps where their rate is steady.",
        _expected_finish,
    ),
    _moment(
        "finetune_job_last_activity_timestamp_seconds",
        "When the job last gave a sign of life.",
        attrgetter("last_activity_at"),
    ),
    JobFamily(
        name="finetune_job_duration_seconds",
        text="How long the job has been in the queue or running so far, or was in the end.",
        labels=("org", "job_id", "phase"),
        lines=_duration,
        moves=True,
    ),
    _gauge(
        "finetune_job_progress_ratio",
        "Steps done of all steps of the training, from 0 to 1.",
        attrgetter("job.progress"),
    ),
    _gauge("finetune_job_step", "The last step of the training that is done.", attrgetter("job.training.latest.step")),
    _gauge("finetune_job_steps", "All steps of the training.", attrgetter("job.training.latest.steps")),
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
        "Billable tokens of the whole training: tokens of the file times epochs.",
        attrgetter("job.trained_tokens"),
    ),
    _gauge(
        "finetune_job_estimated_cost_dollars",
        "What the job's training will cost in US dollars, as estimated before its end.",
        _cost(Basis.ESTIMATED),
    ),
    _gauge(
        "finetune_job_cost_dollars",
        "What the job's training cost in US dollars, computed or as the vendor reports it.",
        _final_cost,
    ),
)
DROPPED: Final = Family(
    name="finetune_job_series_dropped",
    kind="gauge",
    text="Jobs that have no series of their own, because there are more than max_jobs or their labels are not unique.",
    rows=lambda view: {(): view.dropped},
)
