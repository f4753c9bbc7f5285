"""What the stores ask of a database, and what both kinds of it have in common."""

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
"""One value's fault, not the database's: lone surrogates, NUL in PostgreSQL's text, integers beyond 64 bits."""


_RETRIED: Final = 20.0
"""Seconds within which whatever is done again and again is tried once more after a failure."""


class Database(Protocol):
    """A database whose every use is one transaction in a thread of its own. Every method may raise StoreError."""

    @property
    def healthy(self) -> bool:
        """Whether the last transactions worked."""
        ...

    async def write(self, work: Callable[[sa.Connection, *Ts], T], *args: *Ts) -> T:
        """Do the work and wait until it is durable; where it raises, nothing of it is stored.

        It may be done more than once, so it changes nothing but the database.
        """
        ...

    async def write_each(
        self, work: Callable[[sa.Connection, Sequence[Item]], Sequence[T | StoreError]], item: Item
    ) -> T:
        """Do work for an item that may be done for many at once; wait until it is durable.

        Each item has its own result or, where nothing was written for it, its own refusal, which is raised. Where the
        work itself raises, nothing of it is stored, and it is done again for fewer items.
        """
        ...

    async def read(self, work: Callable[[sa.Connection, *Ts], T], *args: *Ts) -> T:
        """Ask; every question of the work sees the same state."""
        ...

    def now(self, connection: sa.Connection) -> int:
        """The time that leases and due times are measured by, in milliseconds: one clock for all replicas."""
        ...

    def wake(self, connection: sa.Connection) -> None:
        """When this write commits, wake the other replicas, where there can be any."""
        ...

    async def listen(self, woken: Callable[[], None]) -> None:
        """Call `woken` whenever another replica's write woke us, until cancelled. Not all may be heard."""
        ...

    async def compact(self) -> None:
        """Give room back after much was deleted."""
        ...


class FailingWrites:
    """The kinds of writes that fail now, by the names of their work.

    One is over it when it works, or when it was not tried again for a while in which others have written: what an
    operator asked for once may never come again. What only finds nothing to write proves little.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._since)

    def failed(self, kinds: Iterable[str]) -> None:
        """These were tried and failed."""
        self._since.update(dict.fromkeys(kinds, self._clock.monotonic()))

    def worked(self, kinds: Iterable[str], *, written: bool) -> None:
        """These worked; `written`: they have changed something."""
        gone = self._clock.monotonic() - _RETRIED
        for kind in {*kinds, *(kind for kind, at in self._since.items() if written and at < gone)}:
            self._since.pop(kind, None)


class Readers:
    """Reads that run in threads, as many at a time as there are connections."""

    def __init__(self, engine: sa.Engine, size: int, translate: Callable[[Exception], StoreError]) -> None:
        self._engine = engine
        self._limiter = anyio.CapacityLimiter(size)
        self._translate = translate
        self.healthy = True

    async def read(self, check: Callable[[], None], work: Callable[[sa.Connection, *Ts], T], args: tuple[*Ts]) -> T:
        """Run the work in one transaction. `check` says, before it begins, whether the database may be used."""

        def transact() -> T:
            check()
            with self._engine.begin() as connection:
                return work(connection, *args)

        try:
            found = await to_thread.run_sync(transact, limiter=self._limiter)
        except BadCursor:
            raise
        except UnicodeEncodeError as error:
            raise Unstorable("no database holds such text") from error
        except (sa.exc.SQLAlchemyError, StoreError) as error:
            self.healthy = False
            raise self._translate(error) from error
        self.healthy = True
        return found
