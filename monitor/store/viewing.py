"""Reads everything that metrics and the status page show, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from monitor.domain.flow import CounterIncrement, Tracked
from monitor.domain.model import Basis, Status
from monitor.domain.snapshot import Backlog, Snapshot
from monitor.store import accounts
from monitor.store.documents import from_ms, read_labels, read_tracked, to_ms
from monitor.store.schema import PENDING, job, outbox, tally

_orgs = job.c.org.in_(sa.bindparam("b_orgs", expanding=True))
_active = job.c.ended_at.is_(None)
_ended = job.c.ended_at >= sa.bindparam("b_since")
_jobs = sa.select(job.c.org, job.c.id, job.c.doc).limit(sa.bindparam("b_most"))
_ACTIVE: Final = _jobs.where(_orgs, _active).order_by(job.c.created_at.desc(), job.c.org, job.c.id)
_ENDED: Final = _jobs.where(_orgs, _ended).order_by(job.c.created_at.desc(), job.c.org, job.c.id)
_ALL: Final = sa.select(sa.func.count()).select_from(job).where(_orgs, _active | _ended)
_COUNTS: Final = sa.select(job.c.org, job.c.status, sa.func.count()).where(_orgs).group_by(job.c.org, job.c.status)
_UNPRICED: Final = (
    sa.select(job.c.org, job.c.model, sa.func.count())
    .where(_orgs, job.c.basis == Basis.UNKNOWN.value)
    .group_by(job.c.org, job.c.model)
)
_TALLIES: Final = sa.select(tally.c.metric, tally.c.labels, tally.c.amount).order_by(tally.c.metric, tally.c.labels)
_BACKLOGS: Final = (
    sa.select(outbox.c.notifier, sa.func.count(), sa.func.min(outbox.c.created_at))
    .where(outbox.c.state == PENDING)
    .group_by(outbox.c.notifier)
    .order_by(outbox.c.notifier)
)
Decoded = dict[tuple[str, str], tuple[str, Tracked]]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a reader wants to see."""

    now: datetime
    orgs: tuple[str, ...]
    since: datetime
    """Jobs that ended before this are not shown one by one."""
    max_jobs: int
    decoded: Mapping[tuple[str, str], tuple[str, Tracked]]
    """Jobs of the view before, with their documents: most have not changed, and keep their identity."""


def snapshot(connection: sa.Connection, view: View) -> tuple[Snapshot, Decoded]:
    """The view, and its jobs for the next one."""
    counts = {(org, Status(status)): count for org, status, count in connection.execute(_COUNTS, {"b_orgs": view.orgs})}
    jobs = _shown(connection, view)
    total = connection.execute(_ALL, {"b_orgs": view.orgs, "b_since": to_ms(view.since)}).scalar_one()
    today = view.now.astimezone(UTC)
    month = datetime(today.year, today.month, 1, tzinfo=UTC)
    trained, used = accounts.totals(connection, accounts.Since(orgs=view.orgs, at=month))
    seen = Snapshot(
        at=view.now,
        jobs=tuple(tracked for _, tracked in jobs.values()),
        dropped=total - len(jobs),
        counts=counts,
        unpriced={(org, model): n for org, model, n in connection.execute(_UNPRICED, {"b_orgs": view.orgs})},
        counters=_tallies(connection, view.orgs),
        billed=accounts.month_to_date(connection, view.orgs, today.date()),
        trained=trained,
        used=used,
        models=accounts.tuned_models(connection, view.orgs),
        backlogs=tuple(
            Backlog(notifier=notifier, pending=count, oldest=from_ms(oldest))
            for notifier, count, oldest in connection.execute(_BACKLOGS)
        ),
    )
    return seen, jobs


def _shown(connection: sa.Connection, view: View) -> Decoded:
    wanted = {"b_orgs": view.orgs, "b_since": to_ms(view.since)}
    rows = list(connection.execute(_ACTIVE, {**wanted, "b_most": view.max_jobs}))
    rows += connection.execute(_ENDED, {**wanted, "b_most": view.max_jobs - len(rows)})
    jobs: Decoded = {}
    for org, id_, doc in rows:
        before = view.decoded.get((org, id_))
        jobs[org, id_] = before if before is not None and before[0] == doc else (doc, read_tracked(doc))
    return jobs


def _tallies(connection: sa.Connection, orgs: Sequence[str]) -> tuple[CounterIncrement, ...]:
    counters = (
        CounterIncrement(metric=metric, labels=read_labels(labels), amount=amount)
        for metric, labels, amount in connection.execute(_TALLIES)
    )
    shown = {None, *orgs}
    return tuple(one for one in counters if dict(one.labels).get("org") in shown)
