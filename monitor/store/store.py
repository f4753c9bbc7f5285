"""The store: one method for each moment of the flow, each one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import anyio
import sqlalchemy as sa
from anyio import to_thread

from monitor.clock import Clock
from monitor.domain.decide import evolve
from monitor.domain.flow import Change, Known, Tracked
from monitor.domain.model import JobEvent, Status
from monitor.domain.snapshot import Snapshot
from monitor.store import claiming, curves, knowing, leasing, listing, pruning, settling, viewing
from monitor.store.ageing import Ageing
from monitor.store.changes import Changes
from monitor.store.commits import commit
from monitor.store.documents import maybe_moment, to_ms
from monitor.store.errors import BadCursor, StoreError, Unstorable
from monitor.store.faults import translated
from monitor.store.replays import Replays
from monitor.store.schema import DEAD, SENT
from monitor.store.values import Claimed, JobFile, Listing, Posted
from monitor.store.writer import Writer, each

T = TypeVar("T")
_take = each(leasing.take)
_claim = each(claiming.claim)
_settle = each(settling.settle)
_postpone = each(settling.postpone)
_expire = each(settling.expire)
_prune = each(pruning.prune)


class Store(Replays):
    """What was seen, decided and is still to be told. Every method may raise StoreError."""

    def __init__(self, writer: Writer, readers: sa.Engine, check: Callable[[], None], clock: Clock) -> None:
        self._writer = writer
        self._readers = readers
        self._check = check
        self._clock = clock
        self._ageing = Ageing(clock)
        self._reading = anyio.CapacityLimiter(readers.pool.size())  # type: ignore[attr-defined]  # a QueuePool has one
        self._reads_work = True
        self._held: dict[str, leasing.Held] = {}
        self._known: dict[str, Known] = {}
        self._decoded: viewing.Decoded = {}
        self._news = anyio.Event()
        self.enqueued = 0
        self.changes = Changes()

    @property
    def healthy(self) -> bool:
        """Whether the last transaction worked."""
        return self._writer.healthy and self._reads_work

    async def lease(self, org: str, owner: str, now: datetime, duration: timedelta) -> bool:
        """Whether `owner` may poll the organisation. While more than half of the lease is left, nothing is written."""
        held = self._held.get(org)
        if held is not None and held.good(owner, now):
            return True
        if held is None or held.over(now):
            self._known.pop(org, None)
        wish = leasing.Wish(org=org, owner=owner, now=now, until=now + duration)
        if await self._writer.run(_take, wish):
            self._held[org] = leasing.Held(owner=owner, until=wish.until, duration=duration)
            return True
        self._held.pop(org, None)
        self._known.pop(org, None)
        return False

    async def known(self, org: str) -> Known:
        """What was known of the organisation; remembered while its lease is ours."""
        remembered = self._known.get(org)
        if remembered is not None:
            return remembered
        found = await self._read(lambda connection: knowing.known(connection, org))
        self._remember(found)
        return found

    async def commit(self, change: Change) -> None:
        """Make the change durable, whole. Raises Stale when it was decided on knowledge that is not the newest."""
        if change.empty:
            return
        before = self._known.pop(change.org, None)  # whatever happens, it is not the newest any more
        await self._writer.run(commit, change)
        if before is not None and before.version == change.based_on:
            self._remember(evolve(before, change))
        self.changes.jobs(change.tracked)
        if change.deliveries:
            self._enqueued(len(change.deliveries))

    async def wait_enqueued(self, mark: int) -> None:
        """Wait until `enqueued` is another number than `mark`."""
        while self.enqueued == mark:
            await self._news.wait()

    async def claim(
        self, notifier: str, now: datetime, *, owner: str, limit: int, lease: timedelta
    ) -> tuple[Claimed, ...]:
        """Lease due envelopes, oldest first, and of each job only the first that is not settled."""
        wanted = claiming.Claim(notifier=notifier, now=to_ms(now), until=to_ms(now + lease), owner=owner, limit=limit)
        return await self._writer.run(_claim, wanted)

    async def delivered(self, claimed: Claimed, now: datetime, *, reference: str | None = None) -> bool:
        """It arrived. False when the claim was no longer ours, so that nothing changed."""
        outcome = settling.Outcome(claimed=claimed, now=to_ms(now), state=SENT, reference=reference)
        return await self._settled(outcome)

    async def postpone(
        self, claimed: Claimed, due_at: datetime, *, reason: str, counted: bool = True, ambiguous: bool = False
    ) -> bool:
        """Try again later. Not `counted`, the attempt was none; `ambiguous`, it may have arrived."""
        delay = settling.Delay(
            claimed=claimed,
            now=to_ms(self._clock.now()),
            due_at=to_ms(due_at),
            reason=reason,
            counted=counted,
            ambiguous=ambiguous,
        )
        return await self._writer.run(_postpone, delay)

    async def bury(self, claimed: Claimed, now: datetime, *, reason: str) -> bool:
        """Give it up: a dead letter, kept to be looked at and asked for again."""
        outcome = settling.Outcome(claimed=claimed, now=to_ms(now), state=DEAD, reason=reason)
        return await self._settled(outcome)

    async def expire(self, now: datetime, max_age: timedelta) -> Mapping[str, int]:
        """Give up what has waited longer, and say how many for each notifier.

        A clock that is set ahead makes nothing older; what was put off by one that has been put back since is due.
        """
        jump = self._ageing.take()
        limit = settling.Limit(now=to_ms(now), before=to_ms(now - max_age), jump=jump // timedelta(milliseconds=1))
        try:
            return await self._writer.run(_expire, limit)
        except StoreError:
            self._ageing.give_back(jump)
            raise

    async def next_due(self, notifier: str) -> datetime | None:
        """When `claim` will next find something, as things are."""
        return maybe_moment(await self._read(lambda connection: claiming.next_due(connection, notifier)))

    async def snapshot(
        self, now: datetime, *, orgs: Sequence[str], job_retention: timedelta, max_jobs: int
    ) -> Snapshot:
        """Everything readers show of these organisations, as of one moment."""
        view = viewing.View(
            now=now, orgs=tuple(orgs), since=now - job_retention, max_jobs=max_jobs, decoded=self._decoded
        )
        seen, self._decoded = await self._read(lambda connection: viewing.snapshot(connection, view))
        return seen

    async def jobs(
        self, *, org: str | None = None, status: Status | None = None, limit: int = 50, after: str | None = None
    ) -> Listing[Tracked]:
        """Jobs, newest created first. Raises BadCursor."""
        page = listing.Page(limit=limit, after=after)
        return await self._read(lambda connection: listing.jobs(connection, page, org, status))

    async def job(self, org: str, job_id: str) -> JobFile | None:
        """One job and what became of it; None when it is not known."""
        return await self._read(lambda connection: listing.job_file(connection, org, job_id))

    async def events(self, org: str, job_id: str, *, limit: int = 100, after: str | None = None) -> Listing[JobEvent]:
        """A job's events, newest first. Raises BadCursor."""
        page = listing.Page(limit=limit, after=after)
        return await self._read(lambda connection: listing.events(connection, page, org, job_id))

    async def story(self, org: str, job_id: str, most: int) -> Sequence[JobEvent]:
        """The newest measurements and checkpoints of one job, oldest first."""
        return await self._read(lambda connection: curves.story(connection, org, job_id, most))

    async def samples(self, jobs: Sequence[curves.Place], most: int) -> Mapping[curves.Place, Sequence[JobEvent]]:
        """About `most` measurements of each job, oldest first, spread over all it has. A place is `(org, id)`."""
        return await self._read(lambda connection: curves.samples(connection, jobs, most))

    async def deliveries(
        self, *, state: str | None = None, limit: int = 50, after: str | None = None
    ) -> Listing[Posted]:
        """Envelopes, newest first. Raises BadCursor."""
        page = listing.Page(limit=limit, after=after)
        return await self._read(lambda connection: listing.deliveries(connection, page, state))

    async def prune(self, now: datetime, retention: timedelta) -> int:
        """Forget jobs that ended before the retention and envelopes settled before it; says how many jobs."""
        before, jobs = to_ms(now - retention), 0
        while (pruned := await self._writer.run(_prune, before)) != pruning.NOTHING:
            jobs += pruned.jobs
        if jobs:
            self._known.clear()
        await self._writer.checkpoint()
        return jobs

    async def _settled(self, outcome: settling.Outcome) -> bool:
        if settled := await self._writer.run(_settle, outcome):
            self.changes.settled(outcome.claimed)
        return settled

    def _enqueued(self, count: int) -> None:
        self.enqueued += count
        self._news.set()
        self._news = anyio.Event()

    def _remember(self, known: Known) -> None:
        newest = self._known.get(known.org)
        if known.org in self._held and (newest is None or newest.version < known.version):
            self._known[known.org] = known

    async def _read(self, query: Callable[[sa.Connection], T]) -> T:
        def read() -> T:
            self._check()
            with self._readers.begin() as connection:
                return query(connection)

        try:
            found = await to_thread.run_sync(read, limiter=self._reading)
        except BadCursor:
            raise
        except UnicodeEncodeError as error:
            raise Unstorable("no database holds such text") from error
        except (sa.exc.SQLAlchemyError, StoreError) as error:
            self._reads_work = False
            raise translated(error) from error
        self._reads_work = True
        return found
