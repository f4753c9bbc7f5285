"""A snapshot made ready for metrics: harmless labels, no series twice, stored counters summed by their labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from monitor.domain.costs import TunedModel
from monitor.domain.flow import CounterIncrement, Tracked
from monitor.domain.model import FailureClass, Method, Status
from monitor.domain.snapshot import Backlog, Snapshot
from monitor.metrics.health import Health
from monitor.metrics.labels import ID, OTHER, UNKNOWN, Models, clean, one_of

Sums = Mapping[tuple[str, ...], int]

# The stored counters and their labels, in the order of the metric's label names.
TALLIES: Final[Mapping[str, tuple[str, ...]]] = {
    "jobs_finished": ("org", "model", "method", "status"),
    "job_failures": ("org", "model", "reason"),
    "trained_tokens": ("org", "model", "method"),
    "cost_nanodollars": ("org", "model", "method"),
    "queue_seconds_bucket": ("org", "model", "le"),
    "queue_milliseconds": ("org", "model"),
    "run_seconds_bucket": ("org", "model", "status", "le"),
    "run_milliseconds": ("org", "model", "status"),
    "usage_tokens": ("org", "model", "kind"),
    "usage_nanodollars": ("org", "model", "kind"),
}
_CLOSED: Final[Mapping[str, tuple[frozenset[str], str]]] = {
    "method": (frozenset(Method), UNKNOWN),
    "status": (frozenset(Status), UNKNOWN),
    "reason": (frozenset(FailureClass), OTHER),
    "kind": (frozenset({"input", "cached_input", "output"}), OTHER),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One job and the labels that all its series share."""

    labels: dict[str, str]
    tracked: Tracked


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the families are made from."""

    at: datetime
    health: Health
    jobs: tuple[Series, ...]
    dropped: int
    """Jobs without series: beyond the asked number, or the same as another once their labels were made harmless."""
    counts: Mapping[tuple[str, Status], int]
    unpriced: Sums
    sums: Mapping[str, Sums]
    """The stored counters by name; each by its label values."""
    backlogs: Mapping[str, Backlog]
    billed: Mapping[tuple[str, str], Decimal]
    models: tuple[TunedModel, ...]


def look(snapshot: Snapshot, health: Health) -> View:
    """The view of one snapshot. Aggregates are those of the configured organisations."""
    models = Models()
    jobs = _jobs(snapshot.jobs)
    sums = _sums((tally for tally in snapshot.counters if dict(tally.labels).get("org") in health.orgs), models)
    return View(
        at=snapshot.at,
        health=health,
        jobs=jobs,
        dropped=snapshot.dropped + len(snapshot.jobs) - len(jobs),
        counts=snapshot.counts,
        unpriced=_unpriced(snapshot.unpriced, health, models),
        sums=sums,
        backlogs={backlog.notifier: backlog for backlog in snapshot.backlogs},
        billed=snapshot.billed,
        models=snapshot.models,
    )


def _jobs(jobs: Iterable[Tracked]) -> tuple[Series, ...]:
    met: dict[tuple[str, str], Series] = {}
    for tracked in jobs:
        org, job_id = clean(tracked.job.org, ID), clean(tracked.job.id, ID) or UNKNOWN
        if (org, job_id) not in met:
            met[org, job_id] = Series(labels={"org": org, "job_id": job_id}, tracked=tracked)
    return tuple(met.values())


def _sums(counters: Iterable[CounterIncrement], models: Models) -> Mapping[str, Sums]:
    sums: dict[str, dict[tuple[str, ...], int]] = {metric: {} for metric in TALLIES}
    for tally in counters:
        if tally.metric in sums:
            given, of = dict(tally.labels), sums[tally.metric]
            values = tuple(_label(name, given, models) for name in TALLIES[tally.metric])
            of[values] = of.get(values, 0) + tally.amount
    return sums


def _label(name: str, given: Mapping[str, str], models: Models) -> str:
    value = given.get(name, UNKNOWN)
    if name == "model":
        return models(given.get("org", UNKNOWN), value)
    if name in _CLOSED:
        return one_of(value, *_CLOSED[name])
    return value


def _unpriced(counts: Mapping[tuple[str, str], int], health: Health, models: Models) -> Sums:
    sums: dict[tuple[str, ...], int] = {}
    for (org, model), count in counts.items():
        if org in health.orgs:
            key = (org, models(org, model))
            sums[key] = sums.get(key, 0) + count
    return sums
