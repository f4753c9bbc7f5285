"""Reads what is pending for a notifier, when it last accepted something, and which lasting states it was sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from monitor.domain.news import LASTING, Delivery
from monitor.domain.notifier_outages import NotifierBacklog
from monitor.store.documents import from_ms, maybe_moment, read_message, subject_of
from monitor.store.schema import SENT, in_state, is_pending, outbox

_failed_at = sa.case((outbox.c.reason.is_not(None), outbox.c.created_at))
_WAITING: Final = (
    sa.select(outbox.c.notifier, sa.func.count().label("waiting"), sa.func.min(_failed_at).label("failing_since"))
    .where(
        is_pending(outbox),
        outbox.c.hold.is_(None),
        outbox.c.notifier.in_(sa.bindparam("b_notifiers", type_=sa.Text, expanding=True)),
    )
    .group_by(outbox.c.notifier)
)
_of = outbox.c.notifier == sa.bindparam("b_notifier", type_=sa.Text)
_LAST_FAILURE: Final = (
    sa.select(outbox.c.reason, outbox.c.answer)
    .where(is_pending(outbox), outbox.c.hold.is_(None), _of, outbox.c.reason.is_not(None))
    .order_by(outbox.c.touched_at.desc())
    .limit(1)
)
_LAST_SENT: Final = sa.select(sa.func.max(outbox.c.settled_at)).where(in_state(outbox, SENT), _of)

_LATEST: Final = timedelta(days=7) // timedelta(milliseconds=1)
"""A state that has not been sent for this time, because the monitor was down, is not sent again."""
_later = outbox.alias("later")
_LASTING: Final = (
    sa.select(outbox.c.key, outbox.c.subject_kind, outbox.c.org, outbox.c.subject_id, outbox.c.seq, outbox.c.message)
    .where(
        in_state(outbox, SENT),
        _of,
        outbox.c.settled_at.between(
            sa.bindparam("b_from", type_=sa.BigInteger), sa.bindparam("b_to", type_=sa.BigInteger)
        ),
        # Texts from outside may contain this as well, so the messages that are found are decoded and checked.
        sa.or_(*(outbox.c.message.contains(f'"event_type":"{event}"', autoescape=True) for event in LASTING)),
        ~sa.select(sa.literal(1))
        .where(
            _later.c.subject_kind == outbox.c.subject_kind,
            _later.c.org == outbox.c.org,
            _later.c.subject_id == outbox.c.subject_id,
            _later.c.notifier == outbox.c.notifier,
            _later.c.seq > outbox.c.seq,
        )
        .correlate(outbox)
        .exists(),
    )
    .order_by(outbox.c.settled_at)
)


def read_lasting(connection: sa.Connection, now: int, notifier: str, older: int) -> tuple[Delivery, ...]:
    """Deliveries that announced a state, are the last of their subject and at least `older` milliseconds old."""
    found = []
    for row in connection.execute(_LASTING, {"b_notifier": notifier, "b_from": now - _LATEST, "b_to": now - older}):
        subject = subject_of(row)
        message = read_message(row.message, subject)
        if message is not None and message.event_type in LASTING:
            to = row.key.rpartition("@")[2].partition("#")[0]
            found.append(Delivery(subject=subject, seq=row.seq, notifier=to, message=message))
    return tuple(found)


def read_backlogs(
    connection: sa.Connection, now: int, notifiers: Sequence[str], *, down: Sequence[str]
) -> dict[str, NotifierBacklog]:
    """The backlogs of those notifiers for which a delivery is failing, and of those that are `down`.

    Sent deliveries are only read for these, because there are many, while few notifiers fail.
    """
    found: dict[str, Any] = {row.notifier: row for row in connection.execute(_WAITING, {"b_notifiers": notifiers})}
    failing = [name for name, row in found.items() if row.failing_since is not None]
    return {
        name: _backlog(connection, now, name, found.get(name)) for name in notifiers if name in failing or name in down
    }


def _backlog(connection: sa.Connection, now: int, name: str, row: Any) -> NotifierBacklog:
    sent = connection.execute(_LAST_SENT, {"b_notifier": name}).scalar()
    failure = connection.execute(_LAST_FAILURE, {"b_notifier": name}).first()
    return NotifierBacklog(
        name=name,
        at=from_ms(now),
        waiting=row.waiting if row is not None else 0,
        failing_since=maybe_moment(row.failing_since) if row is not None else None,
        reason=failure.reason if failure is not None else None,
        answer=failure.answer if failure is not None else None,
        last_delivered=maybe_moment(sent),
    )
