"""Stores jobs, their events and transitions: reads the known state of an organisation and commits changes to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import anyio
import sqlalchemy as sa

from monitor.domain.decide import evolve
from monitor.domain.event_ids import NONE_YET, RECENT, RecentIds
from monitor.domain.flow import Change, Known, Tracked, Transition
from monitor.domain.model import EventKind, JobEvent, JobKind, Status
from monitor.domain.snapshot import WatchState
from monitor.domain.stall import Usual, usual
from monitor.store import counters
from monitor.store.cards import FORGET as FORGET_CARDS
from monitor.store.cards import touch_cards
from monitor.store.changes import Changes, Place
from monitor.store.costs import add_models, record_training
from monitor.store.database import Database
from monitor.store.documents import (
    UNKNOWN_TIME,
    Row,
    maybe_moment,
    read_event,
    read_times,
    read_tracked,
    to_ms,
    to_ms_up,
    write,
    write_tracked,
)
from monitor.store.errors import Stale
from monitor.store.event_retention import MOST, Mark, superfluous
from monitor.store.leases import Leases
from monitor.store.outbox import enqueue, of_job
from monitor.store.packed import PackedJobs
from monitor.store.schema import (
    CHUNK,
    DEAD,
    PENDING,
    SENT,
    chunks,
    event,
    in_state,
    insert,
    is_batch,
    job,
    organization,
    outbox,
    transition,
    watch,
)

_BIG: Final = 2**62  # columns hold 64 bits
BATCH: Final = 200
"""The most jobs, or deliveries, that are deleted in one transaction, so that it does not delay others."""

_LAST: Final = 100
"""Number of recent jobs of a model from which usual durations are computed."""

_org, _id = sa.bindparam("b_org", type_=sa.Text), sa.bindparam("b_id", type_=sa.Text)
_of_job = (event.c.org == _org) & (event.c.job == _id)

_ORGANIZATION: Final = sa.select(organization).where(organization.c.name == _org)
_UNFINISHED: Final = sa.select(job.c.id, job.c.doc).where(job.c.org == _org, job.c.finalized == 0)
_A_FEW: Final = {"yield_per": CHUNK}
"""Rows are fetched and decoded in chunks, because the documents of thousands of jobs would double the memory."""
FINISHED: Final = sa.select(job.c.id, job.c.status).where(job.c.org == _org, job.c.finalized == 1)
_LISTS: Final = sa.select(job.c.id, job.c.of_list).where(job.c.org == _org, job.c.of_list.is_not(None))
_STORED: Final = sa.select(job.c.id, job.c.doc).where(
    job.c.org == _org, job.c.id.in_(sa.bindparam("b_ids", expanding=True))
)
_HOLDERS: Final = sa.select(job.c.id, job.c.org).where(
    job.c.org.in_(sa.bindparam("b_orgs", type_=sa.Text, expanding=True)),
    job.c.id.in_(sa.bindparam("b_ids", expanding=True)),
)
_LAST_OF_MODEL: Final = (
    sa.select(job.c.doc)
    .where(job.c.org == _org, job.c.model == sa.bindparam("b_model", type_=sa.Text), ~is_batch)
    .order_by(job.c.created_at.desc())
    .limit(_LAST)
)
_CURVE: Final = (
    sa.select(event.c.doc)
    .where(_of_job, event.c.kind.in_([EventKind.METRICS.value, EventKind.CHECKPOINT.value]))
    .order_by(event.c.at, event.c.pos)
)
_RECENT: Final = sa.select(event.c.id).where(_of_job).order_by(event.c.at.desc(), event.c.pos.desc()).limit(RECENT)

# A missing row cannot be locked. If two replicas see an organisation for the first time, the second one waits here.
_BEGIN: Final = insert(organization).values(version=0, seen_at=0).on_conflict_do_nothing(index_elements=["name"])
_VERSIONS: Final = (
    sa.select(organization.c.name, organization.c.version)
    .where(organization.c.name.in_(sa.bindparam("b_orgs", type_=sa.Text, expanding=True)))
    .with_for_update()
)
_ADVANCE: Final = (
    sa.update(organization)
    .where(organization.c.name == _org)
    .values(
        version=organization.c.version + 1,
        seen_at=sa.bindparam("b_at", type_=sa.BigInteger),
        partial=sa.bindparam("b_partial", type_=sa.Integer),
    )
)
_PLACE: Final = (
    sa.update(organization).where(organization.c.name == _org).values(place=sa.bindparam("b_place", type_=sa.Text))
)
_RAISE_HORIZON: Final = (
    sa.update(organization)
    .where(
        organization.c.name == _org,
        sa.func.coalesce(organization.c.horizon, -_BIG) < sa.bindparam("b_horizon", type_=sa.BigInteger),
    )
    .values(horizon=sa.bindparam("b_horizon", type_=sa.BigInteger))
)
_job = insert(job)
_JOB: Final = _job.on_conflict_do_update(
    index_elements=["org", "id"],
    set_={
        name: _job.excluded[name]
        for name in ("status", "model", "created_at", "ended_at", "finalized", "basis", "doc", "version")
    },
)
_EVENT: Final = insert(event).on_conflict_do_nothing(index_elements=["org", "job", "id"])
_TRANSITION: Final = insert(transition).on_conflict_do_nothing(index_elements=["org", "job", "seq"])

_watch = insert(watch)
_WATCH: Final = _watch.on_conflict_do_update(
    index_elements=["org"],
    set_={column.name: _watch.excluded[column.name] for column in watch.c if column.name not in ("org", "since")}
    | {"since": sa.case((watch.c.up == _watch.excluded.up, watch.c.since), else_=_watch.excluded.since)},
)

_COUNT: Final = sa.select(sa.func.count()).select_from(event).where(_of_job)
_MARKS: Final = sa.select(event.c.pos, event.c.step, event.c.kind).where(_of_job).order_by(event.c.at, event.c.pos)
_DELETE_EVENT: Final = sa.delete(event).where(event.c.pos == sa.bindparam("b_pos", type_=sa.BigInteger))

_before = sa.bindparam("b_before", type_=sa.BigInteger)
_waits = (
    sa.select(sa.literal(1))
    .select_from(outbox)
    .where(outbox.c.org == job.c.org, outbox.c.subject_id == job.c.id, of_job, in_state(outbox, PENDING))
    .correlate(job)
    .exists()
)
_OLD_JOBS: Final = (
    sa.select(job.c.org, job.c.id, job.c.created_at, job.c.ended_at, job.c.of_list)
    .where(job.c.stub == 0, job.c.ended_at < _before, ~_waits)
    .order_by(job.c.ended_at)
    .limit(BATCH)
)
_OLD_DELIVERIES: Final = (
    sa.select(outbox.c.key).where(outbox.c.settled_at < _before, in_state(outbox, SENT, DEAD)).limit(BATCH)
)
_FORGET: Final = (
    sa.delete(event).where(event.c.org == _org, event.c.job == _id),
    sa.delete(transition).where(transition.c.org == _org, transition.c.job == _id),
    sa.delete(outbox).where(outbox.c.org == _org, outbox.c.subject_id == _id, of_job),
    FORGET_CARDS,
)
_DELETE_JOB: Final = sa.delete(job).where(job.c.org == _org, job.c.id == _id)
_STUB: Final = sa.update(job).where(job.c.org == _org, job.c.id == _id).values(stub=1)
_DELETE_DELIVERY: Final = sa.delete(outbox).where(outbox.c.key == sa.bindparam("b_key", type_=sa.Text))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStore:
    """The stored jobs. Every method may raise StoreError."""

    database: Database
    leases: Leases
    changes: Changes
    _known: dict[str, tuple[int, Known]] = field(default_factory=dict, init=False, repr=False)
    """A cache of known states by organisation, each with the term of the lease during which it is valid."""
    _committing: dict[str, anyio.Event] = field(default_factory=dict, init=False, repr=False)
    """An event that is set at the end of the running commit, by organisation."""

    async def known(self, org: str) -> Known:
        """The known state of an organisation. It is cached while this replica holds the lease."""
        while (committed := self._committing.get(org)) is not None:  # the commit will leave the state in the cache
            await committed.wait()
        term = self.leases.term(org)
        found = self._known.get(org)
        if found is not None and found[0] == term:
            return found[1]
        known = await self.database.read(_read_known, org)
        self._remember(term, known)
        return known

    async def stored(self, org: str, ids: Collection[str]) -> Mapping[str, Tracked]:
        """The stored jobs with these ids, including finalized ones. Unknown ids are left out."""
        if not ids:
            return {}
        return await self.database.read(_read_stored, org, tuple(ids))

    async def holders(self, orgs: Sequence[str], ids: Collection[str]) -> Mapping[str, str]:
        """Which of these organisations has a job, by job id. Jobs that none of them has are left out."""
        return await self.database.read(_read_holders, orgs, sorted(ids)) if orgs and ids else {}

    async def curves(self, org: str, ids: Collection[str]) -> Mapping[str, Sequence[JobEvent]]:
        """The stored metrics and checkpoint events of these jobs, oldest first, by job id."""
        return await self.database.read(_read_curves, org, tuple(ids)) if ids else {}

    async def usual(self, org: str, models: Collection[str]) -> Mapping[str, Usual]:
        """How long recent jobs took, by model."""
        return await self.database.read(_read_usual, org, tuple(models))

    async def commit(self, change: Change, state: WatchState | None = None) -> None:
        """Commit a change and the watch state in one transaction.

        Raises Stale if the change is based on an outdated version. A large poll may be committed in slices, each based
        on the one before. Committed slices stay even if a later one fails.
        """
        if change.empty:
            if state is not None:
                await self.record(state)
            return
        with self._outdated(change.org) as before:
            await self.database.write_each(self._commit, (change, state))
            current = before is not None and before[0] == self.leases.term(change.org)
            if before is not None and current and before[1].version == change.based_on:
                self._remember(before[0], _evolved(before[1], change))
        self.changes.jobs(change.tracked)
        self.changes.enqueued(len(change.deliveries))

    async def record(self, state: WatchState) -> None:
        """Store the watch state of an organisation. Raises Stale if another replica watches it.

        The stored `since` is kept while `up` does not change, even across restarts and replicas.
        """
        await self.database.write_each(self._record, state)

    async def prune(self, now: datetime, retention: timedelta) -> int:
        """Delete jobs that ended and deliveries that were settled before the retention. Returns the number of jobs."""
        before, total = to_ms(now - retention), 0
        while True:
            jobs, deliveries = await self.database.write(_prune, before)
            total += jobs
            if not jobs and not deliveries:
                break
        if total:
            self._known.clear()
        await self.database.compact()
        return total

    @contextmanager
    def _outdated(self, org: str) -> Iterator[tuple[int, Known] | None]:
        """Remove the known state from the cache during a commit, and yield it. Other readers wait for the commit.

        If the commit fails, the state is read again.
        """
        committed = self._committing[org] = anyio.Event()
        try:
            yield self._known.pop(org, None)
        finally:
            if self._committing.get(org) is committed:
                del self._committing[org]
            committed.set()

    def _remember(self, term: int | None, known: Known) -> None:
        newest = self._known.get(known.org)
        if term is not None and (newest is None or newest[0] != term or newest[1].version < known.version):
            self._known[known.org] = term, known

    def _record(self, connection: sa.Connection, states: Sequence[WatchState]) -> Sequence[Stale | None]:
        orgs = [one.org.partition(":")[0] for one in states]  # also of the import of its costs
        refused = self.leases.fence(connection, sorted(set(orgs)), self.database.now(connection))
        rows = [_watch_row(one) for one, org in zip(states, orgs, strict=True) if org not in refused]
        _execute(connection, _WATCH, rows)
        return [refused.get(org) for org in orgs]

    def _commit(
        self, connection: sa.Connection, commits: Sequence[tuple[Change, WatchState | None]]
    ) -> Sequence[Stale | None]:
        """Write the changes that are based on the newest version, all at once, and refuse the others."""
        now = self.database.now(connection)
        refusals = self._refusals(connection, [change for change, _ in commits], now)
        taken = [commit for commit, refusal in zip(commits, refusals, strict=True) if refusal is None]
        changes = [change for change, _ in taken]
        if _write(connection, changes, now):
            self.database.wake(connection)
        _execute(connection, _WATCH, [_watch_row(state) for _, state in taken if state is not None])
        for org, job_id in _perhaps_long(changes):
            _thin(connection, org, job_id)
        return refusals

    def _refusals(self, connection: sa.Connection, changes: Sequence[Change], now: int) -> Sequence[Stale | None]:
        orgs = sorted({change.org for change in changes})
        _execute(connection, _BEGIN, [{"name": one.org} for one in changes if one.based_on == 0])
        versions: dict[str, int] = {}
        for chunk in chunks(orgs):
            versions |= dict(connection.execute(_VERSIONS, {"b_orgs": chunk}).all())
        fenced = self.leases.fence(connection, orgs, now)
        refusals: list[Stale | None] = []
        for one in changes:
            refusal, version = fenced.get(one.org), versions.get(one.org, 0)
            if version != one.based_on:
                refusal = Stale(f"{one.org} is at version {version}, the change is based on {one.based_on}")
            if refusal is None:
                versions[one.org] = version + 1
            refusals.append(refusal)
        return refusals


def _evolved(known: Known, change: Change) -> Known:
    """As `evolve`, but jobs that did not change are not packed again."""
    jobs = known.jobs if isinstance(known.jobs, PackedJobs) else PackedJobs.pack(known.jobs.values())
    after = evolve(replace(known, jobs={}), change)
    return replace(after, jobs=jobs.changed(after.jobs, without={one.job.id for one in change.tracked}))


def _read_known(connection: sa.Connection, org: str) -> Known:
    """The known state of an organisation. Only the ids and statuses of finalized jobs are read."""
    found = connection.execute(_ORGANIZATION, {"b_org": org}).first()
    if found is None:
        return Known(org=org)
    rows = connection.execute(_UNFINISHED, {"b_org": org}, execution_options=_A_FEW)
    jobs = PackedJobs.pack(replace(read_tracked(doc), recent_ids=_recent(connection, org, id_)) for id_, doc in rows)
    return Known(
        org=org,
        version=found.version,
        jobs=jobs,
        final={row.id: Status(row.status) for row in connection.execute(FINISHED, {"b_org": org})},
        horizon=maybe_moment(found.horizon),
        partial=bool(found.partial),
        place=found.place,
        lists={row.id: row.of_list for row in connection.execute(_LISTS, {"b_org": org})},
    )


def _read_stored(connection: sa.Connection, org: str, ids: Sequence[str]) -> dict[str, Tracked]:
    found: dict[str, Tracked] = {}
    for chunk in chunks(ids):
        rows = connection.execute(_STORED, {"b_org": org, "b_ids": chunk})
        found |= {row.id: read_tracked(row.doc) for row in rows}
    return found


def _read_holders(connection: sa.Connection, orgs: Sequence[str], ids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for chunk in chunks(ids):
        found |= {row.id: row.org for row in connection.execute(_HOLDERS, {"b_orgs": list(orgs), "b_ids": chunk})}
    return found


def _read_curves(connection: sa.Connection, org: str, ids: Sequence[str]) -> dict[str, list[JobEvent]]:
    return {id_: [*map(read_event, connection.execute(_CURVE, {"b_org": org, "b_id": id_}).scalars())] for id_ in ids}


def _read_usual(connection: sa.Connection, org: str, models: Sequence[str]) -> dict[str, Usual]:
    found: dict[str, Usual] = {}
    for model in models:
        docs = connection.execute(_LAST_OF_MODEL, {"b_org": org, "b_model": model}).scalars()
        found[model] = usual([read_times(doc) for doc in docs])
    return found


def _recent(connection: sa.Connection, org: str, job_id: str) -> RecentIds:
    newest = connection.execute(_RECENT, {"b_org": org, "b_id": job_id}).scalars().all()
    return RecentIds.of(reversed(newest)) if newest else NONE_YET


def _write(connection: sa.Connection, changes: Sequence[Change], now: int) -> bool:
    """Write the changes with one statement per kind of row. Returns whether deliveries were enqueued."""
    advanced = [{"b_org": one.org, "b_at": to_ms(one.at), "b_partial": int(one.more)} for one in changes]
    horizons = [{"b_org": one.org, "b_horizon": to_ms_up(one.horizon)} for one in changes if one.horizon is not None]
    _execute(connection, _ADVANCE, advanced)
    _execute(connection, _RAISE_HORIZON, horizons)
    _execute(connection, _PLACE, [{"b_org": one.org, "b_place": one.place} for one in changes if one.place is not None])
    _execute(connection, _JOB, (_job_row(one, change.based_on + 1) for change in changes for one in change.tracked))
    _execute(connection, _EVENT, (_event_row(one) for change in changes for one in change.events))
    _execute(connection, _TRANSITION, (_transition_row(one) for change in changes for one in change.transitions))
    enqueued = enqueue(connection, (one for change in changes for one in change.deliveries), now)
    touch_cards(connection, [one for change in changes for one in change.cards], now)
    record_training(connection, (one for change in changes for one in change.spendings))
    add_models(connection, [one for change in changes for one in change.tuned])
    amounts = Counter[tuple[str, str]]()
    for change in changes:
        for one in change.counters:
            amounts[one.metric, write(one.labels)] += one.amount
    counters.add(connection, amounts)
    return bool(enqueued)


def _job_row(tracked: Tracked, version: int) -> Row:
    one = tracked.job
    ended_at = (one.finished_at or one.created_at or tracked.since) if one.status.final else tracked.since
    trained = one.status is Status.SUCCEEDED and one.kind is JobKind.FINE_TUNING
    return {
        "org": one.org,
        "id": one.id,
        "status": one.status.value,
        "model": one.model,
        "created_at": max(to_ms(one.created_at), UNKNOWN_TIME) if one.created_at is not None else UNKNOWN_TIME,
        "ended_at": None if tracked.active else to_ms(ended_at),
        "finalized": int(tracked.finalized),
        "basis": tracked.cost.basis.value if tracked.cost is not None and trained else None,
        "doc": write_tracked(tracked),
        "version": version,
    }


def _watch_row(state: WatchState) -> Row:
    trouble = state.trouble
    return {
        "org": state.org,
        "up": int(state.up) if state.up is not None else None,
        "since": to_ms(state.since),
        "last_success": to_ms(state.last_success) if state.last_success is not None else None,
        "next_poll": to_ms(state.next_poll) if state.next_poll is not None else None,
        "trouble_reason": trouble.reason.value if trouble is not None else None,
        "trouble_text": trouble.text if trouble is not None else None,
        "owner": state.owner,
    }


def _event_row(one: JobEvent) -> Row:
    step = one.metrics.step if one.metrics is not None else None
    return {
        "org": one.org,
        "job": one.job,
        "id": one.id,
        "at": to_ms(one.at) if one.at is not None else UNKNOWN_TIME,
        "kind": one.kind.value,
        "step": step if abs(step or 0) < _BIG else None,
        "doc": write(one),
    }


def _transition_row(one: Transition) -> Row:
    return {
        "org": one.org,
        "job": one.job,
        "seq": one.seq,
        "at": to_ms(one.at),
        "kind": one.kind.value,
        "before": one.before.value if one.before is not None else None,
        "after": one.after.value,
        "resumed": int(one.resumed),
        "restarted": int(one.restarted),
    }


def _perhaps_long(changes: Iterable[Change]) -> Iterator[Place]:
    """The jobs that may now have too many events. Those with fewer `recent_ids` than RECENT need no query."""
    for change in changes:
        short = {one.job.id for one in change.tracked if 0 < len(one.recent_ids) < RECENT}
        for job_id, fresh in Counter(one.job for one in change.events).items():
            if job_id not in short or fresh > RECENT:
                yield change.org, job_id


def _thin(connection: sa.Connection, org: str, job_id: str) -> None:
    parameters = {"b_org": org, "b_id": job_id}
    if connection.execute(_COUNT, parameters).scalar_one() <= MOST:
        return
    marks = [
        Mark(pos=pos, step=step, measured=kind == EventKind.METRICS)
        for pos, step, kind in connection.execute(_MARKS, parameters)
    ]
    connection.execute(_DELETE_EVENT, [{"b_pos": pos} for pos in sorted(superfluous(marks))])


def _prune(connection: sa.Connection, before: int) -> tuple[int, int]:
    """Delete a batch of jobs that ended or were gone, and of deliveries that were settled, before a moment."""
    rows = connection.execute(_OLD_JOBS, {"b_before": before}).all()
    # The horizon hides unknown jobs that ended before it. It cannot hide a job for which the provider gives no times,
    # so that such a job is kept as a stub, by its id. So is one whose list is noted: the ids of others follow from it.
    deleted = [row for row in rows if row.created_at > UNKNOWN_TIME and row.of_list is None]
    stubs = [row for row in rows if row.created_at <= UNKNOWN_TIME or row.of_list is not None]
    horizons: dict[str, int] = {}
    for row in deleted:
        # one millisecond more, because columns are rounded down
        horizons[row.org] = max(horizons.get(row.org, 0), row.ended_at + 1)
    # Organisations first, as in a commit: whoever waits for another transaction holds nothing that it needs.
    _execute(connection, _RAISE_HORIZON, [{"b_org": org, "b_horizon": at} for org, at in sorted(horizons.items())])
    for statement in _FORGET:
        _execute(connection, statement, [_key(row) for row in rows])
    _execute(connection, _DELETE_JOB, [_key(row) for row in deleted])
    _execute(connection, _STUB, [_key(row) for row in stubs])
    keys = connection.execute(_OLD_DELIVERIES, {"b_before": before}).scalars().all()
    _execute(connection, _DELETE_DELIVERY, [{"b_key": key} for key in keys])
    return len(rows), len(keys)


def _key(row: Any) -> Row:
    return {"b_org": row.org, "b_id": row.id}


def _execute(connection: sa.Connection, statement: sa.Executable, rows: Iterable[Row]) -> None:
    """Execute the statement for each row, in chunks, because all rows of a large change would take much memory."""
    for chunk in chunks(rows):
        connection.execute(statement, chunk)
