"""Stores webhooks of providers as hints: durably before they are acknowledged, and open until a poll sees the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from monitor.clock import Nudge
from monitor.domain.model import Status
from monitor.store.database import Database
from monitor.store.documents import Row, to_ms
from monitor.store.schema import hint, insert, job

KEPT: Final = timedelta(days=7)
"""How long the id of a webhook is kept to detect duplicates. OpenAI repeats a webhook for 72 hours."""
GIVEN_UP: Final = timedelta(minutes=15)
"""How long a hint triggers extra polls: the provider may list the end late, or never."""
_MOST: Final = 1000  # hints

_FINAL: Final = sorted(status.value for status in Status if status.final)
_before = sa.bindparam("b_before", type_=sa.BigInteger)
_ACCEPT: Final = insert(hint).on_conflict_do_nothing(index_elements=["org", "id"]).returning(hint.c.org, hint.c.id)
_over = (
    sa.select(sa.literal(1))
    .select_from(job)
    .where(job.c.org == hint.c.org, job.c.id == hint.c.job, job.c.status.in_(_FINAL))
    .correlate(hint)
    .exists()
)
_OPEN: Final = sa.select(hint.c.org, hint.c.job).where(hint.c.settled == 0).limit(_MOST)
_ORGS: Final = sa.select(hint.c.org).where(hint.c.settled == 0).distinct()
_OPEN_OF: Final = (
    sa.select(hint.c.org, hint.c.job)
    .where(hint.c.settled == 0, hint.c.org == sa.bindparam("b_org", type_=sa.Text))
    .order_by(hint.c.at.desc(), hint.c.id)
    .limit(sa.bindparam("b_most", type_=sa.Integer))
)
_done = (hint.c.settled == 0) & (_over | (hint.c.at < _before))
_DONE: Final = sa.select(sa.literal(1)).select_from(hint).where(_done).limit(1)
_SETTLE: Final = sa.update(hint).where(_done).values(settled=1)
_PRUNE: Final = sa.delete(hint).where(hint.c.at < _before)


@dataclass(frozen=True, slots=True, kw_only=True)
class HintStore:
    """The stored hints. Every method may raise StoreError."""

    database: Database
    arrived: Nudge = field(default_factory=Nudge)
    """Wakes the hint watcher when this or another replica has stored a webhook."""

    async def accept(self, org: str, id_: str, job_id: str, at: datetime) -> bool:
        """Store a webhook durably. Returns False, without any change, for a duplicate."""
        row = {"org": org, "id": id_, "job": job_id, "at": to_ms(at), "settled": 0}
        fresh = await self.database.write_together(self._accept, row)
        if fresh:
            self.arrived()
        return fresh

    async def open(self, now: datetime) -> Mapping[str, frozenset[str]]:
        """The jobs that have ended according to webhooks and whose end was not seen yet, by organisation."""
        before = to_ms(now - GIVEN_UP)
        if await self.database.read(_any_done, before):
            await self.database.write(_settle, before)
        return await self.database.read(_open)

    async def prune(self, now: datetime) -> None:
        """Delete webhooks that are too old to be repeated."""
        await self.database.write(_prune, to_ms(now - KEPT))

    def _accept(self, connection: sa.Connection, rows: Sequence[Row]) -> Sequence[bool]:
        """Insert the webhooks. Returns for each whether it is new; of equal ones, only the first is."""
        found = {(row["org"], row["id"]): row for row in reversed(rows)}
        # sorted, so that two replicas cannot wait for each other
        new = {tuple(row) for row in connection.execute(_ACCEPT, [found[key] for key in sorted(found)])}
        if new:
            self.database.wake(connection)
        return [(row["org"], row["id"]) in new and found[row["org"], row["id"]] is row for row in rows]


def _any_done(connection: sa.Connection, before: int) -> bool:
    return connection.execute(_DONE, {"b_before": before}).first() is not None


def _settle(connection: sa.Connection, before: int) -> None:
    connection.execute(_SETTLE, {"b_before": before})


def _open(connection: sa.Connection) -> Mapping[str, frozenset[str]]:
    rows = connection.execute(_OPEN).all()
    if len(rows) == _MOST:  # each organisation gets its share, so that the many hints of one hide no other's
        orgs = connection.execute(_ORGS).scalars().all()
        share = max(_MOST // len(orgs), 1)
        rows = [row for org in orgs for row in connection.execute(_OPEN_OF, {"b_org": org, "b_most": share})]
    found: dict[str, set[str]] = defaultdict(set)
    for org, job_id in rows:
        found[org].add(job_id)
    return {org: frozenset(jobs) for org, jobs in found.items()}


def _prune(connection: sa.Connection, before: int) -> None:
    connection.execute(_PRUNE, {"b_before": before})
