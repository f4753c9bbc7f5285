"""Leases: which replica watches which organisation.

Each replica has a session in the database, by the database's clock, and its leases last as long as the session. It
renews a single row, however many organisations it watches. Chubby (https://research.google/pubs/pub27897/) calls this a
session with locks, and etcd a lease with attached keys.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Final

import sqlalchemy as sa

from monitor.clock import Clock
from monitor.domain.shares import Share, fair_share
from monitor.store.database import Database
from monitor.store.errors import Stale
from monitor.store.outbox import RELEASE_OF
from monitor.store.schema import chunks, insert, lease, replica

_MS: Final = timedelta(milliseconds=1)
LEAST_LEFT: Final = 1 / 3
"""The fraction of a session that must be left to start work, so that it is done before another replica takes over."""
_EVERY: Final = 1 / 3
"""The fraction of a session after which it is renewed."""
_SOON: Final = 0.25  # seconds between two renewals while shares are not fair
_AFTER: Final = 0.05  # seconds from the end of another replica's session to the next renewal

_now = sa.bindparam("b_now", type_=sa.BigInteger)
_owner = sa.bindparam("b_owner", type_=sa.Text)
_name = sa.bindparam("b_name", type_=sa.Text)
_replica = insert(replica)
_RENEW: Final = _replica.on_conflict_do_update(index_elements=["name"], set_={"until": _replica.excluded.until})
_END: Final = sa.delete(replica).where(replica.c.name == _owner)
# A replica that was stopped within a transaction locks its row until the server ends that. Others skip such rows.
_expired = sa.select(replica.c.name).where(replica.c.until <= _now).with_for_update(skip_locked=True)
_FORGET: Final = sa.delete(replica).where(replica.c.name.in_(_expired)).returning(replica.c.name)
_LIVE: Final = sa.select(replica.c.name, replica.c.until).where(replica.c.until > _now)
_HELD: Final = sa.select(lease.c.org, lease.c.owner)
_HOLDERS: Final = (
    sa.select(lease.c.org, lease.c.owner)
    .join(replica, replica.c.name == lease.c.owner)
    .where(lease.c.org.in_(sa.bindparam("b_names", type_=sa.Text, expanding=True)), replica.c.until > _now)
)
_insert = insert(lease)
_live = sa.select(replica.c.name).where(replica.c.until > _now)
_TAKE: Final = _insert.on_conflict_do_update(
    index_elements=["org"],
    set_={"owner": _insert.excluded.owner},
    where=(lease.c.owner == _insert.excluded.owner) | lease.c.owner.not_in(_live),
).returning(lease.c.org)
_GIVE: Final = (
    sa.update(lease)
    .where(lease.c.org == _name, lease.c.owner == _owner)
    .values(owner=sa.bindparam("b_to", type_=sa.Text))
)
_DROP: Final = sa.delete(lease).where(lease.c.owner == _owner, lease.c.org.in_(sa.bindparam("b_names", expanding=True)))
RELEASE_ALL: Final = (sa.delete(lease), sa.delete(replica))


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """The result of a renewal of the session."""

    acquired: tuple[str, ...]
    """Names that this replica may work on from now on, but could not before."""
    given: frozenset[str]
    """Those of them that another replica has handed over."""
    released: int
    """Number of deliveries that are due again because the replicas that had claimed them are dead."""
    again: float
    """Seconds until the next renewal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The result of the transaction of a renewal."""

    share: Share
    mine: frozenset[str]
    """Names that this replica holds after it."""
    taken: frozenset[str]
    """Those of `mine` that no replica held before."""
    free: frozenset[str]
    """Names that no replica holds."""
    released: int
    others_end: float | None
    """Seconds until the next of the other sessions ends unless it is renewed; None without other replicas."""


class Leases:
    """The leases of this replica, which last as long as its session."""

    def __init__(self, database: Database, clock: Clock, *, owner: str, duration: timedelta) -> None:
        self._database = database
        self._clock = clock
        self.owner = owner
        """The name of this replica."""
        self._duration = duration
        self._asked_at: float | None = None
        """Monotonic seconds before the request that granted the session, which lasts at least `duration` from then."""
        self._held: dict[str, int] = {}
        """The term of each held name; see `term`."""
        self._shared: frozenset[str] = frozenset()
        """The names that are distributed among replicas."""
        self._left_over: frozenset[str] = frozenset()
        """The names that were still free after the last renewal."""
        self._give_to: str | None = None
        """The replica to which one name should be handed over."""
        self._terms = count(1)

    @property
    def shared(self) -> int:
        """The number of distributed names that this replica holds."""
        return len(self._shared & self._held.keys()) if self._left() > 0 else 0

    async def take(self, name: str) -> bool:
        """Whether this replica holds a name and may work on it.

        Distributed names are acquired by `renew` only. Any other name is acquired by the first replica that asks for
        it. Nothing is written while more than half of the session is left.
        """
        if name in self._shared:
            return name in self._held and self._left() > LEAST_LEFT
        if name in self._held and self._left() > 0.5:
            return True
        asked_at = self._clock.monotonic()
        taken = await self._database.write(self._take, name)
        self._granted(asked_at)
        if not taken:
            self._held.pop(name, None)
            return False
        self._held.setdefault(name, next(self._terms))
        return True

    async def renew(self, names: Collection[str]) -> Renewal:
        """Renew the session, and adjust this replica's share of the names.

        Free names are taken at once. Names beyond the fair share are given away one by one, by `hand_over`.
        """
        asked_at, self._give_to = self._clock.monotonic(), None
        found = await self._database.write(self._renew, frozenset(names), self._left_over)
        paused = self._left() <= LEAST_LEFT
        self._granted(asked_at)
        self._shared, self._left_over, self._give_to = frozenset(names), found.free, found.share.give_to
        new = found.mine - self._held.keys()
        kept = {name: term for name, term in self._held.items() if name in found.mine or _unshared(name)}
        self._held = kept | {name: next(self._terms) for name in sorted(new)}
        interval = self._duration.total_seconds() * _EVERY
        again = interval if found.share.fair else min(interval, _SOON)
        if found.others_end is not None:
            again = min(again, max(found.others_end, 0.0) + _AFTER)
        return Renewal(
            acquired=tuple(sorted(found.mine if paused else new)),
            given=new - found.taken,
            released=found.released,
            again=again,
        )

    async def hand_over(self, name: str) -> bool:
        """Hand a name over to another replica if this one has too many, at most one per renewal.

        Returns whether it did. To be called when the next poll is due, so that the other replica makes this poll.
        """
        to, self._give_to = (self._give_to, None) if name in self._held else (None, self._give_to)
        if to is None:
            return False
        self._held.pop(name, None)
        await self._database.write(self._give, name, to)
        return True

    async def end(self) -> None:
        """End the session, so that other replicas can take its names at once."""
        self._held.clear()
        self._asked_at = None
        await self._database.write(self._end)

    def term(self, name: str) -> int | None:
        """A number for the uninterrupted time in which this replica has held a name; None while it does not."""
        return self._held.get(name) if self._left() > 0 else None

    def fence(self, connection: sa.Connection, names: Sequence[str], now: int) -> Mapping[str, Stale]:
        """The refusals for those names that another replica holds.

        To be called within a write transaction, so that a replica cannot write with an expired lease.
        """
        refused = {}
        for chunk in chunks(names):
            for name, holder in connection.execute(_HOLDERS, {"b_names": chunk, "b_now": now}):
                if holder != self.owner:
                    refused[name] = Stale(f"{name} is watched by another replica now")
        return refused

    def _left(self) -> float:
        """The fraction of the session that is left; 0 or less if it is over."""
        if self._asked_at is None:
            return 0.0
        return 1.0 - (self._clock.monotonic() - self._asked_at) / self._duration.total_seconds()

    def _granted(self, asked_at: float) -> None:
        if self._left() <= 0:  # another replica may have held the names in the meantime
            self._held.clear()
        self._asked_at = asked_at

    def _session(self, connection: sa.Connection) -> int:
        now = self._database.now(connection)
        connection.execute(_RENEW, {"name": self.owner, "until": now + self._duration // _MS})
        return now

    def _take(self, connection: sa.Connection, name: str) -> bool:
        now = self._session(connection)
        return connection.execute(_TAKE, {"org": name, "owner": self.owner, "b_now": now}).first() is not None

    def _renew(self, connection: sa.Connection, names: frozenset[str], left_over: frozenset[str]) -> _Found:
        now = self._session(connection)
        dead = connection.execute(_FORGET, {"b_now": now}).scalars().all()
        released = connection.execute(RELEASE_OF, {"b_owners": dead, "b_now": now}).all() if dead else ()
        untils: Mapping[str, int] = {row.name: row.until for row in connection.execute(_LIVE, {"b_now": now})}
        rows = {row.org: row.owner for row in connection.execute(_HELD) if row.owner in untils}
        holders = {name: owner for name, owner in rows.items() if name in names}
        mine = {name for name, owner in rows.items() if owner == self.owner}
        share = fair_share(names, holders, untils, me=self.owner, left_over=left_over)
        taken = self._take_all(connection, share.take, now)
        unwatched = [name for name in mine - names if not _unshared(name)]  # no longer configured here
        for chunk in chunks(unwatched):
            connection.execute(_DROP, {"b_owner": self.owner, "b_names": chunk})
        others = [until for name, until in untils.items() if name != self.owner]
        return _Found(
            share=share,
            mine=frozenset(mine & names) | taken,
            taken=taken,
            free=names - holders.keys() - taken,
            released=len(released),
            others_end=(min(others) - now) / 1000 if others else None,
        )

    def _take_all(self, connection: sa.Connection, names: Sequence[str], now: int) -> frozenset[str]:
        found: set[str] = set()
        for chunk in chunks(sorted(names)):  # all replicas use the same order, so that they cannot deadlock
            values = [{"org": name, "owner": self.owner} for name in chunk]
            found.update(connection.execute(_TAKE.values(values), {"b_now": now}).scalars())
        return frozenset(found)

    def _give(self, connection: sa.Connection, name: str, to: str) -> None:
        connection.execute(_GIVE, {"b_name": name, "b_owner": self.owner, "b_to": to})

    def _end(self, connection: sa.Connection) -> None:
        connection.execute(_END, {"b_owner": self.owner})


def _unshared(name: str) -> bool:
    """Whether a name is a task of a single replica. The names of organisations contain no colon."""
    return name.startswith(":")
