"""The jobs that readers show, kept in memory: from the database comes only what has changed since they were read last.

Every commit gives the rows of its jobs the organisation's new version, so that an index finds what is newer. Commits of
other replicas are found too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from monitor.domain.flow import Tracked
from monitor.store.changes import Place
from monitor.store.documents import read_tracked
from monitor.store.schema import CHUNK, job, organization

# The concatenation makes SQLite use the index of ends: by organisation it would read all jobs of each.
_of_orgs = job.c.org.concat("").in_(sa.bindparam("b_orgs", type_=sa.Text, expanding=True))
_active = job.c.ended_at.is_(None)
_ended = job.c.ended_at >= sa.bindparam("b_since", type_=sa.BigInteger)
_jobs = sa.select(job.c.org, job.c.id, job.c.created_at, job.c.ended_at, job.c.version, job.c.doc)
_listed = _jobs.where(_of_orgs).limit(sa.bindparam("b_most", type_=sa.Integer))
_newest_first = (job.c.created_at.desc(), job.c.org, job.c.id)
ACTIVE: Final = _listed.where(_active).order_by(*_newest_first)
ENDED: Final = _listed.where(_ended).order_by(*_newest_first)
SHOWN: Final = sa.select(sa.func.count()).select_from(job).where(_of_orgs, _active | _ended)
CHANGED: Final = _jobs.where(
    job.c.org == sa.bindparam("b_org", type_=sa.Text),
    job.c.version > sa.bindparam("b_version", type_=sa.BigInteger),
)
_VERSIONS: Final = sa.select(organization.c.name, organization.c.version).where(
    organization.c.name.in_(sa.bindparam("b_orgs", type_=sa.Text, expanding=True))
)
_A_FEW: Final = {"yield_per": CHUNK}


@dataclass(frozen=True, slots=True)
class _ShownJob:
    """A job as it was decoded, and the columns of its row that decide whether and where it is shown."""

    created_at: int
    ended_at: int | None
    version: int
    tracked: Tracked

    def order(self, place: Place) -> tuple[bool, int, Place]:
        """By what jobs are sorted: active ones first, then the newest."""
        return self.ended_at is not None, -self.created_at, place


_Jobs = dict[Place, _ShownJob]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownJobs:
    """The active jobs of some organisations and those that ended since a moment, as of a version of each."""

    jobs: Mapping[Place, _ShownJob] = field(default_factory=dict)
    """In the order in which they are shown."""
    versions: Mapping[str, int] = field(default_factory=dict)
    since: int = 0
    most: int = 0
    dropped: int = 0
    """How many there are beyond `most`."""

    @property
    def tracked(self) -> tuple[Tracked, ...]:
        """The jobs: active ones first, then the newest."""
        return tuple(one.tracked for one in self.jobs.values())

    def refreshed(self, connection: sa.Connection, orgs: Sequence[str], since: int, most: int) -> ShownJobs:
        """The jobs brought up to date: those of these organisations that are active or ended since a moment in Unix
        milliseconds, at most so many.

        A deleted job stays until that moment passes its end: only jobs that ended before the retention are deleted.
        """
        versions = dict(connection.execute(_VERSIONS, {"b_orgs": orgs}).all())
        # An older version is that of a restored database.
        known = {org for org in versions if self.versions.get(org, versions[org] + 1) <= versions[org]}
        if self.dropped or since < self.since or most != self.most:
            return self._whole(connection, versions, since, most, known)
        jobs = {
            place: one
            for place, one in self.jobs.items()
            if place[0] in known and (one.ended_at is None or one.ended_at >= since)
        }
        newer = [org for org in versions if org in known and versions[org] > self.versions[org]]
        moved = self._change(connection, jobs, newer, since)
        if fresh := [org for org in versions if org not in known]:
            jobs |= _read(connection, {"b_orgs": fresh, "b_since": since}, most + 1, {})
            moved = True
        if len(jobs) > most:
            return self._whole(connection, versions, since, most, known)
        return ShownJobs(jobs=_sorted(jobs) if moved else jobs, versions=versions, since=since, most=most)

    def _change(self, connection: sa.Connection, jobs: _Jobs, orgs: Iterable[str], since: int) -> bool:
        """Bring the jobs of organisations with newer versions up to date. Returns whether that changes their order."""
        moved = False
        for org in orgs:
            newer = {"b_org": org, "b_version": self.versions[org]}
            for row in connection.execute(CHANGED, newer, execution_options=_A_FEW):
                place, was = (row.org, row.id), jobs.get((row.org, row.id))
                if row.ended_at is not None and row.ended_at < since:
                    jobs.pop(place, None)
                    continue
                jobs[place] = now = _decoded(row)
                moved = moved or was is None or was.order(place) != now.order(place)
        return moved

    def _whole(
        self, connection: sa.Connection, versions: Mapping[str, int], since: int, most: int, known: set[str]
    ) -> ShownJobs:
        """Read all rows, but decode only those that have changed."""
        shown = {"b_orgs": [*versions], "b_since": since}
        decoded = {place: one for place, one in self.jobs.items() if place[0] in known}
        jobs = _read(connection, shown, most, decoded)
        total = connection.execute(SHOWN, shown).scalar_one()
        return ShownJobs(jobs=jobs, versions=versions, since=since, most=most, dropped=total - len(jobs))


def _read(connection: sa.Connection, shown: Mapping[str, Any], most: int, decoded: Mapping[Place, _ShownJob]) -> _Jobs:
    jobs: _Jobs = {}
    for query in (ACTIVE, ENDED):
        rows = connection.execute(query, {**shown, "b_most": most - len(jobs)}, execution_options=_A_FEW)
        jobs |= _unchanged_or_decoded(rows, decoded)
    return jobs


def _unchanged_or_decoded(rows: Iterable[Any], decoded: Mapping[Place, _ShownJob]) -> Iterator[tuple[Place, _ShownJob]]:
    for row in rows:
        place = row.org, row.id
        before = decoded.get(place)
        yield place, before if before is not None and before.version == row.version else _decoded(row)


def _decoded(row: Any) -> _ShownJob:
    return _ShownJob(row.created_at, row.ended_at, row.version, read_tracked(row.doc))


def _sorted(jobs: _Jobs) -> _Jobs:
    return dict(sorted(jobs.items(), key=lambda item: item[1].order(item[0])))
