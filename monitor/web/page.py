"""The status page: a snapshot in words, for people. Works without scripts; text from outside stays text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from monitor.domain.flow import Tracked
from monitor.domain.model import Status
from monitor.domain.render import moment
from monitor.domain.snapshot import Snapshot
from monitor.metrics.health import Health, OrgHealth
from monitor.metrics.labels import clean
from monitor.store import DeliverySummary
from monitor.web import money
from monitor.web.look import page
from monitor.web.rows import When, row, when
from monitor.web.timeline import timeline
from monitor.web.wish import ORDERS, STATES, Paged, Wish, paged

_MOST_MODELS: Final = 200

Sparks = Mapping[tuple[str, str], tuple[str, str] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The jobs that are let through, and of them the two pages that are shown."""

    jobs: Sequence[Tracked]
    active: Paged
    ended: Paged


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is shown beside the snapshot."""

    sparks: Sparks = field(default_factory=dict)
    dead: Sequence[DeliverySummary] = ()
    """The newest dead letters."""
    parked: frozenset[str] = frozenset()
    """Notifiers whose receivers refuse us for good."""
    retention: timedelta = timedelta(hours=24)
    """How far back the jobs of the snapshot reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Org:
    """An organisation as a line."""

    name: str
    provider: str
    labels: tuple[str, ...]
    state: str
    """`up`, `down` or `new`."""
    last_success: When | None
    next_poll: When | None
    trouble: str | None
    active: int


def select(snapshot: Snapshot, wish: Wish) -> Selection:
    """What of the snapshot is wanted."""
    jobs = wish.chosen(snapshot.jobs)
    return Selection(
        jobs=jobs,
        active=paged(wish, "active", [one for one in jobs if not one.job.status.final]),
        ended=paged(wish, "ended", [one for one in jobs if one.job.status.final]),
    )


def render(
    snapshot: Snapshot,
    health: Health,
    *,
    wish: Wish | None = None,
    selection: Selection | None = None,
    beside: Beside | None = None,
    fragment: bool = False,
) -> bytes:
    """The page as UTF-8. Called in a worker thread."""
    now, wish, beside = snapshot.at, wish or Wish(), beside or Beside()
    selection = selection or select(snapshot, wish)
    shutdowns, more_endings = money.shutdowns(snapshot)
    shown: dict[str, Any] = {
        "root": "",
        "at": moment(now),
        "tiles": _tiles(snapshot),
        "orgs": sorted((_org(org, snapshot) for org in health.orgs.values()), key=lambda org: org.state != "down"),
        "wish": wish,
        "choices": _choices(snapshot, health),
        "active": selection.active,
        "active_rows": [row(one, now, _spark(one, beside.sparks)) for one in selection.active.shown],
        "ended": selection.ended,
        "ended_rows": [row(one, now) for one in selection.ended.shown],
        "dropped": snapshot.dropped,
        "timeline": timeline(selection.jobs, now, beside.retention),
        "outbox": _outbox(snapshot, health, beside.parked),
        "dead": [_letter(one, snapshot) for one in beside.dead],
        "budgets": money.budgets(health, snapshot),
        "accounts": money.accounts(health, snapshot),
        "endings": shutdowns,
        "more_endings": more_endings,
    }
    return page("status.html", shown, fragment=fragment)


def _spark(one: Tracked, sparks: Sparks) -> tuple[str, str] | None:
    return sparks.get((one.job.org, one.job.id))


def _tiles(snapshot: Snapshot) -> list[tuple[str, int, str]]:
    ended = [tracked.job.status for tracked in snapshot.jobs if tracked.job.status.final]
    active = sum(count for (_, status), count in snapshot.counts.items() if not status.final)
    waiting = sum(backlog.pending for backlog in snapshot.backlogs)
    failed = ended.count(Status.FAILED)
    return [
        ("Active jobs", active, "running" if active else ""),
        ("Succeeded lately", ended.count(Status.SUCCEEDED), ""),
        ("Failed lately", failed, "failed" if failed else ""),
        ("Waiting notifications", waiting, ""),
    ]


def _choices(snapshot: Snapshot, health: Health) -> dict[str, list[tuple[str, str]]]:
    """What can be chosen for each filter: the value, and what people read."""
    models = sorted({clean(one.job.model, 80) for one in snapshot.jobs})[:_MOST_MODELS]
    orgs = sorted(clean(org, 64) for org in health.orgs)
    return {
        "org": [("", "All organisations"), *((org, org) for org in orgs)],
        "status": [("", "All statuses"), *((state, state) for state in STATES)],
        "model": [("", "All models"), *((model, model) for model in models)],
        "sort": [(name, words) for name, (words, _, _) in ORDERS.items()],
    }


def _org(org: OrgHealth, snapshot: Snapshot) -> Org:
    return Org(
        name=clean(org.org, 64),
        provider=clean(org.provider, 64),
        labels=tuple(clean(f"{key}: {value}", 128) for key, value in org.labels.items()),
        state={True: "up", False: "down", None: "new"}[org.up],
        last_success=when(min(org.last_success, snapshot.at) if org.last_success else None, snapshot.at),
        next_poll=when(org.next_poll_at, snapshot.at),
        trouble=clean(org.trouble.text, 300) if org.trouble is not None else None,
        active=sum(count for (name, status), count in snapshot.counts.items() if name == org.org and not status.final),
    )


def _outbox(snapshot: Snapshot, health: Health, parked: frozenset[str]) -> list[dict[str, Any]]:
    backlogs = {backlog.notifier: backlog for backlog in snapshot.backlogs}
    names: Iterable[str] = dict.fromkeys((*health.notifiers, *backlogs))
    return [
        {
            "name": clean(name, 64),
            "pending": backlogs[name].pending if name in backlogs else 0,
            "oldest": when(backlogs[name].oldest, snapshot.at) if name in backlogs else None,
            "state": "parked" if name in parked else "in use" if name in health.notifiers else "not configured",
        }
        for name in names
    ]


def _letter(one: DeliverySummary, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "notifier": clean(one.notifier, 64),
        "title": clean(one.title, 120),
        "reason": clean(one.why, 360),
        "attempts": one.attempts,
        "settled": when(one.settled_at, snapshot.at),
    }
