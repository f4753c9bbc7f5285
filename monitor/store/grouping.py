"""Group commit: the writes of many callers share a transaction, in which each succeeds or fails by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import anyio
import sqlalchemy as sa
from anyio import to_thread

from monitor.store.database import POISON
from monitor.store.errors import StoreError, StoreUnavailable, Unstorable

GROUP: Final = 256
"""The most writes in one transaction."""


class Write:
    """A write that waits in the queue, and its outcome."""

    __slots__ = ("args", "each", "outcome", "tried", "woken", "work")

    def __init__(self, work: Callable[..., Any], args: tuple[Any, ...], *, each: bool) -> None:
        self.work = work
        self.args = args
        self.each = each
        """Whether `work` takes the items of several callers at once."""
        self.woken = anyio.Event()
        self.tried = False
        self.outcome: Any = StoreUnavailable("the transaction was abandoned")

    @property
    def kind(self) -> str:
        """The name of the work function."""
        return self.work.__qualname__


class Group:
    """A queue of writes. A caller that finds it idle executes all waiting writes in one transaction."""

    def __init__(self, transact: Callable[[list[Write]], None], limiter: anyio.CapacityLimiter) -> None:
        self._transact = transact
        """Sets the outcome of each write, and raises nothing."""
        self._limiter = limiter
        self._queue: deque[Write] = deque()
        self._led = False

    async def written(self, write: Write) -> Any:
        """Wait until the write is durable. Returns its result. Raises StoreError."""
        # Shielded, so that the cancellation of one caller does not abort the group. The wait is bounded by the
        # database's timeouts and by the disk.
        with anyio.CancelScope(shield=True):
            self._queue.append(write)
            if self._led:
                await write.woken.wait()
            if not write.tried:
                self._led = True
                await self._lead()
        if isinstance(write.outcome, StoreError):
            raise write.outcome
        return write.outcome

    async def _lead(self) -> None:
        group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP))]
        try:
            await to_thread.run_sync(self._transact, group, limiter=self._limiter)
        finally:
            for write in group:
                write.tried = True
                write.woken.set()
            if self._queue:
                self._queue[0].woken.set()  # it was not tried yet, so that its caller leads the next group
            else:
                self._led = False


def run(connection: sa.Connection, group: Sequence[Write]) -> None:
    """Execute the writes of a group, those with the same work for several items together."""
    for batch in _batches(group):
        _run(connection, batch)


def _batches(group: Sequence[Write]) -> Iterable[Sequence[Write]]:
    """The writes of a group, with those together that have the same work for several items."""
    batches: dict[object, list[Write]] = {}
    for write in group:
        batches.setdefault(write.work if write.each else write, []).append(write)
    return batches.values()


def _run(connection: sa.Connection, writes: Sequence[Write]) -> None:
    """Execute the writes of a batch in one savepoint.

    If one of them cannot be stored, the savepoint is rolled back and each half is tried separately, until only the
    writes at fault are refused.
    """
    try:
        with connection.begin_nested():
            outcomes = _done(connection, writes)
    except (*POISON, StoreError) as error:
        if len(writes) > 1:
            half = len(writes) // 2
            _run(connection, writes[:half])
            _run(connection, writes[half:])
            return
        refused = error if isinstance(error, StoreError) else None
        outcomes = [refused or Unstorable(f"a value cannot be stored: {type(error).__name__}")]
    for write, outcome in zip(writes, outcomes, strict=True):
        write.outcome = outcome


def _done(connection: sa.Connection, writes: Sequence[Write]) -> Sequence[Any]:
    """The results of a batch, with a StoreError for each refused write."""
    first = writes[0]
    if first.each:
        found: Sequence[Any] = first.work(connection, [write.args[0] for write in writes])
        return found
    return [first.work(connection, *first.args)]
