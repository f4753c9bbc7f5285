"""Writes what decisions changed: whole changes, many at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from monitor.domain.flow import RECENT, Change, Tracked, Transition
from monitor.domain.model import EventKind, JobEvent
from monitor.store.documents import UNKNOWN_TIME, to_ms, to_ms_up, write, write_tracked
from monitor.store.errors import Stale
from monitor.store.rows import OUTBOX, TALLY, Row, model_row, outbox_row, spending_row
from monitor.store.schema import CHUNK, event, insert, job, organization, spending, transition, tuned_model
from monitor.store.thinning import MOST, Mark, thinned

_BIG: Final = 2**62  # columns hold 64 bits

_VERSIONS: Final = (
    sa.select(organization.c.name, organization.c.version)
    .where(organization.c.name.in_(sa.bindparam("orgs", expanding=True)))
    .order_by(organization.c.name)
    .with_for_update()
)
_organization = insert(organization)
_ORGANIZATION: Final = _organization.on_conflict_do_update(
    index_elements=["name"],
    set_={
        "version": _organization.excluded.version,
        "seen_at": _organization.excluded.seen_at,
        "horizon": sa.case(
            (
                _organization.excluded.horizon > sa.func.coalesce(organization.c.horizon, -_BIG),
                _organization.excluded.horizon,
            ),
            else_=organization.c.horizon,
        ),
    },
)
_job = insert(job)
_JOB: Final = _job.on_conflict_do_update(
    index_elements=["org", "id"],
    set_={
        name: _job.excluded[name] for name in ("status", "model", "created_at", "ended_at", "settled", "basis", "doc")
    },
)
_EVENT: Final = insert(event).on_conflict_do_nothing(index_elements=["org", "job", "id"])
_TRANSITION: Final = insert(transition).on_conflict_do_nothing(index_elements=["org", "job", "seq"])
_SPENDING: Final = insert(spending).on_conflict_do_nothing(index_elements=["org", "job"])
_TUNED: Final = insert(tuned_model).on_conflict_do_nothing(index_elements=["org", "id"])
_of_job = (event.c.org == sa.bindparam("b_org")) & (event.c.job == sa.bindparam("b_job"))
_COUNT: Final = sa.select(sa.func.count()).select_from(event).where(_of_job)
_MARKS: Final = sa.select(event.c.pos, event.c.step, event.c.kind).where(_of_job).order_by(event.c.at, event.c.pos)
_THIN: Final = sa.delete(event).where(event.c.pos == sa.bindparam("b_pos"))


def commit(connection: sa.Connection, changes: Sequence[Change]) -> list[Stale | None]:
    """Write each change that was decided on the newest knowledge, refuse the others."""
    versions = _versions(connection, {change.org for change in changes})
    outcomes: list[Stale | None] = []
    fresh = []
    for change in changes:
        version = versions.get(change.org, 0)
        if version == change.based_on:
            versions[change.org] = version + 1
            fresh.append(change)
            outcomes.append(None)
        else:
            outcomes.append(Stale(f"{change.org} is at version {version}, the change is based on {change.based_on}"))
    _write(connection, fresh)
    for org, job_id in {place for change in fresh for place in _perhaps_long(change)}:
        _thin(connection, org, job_id)
    return outcomes


def _versions(connection: sa.Connection, orgs: Iterable[str]) -> dict[str, int]:
    names = sorted(orgs)
    found: dict[str, int] = {}
    for start in range(0, len(names), CHUNK):
        found |= dict(connection.execute(_VERSIONS, {"orgs": names[start : start + CHUNK]}).all())
    return found


def _write(connection: sa.Connection, changes: Sequence[Change]) -> None:
    amounts = Counter[tuple[str, str]]()
    for change in changes:
        for one in change.counters:
            amounts[one.metric, write(one.labels)] += one.amount
    statements: tuple[tuple[sa.Executable, list[Row]], ...] = (
        (_ORGANIZATION, [_organization_row(change) for change in changes]),
        (_JOB, [_job_row(one) for change in changes for one in change.tracked]),
        (_EVENT, [_event_row(one) for change in changes for one in change.events]),
        (_TRANSITION, [_transition_row(one) for change in changes for one in change.transitions]),
        (OUTBOX, [outbox_row(one, change.at) for change in changes for one in change.deliveries]),
        (TALLY, [{"metric": m, "labels": labels, "amount": n} for (m, labels), n in amounts.items()]),
        (_SPENDING, [spending_row(one) for change in changes for one in change.spendings]),
        (_TUNED, [model_row(one) for change in changes for one in change.tuned]),
    )
    for statement, rows in statements:
        if rows:
            connection.execute(statement, rows)


def _organization_row(change: Change) -> Row:
    return {
        "name": change.org,
        "version": change.based_on + 1,
        "horizon": to_ms_up(change.horizon) if change.horizon is not None else None,
        "seen_at": to_ms(change.at),
    }


def _job_row(tracked: Tracked) -> Row:
    one = tracked.job
    ended_at = (one.finished_at or one.created_at or tracked.since) if one.status.final else tracked.since
    return {
        "org": one.org,
        "id": one.id,
        "status": one.status.value,
        "model": one.model,
        "created_at": max(to_ms(one.created_at), UNKNOWN_TIME) if one.created_at is not None else UNKNOWN_TIME,
        "ended_at": None if tracked.active else to_ms(ended_at),
        "settled": int(tracked.finalized),
        "basis": tracked.cost.basis.value if tracked.cost is not None and one.status.final else None,
        "doc": write_tracked(tracked),
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


def _perhaps_long(change: Change) -> Iterator[tuple[str, str]]:
    """Jobs that may have too many events now: `recent` counts them up to RECENT, which spares asking the database."""
    short = {one.job.id for one in change.tracked if 0 < len(one.recent) < RECENT}
    for job_id, fresh in Counter(one.job for one in change.events).items():
        if job_id not in short or fresh > RECENT:
            yield change.org, job_id


def _thin(connection: sa.Connection, org: str, job_id: str) -> None:
    place = {"b_org": org, "b_job": job_id}
    if connection.execute(_COUNT, place).scalar_one() <= MOST:
        return
    marks = [
        Mark(pos=pos, step=step, measured=kind == EventKind.METRICS)
        for pos, step, kind in connection.execute(_MARKS, place)
    ]
    connection.execute(_THIN, [{"b_pos": pos} for pos in sorted(thinned(marks))])
