"""The outbox: pending deliveries, which are claimed in order per subject and notifier, and retried or dead-lettered."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from monitor.domain.bundle import MOST, bundle
from monitor.domain.news import ALONE, Card, Delivery, Hold, Message, News, Severity, Subject, SubjectKind, job_subject
from monitor.domain.notifier_outages import NotifierBacklog
from monitor.domain.replay import Past, Plan, StoredDelivery
from monitor.log import get_logger
from monitor.store.backlogs import read_backlogs, read_lasting
from monitor.store.cards import add_card, adopt_cards, find_card
from monitor.store.changes import Changes, Place
from monitor.store.clock_jump import ClockJump
from monitor.store.database import Database
from monitor.store.documents import (
    Row,
    Whole,
    cursor,
    from_ms,
    place,
    read_message,
    read_tracked,
    subject_of,
    to_ms,
    transition_of,
    write,
)
from monitor.store.errors import StoreError
from monitor.store.schema import (
    DEAD,
    PENDING,
    SENT,
    batches,
    chunks,
    in_state,
    insert,
    is_pending,
    job,
    notice,
    outbox,
    restore,
    transition,
)
from monitor.store.values import ClaimedDelivery, ResultPage

log = get_logger()

_MS: Final = timedelta(milliseconds=1)
_SKEW: Final = timedelta(minutes=1) // _MS
"""How far a stored time may be in the future, in milliseconds, before the clock counts as having been set back."""
_AT_ONCE: Final = 100  # deliveries per statement, because each may contain a whole job
PAGE: Final = 200
"""The number of transitions in a page of a replay."""

_notifier = sa.bindparam("b_notifier", type_=sa.Text)
_now = sa.bindparam("b_now", type_=sa.BigInteger)
_owner = sa.bindparam("b_owner", type_=sa.Text)
_due_at = sa.bindparam("b_due_at", type_=sa.BigInteger)
_keys = sa.bindparam("b_keys", type_=sa.Text, expanding=True)

_NOTIFIER_OF: Final = sa.select(outbox.c.notifier).where(outbox.c.key == sa.bindparam("b_key", type_=sa.Text))
_ENQUEUE: Final = insert(outbox).on_conflict_do_nothing(index_elements=["key"]).returning(outbox.c.key)
_MESSAGES: Final = sa.select(outbox.c.key, outbox.c.message).where(outbox.c.key.in_(_keys))

of_job = (outbox.c.subject_kind == SubjectKind.JOB.value) | (outbox.c.subject_kind == SubjectKind.BATCH.value)
"""Whether the subject of a delivery is a row of `job`."""
_GENERATION: Final = sa.select(sa.func.max(restore.c.at))

_earlier = outbox.alias("earlier")
_waiting = outbox.alias("waiting")
_blocks = (_earlier.c.hold.is_(None) | (_earlier.c.hold.like("wait%"))) & (
    _earlier.c.redelivered <= _waiting.c.redelivered
)
"""Whether an earlier delivery blocks a later one. It does not if it is muted, or if it is redelivered and the later one
is not."""


def _is_behind(apart: sa.ColumnElement[bool]) -> sa.Exists:
    """Whether an earlier delivery of the same subject and notifier is pending. `apart` excludes those of its bundle."""
    return (
        sa.select(sa.literal(1))
        .select_from(_earlier)
        .where(
            _earlier.c.subject_kind == _waiting.c.subject_kind,
            _earlier.c.org == _waiting.c.org,
            _earlier.c.subject_id == _waiting.c.subject_id,
            _earlier.c.notifier == _waiting.c.notifier,
            _earlier.c.state == PENDING,
            _earlier.c.seq < _waiting.c.seq,
            apart,
            _blocks,
        )
        .correlate(_waiting)
        .exists()
    )


_first_of_subject = ~_is_behind(_earlier.c.bundle.is_(None) | (_earlier.c.bundle != _waiting.c.key))
_not_led = _waiting.c.bundle.is_(None) | (_waiting.c.bundle == _waiting.c.key)
"""Whether a delivery is not in a bundle or leads it. The others of a bundle are sent with its leader."""
_redelivered = sa.bindparam("b_redelivered", type_=sa.Integer)
_LANES: Final = (0, 1)
"""Values of `redelivered` in the order of sending. Each has a query of its own, which an index can answer in order."""
# A CTE, because PostgreSQL may evaluate a plain subquery more than once, and then locks more rows than its limit.
_due = (
    sa.select(_waiting.c.key)
    .where(
        is_pending(_waiting),
        _waiting.c.notifier == _notifier,
        _waiting.c.redelivered == _redelivered,
        _waiting.c.due_at <= _now,
        _waiting.c.hold.is_(None),
        _not_led,
        _first_of_subject,
    )
    .order_by(_waiting.c.due_at, _waiting.c.created_at, _waiting.c.org, _waiting.c.subject_id)
    .limit(sa.bindparam("b_limit", type_=sa.Integer))
    .with_for_update(skip_locked=True)
    .cte("due")
)
_CLAIM: Final = (
    sa.update(outbox)
    .where(outbox.c.key.in_(sa.select(_due.c.key)))
    .values(
        attempts=outbox.c.attempts + 1,
        # the previous claim has ended without an outcome
        ambiguous=sa.case((outbox.c.owner.is_not(None), 1), else_=outbox.c.ambiguous),
        owner=_owner,
        due_at=_due_at,
        touched_at=_now,
    )
    .returning(
        outbox.c.key,
        outbox.c.subject_kind,
        outbox.c.org,
        outbox.c.subject_id,
        outbox.c.seq,
        outbox.c.generation,
        outbox.c.notifier,
        outbox.c.message,
        outbox.c.attempts,
        outbox.c.created_at,
        outbox.c.ambiguous,
        outbox.c.bundle,
        outbox.c.redelivered,
        outbox.c.card,
    )
)
_NEXT_DUE: Final = sa.select(sa.func.min(_waiting.c.due_at)).where(
    is_pending(_waiting),
    _waiting.c.notifier == _notifier,
    _waiting.c.redelivered == _redelivered,
    _not_led,
    _first_of_subject,
)
_hold = sa.bindparam("b_hold", type_=sa.Text)
# Deliveries that are redelivered are never held back. The condition would make SQLite read all that are due.
_DUE_HOLDS: Final = (
    sa.select(outbox.c.hold)
    .where(
        is_pending(outbox),
        outbox.c.notifier == _notifier,
        outbox.c.due_at <= _now,
        outbox.c.hold.is_not(None),
    )
    .distinct()
)
_HELD: Final = (
    sa.select(outbox.c.key)
    .where(is_pending(outbox), outbox.c.notifier == _notifier, outbox.c.hold == _hold)
    .order_by(outbox.c.created_at, outbox.c.org, outbox.c.subject_id, outbox.c.seq)
    .limit(MOST)
    .with_for_update(skip_locked=True)
)
_HELD_ALONE: Final = _HELD.where(outbox.c.due_at <= _now)
_BEHIND: Final = (
    sa.select(_waiting.c.key).where(_waiting.c.key.in_(_keys)).where(_is_behind(_earlier.c.key.not_in(_keys)))
)
"""The deliveries among `b_keys` that would overtake an earlier one of their subject outside of `b_keys`."""
_RELEASE: Final = (
    sa.update(outbox)
    .where(outbox.c.key.in_(_keys))
    # the age of a held delivery counts from its release
    .values(hold=None, bundle=sa.bindparam("b_bundle", type_=sa.Text), created_at=_now, due_at=_now, touched_at=_now)
)
_BUNDLED: Final = (
    sa.select(outbox.c.bundle, outbox.c.subject_kind, outbox.c.org, outbox.c.subject_id, outbox.c.seq, outbox.c.message)
    .where(outbox.c.bundle.in_(_keys), in_state(outbox, PENDING))
    .order_by(outbox.c.org, outbox.c.subject_id, outbox.c.seq, outbox.c.key)
)
RELEASE_ALL: Final = (
    sa.update(outbox)
    .where(outbox.c.state == PENDING, outbox.c.owner.is_not(None))
    .values(due_at=_now, touched_at=_now, owner=None, ambiguous=1)
)
"""Makes all claimed deliveries due at once when the process that claimed them is dead. They may have been sent."""

_claimed_by = (
    sa.select(outbox.c.key)
    .where(outbox.c.state == PENDING, outbox.c.owner.in_(sa.bindparam("b_owners", expanding=True)))
    .with_for_update(skip_locked=True)
    .cte("claimed")
)
RELEASE_OF: Final = (
    sa.update(outbox)
    .where(outbox.c.key.in_(sa.select(_claimed_by.c.key)))
    .values(due_at=_now, touched_at=_now)
    .returning(outbox.c.key)
)
"""Makes the claimed deliveries of dead replicas due at once. Their owner stays, so that the next claim is ambiguous.

