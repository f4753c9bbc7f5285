"""Claims envelopes of the outbox: leased, never taken, and in order for each job and notifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from monitor.domain.news import Delivery, Message, Severity, parse_subject
from monitor.store.documents import from_ms, legible
from monitor.store.schema import PENDING, outbox
from monitor.store.values import Claimed

_earlier = outbox.alias("earlier")


def _first_of_job(row: sa.FromClause) -> sa.ColumnElement[bool]:
    """No envelope of the same notifier and job waits before this one: they go out in order."""
    return ~(
        sa.select(sa.literal(1))
        .select_from(_earlier)
        .where(
            _earlier.c.org == row.c.org,
            _earlier.c.job == row.c.job,
            _earlier.c.notifier == row.c.notifier,
            _earlier.c.state == PENDING,
            _earlier.c.seq < row.c.seq,
        )
        .correlate(row)
        .exists()
    )


_waiting = outbox.alias("waiting")
_DUE: Final = (
    sa.select(_waiting.c.key)
    .where(
        _waiting.c.state == PENDING,
        _waiting.c.notifier == sa.bindparam("b_notifier"),
        _waiting.c.due_at <= sa.bindparam("b_now"),
        _first_of_job(_waiting),
    )
    .order_by(_waiting.c.due_at, _waiting.c.created_at, _waiting.c.org, _waiting.c.job)
    .limit(sa.bindparam("b_limit"))
    .with_for_update(skip_locked=True)
)
_CLAIM: Final = (
    sa.update(outbox)
    .where(outbox.c.key.in_(_DUE))
    .values(
        attempts=outbox.c.attempts + 1,
        # nobody said what became of the claim before
        ambiguous=sa.case((outbox.c.owner.is_not(None), 1), else_=outbox.c.ambiguous),
        owner=sa.bindparam("b_owner"),
        due_at=sa.bindparam("b_until"),
        touched_at=sa.bindparam("b_now"),
    )
    .returning(
        outbox.c.org,
        outbox.c.job,
        outbox.c.seq,
        outbox.c.notifier,
        outbox.c.message,
        outbox.c.attempts,
        outbox.c.created_at,
        outbox.c.ambiguous,
    )
)
_RELEASE: Final = (
    sa.update(outbox)
    .where(outbox.c.state == PENDING, outbox.c.owner.is_not(None))
    .values(due_at=sa.bindparam("b_now"), touched_at=sa.bindparam("b_now"), owner=None, ambiguous=1)
)
_NEXT_DUE: Final = sa.select(sa.func.min(_waiting.c.due_at)).where(
    _waiting.c.state == PENDING, _waiting.c.notifier == sa.bindparam("b_notifier"), _first_of_job(_waiting)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Which envelopes one courier wants, and until when."""

    notifier: str
    now: int
    until: int
    owner: str
    limit: int


def claim(connection: sa.Connection, wanted: Claim) -> tuple[Claimed, ...]:
    """Lease what is due, oldest first."""
    rows = connection.execute(
        _CLAIM,
        {
            "b_notifier": wanted.notifier,
            "b_now": wanted.now,
            "b_until": wanted.until,
            "b_owner": wanted.owner,
            "b_limit": wanted.limit,
        },
    ).all()
    return tuple(_opened(row, wanted.owner) for row in sorted(rows, key=lambda row: (row.created_at, row.org, row.job)))


def _opened(row: Any, owner: str) -> Claimed:
    """The envelope of a claimed row. One that cannot be read is handed out too, to be buried."""
    created_at, subject = from_ms(row.created_at), parse_subject(f"{row.org}/{row.job}")
    message = legible(row.message, subject)
    blank = Message(type="", at=created_at, title="", severity=Severity.INFO, subject=subject, event_type=None)
    return Claimed(
        delivery=Delivery(subject=subject, seq=row.seq, notifier=row.notifier, message=message or blank),
        attempts=row.attempts,
        created_at=created_at,
        ambiguous=bool(row.ambiguous),
        owner=owner,
        readable=message is not None,
    )


def release(connection: sa.Connection, now: int) -> None:
    """What dead owners had claimed is due at once. They may have sent it."""
    connection.execute(_RELEASE, {"b_now": now})


def next_due(connection: sa.Connection, notifier: str) -> int | None:
    """When a claim will next find something."""
    due: int | None = connection.execute(_NEXT_DUE, {"b_notifier": notifier}).scalar()
    return due
