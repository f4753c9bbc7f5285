"""Stores cards: where the card of each job is in each channel, what it shows, and when to edit it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from monitor.domain.cards import EDIT_GAP, appearance
from monitor.domain.news import Card, CardChange, Delivery, Subject
from monitor.store.database import Database
from monitor.store.documents import Row, read_tracked, subject_of
from monitor.store.schema import card, insert, job
from monitor.store.values import ClaimedCard

_MS: Final = timedelta(milliseconds=1)
_GAP: Final = EDIT_GAP // _MS
_LONGEST: Final = timedelta(hours=2) // _MS
"""The longest time, in milliseconds, for which an edit is postponed. A later due time was set by a wrong clock."""
_POSTS: Final = 2
"""The most posts of a lost card: one, and another if it is unknown whether the first has arrived."""

_now = sa.bindparam("b_now", type_=sa.BigInteger)
_notifier = sa.bindparam("b_notifier", type_=sa.Text)
_owner = sa.bindparam("b_owner", type_=sa.Text)
_of_subject = (
    (card.c.subject_kind == sa.bindparam("b_kind", type_=sa.Text))
    & (card.c.org == sa.bindparam("b_org", type_=sa.Text))
    & (card.c.subject_id == sa.bindparam("b_id", type_=sa.Text))
)
_this = _of_subject & (card.c.notifier == _notifier) & (card.c.channel == sa.bindparam("b_channel", type_=sa.Text))
_FIND: Final = sa.select(card.c.place, card.c.reference).where(_this, card.c.reference.is_not(None))
_other = card.alias("other")
_same = (
    (_other.c.subject_kind == card.c.subject_kind)
    & (_other.c.org == card.c.org)
    & (_other.c.subject_id == card.c.subject_id)
    & (_other.c.channel == card.c.channel)
)
_of_former = card.c.notifier == sa.bindparam("b_was", type_=sa.Text)
_ADOPT: Final = (
    # if a subject has cards under both names, the one under the present name is kept
    sa.delete(card).where(
        _of_former, sa.select(_other.c.org).where(_other.c.notifier == _notifier, _same).correlate(card).exists()
    ),
    sa.update(card).where(_of_former).values(notifier=_notifier),
)
FORGET: Final = sa.delete(card).where(
    card.c.org == sa.bindparam("b_org", type_=sa.Text), card.c.subject_id == sa.bindparam("b_id", type_=sa.Text)
)

_insert = insert(card)
_ADD: Final = _insert.on_conflict_do_update(
    index_elements=["subject_kind", "org", "subject_id", "notifier", "channel"],
    set_={name: _insert.excluded[name] for name in ("place", "reference", "shown", "due_at", "attempts", "posts")}
    | {"changes": card.c.changes + 1, "owner": None},  # the claim of an editor that is posting it again is void
)

_next = sa.case(
    (card.c.edited_at.is_(None) | (card.c.edited_at <= _now - _GAP), _now),
    (card.c.edited_at > _now, _now + _GAP),  # the clock was set back since
    else_=card.c.edited_at + _GAP,
)
"""The earliest time of the next edit, in milliseconds."""
_sooner = card.c.owner.is_(None) & (card.c.due_at.is_(None) | (card.c.due_at > _next))
_TOUCH: Final = (
    sa.update(card)
    .where(_of_subject, card.c.reference.is_not(None))
    .values(
        changes=card.c.changes + 1,
        due_at=sa.case((_sooner, _next), else_=card.c.due_at),
    )
)
_TOUCH_ONE: Final = _TOUCH.where(
    card.c.notifier == _notifier, card.c.channel == sa.bindparam("b_channel", type_=sa.Text)
)

_due = (
    sa.select(card.c.subject_kind, card.c.org, card.c.subject_id, card.c.channel)
    .where(card.c.notifier == _notifier, (card.c.due_at <= _now) | (card.c.due_at > _now + _LONGEST))
    .order_by(card.c.due_at)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_CLAIM: Final = (
    sa.update(card)
    .where(_this)
    .values(
        owner=_owner,
        # counted as edited now, because an editor that is killed after the request cannot record it
        edited_at=_now,
        due_at=sa.bindparam("b_due_at", type_=sa.BigInteger),
        attempts=card.c.attempts + 1,
        posts=card.c.posts + sa.case((card.c.reference.is_(None), 1), else_=0),
    )
    .returning(card)
)
_EDITED_AT: Final = sa.select(card.c.edited_at).where(_this)
_DOC: Final = sa.select(job.c.doc).where(
    job.c.org == sa.bindparam("b_org", type_=sa.Text), job.c.id == sa.bindparam("b_id", type_=sa.Text)
)
_NEXT_DUE: Final = sa.select(sa.func.min(card.c.due_at)).where(card.c.notifier == _notifier)

# The number of attempts distinguishes this claim from a later one of the same owner.
_ours = _this & (card.c.owner == _owner) & (card.c.attempts == sa.bindparam("b_attempts", type_=sa.BigInteger))
_when = sa.bindparam("b_due_at", type_=sa.BigInteger)
_SHOWN: Final = (
    sa.update(card)
    .where(_ours)
    .values(
        owner=None,
        attempts=0,
        shown=sa.bindparam("b_shown", type_=sa.Text),
        place=sa.bindparam("b_place", type_=sa.Text),
        reference=sa.bindparam("b_reference", type_=sa.Text),
        edited_at=sa.bindparam("b_edited_at", type_=sa.BigInteger),
        # a change since the claim makes another edit due
        due_at=sa.case((card.c.changes == sa.bindparam("b_changes", type_=sa.BigInteger), sa.null()), else_=_when),
    )
)
_POSTPONE: Final = (
    sa.update(card)
    .where(_ours)
    .values(owner=None, due_at=_when, posts=card.c.posts - sa.bindparam("b_unposted", type_=sa.BigInteger))
)
_LOSE: Final = sa.update(card).where(_ours).values(place=None, reference=None, posts=card.c.posts + 1)
_CHARTS: Final = sa.update(card).where(_this).values(charts=sa.bindparam("b_charts", type_=sa.BigInteger))
_CHART_LATER: Final = _CHARTS.values(due_at=_when)
_ABANDON: Final = (
    sa.update(card).where(_ours).values(owner=None, place=None, reference=None, shown=None, due_at=None, attempts=0)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardStore:
    """The stored cards. Times are by the database's clock. Every method may raise StoreError."""

    database: Database

    async def claim(self, notifier: str, *, owner: str, lease: timedelta) -> ClaimedCard | None:
        """Claim the card that has been due for longest, with the current state of its job; None if none is due."""
        return await self.database.write(self._claim, notifier, owner, max(lease, EDIT_GAP) // _MS)

    async def next_due(self, notifier: str) -> timedelta | None:
        """The time until the next card is due, negative if it is overdue; None if no card is waiting."""
        return await self.database.read(self._next_due, notifier)

    async def shown(self, claimed: ClaimedCard, appearance: str, card: Card) -> bool:
        """Store what a card shows and where it is. Returns False, without any change, if the claim was lost."""
        values = {"b_shown": appearance, "b_place": card.place, "b_reference": card.reference}
        return await self.database.write(self._settled, _SHOWN, claimed, values, EDIT_GAP)

    async def unchanged(self, claimed: ClaimedCard) -> bool:
        """Release a card that needed no edit, so that the next edit need not wait. False if the claim was lost."""
        there = claimed.card
        values = {
            "b_shown": claimed.shown,
            "b_place": there.place if there is not None else None,
            "b_reference": there.reference if there is not None else None,
            "b_edited_at": claimed.edited_at,
        }
        return await self.database.write(self._settled, _SHOWN, claimed, values, timedelta(0))

    async def postpone(self, claimed: ClaimedCard, delay: timedelta, *, unposted: bool = False) -> bool:
        """Release a card until another attempt. `unposted` means that a post has certainly not arrived."""
        values = {"b_unposted": int(unposted)}
        return await self.database.write(self._settled, _POSTPONE, claimed, values, max(delay, EDIT_GAP))

    async def lose(self, claimed: ClaimedCard) -> bool:
        """Note that a card is gone or can no longer be edited. Returns whether it may be posted again."""
        if claimed.posts > 0:
            await self.abandon(claimed)
            return False
        return await self.database.write(self._settled, _LOSE, claimed, {}, timedelta(0))

    async def charted(self, claimed: ClaimedCard, charts: int, *, again: timedelta | None = None) -> None:
        """Store the number of attempts to attach a chart, and when to try again."""
        statement = _CHARTS if again is None else _CHART_LATER
        await self.database.write(self._settled, statement, claimed, {"b_charts": charts}, again or timedelta(0))

    async def abandon(self, claimed: ClaimedCard) -> bool:
        """Stop editing a card. The next news of its subject starts another one."""
        return await self.database.write(self._settled, _ABANDON, claimed, {}, timedelta(0))

    def _claim(self, connection: sa.Connection, notifier: str, owner: str, lease: int) -> ClaimedCard | None:
        now = self.database.now(connection)
        found = connection.execute(_due, {"b_notifier": notifier, "b_now": now}).first()
        if found is None:
            return None
        parameters = _named(subject_of(found)) | {"b_notifier": notifier, "b_channel": found.channel}
        edited_at = connection.execute(_EDITED_AT, parameters).scalar()
        [row] = connection.execute(_CLAIM, parameters | {"b_now": now, "b_owner": owner, "b_due_at": now + lease})
        doc = connection.execute(_DOC, {"b_org": row.org, "b_id": row.subject_id}).scalar()
        return ClaimedCard(
            subject=subject_of(row),
            notifier=notifier,
            channel=row.channel or None,
            card=Card(place=row.place, reference=row.reference) if row.reference is not None else None,
            shown=row.shown,
            tracked=read_tracked(doc) if doc is not None and row.posts <= _POSTS else None,
            owner=owner,
            attempts=row.attempts,
            posts=row.posts,
            changes=row.changes,
            edited_at=edited_at,
            charts=row.charts,
        )

    def _next_due(self, connection: sa.Connection, notifier: str) -> timedelta | None:
        due_at = connection.execute(_NEXT_DUE, {"b_notifier": notifier}).scalar()
        return (due_at - self.database.now(connection)) * _MS if due_at is not None else None

    def _settled(
        self, connection: sa.Connection, statement: sa.Update, claimed: ClaimedCard, values: Row, delay: timedelta
    ) -> bool:
        """Execute a statement on a claimed card. Returns whether the claim was still valid."""
        now = self.database.now(connection)
        ours = _named(claimed.subject) | {
            "b_notifier": claimed.notifier,
            "b_channel": claimed.channel or "",
            "b_owner": claimed.owner,
            "b_attempts": claimed.attempts,
            "b_changes": claimed.changes,
            "b_edited_at": now,
            "b_due_at": now + delay // _MS,
        }
        return connection.execute(statement, ours | values).rowcount == 1


def find_card(connection: sa.Connection, delivery: Delivery, notifier: str) -> Card | None:
    """The card of a delivery's subject and channel under the notifier's current name; None if there is none yet."""
    parameters = _named(delivery.subject) | {"b_notifier": notifier, "b_channel": delivery.message.channel or ""}
    found = connection.execute(_FIND, parameters).first()
    return Card(place=found.place, reference=found.reference) if found is not None else None


def add_card(connection: sa.Connection, delivery: Delivery, notifier: str, posted: Card, now: int) -> None:
    """Store that a delivery has become the card of its subject. Later changes are shown by the first edit."""
    subject = delivery.subject
    connection.execute(
        _ADD,
        {
            "subject_kind": subject.kind.value,
            "org": subject.org or "",
            "subject_id": subject.id,
            "notifier": notifier,
            "channel": delivery.message.channel or "",
            "place": posted.place,
            "reference": posted.reference,
            "shown": appearance(delivery.message),
            "changes": 0,
            "due_at": now + _GAP,
            "attempts": 0,
            "posts": 0,
        },
    )


def adopt_cards(connection: sa.Connection, notifier: str, was: str) -> None:
    """Move the cards of a notifier to its new name."""
    for statement in _ADOPT:
        connection.execute(statement, {"b_notifier": notifier, "b_was": was})


def touch_cards(connection: sa.Connection, changes: Sequence[CardChange], now: int) -> None:
    """Make the cards that a change concerns due as soon as they may be edited."""
    everywhere: list[Row] = []
    some: list[Row] = []
    for change in changes:
        row = _named(change.subject) | {"b_now": now}
        if change.addresses is None:
            everywhere.append(row)
        else:
            named = (address.partition("#") for address in sorted(change.addresses))
            some += (row | {"b_notifier": notifier, "b_channel": sign + channel} for notifier, sign, channel in named)
    for statement, rows in ((_TOUCH, everywhere), (_TOUCH_ONE, some)):
        if rows:
            connection.execute(statement, rows)


def _named(subject: Subject) -> Row:
    return {"b_kind": subject.kind.value, "b_org": subject.org or "", "b_id": subject.id}
