"""Reads what is shown: snapshots for the metrics and the status page, and pages for the JSON API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from monitor.domain.flow import Reason, Tracked, Trouble
from monitor.domain.model import PREFIXES, EventKind, JobEvent, JobKind, Status
from monitor.domain.news import SubjectKind
from monitor.domain.snapshot import Backlog, Snapshot, WatchState
from monitor.store import costs, counters, totals
from monitor.store.changes import Changes, Place
from monitor.store.database import Database
from monitor.store.documents import (
    Row,
    Whole,
    cursor,
    from_ms,
    maybe_moment,
    place,
    read_event,
    read_message,
    read_tracked,
    subject_of,
    to_ms,
    transition_of,
)
from monitor.store.outbox import of_job
from monitor.store.schema import chunks, event, is_batch, is_pending, job, outbox, transition, watch
from monitor.store.shown import ShownJobs
from monitor.store.values import DeliverySummary, JobFile, ResultPage, outward_key

T = TypeVar("T")

# The concatenation makes SQLite use the index of ends: by organisation it would read all jobs of each.
_of_orgs = job.c.org.concat("").in_(sa.bindparam("b_orgs", type_=sa.Text, expanding=True))
_ended = job.c.ended_at >= sa.bindparam("b_since", type_=sa.BigInteger)
_most = sa.bindparam("b_most", type_=sa.Integer)
_status = job.c.status.concat("")  # for the same reason: the index of statuses has all jobs
ENDED_SINCE: Final = (
    sa.select(_status, sa.func.count())
    .where(_of_orgs, _ended)
    .group_by(_status)
    .order_by(sa.func.count().desc(), _status)
)
# A held delivery waits only from the end of its hold.
_waits_since = sa.case((outbox.c.hold.is_(None), outbox.c.created_at), else_=outbox.c.due_at)
_BACKLOGS: Final = (
    sa.select(outbox.c.notifier, sa.func.count(), sa.func.min(_waits_since))
    .where(is_pending(outbox))
    .group_by(outbox.c.notifier)
    .order_by(outbox.c.notifier)
)
_WATCHING: Final = sa.select(watch).where(watch.c.org.in_(sa.bindparam("b_orgs", type_=sa.Text, expanding=True)))

NEWEST_JOBS: Final = sa.select(job.c.created_at, job.c.org, job.c.id, job.c.doc).order_by(
    job.c.created_at.desc(), job.c.org.desc(), job.c.id.desc()
)
FINISHED: Final = (
    sa.select(job.c.ended_at, job.c.org, job.c.id, job.c.doc)
    # Without organisations: SQLite would use their index, and sort all jobs of each.
    .where(job.c.ended_at < sa.bindparam("b_before", type_=sa.BigInteger), job.c.stub == 0)
    .order_by(job.c.ended_at.desc(), job.c.org.desc(), job.c.id.desc())
)
_newest_events = sa.select(event.c.at, event.c.pos, event.c.doc).order_by(event.c.at.desc(), event.c.pos.desc())
_newest_deliveries = sa.select(outbox).order_by(outbox.c.created_at.desc(), outbox.c.key.desc())
_org, _id = sa.bindparam("b_org", type_=sa.Text), sa.bindparam("b_id", type_=sa.Text)
_ids = sa.bindparam("b_ids", type_=sa.Text, expanding=True)
_JOB: Final = (
    sa.select(job.c.doc)
    .where(job.c.org == _org, job.c.id.in_(_ids))
    .order_by(is_batch, sa.func.length(job.c.id))  # the id as it is comes first
    .limit(1)
)
_TRANSITIONS: Final = (
    sa.select(transition).where(transition.c.org == _org, transition.c.job == _id).order_by(transition.c.seq)
)
_DELIVERIES: Final = (
    sa.select(outbox)
    .where(outbox.c.org == _org, outbox.c.subject_id == _id, of_job)
    .order_by(outbox.c.seq, outbox.c.notifier)
)
_of_job = (event.c.org == _org) & (event.c.job == _id)
_STORY: Final = (
    sa.select(event.c.doc)
    .where(_of_job, event.c.kind.in_([EventKind.METRICS.value, EventKind.CHECKPOINT.value]))
    .order_by(event.c.at.desc(), event.c.pos.desc())
    .limit(_most)
)
# Answered from the index alone, so that only those documents of a long job are read that are shown.
_POSITIONS: Final = sa.select(event.c.pos).where(_of_job)
_AT: Final = sa.select(event.c.pos, event.c.org, event.c.job, event.c.doc).where(
    event.c.pos.in_(sa.bindparam("b_positions", type_=sa.BigInteger, expanding=True)),
    event.c.kind == EventKind.METRICS.value,
)


@dataclass(slots=True)
class _LastShown:
    """The jobs of the last snapshot."""

    jobs: ShownJobs = field(default_factory=ShownJobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads for display. Every method may raise StoreError, and those that take a cursor may raise BadCursor."""

    database: Database
    changes: Changes
    _last: _LastShown = field(default_factory=_LastShown, init=False, repr=False)

    @property
    def healthy(self) -> bool:
        """Whether the latest transactions succeeded."""
        return self.database.healthy

    async def snapshot(
        self, now: datetime, *, orgs: Sequence[str], job_retention: timedelta, max_jobs: int
    ) -> Snapshot:
        """A snapshot of these organisations. At most `max_jobs` jobs are in it."""
        since = now - job_retention
        shown = self._last.jobs
        seen, self._last.jobs = await self.database.read(_snapshot, now, tuple(orgs), since, max_jobs, shown)
        return seen

    async def watching(self, orgs: Sequence[str]) -> Mapping[str, WatchState]:
        """The watch states of these organisations, as in `Snapshot.watching`."""
        return await self.database.read(_watching, tuple(orgs))

    async def ended(self, org: str, since: datetime) -> Mapping[Status, int]:
        """The number of jobs of an organisation that have ended since a moment, by status."""
        return await self.database.read(_ended_since, org, to_ms(since))

    async def jobs(
        self,
        *,
        org: str | None = None,
        status: Status | None = None,
        kind: JobKind | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> ResultPage[Tracked]:
        """A page of jobs and batches, the newest first."""
        query = NEWEST_JOBS
        if kind is not None:
            query = query.where(is_batch if kind is JobKind.BATCH else ~is_batch)
        if org is not None:
            query = query.where(job.c.org == org)
        if status is not None:
            query = query.where(job.c.status == status.value)
        if after is not None:
            before = place(after, tuple[Whole, str, str])
            query = query.where(sa.tuple_(job.c.created_at, job.c.org, job.c.id) < before)
        return await self.database.read(
            _listing, query, limit, lambda row: read_tracked(row.doc), lambda row: (row.created_at, row.org, row.id)
        )

    async def finished_before(self, before: datetime, *, limit: int, after: str | None = None) -> ResultPage[Tracked]:
        """A page of jobs that ended or were found to be gone before a moment, the latest first."""
        query = FINISHED.params(b_before=to_ms(before))
        if after is not None:
            older = place(after, tuple[Whole, str, str])
            query = query.where(job.c.ended_at <= older[0], sa.tuple_(job.c.ended_at, job.c.org, job.c.id) < older)
        return await self.database.read(
            _listing, query, limit, lambda row: read_tracked(row.doc), lambda row: (row.ended_at, row.org, row.id)
        )

    async def job(self, org: str, job_id: str) -> JobFile | None:
        """One job with its transitions and deliveries; None if it is unknown.

        A batch is also found by its provider's id, which is what people copy, unless a fine-tuning job has this id.
        """
        return await self.database.read(_job_file, org, job_id)

    async def events(
        self, org: str, job_id: str, *, limit: int = 100, after: str | None = None
    ) -> ResultPage[JobEvent]:
        """A page of the events of a job, the newest first."""
        query = _newest_events.where(event.c.org == org, event.c.job == job_id)
        if after is not None:
            query = query.where(sa.tuple_(event.c.at, event.c.pos) < place(after, tuple[Whole, Whole]))
        return await self.database.read(
            _listing, query, limit, lambda row: read_event(row.doc), lambda row: (row.at, row.pos)
        )

    async def story(self, org: str, job_id: str, most: int) -> Sequence[JobEvent]:
        """The newest `most` metrics and checkpoint events of a job, in chronological order."""
        return await self.database.read(_story, {"b_org": org, "b_id": job_id, "b_most": most})

    async def samples(self, jobs: Sequence[Place], most: int) -> Mapping[Place, Sequence[JobEvent]]:
        """At most `most` metrics events of each job, evenly spread over all of its events, oldest first."""
        return await self.database.read(_samples, jobs, most)

    async def deliveries(
        self, *, state: str | None = None, limit: int = 50, after: str | None = None
    ) -> ResultPage[DeliverySummary]:
        """A page of deliveries, the newest first."""
        query = _newest_deliveries
        if state is not None:
            query = query.where(outbox.c.state == state)
        if after is not None:
            query = query.where(sa.tuple_(outbox.c.created_at, outbox.c.key) < place(after, tuple[Whole, str]))
        return await self.database.read(_listing, query, limit, _summary, lambda row: (row.created_at, row.key))


def _snapshot(
    connection: sa.Connection, now: datetime, orgs: Sequence[str], since: datetime, max_jobs: int, shown: ShownJobs
) -> tuple[Snapshot, ShownJobs]:
    shown = shown.refreshed(connection, orgs, to_ms(since), max_jobs)
    counted = totals.read(connection, orgs)
    today = now.astimezone(UTC)
    trained, used = costs.computed_since(connection, orgs, datetime(today.year, today.month, 1, tzinfo=UTC))
    seen = Snapshot(
        at=now,
        jobs=shown.tracked,
        dropped=shown.dropped,
        counts={(org, Status(word)): number for (org, word), number in counted.jobs.items()},
        batches={(org, Status(word)): number for (org, word), number in counted.batches.items()},
        unpriced=counted.unpriced,
        counters=tuple(counters.read(connection, orgs)),
        billed=costs.billed_month(connection, orgs, today.date()),
        trained=trained,
        used=used,
        hosted=costs.hosted_since(connection, orgs, datetime(today.year, today.month, 1, tzinfo=UTC), now),
        models=costs.ending_models(connection, orgs, today.date()),
        shutdowns=_by_day(counted.shutdowns),
        backlogs=tuple(
            Backlog(notifier=notifier, pending=count, oldest=from_ms(oldest))
            for notifier, count, oldest in connection.execute(_BACKLOGS)
        ),
        watching=_watching(connection, orgs),
    )
    return seen, shown


def _by_day(shutdowns: Mapping[tuple[str, str], int]) -> dict[date, int]:
    found: dict[date, int] = {}
    for (_, day), number in shutdowns.items():
        found[date.fromisoformat(day)] = found.get(date.fromisoformat(day), 0) + number
    return found


def _ended_since(connection: sa.Connection, org: str, since: int) -> dict[Status, int]:
    rows = connection.execute(ENDED_SINCE, {"b_orgs": [org], "b_since": since})
    return {status: count for text, count in rows if (status := Status(text)).final}


def _watching(connection: sa.Connection, orgs: Sequence[str]) -> dict[str, WatchState]:
    names = [*orgs, *(f"{org}:costs" for org in orgs)]
    return {row.org: _watch_state(row) for row in connection.execute(_WATCHING, {"b_orgs": names})}


def _watch_state(row: Any) -> WatchState:
    reason = row.trouble_reason
    return WatchState(
        org=row.org,
        up=bool(row.up) if row.up is not None else None,
        since=from_ms(row.since),
        owner=row.owner,
        trouble=Trouble(reason=Reason(reason), text=row.trouble_text or "") if reason is not None else None,
        last_success=maybe_moment(row.last_success),
        next_poll=maybe_moment(row.next_poll),
    )


def _listing(
    connection: sa.Connection,
    query: sa.Select[Any],
    limit: int,
    item: Callable[[sa.Row[Any]], T],
    mark: Callable[[sa.Row[Any]], tuple[int | str, ...]],
) -> ResultPage[T]:
    rows = connection.execute(query.limit(limit + 1)).all()
    shown = rows[:limit]
    more = len(rows) > len(shown) > 0
    return ResultPage(items=tuple(item(row) for row in shown), next=cursor(*mark(shown[-1])) if more else None)


def _job_file(connection: sa.Connection, org: str, job_id: str) -> JobFile | None:
    doc = connection.execute(
        _JOB, {"b_org": org, "b_ids": [job_id, *(prefix + job_id for prefix in PREFIXES)]}
    ).scalar()
    if doc is None:
        return None
    tracked = read_tracked(doc)
    wanted = {"b_org": org, "b_id": tracked.job.id}
    return JobFile(
        tracked=tracked,
        transitions=tuple(transition_of(row) for row in connection.execute(_TRANSITIONS, wanted)),
        deliveries=tuple(_summary(row) for row in connection.execute(_DELIVERIES, wanted)),
    )


def _summary(row: sa.Row[Any]) -> DeliverySummary:
    subject = subject_of(row)
    topic, rest = subject.key.split("/", 1)
    message = read_message(row.message, subject)
    return DeliverySummary(
        key=outward_key(row.key, row.generation),
        notifier=row.notifier,
        org=subject.org or topic,
        job=subject.id if subject.kind in (SubjectKind.JOB, SubjectKind.BATCH) else rest,
        seq=row.seq,
        type=message.type if message is not None else "",
        title=message.title if message is not None else "",
        state=row.state,
        attempts=row.attempts,
        created_at=from_ms(row.created_at),
        due_at=from_ms(row.due_at),
        settled_at=maybe_moment(row.settled_at),
        reason=row.reason,
        answer=row.answer,
    )


def _story(connection: sa.Connection, wanted: Row) -> tuple[JobEvent, ...]:
    return tuple(read_event(doc) for (doc,) in connection.execute(_STORY, wanted))[::-1]


def _samples(connection: sa.Connection, jobs: Iterable[Place], most: int) -> Mapping[Place, Sequence[JobEvent]]:
    found: dict[Place, list[JobEvent]] = {}
    wanted: list[int] = []
    for org, job_id in jobs:
        found[org, job_id] = []
        wanted += _spread(sorted(connection.execute(_POSITIONS, {"b_org": org, "b_id": job_id}).scalars()), most)
    rows: list[sa.Row[int, str, str, str]] = []
    for chunk in chunks(wanted):
        rows += connection.execute(_AT, {"b_positions": chunk})
    for _, org, job_id, doc in sorted(rows):
        found[org, job_id].append(read_event(doc))
    return found


def _spread(positions: Sequence[int], most: int) -> list[int]:
    """At most `most` of the positions, evenly spread, including the first and the last."""
    if len(positions) <= most:
        return list(positions)
    return [positions[index * (len(positions) - 1) // (most - 1)] for index in range(most)]
