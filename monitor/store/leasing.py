"""Who polls an organisation: a lease in the database, taken by whoever finds it free or run out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from monitor.store.documents import to_ms
from monitor.store.schema import insert, lease

_insert = insert(lease)
_TAKE: Final = _insert.on_conflict_do_update(
    index_elements=["org"],
    set_={"owner": _insert.excluded.owner, "until": _insert.excluded.until},
    where=(lease.c.owner == _insert.excluded.owner) | (lease.c.until <= sa.bindparam("b_now")),
).returning(lease.c.owner)
_RELEASE: Final = sa.delete(lease)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lease that was granted."""

    owner: str
    until: datetime
    duration: timedelta

    def good(self, owner: str, now: datetime) -> bool:
        """More than half of it is left, and no more than all of it: the clock may have been put back."""
        return self.owner == owner and self.duration / 2 < self.until - now <= self.duration

    def over(self, now: datetime) -> bool:
        """Another may have had it since."""
        return now >= self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A lease that is asked for."""

    org: str
    owner: str
    now: datetime
    until: datetime


def take(connection: sa.Connection, wish: Wish) -> bool:
    """Whether the lease is ours now."""
    values = {"org": wish.org, "owner": wish.owner, "until": to_ms(wish.until), "b_now": to_ms(wish.now)}
    return connection.execute(_TAKE, values).first() is not None


def release_all(connection: sa.Connection) -> None:
    """Nobody else is there: what dead owners held is free."""
    connection.execute(_RELEASE)
