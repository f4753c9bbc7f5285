"""The state of targets that replicas share: whose turn it is to send, and which targets are suspended.

Slack, for example, accepts one message per second and channel from all replicas together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from monitor.store.database import Database
from monitor.store.schema import insert, lane, replica, suspension

_MS: Final = timedelta(milliseconds=1)
_now = sa.bindparam("b_now", type_=sa.BigInteger)
_name, _owner = sa.bindparam("b_name", type_=sa.Text), sa.bindparam("b_owner", type_=sa.Text)
_live = sa.select(replica.c.name).where(replica.c.until > _now)
_insert = insert(lane)
_TAKE: Final = _insert.on_conflict_do_update(
    index_elements=["name"],
    set_={"owner": _insert.excluded.owner, "free_at": _insert.excluded.free_at},
    # a dead replica does not release its turn
    where=(lane.c.free_at <= _now) | lane.c.owner.not_in(_live),
).returning(lane.c.name)
_GIVE_BACK: Final = (
    sa.update(lane)
    .where(lane.c.name == _name, lane.c.owner == _owner)
    .values(owner=None, free_at=sa.bindparam("b_free_at", type_=sa.BigInteger))
)

_suspension = insert(suspension)
_wait = sa.bindparam("b_wait", type_=sa.BigInteger)
_SUSPEND: Final = _suspension.on_conflict_do_update(
    index_elements=["notifier"], set_={"probe_at": _suspension.excluded.probe_at}
)
_RESUME: Final = sa.delete(suspension).where(suspension.c.notifier == _name)
_PROBE_AT: Final = sa.select(suspension.c.probe_at).where(suspension.c.notifier == _name)
_PROBE_NOW: Final = sa.update(suspension).where(suspension.c.notifier == _name).values(probe_at=_now)
_TAKE_PROBE: Final = (
    sa.update(suspension)
    .where(suspension.c.notifier == _name, suspension.c.probe_at <= _now)
    .values(probe_at=_now + _wait)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStore:
    """The stored turns and suspensions. Every method may raise StoreError."""

    database: Database
    owner: str
    """The name of this replica."""

    async def take_turn(self, name: str, most: timedelta) -> bool:
        """Take the turn in a lane for at most `most`. Returns whether it was free."""
        return await self.database.write(self._take_turn, name, most // _MS)

    async def give_back(self, name: str, rest: timedelta) -> None:
        """Release the turn. It is free for the next sender after `rest`."""
        await self.database.write(self._give_back, name, rest // _MS)

    async def suspend(self, notifier: str, wait: timedelta) -> None:
        """Suspend a notifier on all replicas. One of them probes its target after `wait`."""
        await self.database.write(self._suspend, notifier, wait // _MS)

    async def resume(self, notifier: str) -> None:
        """Resume a notifier on all replicas."""
        await self.database.write(self._resume, notifier)

    async def probe_in(self, notifier: str) -> timedelta | None:
        """The time until the probe of a suspended notifier, negative if it is overdue; None if it is not suspended."""
        return await self.database.read(self._probe_in, notifier)

    async def probe_now(self, notifier: str) -> None:
        """Make the probe of a suspended notifier due at once, because its settings may have changed."""
        await self.database.write(self._probe_now, notifier)

    async def take_probe(self, notifier: str, wait: timedelta) -> bool:
        """Take a due probe, and postpone the next one by `wait`. Returns False if another replica has taken it."""
        return await self.database.write(self._take_probe, notifier, wait // _MS)

    def _suspend(self, connection: sa.Connection, notifier: str, wait: int) -> None:
        connection.execute(_SUSPEND, {"notifier": notifier, "probe_at": self.database.now(connection) + wait})

    def _resume(self, connection: sa.Connection, notifier: str) -> None:
        connection.execute(_RESUME, {"b_name": notifier})

    def _probe_in(self, connection: sa.Connection, notifier: str) -> timedelta | None:
        probe_at = connection.execute(_PROBE_AT, {"b_name": notifier}).scalar()
        return (probe_at - self.database.now(connection)) * _MS if probe_at is not None else None

    def _probe_now(self, connection: sa.Connection, notifier: str) -> None:
        connection.execute(_PROBE_NOW, {"b_name": notifier, "b_now": self.database.now(connection)})

    def _take_probe(self, connection: sa.Connection, notifier: str, wait: int) -> bool:
        values = {"b_name": notifier, "b_now": self.database.now(connection), "b_wait": wait}
        return connection.execute(_TAKE_PROBE, values).rowcount == 1

    def _take_turn(self, connection: sa.Connection, name: str, most: int) -> bool:
        now = self.database.now(connection)
        values = {"name": name, "owner": self.owner, "free_at": now + most, "b_now": now}
        return connection.execute(_TAKE, values).first() is not None

    def _give_back(self, connection: sa.Connection, name: str, rest: int) -> None:
        now = self.database.now(connection)
        connection.execute(_GIVE_BACK, {"b_name": name, "b_owner": self.owner, "b_free_at": now + rest})
