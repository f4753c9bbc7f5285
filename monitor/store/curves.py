"""Reads what job pages and small curves are drawn from: measurements and checkpoints, oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from monitor.domain.model import EventKind, JobEvent
from monitor.store.documents import read_event
from monitor.store.schema import CHUNK, event

_of_job = (event.c.org == sa.bindparam("b_org")) & (event.c.job == sa.bindparam("b_job"))
_STORY: Final = (
    sa.select(event.c.doc)
    .where(_of_job, event.c.kind.in_([EventKind.METRICS.value, EventKind.CHECKPOINT.value]))
    .order_by(event.c.at.desc(), event.c.pos.desc())
    .limit(sa.bindparam("b_most"))
)
# Answered by the index of identities alone: no document of a long job is touched that is not drawn.
_PLACES: Final = sa.select(event.c.pos).where(_of_job)
_AT: Final = sa.select(event.c.pos, event.c.org, event.c.job, event.c.doc).where(
    event.c.pos.in_(sa.bindparam("b_places", expanding=True)), event.c.kind == EventKind.METRICS.value
)
Place = tuple[str, str]


def story(connection: sa.Connection, org: str, job_id: str, most: int) -> tuple[JobEvent, ...]:
    """The newest measurements and checkpoints of one job, oldest first."""
    rows = connection.execute(_STORY, {"b_org": org, "b_job": job_id, "b_most": most})
    return tuple(read_event(doc) for (doc,) in rows)[::-1]


def samples(connection: sa.Connection, jobs: Iterable[Place], most: int) -> Mapping[Place, Sequence[JobEvent]]:
    """Measurements of each job, about `most`, spread evenly over all it has."""
    found: dict[Place, list[JobEvent]] = {}
    wanted: list[int] = []
    for org, job_id in jobs:
        found[org, job_id] = []
        wanted += _spread(sorted(connection.execute(_PLACES, {"b_org": org, "b_job": job_id}).scalars()), most)
    rows: list[sa.Row[int, str, str, str]] = []
    for start in range(0, len(wanted), CHUNK):
        rows += connection.execute(_AT, {"b_places": wanted[start : start + CHUNK]})
    for _, org, job_id, doc in sorted(rows):
        found[org, job_id].append(read_event(doc))
    return found


def _spread(places: Sequence[int], most: int) -> list[int]:
    """At most so many of them, first and last among them."""
    if len(places) <= most:
        return list(places)
    return [places[index * (len(places) - 1) // (most - 1)] for index in range(most)]
