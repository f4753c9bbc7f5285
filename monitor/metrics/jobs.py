"""The series of single jobs: active ones, and those that ended lately."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.samples import Sample

from monitor.domain.flow import Tracked
from monitor.domain.model import Basis, Job, Method, Metrics, Status, span
from monitor.metrics.labels import ID, NAME, UNKNOWN, clean, one_of
from monitor.metrics.view import View

Family = Callable[[View], Metric]
Read = Callable[[Tracked], float | Decimal | None]

_QUEUING: Final = frozenset({Status.VALIDATING, Status.QUEUED})
_UNDER_WAY: Final = frozenset({Status.RUNNING, Status.PAUSED, Status.CANCELLING})
_LARGEST: Final = 1e300


def job_info(view: View) -> Metric:
    """Who a job is."""
    metric = GaugeMetricFamily("finetune_job_info", "A metric that is always 1; its labels say what the job is.")
    for series in view.jobs:
        job = series.tracked.job
        labels = {
            **series.labels,
            "provider": clean(job.provider, NAME),
            "model": clean(job.model, NAME) or UNKNOWN,
            "method": one_of(job.method, frozenset(Method), UNKNOWN),
            "fine_tuned_model": clean(job.fine_tuned_model or "", ID),
            "name": clean(job.name or "", NAME),
        }
        metric.samples.append(Sample(metric.name, labels, 1))
    return metric


def job_status(view: View) -> Metric:
    """Where a job is: the present status alone."""
    metric = GaugeMetricFamily(
        "finetune_job_status", "1 for the present status of the job; other statuses have no series."
    )
    for series in view.jobs:
        metric.samples.append(Sample(metric.name, {**series.labels, "status": series.tracked.job.status.value}, 1))
    return metric


def job_duration(view: View) -> Metric:
    """How long a job queued and ran."""
    metric = GaugeMetricFamily(
        "finetune_job_duration_seconds", "How long the job has been in the queue or running so far, or was in the end."
    )
    for series in view.jobs:
        for phase, seconds in (
            ("queue", _queued(series.tracked.job, view.at)),
            ("run", _ran(series.tracked.job, view.at)),
        ):
            if seconds is not None:
                metric.samples.append(Sample(metric.name, {**series.labels, "phase": phase}, seconds))
    return metric


def job_series_dropped(view: View) -> Metric:
    """How much of the truth is not shown."""
    return GaugeMetricFamily(
        "finetune_job_series_dropped",
        "Jobs that have no series of their own, because there are more than max_jobs or their labels are not unique.",
        value=view.dropped,
    )


def _gauge(name: str, text: str, read: Read) -> Family:
    """A family with one number per job; a job of which the number is not known has no series."""

    def family(view: View) -> Metric:
        metric = GaugeMetricFamily(name, text)
        for series in view.jobs:
            value = read(series.tracked)
            # A comparison is exact for any integer, where float() would overflow.
            if value is not None and -_LARGEST < value < _LARGEST:
                metric.samples.append(Sample(name, series.labels, float(value)))
        return metric

    return family


def _moment(read: Callable[[Tracked], datetime | None]) -> Read:
    def seconds(tracked: Tracked) -> float | None:
        at = read(tracked)
        return at.timestamp() if at is not None else None

    return seconds


def _latest(read: Callable[[Metrics], float | None]) -> Read:
    return lambda tracked: read(tracked.job.training.latest)


def _cost(basis: Basis) -> Read:
    def usd(tracked: Tracked) -> Decimal | None:
        return tracked.cost.usd if tracked.cost is not None and tracked.cost.basis is basis else None

    return usd


def _queued(job: Job, at: datetime) -> float | None:
    return _seconds(job.created_at, at if job.started_at is None and job.status in _QUEUING else job.started_at)


def _ran(job: Job, at: datetime) -> float | None:
    return _seconds(job.started_at, at if job.status in _UNDER_WAY else job.finished_at)


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    passed = span(start, end)
    return None if passed is None else passed.total_seconds()


JOBS: Final[tuple[Family, ...]] = (
    job_info,
    job_status,
    _gauge(
        "finetune_job_created_timestamp_seconds",
        "When the job was created.",
        _moment(lambda tracked: tracked.job.created_at),
    ),
    _gauge(
        "finetune_job_started_timestamp_seconds",
        "When the job's training started.",
        _moment(lambda tracked: tracked.job.started_at),
    ),
    _gauge(
        "finetune_job_finished_timestamp_seconds",
        "When the job ended.",
        _moment(lambda tracked: tracked.job.finished_at),
    ),
    _gauge(
        "finetune_job_estimated_finish_timestamp_seconds",
        "When the job will end, by the provider's estimate.",
        _moment(lambda tracked: None if tracked.job.status.final else tracked.job.estimated_finish),
    ),
    _gauge(
        "finetune_job_last_activity_timestamp_seconds",
        "When the job last gave a sign of life.",
        _moment(lambda tracked: tracked.last_activity_at),
    ),
    job_duration,
    _gauge(
        "finetune_job_progress_ratio",
        "Steps done of all steps of the training, from 0 to 1.",
        lambda tracked: tracked.job.progress,
    ),
    _gauge("finetune_job_step", "The last step of the training that is done.", _latest(lambda latest: latest.step)),
    _gauge("finetune_job_steps", "All steps of the training.", _latest(lambda latest: latest.steps)),
    _gauge("finetune_job_train_loss", "Latest loss on the training file.", _latest(lambda latest: latest.train_loss)),
    _gauge("finetune_job_valid_loss", "Latest loss on the validation file.", _latest(lambda latest: latest.valid_loss)),
    _gauge(
        "finetune_job_train_accuracy_ratio",
        "Latest mean token accuracy on the training file, from 0 to 1.",
        _latest(lambda latest: latest.train_accuracy),
    ),
    _gauge(
        "finetune_job_valid_accuracy_ratio",
        "Latest mean token accuracy on the validation file, from 0 to 1.",
        _latest(lambda latest: latest.valid_accuracy),
    ),
    _gauge(
        "finetune_job_train_reward",
        "Latest mean reward on the training file.",
        _latest(lambda latest: latest.train_reward),
    ),
    _gauge(
        "finetune_job_valid_reward",
        "Latest mean reward on the validation file.",
        _latest(lambda latest: latest.valid_reward),
    ),
    _gauge(
        "finetune_job_trained_tokens",
        "Billable tokens of the whole training: tokens of the file times epochs.",
        lambda tracked: tracked.job.trained_tokens,
    ),
    _gauge(
        "finetune_job_estimated_cost_dollars",
        "What the job's training will cost in US dollars, as estimated before its end.",
        _cost(Basis.ESTIMATED),
    ),
    _gauge(
        "finetune_job_cost_dollars",
        "What the job's training cost in US dollars, computed from its tokens or hours and the price.",
        _cost(Basis.COMPUTED),
    ),
    job_series_dropped,
)
