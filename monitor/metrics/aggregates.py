"""Metric families that aggregate an organisation's jobs and batches: counts, durations, tokens and costs."""

from __future__ import annotations

from typing import Final

from monitor.domain.buckets import INFINITY, QUEUE_BUCKETS, RUN_BUCKETS, bucket
from monitor.domain.model import Status
from monitor.metrics.family import Distribution, Family, Labels, Rows
from monitor.metrics.view import COUNTERS, View


def _batches(view: View) -> Rows:
    return {(org, status.value): view.batches.get((org, status), 0) for org in view.health.orgs for status in Status}


def _jobs(view: View) -> Rows:
    return {(org, status.value): view.counts.get((org, status), 0) for org in view.health.orgs for status in Status}


def counter(name: str, text: str, stored: str, scale: int = 1) -> Family:
    """A counter that is kept in the store; its stored integer is divided by `scale`."""

    def rows(view: View) -> Rows:
        sums = view.sums[stored]
        return sums if scale == 1 else {labels: amount / scale for labels, amount in sums.items()}

    return Family(name=name, kind="counter", text=text, labels=COUNTERS[stored], rows=rows)


def _histogram(name: str, text: str, stored: str, bounds: tuple[float, ...]) -> Family:
    """A histogram from two stored counters: observations by bucket, and their sum in milliseconds."""
    counted, summed = f"{stored}_seconds_bucket", f"{stored}_milliseconds"

    def rows(view: View) -> Rows:
        counts: dict[Labels, list[int]] = {}
        for (*labels, bound), count in view.sums[counted].items():
            counts.setdefault(tuple(labels), [0] * (len(bounds) + 1))[_bucket_index(bound, bounds)] += count
        sums = view.sums[summed]
        return {labels: Distribution(tuple(found), sums.get(labels, 0) / 1000) for labels, found in counts.items()}

    return Family(name=name, kind="histogram", text=text, labels=COUNTERS[summed], rows=rows, bounds=bounds)


def _bucket_index(stored: str, bounds: tuple[float, ...]) -> int:
    """The bucket of observations that were stored under this bound.

    A bound that no longer exists moves up to the next one.
    """
    try:
        text = bucket(float(stored), bounds)
    except ValueError:
        text = INFINITY
    return len(bounds) if text == INFINITY else bounds.index(float(text))


AGGREGATES: Final[tuple[Family, ...]] = (
    Family(
        name="finetune_jobs",
        kind="gauge",
        text="Stored fine-tuning jobs that the provider knows, by their current status.",
        labels=("org", "status"),
        rows=_jobs,
    ),
    counter("finetune_jobs_finished_total", "Jobs that ended, by their final status.", "jobs_finished"),
    counter(
        "finetune_job_failures_total",
        "Jobs that failed, by the class of the failure, which says who can fix it.",
        "job_failures",
    ),
    _histogram(
        "finetune_queue_duration_seconds",
        "Time from a job's creation to the start of its training.",
        "queue",
        QUEUE_BUCKETS,
    ),
    _histogram(
        "finetune_run_duration_seconds",
        "Time from the start of a job's training to its end.",
        "run",
        RUN_BUCKETS,
    ),
    _histogram(
        "finetune_total_duration_seconds",
        "Time from a job's creation to its end, whether or not its start is known.",
        "total",
        RUN_BUCKETS,
    ),
    counter("finetune_trained_tokens_total", "Billable tokens of jobs that ended.", "trained_tokens"),
    counter(
        "finetune_cost_dollars_total",
        "Training costs of jobs that ended, in US dollars, computed from tokens or hours and the price.",
        "cost_nanodollars",
        1_000_000_000,
    ),
    Family(
        name="finetune_unpriced_jobs",
        kind="gauge",
        text="Jobs that ended with an unknown cost, because a price or the number of tokens is missing.",
        labels=("org", "model"),
        rows=lambda view: view.unpriced,
    ),
    Family(
        name="finetune_batches",
        kind="gauge",
        text="Stored batches by their current status.",
        labels=("org", "status"),
        rows=_batches,
    ),
    Family(
        name="finetune_batch_next_expiry_timestamp_seconds",
        kind="gauge",
        text="When the next active batch expires.",
        labels=("org",),
        rows=lambda view: view.expiries,
    ),
    counter("finetune_batches_finished_total", "Batches that ended, by their final status.", "batches_finished"),
    _histogram(
        "finetune_batch_duration_seconds",
        "Time from a batch's creation to its end.",
        "batch",
        RUN_BUCKETS,
    ),
    counter(
        "finetune_batch_requests_total",
        "Requests of batches that ended, by whether they were answered or failed.",
        "batch_requests",
    ),
    counter("finetune_batch_tokens_total", "Tokens of the requests of batches that ended.", "batch_tokens"),
    counter(
        "finetune_batch_cost_dollars_total",
        "Costs of batches that ended, in US dollars, computed from tokens and batch prices.",
        "batch_cost_nanodollars",
        1_000_000_000,
    ),
)
