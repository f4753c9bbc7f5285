"""The series of whole organisations: how many jobs, how long, how many tokens, what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from monitor.domain.buckets import INFINITY, QUEUE_BUCKETS, RUN_BUCKETS, bucket
from monitor.domain.model import Status
from monitor.metrics.view import TALLIES, Sums, View

Family = Callable[[View], Metric]


def jobs(view: View) -> Metric:
    """How many jobs there are."""
    metric = GaugeMetricFamily(
        "finetune_jobs", "Jobs that are stored, by the status they are in now.", labels=["org", "status"]
    )
    for org in view.health.orgs:
        for status in Status:
            metric.add_metric([org, status.value], view.counts.get((org, status), 0))
    return metric


def unpriced_jobs(view: View) -> Metric:
    """Where costs are not known."""
    metric = GaugeMetricFamily(
        "finetune_unpriced_jobs",
        "Jobs that ended and whose cost is unknown, for want of a price or of a number of tokens.",
        labels=["org", "model"],
    )
    for labels, count in view.unpriced.items():
        metric.add_metric(labels, count)
    return metric


def counter(name: str, text: str, tally: str, scale: int = 1) -> Family:
    """A stored counter, divided by `scale`."""

    def family(view: View) -> Metric:
        metric = CounterMetricFamily(name, text, labels=TALLIES[tally])
        for labels, amount in view.sums[tally].items():
            metric.add_metric(labels, amount / scale if scale > 1 else amount)
        return metric

    return family


def _histogram(name: str, text: str, counters: tuple[str, str], bounds: tuple[float, ...]) -> Family:
    """A histogram from its stored halves: observations by bucket, and their sum in milliseconds."""
    counted, summed = counters

    def family(view: View) -> Metric:
        metric = HistogramMetricFamily(name, text, labels=TALLIES[summed])
        for labels, counts in _by_bound(view.sums[counted], bounds).items():
            texts = [*(str(bound) for bound in bounds), INFINITY]
            running = accumulate(counts[text] for text in texts)
            seconds = view.sums[summed].get(labels, 0) / 1000
            metric.add_metric(labels, list(zip(texts, running, strict=True)), seconds)
        return metric

    return family


def _by_bound(sums: Sums, bounds: tuple[float, ...]) -> Mapping[tuple[str, ...], Mapping[str, int]]:
    """Observations by the other labels, then by bound. What was stored under a bound of an older table moves up."""
    empty = dict.fromkeys([*(str(bound) for bound in bounds), INFINITY], 0)
    found: dict[tuple[str, ...], dict[str, int]] = {}
    for (*labels, stored), count in sums.items():
        found.setdefault(tuple(labels), dict(empty))[_bound(stored, bounds)] += count
    return found


def _bound(stored: str, bounds: tuple[float, ...]) -> str:
    try:
        return bucket(float(stored), bounds)
    except ValueError:
        return INFINITY


AGGREGATES: Final[tuple[Family, ...]] = (
    jobs,
    counter("finetune_jobs_finished_total", "Jobs that ended, by how they ended.", "jobs_finished"),
    counter("finetune_job_failures_total", "Jobs that failed, by who can mend the cause.", "job_failures"),
    _histogram(
        "finetune_queue_duration_seconds",
        "How long jobs waited from their creation to the start of their training.",
        ("queue_seconds_bucket", "queue_milliseconds"),
        QUEUE_BUCKETS,
    ),
    _histogram(
        "finetune_run_duration_seconds",
        "How long jobs ran from the start of their training to their end.",
        ("run_seconds_bucket", "run_milliseconds"),
        RUN_BUCKETS,
    ),
    counter("finetune_trained_tokens_total", "Billable tokens of jobs that ended.", "trained_tokens"),
    counter(
        "finetune_cost_dollars_total",
        "Training costs in US dollars of jobs that ended, as computed from tokens or hours and the price.",
        "cost_nanodollars",
        1_000_000_000,
    ),
    unpriced_jobs,
)
