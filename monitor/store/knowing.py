"""Reads what was known of an organisation; settled jobs are counted in by name only, never decoded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from monitor.domain.flow import RECENT, Known
from monitor.store.documents import maybe_moment, read_tracked
from monitor.store.schema import CHUNK, event, job, organization

_org = sa.bindparam("b_org", type_=sa.Text)
_ORGANIZATION: Final = sa.select(organization.c.version, organization.c.horizon).where(organization.c.name == _org)
_OPEN: Final = sa.select(job.c.id, job.c.doc).where(job.c.org == _org, job.c.settled == 0)
_SETTLED: Final = sa.select(job.c.id).where(job.c.org == _org, job.c.settled == 1)
_RECENT: Final = (
    sa.select(event.c.job, event.c.id)
    .where(event.c.org == _org, event.c.job.in_(sa.bindparam("b_jobs", expanding=True)))
    .order_by(event.c.at, event.c.pos)
)


def known(connection: sa.Connection, org: str) -> Known:
    """Everything a decision needs of the past."""
    found = connection.execute(_ORGANIZATION, {"b_org": org}).first()
    if found is None:
        return Known(org=org)
    docs = dict(connection.execute(_OPEN, {"b_org": org}).all())
    recent = _recent(connection, org, list(docs))
    return Known(
        org=org,
        version=found.version,
        jobs={id_: replace(read_tracked(doc), recent=recent.get(id_, ())) for id_, doc in docs.items()},
        final=frozenset(connection.execute(_SETTLED, {"b_org": org}).scalars()),
        horizon=maybe_moment(found.horizon),
    )


def _recent(connection: sa.Connection, org: str, jobs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    ids: dict[str, list[str]] = defaultdict(list)
    for start in range(0, len(jobs), CHUNK):
        for job_id, id_ in connection.execute(_RECENT, {"b_org": org, "b_jobs": jobs[start : start + CHUNK]}):
            ids[job_id].append(id_)
    return {job_id: tuple(found[-RECENT:]) for job_id, found in ids.items()}
