"""The series of whole organisations: how many jobs, how long, how many tokens, what they cost."""

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
    """A stored counter, divided by `scale`."""

    def rows(view: View) -> Rows:
        sums = view.sums[stored]
        return sums if scale == 1 else {labels: amount / scale for labels, amount in sums.items()}

    return Family(name=name, kind="counter", text=text, labels=COUNTERS[stored], rows=rows)


def _histogram(name: str, text: str, stored: str, bounds: tuple[float, ...]) -> Family:
    """A histogram from its stored halves: observations by bucket, and their sum in milliseconds."""
    counted, summed = f"{stored}_seconds_bucket", f"{stored}_milliseconds"

    def rows(view: View) -> Rows:
        counts: dict[Labels, list[int]] = {}
        for (*labels, bound), count in view.sums[counted].items():
            counts.setdefault(tuple(labels), [0] * (len(bounds) + 1))[_position(bound, bounds)] += count
        sums = view.sums[summed]
        return {labels: Distribution(tuple(found), sums.get(labels, 0) / 1000) for labels, found in counts.items()}

    return Family(name=name, kind="histogram", text=text, labels=COUNTERS[summed], rows=rows, bounds=bounds)


def _position(stored: str, bounds: tuple[float, ...]) -> int:
    """The bucket for what was stored under this bound. What was stored under a bound of an older table moves up."""
    try:
        text = bucket(float(stored), bounds)
    except ValueError:
        text = INFINITY
    return len(bounds) if text == INFINITY else bounds.index(float(text))


AGGREGATES: Final[tuple[Family, ...]] = (
    Family(
        name="finetune_jobs",
        kind="gauge",
        text="Fine-tuning jobs that are stored, by the status they are in now.",
        labels=("org", "status"),
        rows=_jobs,
    ),
    counter("finetune_jobs_finished_total", "Jobs that ended, by how they ended.", "jobs_finished"),
    counter("finetune_job_failures_total", "Jobs that failed, by who can fix the cause.", "job_failures"),
    _histogram(
        "finetune_queue_duration_seconds",
        "How long jobs waited from their creation to the start of their training.",
        "queue",
        QUEUE_BUCKETS,
    ),
    _histogram(
        "finetune_run_duration_seconds",
        "How long jobs ran from the start of their training to their end.",
        "run",
        RUN_BUCKETS,
    ),
    _histogram(
        "finetune_total_duration_seconds",
        "How long jobs took from their creation to their end, whether or not their start is known.",
        "total",
        RUN_BUCKETS,
    ),
    counter("finetune_trained_tokens_total", "Billable tokens of jobs that ended.", "trained_tokens"),
    counter(
        "finetune_cost_dollars_total",
        "Training costs in US dollars of jobs that ended, as computed from tokens or hours and the price.",
        "cost_nanodollars",
        1_000_000_000,
    ),
    Family(
        name="finetune_unpriced_jobs",
        kind="gauge",
        text="Jobs that ended and whose cost is unknown, for want of a price or of a number of tokens.",
        labels=("org", "model"),
        rows=lambda view: view.unpriced,
    ),
    Family(
        name="finetune_batches",
        kind="gauge",
        text="Batches that are stored, by the status they are in now.",
        labels=("org", "status"),
        rows=_batches,
    ),
    Family(
        name="finetune_batch_next_expiry_timestamp_seconds",
        kind="gauge",
        text="When the next batch expires of those that are not over.",
        labels=("org",),
        rows=lambda view: view.expiries,
    ),
    counter("finetune_batches_finished_total", "Batches that ended, by how they ended.", "batches_finished"),
    _histogram(
        "finetune_batch_duration_seconds",
        "How long batches took from their creation to their end.",
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
        "What batches that ended cost in US dollars, as computed from tokens and the price of batches.",
        "batch_cost_nanodollars",
        1_000_000_000,
    ),
)
