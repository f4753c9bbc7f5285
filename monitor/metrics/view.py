"""Prepares a snapshot for metrics: sanitised labels, no duplicate series, stored counters summed by labels.

What a snapshot has in common with the one before it is taken over from the view of that: most of it, at most times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Final
from zlib import crc32

from monitor.domain.costs import TunedModel
from monitor.domain.flow import CounterIncrement, Tracked
from monitor.domain.health import Health
from monitor.domain.model import FailureClass, JobKind, Method, Status
from monitor.domain.snapshot import Backlog, Snapshot
from monitor.metrics.encoding import label_text
from monitor.metrics.labels import ID, NAME, OTHER, UNKNOWN, Models, clean, one_of

Sums = Mapping[tuple[str, ...], int]

_ENDPOINTS: Final = 20
"""The number of different endpoints per organisation; vendors have ten."""
# The stored counters and their label names, in the order of the metric's labels.
COUNTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "jobs_finished": ("org", "model", "method", "status"),
    "job_failures": ("org", "model", "reason"),
    "trained_tokens": ("org", "model", "method"),
    "cost_nanodollars": ("org", "model", "method"),
    "queue_seconds_bucket": ("org", "model", "le"),
    "queue_milliseconds": ("org", "model"),
    "run_seconds_bucket": ("org", "model", "status", "le"),
    "run_milliseconds": ("org", "model", "status"),
    "total_seconds_bucket": ("org", "model", "status", "le"),
    "total_milliseconds": ("org", "model", "status"),
    "batches_finished": ("org", "model", "endpoint", "status"),
    "batch_seconds_bucket": ("org", "model", "status", "le"),
    "batch_milliseconds": ("org", "model", "status"),
    "batch_requests": ("org", "model", "result"),
    "batch_tokens": ("org", "model", "kind"),
    "batch_cost_nanodollars": ("org", "model"),
    "usage_tokens": ("org", "model", "kind"),
    "usage_nanodollars": ("org", "model", "kind"),
}
_CLOSED: Final[Mapping[str, tuple[frozenset[str], str]]] = {
    "method": (frozenset(Method), UNKNOWN),
    "status": (frozenset(Status), UNKNOWN),
    "reason": (frozenset(FailureClass), OTHER),
    "kind": (frozenset({"input", "cached_input", "output"}), OTHER),
    "result": (frozenset({"completed", "failed"}), OTHER),
}


@dataclass(slots=True, eq=False)
class JobSeries:
    """A job with its rendered labels. Compared by identity: the same object means that nothing has changed."""

    tracked: Tracked
    labels: str
    """The labels that all its series share."""
    identity: tuple[str, str, Method, str | None, str | None]
    """The fields from which `info` was rendered."""
    info: str
    """The labels of `finetune_job_info`."""
    active: bool
    spread: int
    """A number that stays the same, by which jobs are divided into blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdowns:
    """When fine-tuned models are shut down."""

    rows: Mapping[tuple[str, str, str], float]
    """Unix times by organisation, model and base model."""
    dropped: int
    """Models without series: beyond `snapshot.MODELS`, or equal to another one after sanitising."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The input of the metric families."""

    at: datetime
    health: Health
    jobs: Mapping[tuple[str, str], JobSeries]
    """By organisation and job id."""
    dropped: int
    """Jobs without series: beyond the requested number, or equal to another one after sanitising."""
    counts: Mapping[tuple[str, Status], int]
    """Fine-tuning jobs by organisation and status."""
    batches: Mapping[tuple[str, Status], int]
    """Batches by organisation and status."""
    expiries: Mapping[tuple[str], float]
    """When the next active batch expires, in Unix time by organisation."""
    unpriced: Sums
    sums: Mapping[str, Sums]
    """The stored counters by name, each by its label values."""
    backlogs: Mapping[str, Backlog]
    billed: Mapping[tuple[str, str], Decimal]
    hosted: Mapping[tuple[str, str], Decimal]
    shutdowns: Shutdowns
    ends: tuple[tuple[TunedModel, ...], Mapping[date, int]]
    """The models and numbers from which `shutdowns` was computed."""
    counters: tuple[CounterIncrement, ...]
    """The counters from which `sums` was computed."""
    model_labels: Models


