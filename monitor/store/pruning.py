"""Forgets what is past retention, without letting the provider's list make it news again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from monitor.store.documents import UNKNOWN_TIME
from monitor.store.schema import DEAD, PENDING, SENT, event, job, organization, outbox, transition

BATCH: Final = 200
"""Jobs, or envelopes, of one transaction: it must not hold others up."""
_before = sa.bindparam("b_before", type_=sa.BigInteger)
_waits = (
    sa.select(sa.literal(1))
    .select_from(outbox)
    .where(outbox.c.org == job.c.org, outbox.c.job == job.c.id, outbox.c.state == PENDING)
    .correlate(job)
    .exists()
)
_OLD_JOBS: Final = (
    sa.select(job.c.org, job.c.id, job.c.created_at)
    .where(job.c.slim == 0, job.c.ended_at < _before, ~_waits)
    .order_by(job.c.ended_at)
    .limit(BATCH)
)
_OLD_LETTERS: Final = (
    sa.select(outbox.c.key).where(outbox.c.settled_at < _before, outbox.c.state.in_([SENT, DEAD])).limit(BATCH)
)
_org, _id = sa.bindparam("b_org", type_=sa.Text), sa.bindparam("b_id", type_=sa.Text)
_FORGET: Final = tuple(
    sa.delete(table).where(table.c.org == _org, table.c.job == _id) for table in (event, transition, outbox)
)
_DELETE_JOB: Final = sa.delete(job).where(job.c.org == _org, job.c.id == _id)
_SLIM_JOB: Final = sa.update(job).where(job.c.org == _org, job.c.id == _id).values(slim=1)
_DELETE_LETTER: Final = sa.delete(outbox).where(outbox.c.key == sa.bindparam("b_key"))
_HORIZON: Final = (
    sa.update(organization)
    .where(
        organization.c.name == sa.bindparam("b_org"),
        sa.func.coalesce(organization.c.horizon, -(2**62)) < sa.bindparam("b_horizon"),
    )
    .values(horizon=sa.bindparam("b_horizon"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What one batch removed."""

    jobs: int
    letters: int


NOTHING: Final = Pruned(jobs=0, letters=0)


def prune(connection: sa.Connection, before: int) -> Pruned:
    """One batch of jobs over, or gone, since before that moment, and of envelopes settled before it."""
    rows = connection.execute(_OLD_JOBS, {"b_before": before}).all()
    # A horizon hides every unknown ended job from before it. So a job is only deleted where its creation is known and
    # past retention too; the others are kept, slim, so that they stay known by name.
    deleted = [row for row in rows if UNKNOWN_TIME < row.created_at < before]
    slimmed = [row for row in rows if not UNKNOWN_TIME < row.created_at < before]
    for statement in _FORGET:
        _execute(connection, statement, [_key(row) for row in rows])
    _execute(connection, _DELETE_JOB, [_key(row) for row in deleted])
    _execute(connection, _SLIM_JOB, [_key(row) for row in slimmed])
    horizons: dict[str, int] = {}
    for row in deleted:
        # a millisecond more, as columns cut what is smaller
        horizons[row.org] = max(horizons.get(row.org, 0), row.created_at + 1)
    _execute(connection, _HORIZON, [{"b_org": org, "b_horizon": at} for org, at in horizons.items()])
    letters = connection.execute(_OLD_LETTERS, {"b_before": before}).scalars().all()
    _execute(connection, _DELETE_LETTER, [{"b_key": key} for key in letters])
    return Pruned(jobs=len(rows), letters=len(letters))


def _key(row: sa.Row[str, str, int]) -> dict[str, Any]:
    return {"b_org": row.org, "b_id": row.id}


def _execute(connection: sa.Connection, statement: sa.Executable, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(statement, rows)
