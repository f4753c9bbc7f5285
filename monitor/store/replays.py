"""The store's past told again: dead letters and stored transitions wait once more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.domain.replay import Past, Plan
from monitor.store import replaying, settling
from monitor.store.books import Books
from monitor.store.changes import Changes
from monitor.store.documents import to_ms
from monitor.store.values import Listing
from monitor.store.writer import each

_requeue = each(settling.requeue)
_retell = each(replaying.retell)


class Replays(Books):
    """What was told, and is to be told once more."""

    changes: Changes

    async def requeue(self, keys: Sequence[str] | None, now: datetime) -> int:
        """Dead letters wait again, as if they were new: those of the keys, or all. Says how many."""
        jobs = await self._writer.run(_requeue, (None if keys is None else tuple(keys), to_ms(now)))
        if jobs:
            self.changes.enqueued(jobs)
            self._enqueued(len(jobs))
        return len(jobs)

    async def past(self, since: datetime, *, after: str | None = None) -> Listing[Past]:
        """A page of the transitions observed since then, each with its envelopes; each job's in their order."""
        wanted = replaying.Since(at=to_ms(since), after=after)
        return await self._read(lambda connection: replaying.past(connection, wanted))

    async def retell(self, plan: Plan, now: datetime) -> frozenset[str]:
        """Let the plan's envelopes wait, as if they were all new. Gives the keys of those that did not wait before."""
        if not plan.deliveries:
            return frozenset()
        wanted = replaying.Retold(again=plan.again, new=plan.new, now=to_ms(now))
        waiting = await self._writer.run(_retell, wanted)
        if waiting:
            self.changes.enqueued((letter.org, letter.job) for letter in plan.deliveries if letter.key in waiting)
            self._enqueued(len(waiting))
        return waiting
