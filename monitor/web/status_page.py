"""Renders the status page from a snapshot. It works without scripts, and text from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from monitor.domain.costs import TunedModel
from monitor.domain.flow import Tracked
from monitor.domain.health import BudgetState, Health, OrgHealth, poll_interval
from monitor.domain.model import Status
from monitor.domain.money import rounded
from monitor.domain.render import moment, span
from monitor.domain.snapshot import Snapshot
from monitor.metrics.labels import clean
from monitor.store import DeliverySummary
from monitor.web.drawing import timeline
from monitor.web.job_rows import cut, ended_at, job_row, when
from monitor.web.page_query import KINDS, ORDERS, STATES, EarlierJobs, PageOfJobs, PageQuery, page_of
from monitor.web.style import render_template

_MOST_MODELS: Final = 200
_MOST_SHUTDOWNS: Final = 10
_SOON: Final = 30  # days

Sparks = Mapping[tuple[str, str], tuple[str, str] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The jobs that match the query, and the two pages of them that are shown."""

    jobs: Sequence[Tracked]
    active: PageOfJobs
    ended: PageOfJobs


@dataclass(frozen=True, slots=True, kw_only=True)
class PageExtras:
    """What the page shows besides the snapshot."""

    sparks: Sparks = field(default_factory=dict)
    earlier: EarlierJobs = field(default_factory=EarlierJobs)
    dead: Sequence[DeliverySummary] = ()
    """The newest dead letters."""
    suspended: frozenset[str] = frozenset()
    """The suspended notifiers, whose receivers reject us permanently."""
    window: timedelta = timedelta(hours=24)
    """How far back the ended jobs of the snapshot reach."""


def select(snapshot: Snapshot, query: PageQuery) -> Selection:
    """Select the jobs of the snapshot that match the query."""
    jobs = query.chosen(snapshot.jobs)
    return Selection(
        jobs=jobs,
        active=page_of(query, "active", [one for one in jobs if one.active]),
        ended=page_of(query, "ended", [one for one in jobs if not one.active]),
    )


def render(
    snapshot: Snapshot,
    health: Health,
    *,
    query: PageQuery | None = None,
    selection: Selection | None = None,
    extras: PageExtras | None = None,
    fragment: bool = False,
) -> bytes:
    """The page as UTF-8. Called in a worker thread."""
    view = build_view(snapshot, health, query or PageQuery(), selection, extras or PageExtras())
    return render_template("status.html", view, fragment=fragment)


def build_view(
    snapshot: Snapshot, health: Health, query: PageQuery, selection: Selection | None, extras: PageExtras
) -> dict[str, Any]:
    """The variables of the template."""
    now, selection, earlier = snapshot.at, selection or select(snapshot, query), extras.earlier
    active = _active(snapshot)
    orgs = [_org(org, snapshot, active.get(org.org, 0)) for org in health.orgs.values()]
    return {
        "root": "",
        "at": moment(now),
        "window": _window_name(extras.window),
        "tiles": _tiles(snapshot, extras.window, sum(active.values())),
        "orgs": sorted(orgs, key=lambda org: org["state"] != "down"),
        "query": query,
        "choices": _choices(snapshot, health),
        "active": selection.active,
        "active_rows": [job_row(one, now, _spark(one, extras.sparks)) for one in selection.active.shown],
        "ended": selection.ended,
        "ended_rows": [job_row(one, now) for one in selection.ended.shown],
        "earlier": earlier,
        "earlier_rows": [job_row(one, now) for one in earlier.shown],
        "searched_until": when(earlier.until, now),
        "dropped": snapshot.dropped,
        "timeline": timeline(selection.jobs, now, extras.window),
        "notifiers": _notifiers(snapshot, health, extras.suspended),
        "dead": [_dead_letter(one, snapshot) for one in extras.dead],
        "budgets": [_budget(one, snapshot) for one in sorted(health.budgets, key=lambda one: -one.spent / one.limit)],
        "costs": list(_costs(snapshot, health)),
        "hosting": bool(snapshot.hosted),
        **_shutdowns(snapshot),
    }


def _spark(one: Tracked, sparks: Sparks) -> tuple[str, str] | None:
    return sparks.get((one.job.org, one.job.id))


def _tiles(snapshot: Snapshot, window: timedelta, active: int) -> list[tuple[str, int, str]]:
    since = snapshot.at - window
    lately = [one.job.status for one in snapshot.jobs if (at := _finished(one)) is not None and at >= since]
    waiting = sum(backlog.pending for backlog in snapshot.backlogs)
    failed = lately.count(Status.FAILED)
    words = _window_name(window)
    return [
        ("Active jobs", active, "running" if active else ""),
        (f"Succeeded, last {words}", lately.count(Status.SUCCEEDED), ""),
        (f"Failed, last {words}", failed, "failed" if failed else ""),
        ("Notifications waiting", waiting, ""),
    ]


def _finished(one: Tracked) -> datetime | None:
    return ended_at(one) if one.job.status.final else None


def _window_name(window: timedelta) -> str:
    return "24 h" if window == timedelta(days=1) else span(window)


def _active(snapshot: Snapshot) -> Mapping[str, int]:
    """The number of active jobs by organisation: neither final nor gone."""
    found: dict[str, int] = {}
    for (org, status), count in (*snapshot.counts.items(), *snapshot.batches.items()):
        if not status.final:
            found[org] = found.get(org, 0) + count
    return found