def build_view(snapshot: Snapshot, health: Health, before: View | None = None) -> View:
    """Build the view of a snapshot, reusing the previous one. Aggregates contain only configured organisations."""
    trainings = [one for one in snapshot.jobs if one.job.kind is JobKind.FINE_TUNING]
    jobs = _jobs(trainings, before.jobs if before is not None else {})
    same_orgs = before is not None and before.health.orgs.keys() == health.orgs.keys()
    if before is not None and same_orgs and before.counters == snapshot.counters:
        models, sums = before.model_labels, before.sums
    else:
        models = Models()
        sums = _sums((one for one in snapshot.counters if dict(one.labels).get("org") in health.orgs), models)
    ends = (snapshot.models, snapshot.shutdowns)
    same_ends = before is not None and same_orgs and before.ends == ends
    shutdowns = before.shutdowns if before is not None and same_ends else _shutdowns(snapshot, health)
    return View(
        at=snapshot.at,
        health=health,
        jobs=jobs,
        dropped=snapshot.dropped + len(trainings) - len(jobs),
        counts=snapshot.counts,
        batches=snapshot.batches,
        expiries=_expiries(snapshot.jobs, health),
        unpriced=_unpriced(snapshot.unpriced, health, models),
        sums=sums,
        backlogs={backlog.notifier: backlog for backlog in snapshot.backlogs},
        billed=snapshot.billed,
        hosted=snapshot.hosted,
        shutdowns=shutdowns,
        ends=ends,
        counters=snapshot.counters,
        model_labels=models,
    )


def _jobs(jobs: Iterable[Tracked], before: Mapping[tuple[str, str], JobSeries]) -> Mapping[tuple[str, str], JobSeries]:
    """The series of each job; of jobs with equal labels only the first."""
    found: dict[tuple[str, str], JobSeries] = {}
    for tracked in jobs:
        key = (tracked.job.org, tracked.job.id)
        was = before.get(key)
        found[key] = was if was is not None and was.tracked is tracked else _series(tracked, was)
    if len({series.labels for series in found.values()}) == len(found):
        return found
    first = {series.labels: key for key, series in reversed(found.items())}
    return {key: series for key, series in found.items() if first[series.labels] == key}


def _expiries(jobs: Iterable[Tracked], health: Health) -> Mapping[tuple[str], float]:
    found: dict[tuple[str], float] = {}
    for one in jobs:
        at = one.job.batch.expires_at if one.active and one.job.batch is not None else None
        if at is not None and one.job.org in health.orgs:
            found[one.job.org,] = min(found.get((one.job.org,), at.timestamp()), at.timestamp())
    return found


def _series(tracked: Tracked, was: JobSeries | None) -> JobSeries:
    job = tracked.job
    identity = (job.provider, job.model, job.method, job.result_model, job.name)
    if was is not None and was.identity == identity:
        return JobSeries(tracked, was.labels, identity, was.info, not job.status.final, was.spread)
    identifying = {"org": clean(job.org, ID), "job_id": clean(job.id, ID) or UNKNOWN}
    info = {
        **identifying,
        "provider": clean(job.provider, NAME),
        "model": clean(job.model, NAME) or UNKNOWN,
        "method": one_of(job.method, frozenset(Method), UNKNOWN),
        "fine_tuned_model": clean(job.result_model or "", ID),
        "name": clean(job.name or "", NAME),
    }
    labels = label_text(identifying)
    return JobSeries(tracked, labels, identity, label_text(info), not job.status.final, crc32(labels.encode()))


def _sums(counters: Iterable[CounterIncrement], models: Models) -> Mapping[str, Sums]:
    sums: dict[str, dict[tuple[str, ...], int]] = {metric: {} for metric in COUNTERS}
    named = {"model": models, "endpoint": Models(_ENDPOINTS)}
    for counter in counters:
        if counter.metric in sums:
            given, of = dict(counter.labels), sums[counter.metric]
            values = tuple(_label(name, given, named) for name in COUNTERS[counter.metric])
            of[values] = of.get(values, 0) + counter.amount
    return sums


def _label(name: str, given: Mapping[str, str], named: Mapping[str, Models]) -> str:
    value = given.get(name, UNKNOWN)
    if name in named:
        return named[name](given.get("org", UNKNOWN), value)
    if name in _CLOSED:
        return one_of(value, *_CLOSED[name])
    return value


def _shutdowns(snapshot: Snapshot, health: Health) -> Shutdowns:
    """The shutdowns of the snapshot's models."""
    found: dict[tuple[str, str], tuple[str, float]] = {}
    for model in snapshot.models:
        if model.shutdown is not None and model.org in health.orgs:
            midnight = datetime.combine(model.shutdown, time(), UTC)
            found.setdefault((model.org, clean(model.id, ID)), (clean(model.base, NAME), midnight.timestamp()))
    rows = {(org, id_, base): at for (org, id_), (base, at) in found.items()}
    return Shutdowns(rows=rows, dropped=max(sum(snapshot.shutdowns.values()) - len(rows), 0))


def _unpriced(counts: Mapping[tuple[str, str], int], health: Health, models: Models) -> Sums:
    sums: dict[tuple[str, ...], int] = {}
    for (org, model), count in counts.items():
        if org in health.orgs:
            key = (org, models(org, model))
            sums[key] = sums.get(key, 0) + count
    return sums
