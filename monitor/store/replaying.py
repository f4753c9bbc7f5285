"""Reads stored transitions with the envelopes that tell them, and lets envelopes wait again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from monitor.domain.news import Delivery, parse_subject
from monitor.domain.replay import Past, StoredDelivery
from monitor.store.documents import Whole, cursor, from_ms, legible, place, read_tracked
from monitor.store.listing import transition_of
from monitor.store.rows import OUTBOX, outbox_row
from monitor.store.schema import DEAD, PENDING, SENT, job, outbox, transition
from monitor.store.settling import ANEW, chunks
from monitor.store.values import Listing

PAGE: Final = 200
"""Transitions that are read, decided and written at a time."""
_FIRST: Final = ("", "", 0)

# by job and number, not by time: what goes out in order must wait in order
_PAGE: Final = (
    sa.select(transition, job.c.doc)
    .join(job, (job.c.org == transition.c.org) & (job.c.id == transition.c.job))
    .where(
        transition.c.at >= sa.bindparam("b_since"),
        sa.tuple_(transition.c.org, transition.c.job, transition.c.seq)
        > sa.tuple_(
            sa.bindparam("b_org", type_=sa.Text),
            sa.bindparam("b_job", type_=sa.Text),
            sa.bindparam("b_seq", type_=sa.BigInteger),
        ),
    )
    .order_by(transition.c.org, transition.c.job, transition.c.seq)
    .limit(PAGE)
)
_told = _PAGE.subquery("told")
_SEALED: Final = sa.select(
    outbox.c.org, outbox.c.job, outbox.c.seq, outbox.c.notifier, outbox.c.state, outbox.c.message
).join(_told, (outbox.c.org == _told.c.org) & (outbox.c.job == _told.c.job) & (outbox.c.seq == _told.c.seq))
_AGAIN: Final = (
    sa.update(outbox)
    .where(outbox.c.key.in_(sa.bindparam("b_keys", expanding=True)), outbox.c.state.in_([SENT, DEAD]))
    .values(ANEW)
    .returning(outbox.c.key)
)
_NEW: Final = OUTBOX.returning(outbox.c.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Which page of the past."""

    at: int
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retold:
    """Envelopes that go out once more, by their keys, and new ones."""

    again: tuple[str, ...]
    new: tuple[Delivery, ...]
    now: int


def past(connection: sa.Connection, wanted: Since) -> Listing[Past]:
    """A page of the transitions observed since then, each job's in their order."""
    org, job_id, seq = place(wanted.after, tuple[str, str, Whole]) if wanted.after is not None else _FIRST
    values = {"b_since": wanted.at, "b_org": org, "b_job": job_id, "b_seq": seq}
    rows = connection.execute(_PAGE, values).all()
    stored = _sealed(connection, values) if rows else {}
    return Listing(
        items=tuple(
            Past(
                transition=transition_of(row),
                tracked=read_tracked(row.doc),
                stored=stored.get((row.org, row.job, row.seq), {}),
            )
            for row in rows
        ),
        next=cursor(rows[-1].org, rows[-1].job, rows[-1].seq) if len(rows) == PAGE else None,
    )


def _sealed(connection: sa.Connection, values: dict[str, Any]) -> dict[tuple[str, str, int], dict[str, StoredDelivery]]:
    found: dict[tuple[str, str, int], dict[str, StoredDelivery]] = defaultdict(dict)
    for row in connection.execute(_SEALED, values):
        message = legible(row.message, parse_subject(f"{row.org}/{row.job}"))
        found[row.org, row.job, row.seq][row.notifier] = StoredDelivery(
            type=message.type if message is not None else "",
            title=message.title if message is not None else "",
            waits=row.state == PENDING,
        )
    return found


def retell(connection: sa.Connection, wanted: Retold) -> frozenset[str]:
    """The keys of those that wait now and did not before: what waits or is there already is left as it is."""
    waiting: set[str] = set()
    for keys in chunks(wanted.again):
        waiting.update(connection.execute(_AGAIN, {"b_now": wanted.now, "b_keys": keys}).scalars())
    rows = [outbox_row(one, from_ms(wanted.now)) for one in wanted.new]
    if rows:
        waiting.update(connection.execute(_NEW, rows).scalars())
    return frozenset(waiting)
