"""Who does what of several replicas: leases in the database, by its clock, taken by whoever finds one free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Final

import sqlalchemy as sa

from monitor.clock import Clock
from monitor.store.database import Database
from monitor.store.errors import Stale
from monitor.store.schema import CHUNK, insert, lease

_MS: Final = timedelta(milliseconds=1)
_insert = insert(lease)
_TAKE: Final = _insert.on_conflict_do_update(
    index_elements=["org"],
    set_={"owner": _insert.excluded.owner, "until": _insert.excluded.until},
    where=(lease.c.owner == _insert.excluded.owner) | (lease.c.until <= sa.bindparam("b_now", type_=sa.BigInteger)),
).returning(lease.c.owner)
_HOLDERS: Final = sa.select(lease.c.org, lease.c.owner).where(
    lease.c.org.in_(sa.bindparam("b_names", type_=sa.Text, expanding=True)),
    lease.c.until > sa.bindparam("b_now", type_=sa.BigInteger),
)
RELEASE_ALL: Final = sa.delete(lease)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A lease that was granted."""

    owner: str
    asked_at: float
    """On the monotonic clock, before it was granted: it is over no earlier than this and its duration."""
    duration: timedelta
    term: int

    def left(self, monotonic: float) -> float:
        """Which part of it is left, from 0 to 1."""
        return 1.0 - (monotonic - self.asked_at) / self.duration.total_seconds()


class Leases:
    """The leases this process holds."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._terms = count(1)

    async def take(self, name: str, owner: str, duration: timedelta) -> bool:
        """Whether `owner` may do what the lease is named for. While more than half is left, nothing is written."""
        held, asked_at = self._held.get(name), self._clock.monotonic()
        if held is not None and held.owner == owner and held.left(asked_at) > 0.5:
            return True
        if not await self._database.write(self._take, name, owner, duration // _MS):
            self._held.pop(name, None)
            return False
        lapsed = held is None or held.owner != owner or held.left(self._clock.monotonic()) <= 0
        term = next(self._terms) if held is None or lapsed else held.term
        self._held[name] = _Held(owner=owner, asked_at=asked_at, duration=duration, term=term)
        return True

    def term(self, name: str) -> int | None:
        """The number of the uninterrupted time in which the lease has been ours; None while it is not."""
        held = self._held.get(name)
        return held.term if held is not None and held.left(self._clock.monotonic()) > 0 else None

    def fence(self, connection: sa.Connection, names: Sequence[str], now: int) -> Mapping[str, Stale]:
        """Of these leases, those that another owner has now: within a write, who was stopped and goes on is refused."""
        refused = {}
        for start in range(0, len(names), CHUNK):
            wanted = {"b_names": names[start : start + CHUNK], "b_now": now}
            for name, holder in connection.execute(_HOLDERS, wanted):
                held = self._held.get(name)
                if held is None or holder != held.owner:
                    refused[name] = Stale(f"{name} is watched by another replica now")
        return refused

    def _take(self, connection: sa.Connection, name: str, owner: str, duration: int) -> bool:
        now = self._database.now(connection)
        values = {"org": name, "owner": owner, "until": now + duration, "b_now": now}
        return connection.execute(_TAKE, values).first() is not None
