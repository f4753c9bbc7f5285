"""Group commit: whoever finds the writer idle takes everything that waits into one transaction."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final, TypeVar

import anyio
import msgspec
import sqlalchemy as sa
from anyio import to_thread

from monitor.store.errors import StoreError, Unavailable, Unstorable
from monitor.store.faults import translated

Item = TypeVar("Item")
Result = TypeVar("Result")
Step = Callable[[sa.Connection, Sequence[Item]], Sequence[Result | StoreError]]
"""Does one kind of write for many items at once; each has its own result, or its own refusal."""

GROUP: Final = 256
_POISON: Final = (
    ValueError,
    TypeError,
    OverflowError,
    msgspec.MsgspecError,
    sa.exc.IntegrityError,
    sa.exc.DataError,
)
"""One value's fault, not the database's: lone surrogates, integers beyond 64 bits."""


def each(write: Callable[[sa.Connection, Item], Result]) -> Step[Item, Result]:
    """A step that writes its items one by one."""

    def step(connection: sa.Connection, items: Sequence[Item]) -> Sequence[Result | StoreError]:
        return [write(connection, item) for item in items]

    return step


class _Write:
    """One caller's write, from the queue to its outcome."""

    __slots__ = ("item", "outcome", "step", "tried", "woken")

    def __init__(self, step: Step[Any, Any], item: Any) -> None:
        self.step = step
        self.item = item
        self.woken = anyio.Event()
        self.tried = False
        self.outcome: Any = Unavailable("the transaction was given up")


class Writer:
    """The one who writes: a transaction at a time, each holding all that waits, each caller awaiting its own."""

    def __init__(self, engine: sa.Engine, check: Callable[[], None]) -> None:
        self._engine = engine
        self._check = check
        self._queue: deque[_Write] = deque()
        self._led = False
        self._turn = anyio.CapacityLimiter(1)
        self._failing: set[Step[Any, Any]] = set()

    @property
    def healthy(self) -> bool:
        """Whether every kind of write that failed has worked since. Others prove little: many find nothing to write."""
        return not self._failing

    async def run(self, step: Step[Item, Result], item: Item) -> Result:
        """Write the item and wait until it is durable. Raises StoreError; then nothing of it is stored."""
        write = _Write(step, item)
        # Shielded, so that a caller who leaves does not take the group with it; what waits here is bounded by
        # the time SQLite waits for a lock and by the disk.
        with anyio.CancelScope(shield=True):
            self._queue.append(write)
            if self._led:
                await write.woken.wait()
            if not write.tried:
                self._led = True
                await self._lead()
        if isinstance(write.outcome, StoreError):
            raise write.outcome
        result: Result = write.outcome
        return result

    async def checkpoint(self) -> None:
        """Move the WAL into the database and cut it, if no reader needs it."""
        await to_thread.run_sync(self._checkpoint, limiter=self._turn)

    async def _lead(self) -> None:
        group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP))]
        try:
            await to_thread.run_sync(self._transact, group, limiter=self._turn)
        finally:
            for write in group:
                write.tried = True
                write.woken.set()
            if self._queue:
                self._queue[0].woken.set()  # not tried, so it leads the next group
            else:
                self._led = False

    def _transact(self, group: list[_Write]) -> None:
        steps: dict[Step[Any, Any], list[_Write]] = {}
        for write in group:
            steps.setdefault(write.step, []).append(write)
        try:
            self._check()  # before a connection is made anew, which would make a missing file anew
            with self._engine.begin() as connection:
                outcomes = [pair for step, writes in steps.items() for pair in _apply(connection, step, writes)]
                self._check()
        except (sa.exc.SQLAlchemyError, StoreError) as error:
            self._engine.dispose()  # the next transaction starts on a connection that has seen no failure
            self._failing |= steps.keys()
            for write in group:
                write.outcome = translated(error)
        else:
            self._failing -= steps.keys()
            for write, outcome in outcomes:
                write.outcome = outcome

    def _checkpoint(self) -> None:
        try:
            with closing(self._engine.raw_connection()) as connection:  # outside of any transaction
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._check()
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            raise translated(error) from error


def _apply(connection: sa.Connection, step: Step[Any, Any], writes: list[_Write]) -> list[tuple[_Write, Any]]:
    """All at once; one by one where a value among them cannot be stored, so that it fails alone."""
    try:
        with connection.begin_nested():
            outcomes = step(connection, [write.item for write in writes])
    except _POISON as error:
        if len(writes) > 1:
            return [pair for write in writes for pair in _apply(connection, step, [write])]
        return [(writes[0], Unstorable(f"this cannot be stored: {type(error).__name__}"))]
    return list(zip(writes, outcomes, strict=True))