def _choices(snapshot: Snapshot, health: Health) -> dict[str, list[tuple[str, str]]]:
    """The options of each filter: the value and its label."""
    models = sorted({clean(one.job.model, 80) for one in snapshot.jobs})[:_MOST_MODELS]
    orgs = sorted(clean(org, 64) for org in health.orgs)
    return {
        "org": [("", "All organisations"), *((org, org) for org in orgs)],
        "status": [("", "All statuses"), *((state, state) for state in STATES)],
        "model": [("", "All models"), *((model, model) for model in models)],
        "kind": [("", "Jobs and batches"), *KINDS.items()] if snapshot.batches else [],
        "sort": [(name, words) for name, (words, _, _) in ORDERS.items()],
    }


def _org(org: OrgHealth, snapshot: Snapshot, active: int) -> dict[str, Any]:
    """An organisation; its state is `up`, `down` or `new`."""
    return {
        "name": clean(org.org, 64),
        "provider": clean(org.provider, 64),
        "labels": tuple(clean(f"{key}: {value}", 128) for key, value in org.labels.items()),
        "state": {True: "up", False: "down", None: "new"}[org.up],
        "every": _every(org, snapshot.at),
        "last_success": when(min(org.last_success, snapshot.at) if org.last_success else None, snapshot.at),
        # a time in the past is outdated
        "next_poll": when(org.next_poll_at, snapshot.at) if (org.next_poll_at or snapshot.at) > snapshot.at else None,
        "trouble": clean(org.trouble.text, 300) if org.trouble is not None else None,
        "active": active,
    }


def _every(org: OrgHealth, now: datetime) -> str | None:
    """How often a healthy organisation is polled; None if that is not known."""
    interval = poll_interval(org.last_success, org.next_poll_at, now) if org.up else None
    return span(interval) if interval is not None else None


def _notifiers(snapshot: Snapshot, health: Health, suspended: frozenset[str]) -> list[dict[str, Any]]:
    backlogs = {backlog.notifier: backlog for backlog in snapshot.backlogs}
    names: Iterable[str] = dict.fromkeys((*health.notifiers, *backlogs))
    return [
        {
            "name": clean(name, 64),
            "pending": backlogs[name].pending if name in backlogs else 0,
            "oldest": when(backlogs[name].oldest, snapshot.at) if name in backlogs else None,
            "state": "suspended" if name in suspended else "in use" if name in health.notifiers else "not configured",
        }
        for name in names
    ]


def _dead_letter(one: DeliverySummary, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "notifier": clean(one.notifier, 64),
        "title": clean(one.title, 120),
        "reason": cut(one.why, 360),
        "attempts": one.attempts,
        "settled": when(one.settled_at, snapshot.at),
    }


def _budget(one: BudgetState, snapshot: Snapshot) -> dict[str, Any]:
    """A budget; its state is `calm`, `near` or `over`, and its share is 1 or more when it is used up."""
    share = float(one.spent / one.limit)
    return {
        "name": clean(one.name, 64),
        "spent": rounded(one.spent),
        "limit": rounded(one.limit),
        "share": share,
        "state": "over" if share >= 1 else "near" if share >= 0.8 else "calm",
        "ends": f"in {span(one.period_end - snapshot.at)}" if one.period_end is not None else None,
    }


def _costs(snapshot: Snapshot, health: Health) -> Iterable[dict[str, Any]]:
    """Each organisation's costs of this month, where any are known: figures that are never added up."""
    billed, hosted = _by_org(snapshot.billed), _by_org(snapshot.hosted)
    for org in health.orgs:
        imports = health.billing.get(org)
        trouble = imports.trouble if imports is not None else None
        figures = {
            "computed": snapshot.trained.get(org),
            "usage": snapshot.used.get(org),
            "hosting": hosted.get(org),
            "billed": billed.get(org),
        }
        if trouble is not None or any(usd is not None for usd in figures.values()):
            yield {
                "org": clean(org, 64),
                "trouble": clean(trouble.text, 300) if trouble is not None else None,
                **{name: None if usd is None else rounded(usd) for name, usd in figures.items()},
            }


def _by_org(amounts: Mapping[tuple[str, str], Decimal]) -> Mapping[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for (org, _), usd in amounts.items():
        sums[org] = sums.get(org, Decimal(0)) + usd
    return sums


def _shutdowns(snapshot: Snapshot) -> dict[str, Any]:
    """The next models to be shut down, and how many more there are."""
    today = snapshot.at.astimezone(UTC).date()

    def shown(one: TunedModel, left: int) -> dict[str, Any]:
        return {
            "id": clean(one.id, 120),
            "org": clean(one.org, 64),
            "base": clean(one.base, 80),
            "day": one.shutdown.isoformat() if one.shutdown is not None else "",
            "words": "tomorrow" if left == 1 else f"in {left} days",
            "soon": left <= _SOON,
        }

    ending = sorted(
        ((one.shutdown - today).days, one.org, one.id, one)
        for one in snapshot.models
        if one.shutdown is not None and one.shutdown > today
    )
    more = sum(number for day, number in snapshot.shutdowns.items() if day > today) - _MOST_SHUTDOWNS
    return {
        "shutdowns": [shown(one, left) for left, _, _, one in ending[:_MOST_SHUTDOWNS]],
        "more_shutdowns": max(more, 0),
    }