Rows that a suspended replica has locked are skipped. They become due when their claim ends.
"""

# The number of attempts distinguishes this claim from a later one of the same owner.
_ours = (
    (outbox.c.key == sa.bindparam("b_key", type_=sa.Text))
    & (outbox.c.state == PENDING)
    & (outbox.c.owner == _owner)
    & (outbox.c.attempts == sa.bindparam("b_attempts", type_=sa.BigInteger))
)
_reason = sa.bindparam("b_reason", type_=sa.Text)
_answer = sa.bindparam("b_answer", type_=sa.Text)
_SETTLE: Final = (
    sa.update(outbox)
    .where(_ours)
    .values(
        state=sa.bindparam("b_state", type_=sa.Text),
        settled_at=_now,
        reason=_reason,
        answer=_answer,
        reference=sa.bindparam("b_reference", type_=sa.Text),
        owner=None,
    )
)
_SETTLE_BUNDLE: Final = (
    sa.update(outbox)
    .where(outbox.c.bundle == sa.bindparam("b_key", type_=sa.Text), outbox.c.state == PENDING)
    .values(
        state=sa.bindparam("b_state", type_=sa.Text),
        settled_at=_now,
        reason=_reason,
        answer=_answer,
        reference=sa.bindparam("b_reference", type_=sa.Text),
    )
    .returning(outbox.c.subject_kind, outbox.c.org, outbox.c.subject_id)
)
_POSTPONE: Final = (
    sa.update(outbox)
    .where(_ours)
    .values(
        due_at=_due_at,
        touched_at=_now,
        reason=_reason,
        answer=_answer,
        attempts=outbox.c.attempts - sa.bindparam("b_uncounted", type_=sa.BigInteger),
        ambiguous=sa.case((sa.bindparam("b_ambiguous", type_=sa.Integer) == 1, 1), else_=outbox.c.ambiguous),
        owner=None,
    )
)
_EXPIRE: Final = (
    sa.update(outbox)
    .where(
        outbox.c.state == PENDING,
        # a held delivery ages only from its due time; if its notifier is gone, nothing releases it
        sa.case((outbox.c.hold.is_(None), outbox.c.created_at), else_=outbox.c.due_at)
        < sa.bindparam("b_before", type_=sa.BigInteger),
        outbox.c.bundle.is_(None) | (outbox.c.bundle == outbox.c.key),
        outbox.c.owner.is_(None) | (outbox.c.due_at <= _now),  # not while it is being sent
    )
    .values(
        state=DEAD,
        reason="expired",
        # why the last attempt failed, such as `http_500: 500 try later`
        answer=outbox.c.reason + sa.func.coalesce(": " + outbox.c.answer, ""),
        settled_at=_now,
        owner=None,
    )
    .returning(outbox.c.notifier)
)
_expired = outbox.alias("expired")
_EXPIRE_BUNDLES: Final = (
    sa.update(outbox)
    .where(
        outbox.c.state == PENDING,
        outbox.c.bundle.in_(
            sa.select(_expired.c.key).where(_expired.c.bundle == _expired.c.key, _expired.c.state == DEAD)
        ),
    )
    .values(state=DEAD, reason="expired", settled_at=_now)
    .returning(outbox.c.notifier)
)
_CLOCK_PUT_BACK: Final = (
    sa.update(outbox)
    .where(
        outbox.c.state == PENDING,
        outbox.c.owner.is_(None),
        outbox.c.due_at > _now,
        outbox.c.touched_at > sa.bindparam("b_future", type_=sa.BigInteger),
    )
    .values(due_at=_now, touched_at=_now)
)
_ADOPT: Final = (
    sa.update(outbox)
    .where(outbox.c.notifier == sa.bindparam("b_was", type_=sa.Text))
    .values(notifier=_notifier)
    .returning(outbox.c.state)
)
_ADOPT_PENDING: Final = _ADOPT.where(is_pending(outbox))
_ORPHANS: Final = (
    sa.select(outbox.c.notifier, sa.func.count())
    .where(outbox.c.state == PENDING, outbox.c.notifier.not_in(_keys))
    .group_by(outbox.c.notifier)
    .order_by(outbox.c.notifier)
)
_jump = sa.bindparam("b_jump", type_=sa.BigInteger)
_CLOCK_SET_AHEAD: Final = (
    sa.update(outbox)
    # deliveries that are younger than the jump were enqueued after it
    .where(outbox.c.state == PENDING, outbox.c.created_at <= _now - _jump)
    .values(created_at=outbox.c.created_at + _jump)
)

_anew = {
    "state": PENDING,
    # age and attempts begin anew, because otherwise it would expire again at once
    "created_at": _now,
    "due_at": _now,
    "touched_at": _now,
    "attempts": 0,
    "ambiguous": 0,  # whoever requests it accepts a duplicate
    "reason": None,
    "answer": None,
    "settled_at": None,
    "reference": None,
    "hold": None,
    "bundle": None,  # sent singly
    "redelivered": 1,
}
_REQUEUE_ALL: Final = (
    sa.update(outbox)
    .where(outbox.c.state == DEAD)
    .values(_anew)
    .returning(outbox.c.subject_kind, outbox.c.org, outbox.c.subject_id)
)
_REQUEUE: Final = _REQUEUE_ALL.where(outbox.c.key.in_(_keys))
_AGAIN: Final = (
    sa.update(outbox)
    .where(outbox.c.key.in_(_keys), outbox.c.state.in_([SENT, DEAD]))
    .values(_anew)
    .returning(outbox.c.key)
)

# By job and sequence number and not by time, because deliveries of a job must be enqueued in their order.
_PAGE: Final = (
    sa.select(transition, job.c.doc)
    .join(job, (job.c.org == transition.c.org) & (job.c.id == transition.c.job))
    .where(
        transition.c.at >= sa.bindparam("b_since", type_=sa.BigInteger),
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
_observed = _PAGE.subquery("observed")
_DELIVERIES_OF_PAGE: Final = sa.select(
    outbox.c.org,
    outbox.c.subject_id,
    outbox.c.seq,
    outbox.c.key,
    outbox.c.notifier,
    outbox.c.state,
    outbox.c.message,
).join(
    _observed,
    of_job
    & (outbox.c.org == _observed.c.org)
    & (outbox.c.subject_id == _observed.c.job)
    & (outbox.c.seq == _observed.c.seq),
)

_ANNOUNCED: Final = sa.select(notice.c.id, notice.c.judged_by).where(
    notice.c.topic.in_(sa.bindparam("b_topics", expanding=True))
)
_ANNOUNCE: Final = insert(notice).on_conflict_do_nothing(index_elements=["id"]).returning(notice.c.id)


_Settled = tuple[ClaimedDelivery, Row, Card | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """The stored deliveries. Times are by the database's clock. Every method may raise StoreError."""

    database: Database
    changes: Changes
    jump: ClockJump | None = None
    """Detects jumps of the clock if times are by the clock of this process; otherwise None."""

    @property
    def enqueued(self) -> int:
        """A number that grows whenever deliveries become pending."""
        return self.changes.deliveries

    async def wait_enqueued(self, mark: int) -> None:
        """Wait until `enqueued` differs from `mark`."""
        await self.changes.wait_enqueued(mark)

    async def announce(self, news: Sequence[News]) -> tuple[str, ...]:
        """Enqueue the deliveries of news that was not announced before. Returns the ids of that news."""
        if not news:
            return ()
        fresh = await self.database.write(self._announce, news)
        self.changes.enqueued(sum(len(one.deliveries) for one in fresh))
        return tuple(one.id for one in fresh)

    async def notified(self, topics: Iterable[str], former: Iterable[tuple[str, str]] = ()) -> Mapping[str, str | None]:
        """`News.judged_by` of all news that was announced under these topics, by id.

        `former` has pairs of a former and a present topic: ids under the former topic are given as under the present.
        """
        return await self.database.read(_notified, topics, tuple(former))

    async def backlogs(self, notifiers: Sequence[str], *, down: Sequence[str]) -> Mapping[str, NotifierBacklog]:
        """What waits for those of these notifiers for which something fails, and for those that are `down`."""
        return await self.database.read(self._backlogs, notifiers, down)

    async def claim(self, notifier: str, *, owner: str, limit: int, lease: timedelta) -> tuple[ClaimedDelivery, ...]:
        """Claim due deliveries, oldest first, and per subject only the earliest that is pending."""
        return await self.database.write(self._claim, notifier, owner, limit, lease // _MS)

    async def delivered(
        self, claimed: ClaimedDelivery, *, reference: str | None = None, posted: Card | None = None
    ) -> bool:
        """Mark a delivery as sent, and store its message as the card of its subject if it became that.

        Returns False, without any change, if the claim was lost.
        """
        sent = {"b_state": SENT, "b_reason": None, "b_answer": None, "b_reference": reference}
        return await self._settle(claimed, sent, posted)

    async def dead_letter(self, claimed: ClaimedDelivery, *, reason: str, answer: str | None = None) -> bool:
        """Make a delivery a dead letter, with the answer of the target. Returns False if the claim was lost."""
        dead = {"b_state": DEAD, "b_reason": reason, "b_answer": answer or None, "b_reference": None}
        return await self._settle(claimed, dead)

    async def postpone(
        self,
        claimed: ClaimedDelivery,
        delay: timedelta,
        *,
        reason: str,
        answer: str | None = None,
        counted: bool = True,
        ambiguous: bool = False,
    ) -> bool:
        """Retry a delivery after `delay`. Returns False, without any change, if the claim was lost.

        `counted` tells whether the attempt counts, and `ambiguous` whether it may have arrived.
        """
        values = {
            "b_delay": delay // _MS,
            "b_reason": reason,
            "b_answer": answer or None,
            "b_uncounted": int(not counted),
            "b_ambiguous": int(ambiguous),
        }
        return await self.database.write(self._settled, _POSTPONE, claimed, values)

    async def expire(self, max_age: timedelta) -> Mapping[str, int]:
        """Make pending deliveries that are older than `max_age` dead letters. Returns their number by notifier.

        A clock that is set ahead makes no delivery older. After a clock was set back, postponed deliveries are due.
        """
        jump = self.jump.take() if self.jump is not None else timedelta(0)
        try:
            return await self.database.write(self._expire, max_age // _MS, jump // _MS)
        except StoreError:
            if self.jump is not None:
                self.jump.give_back(jump)
            raise

    async def adopt(self, notifier: str, was: str, *, settled: bool = True) -> int:
        """Move the deliveries of a notifier to its new name. Their keys stay. Returns the number of pending ones.

        To find the `settled` ones as well, all deliveries are read.
        """
        return await self.database.write(self._adopt, notifier, was, settled)

    async def orphans(self, notifiers: Sequence[str]) -> Mapping[str, int]:
        """The number of pending deliveries for notifiers that are not among these, by notifier."""
        return await self.database.read(_orphans, notifiers)

    async def next_due(self, notifier: str) -> timedelta | None:
        """The time until the next delivery is due, negative if it is overdue; None if none is pending."""
        return await self.database.read(self._next_due, notifier)

    async def requeue(self, keys: Sequence[str] | None) -> int:
        """Make dead letters pending again, as if they were new: those with these keys, or all. Returns their number."""
        jobs = await self.database.write(self._requeue, keys)
        self.changes.settled(jobs)
        self.changes.enqueued(len(jobs))
        return len(jobs)

    async def past(self, since: datetime, *, after: str | None = None) -> ResultPage[Past]:
        """A page of the transitions since a moment with their deliveries. Those of a job are in their order."""
        return await self.database.read(_past, since, after)

    async def lasting(self, notifier: str, older: timedelta) -> tuple[Delivery, ...]:
        """What a notifier was sent last of each subject, where that was longer ago, and says that a state has begun."""
        return await self.database.read(self._lasting, notifier, older // _MS)

    async def resend(self, deliveries: Sequence[Delivery]) -> int:
        """Let what was sent wait again, with its keys; how many of it do."""
        count = await self.database.write(self._resend, [one.key for one in deliveries])
        self.changes.enqueued(count)
        return count

    async def replay(self, plan: Plan) -> frozenset[str]:
        """Make the deliveries of a plan pending, as if they were new. Returns the keys of those that became pending."""
        if not plan.deliveries:
            return frozenset()
        waiting = await self.database.write(self._replay, plan)
        self.changes.settled((one.org, one.job) for one in plan.deliveries if one.key in waiting)
        self.changes.enqueued(len(waiting))
        return waiting

    async def _settle(self, claimed: ClaimedDelivery, values: Row, posted: Card | None = None) -> bool:
        places = await self.database.write_each(self._settled_with_bundles, (claimed, values, posted))
        self.changes.settled(places)
        return bool(places)

    def _settled_with_bundles(self, connection: sa.Connection, settled: Sequence[_Settled]) -> list[tuple[Place, ...]]:
        """Settle deliveries with their bundles. Returns the jobs of each; empty if its claim was lost."""
        return [self._settled_with_bundle(connection, *one) for one in settled]

    def _settled_with_bundle(
        self, connection: sa.Connection, claimed: ClaimedDelivery, values: Row, posted: Card | None
    ) -> tuple[Place, ...]:
        if not self._settled(connection, _SETTLE, claimed, values):
            return ()
        now, key = self.database.now(connection), claimed.delivery.key
        if posted is not None:
            notifier = connection.execute(_NOTIFIER_OF, {"b_key": claimed.delivery.key}).scalar_one()
            add_card(connection, claimed.delivery, notifier, posted, now)
        others = connection.execute(_SETTLE_BUNDLE, values | {"b_key": key, "b_now": now}) if claimed.others else ()
        return _place(claimed.delivery.subject), *(_place(subject_of(row)) for row in others)

    def _settled(self, connection: sa.Connection, statement: sa.Update, claimed: ClaimedDelivery, values: Row) -> bool:
        """Execute a statement on a claimed delivery. Returns whether the claim was still valid."""
        now = self.database.now(connection)
        ours = {"b_key": claimed.delivery.key, "b_owner": claimed.owner, "b_attempts": claimed.attempts, "b_now": now}
        if "b_delay" in values:
            ours["b_due_at"] = now + values["b_delay"]
        return connection.execute(statement, values | ours).rowcount == 1

    def _announce(self, connection: sa.Connection, news: Sequence[News]) -> tuple[News, ...]:
        now = self.database.now(connection)
        by_id = {one.id: one for one in news}
        rows = [
            {"id": id_, "topic": one.subject.topic, "at": now, "judged_by": one.judged_by} for id_, one in by_id.items()
        ]
        new = frozenset(connection.execute(_ANNOUNCE, rows).scalars())
        fresh = tuple(one for id_, one in by_id.items() if id_ in new)
        if enqueue(connection, [delivery for one in fresh for delivery in one.deliveries], now):
            self.database.wake(connection)
        return fresh

    def _backlogs(
        self, connection: sa.Connection, notifiers: Sequence[str], down: Sequence[str]
    ) -> Mapping[str, NotifierBacklog]:
        return read_backlogs(connection, self.database.now(connection), notifiers, down=down)

    def _claim(
        self, connection: sa.Connection, notifier: str, owner: str, limit: int, lease: int
    ) -> tuple[ClaimedDelivery, ...]:
        now = self.database.now(connection)
        values: Row = {"b_notifier": notifier, "b_now": now, "b_due_at": now + lease, "b_owner": owner}
        self._release(connection, notifier, now)
        rows: list[Any] = []
        for lane in _LANES:
            if len(rows) < limit:
                rows += connection.execute(_CLAIM, values | {"b_limit": limit - len(rows), "b_redelivered": lane})
        led = [row.bundle for row in rows if row.bundle is not None]
        bundles: dict[str, list[Any]] = defaultdict(list)
        for row in connection.execute(_BUNDLED, {"b_keys": led}) if led else ():
            bundles[row.bundle].append(row)
        claimed = (_claimed(row, owner, bundles.get(row.bundle, [])) for row in sorted(rows, key=_age))
        return tuple(_with_card(connection, one, notifier) for one in claimed)

    def _release(self, connection: sa.Connection, notifier: str, now: int) -> None:
        """Release held deliveries that are due, bundled with those of the same group. Bundles are stored and stay."""
        named = {"b_notifier": notifier, "b_now": now}
        for group in connection.execute(_DUE_HOLDS, named).scalars().all():
            query = _HELD if group != ALONE else _HELD_ALONE
            keys = [*connection.execute(query, named | {"b_hold": group}).scalars()]
            behind = {*connection.execute(_BEHIND, {"b_keys": keys}).scalars()}
            free = [key for key in keys if key not in behind]
            lead = free[0] if group != ALONE and len(free) > 1 else None
            if free:
                connection.execute(_RELEASE, {"b_keys": free, "b_bundle": lead, "b_now": now})

    def _expire(self, connection: sa.Connection, max_age: int, jump: int) -> Mapping[str, int]:
        now = self.database.now(connection)
        if jump > 0:
            connection.execute(_CLOCK_SET_AHEAD, {"b_now": now, "b_jump": jump})
        connection.execute(_CLOCK_PUT_BACK, {"b_now": now, "b_future": now + _SKEW})
        expired = Counter(connection.execute(_EXPIRE, {"b_now": now, "b_before": now - max_age}).scalars())
        return expired + Counter(connection.execute(_EXPIRE_BUNDLES, {"b_now": now}).scalars()) if expired else expired

    def _adopt(self, connection: sa.Connection, notifier: str, was: str, settled: bool) -> int:
        adopt_cards(connection, notifier, was)
        statement = _ADOPT if settled else _ADOPT_PENDING
        states = connection.execute(statement, {"b_notifier": notifier, "b_was": was}).scalars().all()
        return states.count(PENDING)

    def _next_due(self, connection: sa.Connection, notifier: str) -> timedelta | None:
        lanes = ({"b_notifier": notifier, "b_redelivered": lane} for lane in _LANES)
        due_at = [due for lane in lanes if (due := connection.execute(_NEXT_DUE, lane).scalar()) is not None]
        return (min(due_at) - self.database.now(connection)) * _MS if due_at else None

    def _requeue(self, connection: sa.Connection, keys: Sequence[str] | None) -> tuple[Place, ...]:
        now = self.database.now(connection)
        if keys is None:
            results = [connection.execute(_REQUEUE_ALL, {"b_now": now})]
        else:
            results = [connection.execute(_REQUEUE, {"b_now": now, "b_keys": chunk}) for chunk in chunks(keys)]
        jobs = tuple(_place(subject_of(row)) for result in results for row in result)
        if jobs:
            self.database.wake(connection)
        return jobs

    def _lasting(self, connection: sa.Connection, notifier: str, older: int) -> tuple[Delivery, ...]:
        return read_lasting(connection, self.database.now(connection), notifier, older)

    def _resend(self, connection: sa.Connection, keys: Sequence[str]) -> int:
        now = self.database.now(connection)
        count = sum(len(connection.execute(_AGAIN, {"b_now": now, "b_keys": some}).all()) for some in chunks(keys))
        if count:
            self.database.wake(connection)
        return count

    def _replay(self, connection: sa.Connection, plan: Plan) -> frozenset[str]:
        now = self.database.now(connection)
        waiting: set[str] = set()
        for keys in chunks(plan.again):
            waiting.update(connection.execute(_AGAIN, {"b_now": now, "b_keys": keys}).scalars())
        waiting |= enqueue(connection, plan.new, now, redelivered=True)
        if waiting:
            self.database.wake(connection)
        return frozenset(waiting)


def enqueue(
    connection: sa.Connection, deliveries: Iterable[Delivery], now: int, *, redelivered: bool = False
) -> frozenset[str]:
    """Add deliveries to the outbox. Returns the keys of new ones. A delivery that is there already is not added."""
    generation, new = "", set[str]()
    for number, some in enumerate(batches(deliveries, _AT_ONCE)):
        generation = generation if number else generation_of(connection.execute(_GENERATION).scalar())
        rows = {one.key: _row(one, now, generation) | {"redelivered": int(redelivered)} for one in some}
        fresh = frozenset(connection.execute(_ENQUEUE, list(rows.values())).scalars())
        if old := [key for key in rows if key not in fresh and key not in new]:
            for key, message in connection.execute(_MESSAGES, {"b_keys": old}):
                if message != rows[key]["message"]:
                    log.error("delivery.conflict", key=key, advice="another message has this key: it is not sent")
        new |= fresh
    return frozenset(new)


def generation_of(restored_at: int | None) -> str:
    """A mark for the keys of deliveries after a restore, so that receivers do not take them for earlier ones."""
    return format(restored_at // 1000, "x") if restored_at is not None else ""


def _place(subject: Subject) -> Place:
    return subject.org or subject.topic, subject.id


def _age(row: Any) -> tuple[int, int, str, str]:
    return row.redelivered, row.created_at, row.org, row.subject_id


def _row(one: Delivery, now: int, generation: str) -> Row:
    subject = one.subject
    return {
        "key": one.key,
        "notifier": one.notifier,
        "subject_kind": subject.kind.value,
        "org": subject.org or "",
        "subject_id": subject.id,
        "seq": one.seq,
        "generation": generation,
        "message": write(one.message),
        "state": PENDING,
        "created_at": now,
        "due_at": now if one.hold is None else _held_until(one.hold, now),
        "touched_at": now,
        "attempts": 0,
        "ambiguous": 0,
        "hold": one.hold.group if one.hold is not None else None,
        "card": int(one.card),
    }


def _held_until(hold: Hold, now: int) -> int:
    return max(now + hold.wait // _MS, to_ms(hold.until) if hold.until is not None else now)


def _claimed(row: Any, owner: str, bundled: Sequence[Any]) -> ClaimedDelivery:
    """The delivery of a claimed row, with the message of its bundle if it leads one.

    An unreadable delivery is returned as well, so that the courier makes it a dead letter.
    """
    created_at, subject = from_ms(row.created_at), subject_of(row)
    message = _whole(bundled, row.notifier) if bundled else read_message(row.message, subject)
    blank = Message(type="", at=created_at, title="", severity=Severity.INFO, subject=subject, event_type=None)
    return ClaimedDelivery(
        delivery=Delivery(
            subject=subject,
            seq=row.seq,
            notifier=_address(row.key)[0],  # the name in its key, which may be a former name of the notifier
            message=message or blank,
            card=bool(row.card) and not bundled,  # a message about several subjects is not a card
        ),
        others=max(len(bundled) - 1, 0),
        attempts=row.attempts,
        created_at=created_at,
        ambiguous=bool(row.ambiguous),
        owner=owner,
        generation=row.generation,
        readable=message is not None,
    )


def _address(key: str) -> tuple[str, str]:
    """The notifier in a key, and the channel with its `#`, or an empty text."""
    notifier, mark, channel = key.rpartition("@")[2].partition("#")
    return notifier, mark + channel


def _orphans(connection: sa.Connection, notifiers: Sequence[str]) -> dict[str, int]:
    rows = connection.execute(_ORPHANS, {"b_keys": notifiers})
    return {row.notifier: row[1] for row in rows}


def _with_card(connection: sa.Connection, claimed: ClaimedDelivery, notifier: str) -> ClaimedDelivery:
    if not claimed.delivery.card:
        return claimed
    return replace(claimed, card=find_card(connection, claimed.delivery, notifier))


def _whole(rows: Sequence[Any], notifier: str) -> Message | None:
    """The message of a bundle; None if one of its messages is damaged."""
    subjects = [subject_of(row) for row in rows]
    messages = [read_message(row.message, subject) for row, subject in zip(rows, subjects, strict=True)]
    deliveries = [
        Delivery(subject=subject, seq=row.seq, notifier=notifier, message=message)
        for row, subject, message in zip(rows, subjects, messages, strict=True)
        if message is not None
    ]
    return bundle(deliveries) if len(deliveries) == len(rows) else None


def _notified(
    connection: sa.Connection, topics: Iterable[str], former: Sequence[tuple[str, str]]
) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for chunk in chunks([*topics, *(before for before, _ in former)]):
        found.update((id_, judged_by) for id_, judged_by in connection.execute(_ANNOUNCED, {"b_topics": chunk}))
    for before, topic in former:
        for id_ in [id_ for id_ in found if id_.startswith(f"{before}/")]:
            found.setdefault(topic + id_.removeprefix(before), found[id_])
    return found


def _past(connection: sa.Connection, since: datetime, after: str | None) -> ResultPage[Past]:
    org, job_id, seq = place(after, tuple[str, str, Whole]) if after is not None else ("", "", 0)
    values = {"b_since": to_ms(since), "b_org": org, "b_job": job_id, "b_seq": seq}
    rows = connection.execute(_PAGE, values).all()
    found = _deliveries_of_page(connection, values) if rows else {}
    return ResultPage(
        items=tuple(
            Past(
                transition=transition_of(row),
                tracked=read_tracked(row.doc),
                stored=found.get((row.org, row.job, row.seq), {}),
            )
            for row in rows
        ),
        next=cursor(rows[-1].org, rows[-1].job, rows[-1].seq) if len(rows) == PAGE else None,
    )


def _deliveries_of_page(
    connection: sa.Connection, values: Row
) -> Mapping[tuple[str, str, int], dict[str, StoredDelivery]]:
    found: dict[tuple[str, str, int], dict[str, StoredDelivery]] = defaultdict(dict)
    for row in connection.execute(_DELIVERIES_OF_PAGE, values):
        message = read_message(row.message, job_subject(row.org, row.subject_id))
        found[row.org, row.subject_id, row.seq][row.notifier + _address(row.key)[1]] = StoredDelivery(
            key=row.key,
            type=message.type if message is not None else "",
            title=message.title if message is not None else "",
            waits=row.state == PENDING,
        )
    return found
