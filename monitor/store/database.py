"""The interface of databases to the stores, and what both implementations have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar, TypeVarTuple

import anyio
import msgspec
import sqlalchemy as sa
from anyio import to_thread

from monitor.clock import Clock
from monitor.store.errors import BadCursor, StoreError, Unstorable

T = TypeVar("T")
Item = TypeVar("Item")
Ts = TypeVarTuple("Ts")

POISON: Final = (
    ValueError,
    TypeError,
    OverflowError,
    msgspec.MsgspecError,
    sa.exc.IntegrityError,
    sa.exc.DataError,
)
"""Errors that a value causes and not the database: lone surrogates, NUL in PostgreSQL, integers beyond 64 bits."""


_RETRIED: Final = 20.0
"""Seconds within which every regular write is retried after a failure."""


class Database(Protocol):
    """A database. Each use is one transaction, which runs in a thread. Every method may raise StoreError."""

    @property
    def healthy(self) -> bool:
        """Whether the latest transactions succeeded."""
        ...

    async def write(self, work: Callable[[sa.Connection, *Ts], T], *args: *Ts) -> T:
        """Run `work` in a write transaction, and wait until it is durable. If it raises, nothing is stored.

        `work` may be called more than once, and must therefore change nothing but the database.
        """
        ...

    async def write_each(
        self, work: Callable[[sa.Connection, Sequence[Item]], Sequence[T | StoreError]], item: Item
    ) -> T:
        """Write an item, possibly together with others in one transaction, and wait until it is durable.

        `work` returns the result of each item, or a StoreError for an item of which it has written nothing; that is
        raised. If `work` itself raises, nothing is stored, and it is called again for fewer items.
        """
        ...

    async def write_together(
        self, work: Callable[[sa.Connection, Sequence[Item]], Sequence[T | StoreError]], item: Item
    ) -> T:
        """Like `write_each`, for work that waits for no locks, so that items may always share a transaction."""
        ...

    async def read(self, work: Callable[[sa.Connection, *Ts], T], *args: *Ts) -> T:
        """Run `work` in a read transaction. All of its queries see the same state."""
        ...

    def now(self, connection: sa.Connection) -> int:
        """The time for leases and due times, in milliseconds since 1970. All replicas use the same clock."""
        ...

    def wake(self, connection: sa.Connection) -> None:
        """Wake other replicas when this write commits, if there can be any."""
        ...

    async def listen(self, woken: Callable[[], None]) -> None:
        """Call `woken` when another replica wakes this one, until cancelled. Some wake-ups may be missed."""
        ...

    async def inspect(self) -> None:
        """Finish the integrity check, if it was postponed at the start."""
        ...

    async def compact(self) -> None:
        """Release space after many rows were deleted."""
        ...


class FailingWrites:
    """The kinds of writes that currently fail, by the names of their work functions.

    A failure is over when the same kind succeeds, or if the kind was not tried for 20 seconds and another kind has
    written something: a write that an operator requested may never be repeated. A write that finds nothing to change
    does not count.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether any kind of write fails."""
        return bool(self._since)

    def failed(self, kinds: Iterable[str]) -> None:
        """Note that these kinds of writes failed."""
        self._since.update(dict.fromkeys(kinds, self._clock.monotonic()))

    def worked(self, kinds: Iterable[str], *, written: bool) -> None:
        """Note that these kinds of writes succeeded. `written` tells whether they have changed something."""
        gone = self._clock.monotonic() - _RETRIED
        for kind in {*kinds, *(kind for kind, at in self._since.items() if written and at < gone)}:
            self._since.pop(kind, None)


class Readers:
    """Runs read transactions in threads, at most as many at a time as there are connections."""

    def __init__(self, engine: sa.Engine, size: int, translate: Callable[[Exception], StoreError]) -> None:
        self._engine = engine
        self._limiter = anyio.CapacityLimiter(size)
        self._translate = translate
        self.healthy = True

    async def read(self, check: Callable[[], None], work: Callable[[sa.Connection, *Ts], T], args: tuple[*Ts]) -> T:
        """Run `work` in one transaction. `check` is called first and raises if the database must not be used."""

        def transact() -> T:
            check()
            with self._engine.begin() as connection:
                return work(connection, *args)

        try:
            found = await to_thread.run_sync(transact, limiter=self._limiter)
        except BadCursor:
            raise
        # A parameter is at fault, such as one with NUL on PostgreSQL.
        except (UnicodeEncodeError, sa.exc.DataError) as error:
            raise Unstorable("no database holds such text") from error
        except (sa.exc.SQLAlchemyError, StoreError) as error:
            self.healthy = False
            raise self._translate(error) from error
        self.healthy = True
        return found
