"""Who does what of several replicas: each has a session in the database, by its clock, and holds names as long as that.

A replica renews one row, however many organisations it watches: https://research.google/pubs/pub27897/ (Chubby) and
etcd call this a session or lease with keys attached.
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
"""Of a session: who has less left begins nothing, so that what it began is over when another takes its place."""
_EVERY: Final = 1 / 3
"""Of a session: how often it is renewed."""
_SOON: Final = 0.25  # seconds between two renewals while shares are not fair
_AFTER: Final = 0.05  # seconds from the end of another's session to our look at what it left

_now = sa.bindparam("b_now", type_=sa.BigInteger)
_owner = sa.bindparam("b_owner", type_=sa.Text)
_name = sa.bindparam("b_name", type_=sa.Text)
_replica = insert(replica)
_RENEW: Final = _replica.on_conflict_do_update(index_elements=["name"], set_={"until": _replica.excluded.until})
_END: Final = sa.delete(replica).where(replica.c.name == _owner)
# A replica that was stopped amid a transaction holds its row until the server ends that: nobody waits for it.
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
    """What a renewal of the session has found and done."""

    acquired: tuple[str, ...]
    """Names that may be worked on from now on, and before could not."""
    given: frozenset[str]
    """Those of them that another replica has given away, and has worked on till now."""
    released: int
    """How many deliveries that dead replicas had claimed are due again."""
    again: float
    """Seconds until the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the database said."""

    share: Share
    mine: frozenset[str]
    taken: frozenset[str]
    """Those of mine that nobody had."""
    free: frozenset[str]
    """What nobody had before, and we have not taken."""
    released: int
    others_end: float | None
    """Seconds until the first of the other sessions ends, unless it is renewed."""


class Leases:
    """The names that this process holds, as long as its session lasts."""

    def __init__(self, database: Database, clock: Clock, *, owner: str, duration: timedelta) -> None:
        self._database = database
        self._clock = clock
        self.owner = owner
        """This process, as others know it."""
        self._duration = duration
        self._asked_at: float | None = None
        """On the monotonic clock, before the session was granted: it is over no earlier than a duration after that."""
        self._held: dict[str, int] = {}
        """The number of the uninterrupted time in which each name has been ours."""
        self._shared: frozenset[str] = frozenset()
        self._left_over: frozenset[str] = frozenset()
        self._give_to: str | None = None
        self._terms = count(1)

    @property
    def shared(self) -> int:
        """How many of the names that are shared out are ours."""
        return len(self._shared & self._held.keys()) if self._left() > 0 else 0

    async def take(self, name: str) -> bool:
        """Whether we may do what the name stands for.

        Of names that are shared out, `renew` decides; any other one is taken by whoever asks for it first. While more
        than half of the session is left, nothing is written.
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
        """Go on with the session, and with a fair share of the names: what nobody has is taken at once, and what we
        have too much of leaves us one by one, by `hand_over`."""
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
        """Whether the name has gone to another replica, because we have too many: one for each renewal at most.

        It is asked when the next poll is due, so that the other one polls in our place.
        """
        to, self._give_to = (self._give_to, None) if name in self._held else (None, self._give_to)
        if to is None:
            return False
        self._held.pop(name, None)
        await self._database.write(self._give, name, to)
        return True

    async def end(self) -> None:
        """Let others have all of it at once."""
        self._held.clear()
        self._asked_at = None
        await self._database.write(self._end)

    def term(self, name: str) -> int | None:
        """The number of the uninterrupted time in which the name has been ours; None while it is not."""
        return self._held.get(name) if self._left() > 0 else None

    def fence(self, connection: sa.Connection, names: Sequence[str], now: int) -> Mapping[str, Stale]:
        """Those of these names that another replica has; within a write, so that a stopped owner is refused."""
        refused = {}
        for chunk in chunks(names):
            for name, holder in connection.execute(_HOLDERS, {"b_names": chunk, "b_now": now}):
                if holder != self.owner:
                    refused[name] = Stale(f"{name} is watched by another replica now")
        return refused

    def _left(self) -> float:
        """Which part of the session is left, from 1 to 0 and less."""
        if self._asked_at is None:
            return 0.0
        return 1.0 - (self._clock.monotonic() - self._asked_at) / self._duration.total_seconds()

    def _granted(self, asked_at: float) -> None:
        if self._left() <= 0:  # others may have had what was ours
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
        unwatched = [name for name in mine - names if not _unshared(name)]  # not configured here: for others to take
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
        for chunk in chunks(sorted(names)):  # all replicas in one order: none waits for another that waits for it
            values = [{"org": name, "owner": self.owner} for name in chunk]
            found.update(connection.execute(_TAKE.values(values), {"b_now": now}).scalars())
        return frozenset(found)

    def _give(self, connection: sa.Connection, name: str, to: str) -> None:
        connection.execute(_GIVE, {"b_name": name, "b_owner": self.owner, "b_to": to})

    def _end(self, connection: sa.Connection) -> None:
        connection.execute(_END, {"b_owner": self.owner})


def _unshared(name: str) -> bool:
    """Whether it stands for what one replica does for all; no organisation's name has a colon."""
    return name.startswith(":")
