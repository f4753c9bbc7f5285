"""Says what became of claimed envelopes, gives up old ones, and takes dead ones back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from monitor.store.changes import Place
from monitor.store.schema import CHUNK, DEAD, PENDING, outbox
from monitor.store.values import Claimed

SKEW: Final = timedelta(minutes=1)
"""How far clocks may differ before a time in the future counts as a clock that was put back."""

# the attempt's number fences a claim that was retaken under the same name
_ours = (
    (outbox.c.key == sa.bindparam("b_key"))
    & (outbox.c.state == PENDING)
    & (outbox.c.owner == sa.bindparam("b_owner"))
    & (outbox.c.attempts == sa.bindparam("b_attempts"))
)
_SETTLE: Final = (
    sa.update(outbox)
    .where(_ours)
    .values(
        state=sa.bindparam("b_state"),
        settled_at=sa.bindparam("b_now"),
        reason=sa.bindparam("b_reason"),
        reference=sa.bindparam("b_reference"),
        owner=None,
    )
)
_POSTPONE: Final = (
    sa.update(outbox)
    .where(_ours)
    .values(
        due_at=sa.bindparam("b_due_at"),
        touched_at=sa.bindparam("b_now"),
        reason=sa.bindparam("b_reason"),
        attempts=outbox.c.attempts - sa.bindparam("b_uncounted", type_=sa.BigInteger),
        ambiguous=sa.case((sa.bindparam("b_ambiguous", type_=sa.Integer) == 1, 1), else_=outbox.c.ambiguous),
        owner=None,
    )
)
_EXPIRE: Final = (
    sa.update(outbox)
    .where(
        outbox.c.state == PENDING,
        outbox.c.created_at < sa.bindparam("b_before"),
        outbox.c.owner.is_(None) | (outbox.c.due_at <= sa.bindparam("b_now")),  # not while it is being sent
    )
    .values(
        state=DEAD,
        # the last answer tells why nothing came through
        reason=sa.case((outbox.c.reason.is_(None), "expired"), else_=sa.literal("expired: ") + outbox.c.reason),
        settled_at=sa.bindparam("b_now"),
        owner=None,
    )
    .returning(outbox.c.notifier)
)
_CLOCK_PUT_BACK: Final = (
    sa.update(outbox)
    .where(
        outbox.c.state == PENDING,
        outbox.c.owner.is_(None),
        outbox.c.due_at > sa.bindparam("b_now"),
        outbox.c.touched_at > sa.bindparam("b_future"),
    )
    .values(due_at=sa.bindparam("b_now"), touched_at=sa.bindparam("b_now"))
)
_CLOCK_SET_AHEAD: Final = (
    sa.update(outbox)
    # what is younger than the jump was put there after it
    .where(outbox.c.state == PENDING, outbox.c.created_at <= sa.bindparam("b_now") - sa.bindparam("b_jump"))
    .values(created_at=outbox.c.created_at + sa.bindparam("b_jump", type_=sa.BigInteger))
)
ANEW: Final = {
    "state": PENDING,
    # its age and its attempts begin anew, or it would be dead again at once
    "created_at": sa.bindparam("b_now"),
    "due_at": sa.bindparam("b_now"),
    "touched_at": sa.bindparam("b_now"),
    "attempts": 0,
    "ambiguous": 0,  # whoever asks for it knows that it may have arrived
    "reason": None,
    "settled_at": None,
    "reference": None,
}
"""What makes an envelope that was sent or given up wait as if it were new, with the key and the content it has."""
_REQUEUE_ALL: Final = sa.update(outbox).where(outbox.c.state == DEAD).values(ANEW).returning(outbox.c.org, outbox.c.job)
_REQUEUE: Final = _REQUEUE_ALL.where(outbox.c.key.in_(sa.bindparam("b_keys", expanding=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an attempt: sent, or dead with its reason."""

    claimed: Claimed
    now: int
    state: str
    reason: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """A later attempt."""

    claimed: Claimed
    now: int
    due_at: int
    reason: str
    counted: bool
    ambiguous: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How old an envelope may become. Moments and durations in milliseconds."""

    now: int
    before: int
    """What was enqueued earlier is given up."""
    jump: int
    """By how much the clock was set ahead since this was asked last."""


def settle(connection: sa.Connection, outcome: Outcome) -> bool:
    """Whether the claim was still ours, so that this settled it."""
    values = {
        **_identity(outcome.claimed),
        "b_state": outcome.state,
        "b_now": outcome.now,
        "b_reason": outcome.reason,
        "b_reference": outcome.reference,
    }
    return connection.execute(_SETTLE, values).rowcount == 1


def postpone(connection: sa.Connection, delay: Delay) -> bool:
    """Whether the claim was still ours, so that this gave it back."""
    values = {
        **_identity(delay.claimed),
        "b_due_at": delay.due_at,
        "b_now": delay.now,
        "b_reason": delay.reason,
        "b_uncounted": int(not delay.counted),
        "b_ambiguous": int(delay.ambiguous),
    }
    return connection.execute(_POSTPONE, values).rowcount == 1


def _identity(claimed: Claimed) -> dict[str, Any]:
    return {"b_key": claimed.delivery.key, "b_owner": claimed.owner, "b_attempts": claimed.attempts}


def expire(connection: sa.Connection, limit: Limit) -> Mapping[str, int]:
    """Give up what is too old, by notifier; and hear no more of a clock since put back."""
    if limit.jump > 0:
        connection.execute(_CLOCK_SET_AHEAD, {"b_now": limit.now, "b_jump": limit.jump})
    future = limit.now + SKEW // timedelta(milliseconds=1)
    connection.execute(_CLOCK_PUT_BACK, {"b_now": limit.now, "b_future": future})
    return Counter(connection.execute(_EXPIRE, {"b_now": limit.now, "b_before": limit.before}).scalars())


def requeue(connection: sa.Connection, wanted: tuple[tuple[str, ...] | None, int]) -> tuple[Place, ...]:
    """Dead letters wait again; the job of each."""
    keys, now = wanted
    if keys is None:
        return _places(connection.execute(_REQUEUE_ALL, {"b_now": now}))
    found = (_places(connection.execute(_REQUEUE, {"b_now": now, "b_keys": chunk})) for chunk in chunks(keys))
    return tuple(place for places in found for place in places)


def chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """The keys, as many at a time as a statement may have."""
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))


def _places(rows: sa.Result[Any]) -> tuple[Place, ...]:
    return tuple((row.org, row.job) for row in rows)
