"""The plain twin of the exposition: the same series with prometheus_client's own classes and `generate_latest`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import accumulate

from prometheus_client import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from monitor.domain.flow import Tracked
from monitor.domain.health import Health
from monitor.domain.model import Basis
from monitor.domain.snapshot import Snapshot
from monitor.metrics.families import FAMILIES
from monitor.metrics.family import Distribution, Family, JobFamily
from monitor.metrics.jobs import phases
from monitor.metrics.labels import ID, NAME, UNKNOWN, clean, org_labels
from monitor.metrics.process import ProcessMetrics
from monitor.metrics.view import View, build_view

Labelled = Iterator[tuple[Mapping[str, str], float | None]]


class Twin(Collector):
    """Collects the series of a scrape, without the metrics of any Python process."""

    def __init__(self, snapshot: Snapshot, health: Health, process: ProcessMetrics) -> None:
        self.view = build_view(snapshot, health)
        self.families = (*FAMILIES, *process.families)

    def collect(self) -> Iterator[Metric]:
        """Yield each family as prometheus_client's own type."""
        for family in self.families:
            yield _of_jobs(family, self.view) if isinstance(family, JobFamily) else _of_all(family, self.view)

    def text(self, *, modern: bool) -> str:
        """The text that prometheus_client generates."""
        encode: Callable[[Collector], bytes] = openmetrics.generate_latest if modern else generate_latest
        return encode(self).decode()


def _of_all(family: Family, view: View) -> Metric:
    by_org = org_labels(view.health) if "org" in family.labels else {}
    names = [*family.labels, *by_org.get("", ())]
    plain = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = plain(family.name, family.text, labels=names)
    histogram = HistogramMetricFamily(family.name, family.text, labels=names)
    for values, value in family.rows(view).items():
        given = by_org.get(values[family.labels.index("org")], by_org[""]) if by_org else {}
        if isinstance(value, Distribution):
            bounds = [*map(str, family.bounds), "+Inf"]
            buckets = list(zip(bounds, accumulate(value.counts), strict=True))
            histogram.add_metric([*values, *given.values()], buckets, value.sum)
        else:
            metric.add_metric([*values, *given.values()], value)
    return histogram if family.kind == "histogram" else metric


def _of_jobs(family: JobFamily, view: View) -> Metric:
    metric = GaugeMetricFamily(family.name, family.text)
    for series in view.jobs.values():
        job = series.tracked.job
        mine = {"org": clean(job.org, ID), "job_id": clean(job.id, ID) or UNKNOWN}
        for labels, value in _series(family.name, series.tracked, view.at):
            if value is not None and -1e300 < value < 1e300:
                metric.add_sample(family.name, {**mine, **labels}, value)
    return metric


def _series(name: str, tracked: Tracked, at: datetime) -> Labelled:
    job = tracked.job
    if name == "finetune_job_info":
        texts = {"model": clean(job.model, NAME) or UNKNOWN, "method": job.method.value}
        texts |= {"provider": clean(job.provider, NAME), "name": clean(job.name or "", NAME)}
        yield {**texts, "fine_tuned_model": clean(job.result_model or "", ID)}, 1
    elif name == "finetune_job_status":
        yield {"status": job.status.value}, 1
    elif name == "finetune_job_verdict":
        if tracked.verdict is not None:
            yield {"verdict": tracked.verdict.kind.value}, 1
    elif name == "finetune_job_duration_seconds":
        for phase, seconds in phases(tracked, at):
            yield {"phase": phase}, seconds
    else:
        yield {}, _numbers(tracked)[name]


def _numbers(tracked: Tracked) -> Mapping[str, float | None]:
    job, latest = tracked.job, tracked.job.training.latest
    basis, usd = (tracked.cost.basis, tracked.cost.usd) if tracked.cost else (None, None)
    moments = {
        "created": job.created_at,
        "started": tracked.started_at,
        "finished": job.finished_at,
        "estimated_finish": None if job.status.final else job.estimated_finish,
        "last_activity": tracked.last_activity_at,
    }
    return {
        **{f"finetune_job_{key}_timestamp_seconds": at.timestamp() if at else None for key, at in moments.items()},
        "finetune_job_progress_ratio": job.progress,
        "finetune_job_step": latest.step,
        "finetune_job_steps": latest.steps,
        "finetune_job_train_loss": latest.train_loss,
        "finetune_job_valid_loss": latest.valid_loss,
        "finetune_job_train_accuracy_ratio": latest.train_accuracy,
        "finetune_job_valid_accuracy_ratio": latest.valid_accuracy,
        "finetune_job_train_reward": latest.train_reward,
        "finetune_job_valid_reward": latest.valid_reward,
        "finetune_job_trained_tokens": job.tuning.trained_tokens,
        "finetune_job_estimated_cost_dollars": float(usd) if usd is not None and basis is Basis.ESTIMATED else None,
        "finetune_job_cost_dollars": float(usd) if usd is not None and basis is not Basis.ESTIMATED else None,
    }
