"""Reads the pages of the JSON API: newest first, each with a cursor to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from monitor.domain.flow import Tracked, Transition, TransitionKind
from monitor.domain.model import JobEvent, Status
from monitor.domain.news import job_subject, parse_subject
from monitor.store.documents import Whole, cursor, from_ms, legible, maybe_moment, place, read_event, read_tracked
from monitor.store.schema import event, job, outbox, transition
from monitor.store.values import JobFile, Listing, Posted

T = TypeVar("T")
_newest_jobs = sa.select(job.c.created_at, job.c.org, job.c.id, job.c.doc).order_by(
    job.c.created_at.desc(), job.c.org.desc(), job.c.id.desc()
)
_newest_events = sa.select(event.c.at, event.c.pos, event.c.doc).order_by(event.c.at.desc(), event.c.pos.desc())
_newest_deliveries = sa.select(outbox).order_by(outbox.c.created_at.desc(), outbox.c.key.desc())
_JOB: Final = sa.select(job.c.doc).where(job.c.org == sa.bindparam("b_org"), job.c.id == sa.bindparam("b_id"))
_TRANSITIONS: Final = (
    sa.select(transition)
    .where(transition.c.org == sa.bindparam("b_org"), transition.c.job == sa.bindparam("b_id"))
    .order_by(transition.c.seq)
)
_DELIVERIES: Final = (
    sa.select(outbox)
    .where(outbox.c.org == sa.bindparam("b_org"), outbox.c.job == sa.bindparam("b_id"))
    .order_by(outbox.c.seq, outbox.c.notifier)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which page is asked for."""

    limit: int
    after: str | None


def jobs(connection: sa.Connection, page: Page, org: str | None, status: Status | None) -> Listing[Tracked]:
    """Jobs, newest created first."""
    query = _newest_jobs
    if org is not None:
        query = query.where(job.c.org == org)
    if status is not None:
        query = query.where(job.c.status == status.value)
    if page.after is not None:
        before = place(page.after, tuple[Whole, str, str])
        query = query.where(sa.tuple_(job.c.created_at, job.c.org, job.c.id) < before)
    return _listing(
        connection, query, page, lambda row: read_tracked(row.doc), lambda row: cursor(row.created_at, row.org, row.id)
    )


def events(connection: sa.Connection, page: Page, org: str, job_id: str) -> Listing[JobEvent]:
    """A job's events, newest first."""
    query = _newest_events.where(event.c.org == org, event.c.job == job_id)
    if page.after is not None:
        query = query.where(sa.tuple_(event.c.at, event.c.pos) < place(page.after, tuple[Whole, Whole]))
    return _listing(connection, query, page, lambda row: read_event(row.doc), lambda row: cursor(row.at, row.pos))


def deliveries(connection: sa.Connection, page: Page, state: str | None) -> Listing[Posted]:
    """Envelopes, newest first."""
    query = _newest_deliveries
    if state is not None:
        query = query.where(outbox.c.state == state)
    if page.after is not None:
        query = query.where(sa.tuple_(outbox.c.created_at, outbox.c.key) < place(page.after, tuple[Whole, str]))
    return _listing(connection, query, page, _posted, lambda row: cursor(row.created_at, row.key))


def job_file(connection: sa.Connection, org: str, job_id: str) -> JobFile | None:
    """One job and what became of it."""
    wanted = {"b_org": org, "b_id": job_id}
    doc = connection.execute(_JOB, wanted).scalar()
    if doc is None:
        return None
    topic, rest = job_subject(org, job_id).key.split("/", 1)
    return JobFile(
        tracked=read_tracked(doc),
        transitions=tuple(transition_of(row) for row in connection.execute(_TRANSITIONS, wanted)),
        deliveries=tuple(_posted(row) for row in connection.execute(_DELIVERIES, {"b_org": topic, "b_id": rest})),
    )


def _listing(
    connection: sa.Connection,
    query: sa.Select[Any],
    page: Page,
    item: Callable[[sa.Row[Any]], T],
    mark: Callable[[sa.Row[Any]], str],
) -> Listing[T]:
    rows = connection.execute(query.limit(page.limit + 1)).all()
    shown = rows[: page.limit]
    more = len(rows) > len(shown) > 0
    return Listing(items=tuple(item(row) for row in shown), next=mark(shown[-1]) if more else None)


def transition_of(row: sa.Row[Any]) -> Transition:
    """The transition of a row."""
    return Transition(
        org=row.org,
        job=row.job,
        seq=row.seq,
        at=from_ms(row.at),
        kind=TransitionKind(row.kind),
        before=Status(row.before) if row.before is not None else None,
        after=Status(row.after),
        resumed=bool(row.resumed),
        restarted=bool(row.restarted),
    )


def _posted(row: sa.Row[Any]) -> Posted:
    subject = parse_subject(f"{row.org}/{row.job}")
    message = legible(row.message, subject)
    reason, _, answer = (row.reason or "").partition(": ")
    return Posted(
        key=row.key,
        notifier=row.notifier,
        org=row.org,
        job=row.job,
        seq=row.seq,
        type=message.type if message is not None else "",
        title=message.title if message is not None else "",
        state=row.state,
        attempts=row.attempts,
        created_at=from_ms(row.created_at),
        due_at=from_ms(row.due_at),
        settled_at=maybe_moment(row.settled_at),
        reason=reason or None,
        answer=answer or None,
    )
