"""Watches the fine-tuning jobs of one organisation: poll, decide, commit, wait.

The list of jobs is committed as soon as it is read, so that no end waits for the event streams of other jobs. Streams
and training files are read by a second loop, which never delays a poll.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import anyio
import anyio.to_thread

from monitor.clock import Clock
from monitor.domain.decide import Policy, decide, singles, slices, wants_checkpoints
from monitor.domain.flow import Change, Known, Observation, Reason, Tracked, Trouble, standing
from monitor.domain.model import Checkpoint, EventKind, JobEvent, Status
from monitor.domain.pace import Pace, next_delay, next_turn, relaxed, slot, turn_of
from monitor.domain.snapshot import WatchState
from monitor.domain.stall import Usual
from monitor.log import get_logger
from monitor.metrics.process import ProcessMetrics
from monitor.providers.base import AuthFailed, NotEligible, ProviderUnavailable, RateLimited, SourceError
from monitor.source import Source, training_size
from monitor.store import JobStore, Stale, StoreUnavailable, Unstorable
from monitor.tracebacks import cut_traceback
from monitor.watchers.accounts import Accounts
from monitor.watchers.long_reads import FIRST_SIGHT, LongReads, Turn
from monitor.watchers.report import new_ends, report
from monitor.watchers.sizes import Reading, Sizes
from monitor.watchers.state import PollState, StartGate

log = get_logger()

_FIRST_APART: Final = 0.005  # seconds between the first polls of two organisations; a poll of 20 jobs takes 10 ms
_POLLED_TOGETHER: Final = 12  # organisations whose polls share a time slot
_READ_TOGETHER: Final = 2  # as above, for their event streams, of which each may have many
_RECORD_EVERY: Final = 90.0  # seconds after which an unchanged watch state is stored again
_STREAMS: Final = 24  # event streams that are read in one step
_LONG_STREAM: Final = 12  # what one takes of them that has to be read to its beginning
_SHORT_STREAM: Final = 8  # events of an ended job that take as much as a stream of which only the newest are read
_DECIDED_ON_LOOP: Final = 100  # jobs; more are decided in a thread
_STORE_RETRY: Final = 5.0  # seconds
_IDLE: Final = 60.0  # the longest wait in seconds of a loop that has nothing planned
_CHECKPOINTS: Final = 5.0  # seconds for which an end waits for the names of checkpoints
_USUAL: Final = 600.0  # seconds for which the usual duration of jobs is cached
_DOWN_CHECK: Final = 1.0  # seconds after which the reader checks again whether the organisation is still down


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWatcher:
    """Watches one organisation's jobs. Each organisation has a watcher of its own, and none waits for another."""

    source: Source
    store: JobStore
    policy: Policy
    pace: Pace
    events_interval: float
    """Seconds between two reads of an active job's event stream."""
    clock: Clock
    """The clock of the poll loop."""
    reader_clock: Clock
    """The clock of the loop that reads streams and files. The watchdog observes each loop by its own clock."""
    process: ProcessMetrics
    jitter: Callable[[], float]
    number: int = 0
    """The number of the organisation among all, from 0. They are polled, and their streams read, one after another."""
    count: int = 1
    """The number of organisations."""
    gate: StartGate = field(default_factory=lambda: StartGate(set()))
    """Shared by all organisations."""
    long_reads: LongReads = field(default_factory=LongReads)
    """Shared by all organisations."""
    first_sights: LongReads = field(default_factory=lambda: LongReads(longest=FIRST_SIGHT))
    """As above, of job lists that are read for the first time."""
    accounts: Accounts = field(default_factory=Accounts)
    """Which organisations share an account. Shared by all organisations."""
    state: PollState = field(default_factory=PollState)
    sizes: Sizes = field(default_factory=Sizes)

    async def run(self) -> None:
        """Poll for ever. The first poll comes after those of the organisations before this one have begun."""
        first = self.number * _FIRST_APART
        due = self.clock.monotonic() + first
        await self.clock.sleep(first)
        while True:
            while (pause := self.state.not_before - self.clock.monotonic()) > 0:  # the reader may have met a limit
                await self.clock.sleep(pause)
            if not await self._is_leased():
                await self.state.acquired.wait(self.clock, _IDLE)
                due = self.clock.monotonic()
                continue
            if (pause := self.state.handover_until - self.clock.monotonic()) > 0:
                await self.state.poll.wait(self.clock, pause)
                due = self.clock.monotonic()
            started = self.clock.monotonic()
            self.process.poll_began(late=started - max(due, self.state.not_before))
            await self._poll()
            due = self._next(started, active=await self._plan())
            wait = self._seconds_until(due)
            await self._record(self.clock.now() + timedelta(seconds=wait))
            await self.state.poll.wait(self.clock, wait)
            # First polls come before second ones, but a server that hangs delays no other.
            if await self.gate.wait(self.clock, self.pace.interval):
                due = self.clock.monotonic()

    async def read(self) -> None:
        """Read event streams and training files for ever, when they are due: in turn, so that neither starves."""
        await self.gate.wait(self.reader_clock)
        while True:
            if self._must_pause():
                await self.reader_clock.sleep(self._reader_wait())
                continue
            streams = await self._read_streams()
            file = not self._must_pause() and await self._read_file()
            if not streams and not file:
                await self.state.work.wait(self.reader_clock, self._reader_wait())

    async def poll_once(self, now: datetime) -> Sequence[Change] | None:
        """One step: read the list and commit it, in slices. Returns None if another replica holds the lease.

        Raises SourceError if the list could not be read, and StoreError if nothing could be stored.
        """
        began = self.clock.monotonic()
        known = await self._known()
        if known is None:
            self.accounts.asked(self.source.org)
            return None
        if known.first_sight:
            self.accounts.asked(self.source.org)  # others must not wait for it while it waits for its turn
        # What is seen for the first time is all there is, and in memory until it is committed.
        async with self.first_sights.turn(self.clock) if known.first_sight else nullcontext() as turn:
            return await self._poll_known(known, now, began, turn)

    async def _poll_known(self, known: Known, now: datetime, began: float, turn: Turn | None) -> Sequence[Change]:
        recheck = self.state.recheck(known.jobs, began)
        settled = not recheck and self.state.agreed == (known.version, self.source.reading)
        seen = None
        try:
            seen = await self.source.observe(known, now, recheck | self.state.doubted, settled=settled)
        finally:
            self.accounts.asked(self.source.org, seen.account if seen is not None else None)
        if turn is not None:
            turn.answered = True
        changes: Sequence[Change] = ()
        placed = self.policy.place in (None, known.place)
        if seen.quiet and placed and not known.first_sight and not self.state.jump(now, began):
            self.state.committed(seen, began)
            self._note(None, listed=True)
        else:
            changes = await self.commit(replace(seen, settled_until=self.state.settled_until), began)
        if not (settled and seen.quiet):
            self.state.agree(seen, changes, await self.store.known(self.source.org), self.source.reading)
        return changes

    async def read_events_once(
        self, now: datetime, jobs: Sequence[str], turn: Turn | None = None
    ) -> Sequence[Change] | None:
        """One step: read the event streams of these jobs. Returns None if another replica holds the lease.

        `turn` is held while it is read, if it is long.
        """
        began = self.clock.monotonic()
        known = await self._known()
        if known is None:
            return None
        seen = await self.source.tail(known, jobs, now)
        if turn is not None:
            turn.answered = True
        self.state.unread(seen.unread, self.reader_clock.monotonic())
        return await self.commit(seen, began)

    async def read_file_once(self) -> Sequence[Change] | None:
        """One step: read one training file, for the estimates of its jobs. Returns None if none is to be read now."""
        known = await self._known()
        if known is None:
            return None
        lacking = self.sizes.wanted(known, self.policy.prices.training)
        if not self.sizes.known(lacking):
            reading = self.sizes.due(lacking, self.reader_clock.monotonic())
            if reading is None:
                return None
            if not await self._measure(reading):
                return ()  # this file is tried again later; the next one may be read now
        sizes = self.sizes.known(lacking)
        return await self.commit(Observation(org=known.org, at=self.clock.now(), listed=False, sizes=sizes))

    async def _measure(self, reading: Reading) -> bool:
        """Read a training file and keep its size. Returns whether that worked.

        A failure does not count as a failed poll, because the jobs can still be watched.
        """
        file, model = reading
        try:
            self.sizes.keep(reading, await training_size(self.source, file, model))
        except SourceError as error:
            failed = isinstance(error, (ProviderUnavailable, RateLimited))
            self.sizes.failed(reading, self.reader_clock.monotonic(), refused=not failed)
            if isinstance(error, (AuthFailed, NotEligible, RateLimited)):
                self.sizes.refused(self.reader_clock.monotonic())
            log.info("file.not_read", org=self.source.org, file=file, error=str(error))
            cut_traceback(error)
            return False
        return True

    async def _known(self) -> Known | None:
        """The known state of the watched jobs; None if another replica holds the lease."""
        return await self._watched() if await self.store.leases.take(self.source.org) else None

    async def _watched(self) -> Known:
        """The known state of the job kinds that are watched."""
        known, kinds = await self.store.known(self.source.org), self.source.kinds
        cached_from, cached_kinds, watched = self.state.watched or (None, kinds, known)
        if cached_from is not known or cached_kinds != kinds:
            watched = known.of(kinds)
            self.state.watched = known, kinds, watched
        return watched

    async def _is_leased(self) -> bool:
        """Whether this replica is to poll the organisation. One with too many hands the lease over to another."""
        leases, org = self.store.leases, self.source.org
        early = self.clock.monotonic() < self.state.handover_from
        with suppress(StoreUnavailable):  # the poll will fail too, and report it
            if (early or not await leases.hand_over(org)) and await leases.take(org):
                return True
            self._pass_gate()
            return False
        return True

    async def commit(self, seen: Observation, began: float | None = None) -> Sequence[Change]:
        """Decide on an observation and commit the changes: the oldest jobs first, a bounded number at a time.

        `began` is the monotonic time of `seen.at`, which may be minutes ago. A change of the wall clock in between is
        detected by it.
        """
        began = self.clock.monotonic() if began is None else began
        changes = []
        async with self.state.committing, self.accounts.turn(self.source.org):
            seen = await self._without_shared(seen)
            seen = replace(seen, shift=self.state.jump(seen.at, began))
            refused: dict[str, Unstorable] = {}
            for part in slices(seen):
                committed = await self._commit_part(part, refused)
                changes += committed if part is seen else [change.outline() for change in committed]
            self.state.committed(seen, began)
        self._note(seen.trouble, listed=seen.listed)
        self._refused(seen, refused)
        return changes

    async def _without_shared(self, seen: Observation) -> Observation:
        """The observation without jobs that already belong to another organisation of the same account."""
        if not seen.jobs or seen.account is None:
            return seen
        known = await self.store.known(self.source.org)
        fresh = {id_ for id_ in seen.ids if not known.has(id_)}
        if not fresh:
            return seen
        await self.accounts.known(self.source.org)
        holders = await self.store.holders(self.accounts.others(self.source.org), fresh - self.state.elsewhere.keys())
        for other in sorted(set(holders.values()) - set(self.state.elsewhere.values())):
            jobs = sum(holder == other for holder in holders.values())
            log.warning("org.sees_jobs_of_another", org=self.source.org, other=other, jobs=jobs)
        self.state.elsewhere |= holders
        return seen.without(self.state.elsewhere.keys()) if self.state.elsewhere else seen

    async def _commit_part(self, part: Observation, refused: dict[str, Unstorable]) -> list[Change]:
        """Decide on a part and commit it; if the store refuses a job, commit job by job, so that the others are stored.

        Jobs that cannot be stored are added to `refused`.
        """
        known = await self.store.known(self.source.org)
        curves = await self._curves(list(_ended(part, known)))
        usual = await self._usual(part, known)
        part = replace(part, disputed=await self._disputed(part, known), curves=curves, usual=usual)
        change = await self._decide(known, part)
        try:
            return [await self._commit_change(change, part, known)]
        except Unstorable:
            return [single async for single in self._commit_singles(singles(part, change), refused)]

    async def _commit_singles(
        self, parts: Iterable[tuple[str | None, Observation]], refused: dict[str, Unstorable]
    ) -> AsyncIterator[Change]:
        for id_, part in parts:
            known = await self.store.known(self.source.org)
            try:
                yield await self._commit_change(decide(known, part, self.policy), part, known)
            except Unstorable as error:
                if id_ is None:
                    raise
                cut_traceback(error)
                refused[id_] = error

    async def _commit_change(self, change: Change, seen: Observation, known: Known) -> Change:
        if not change.empty:
            hinted = self.state.hinted  # read before the commit, which removes the hints of ended jobs
            await self.store.commit(change)
            self.state.changed(known, change)
            if known.moved(self.policy.place, seen):
                log.warning("org.lists_other_jobs", org=known.org, before=known.place, now=self.policy.place)
            report(change, now=self.clock.now(), process=self.process, unknown_statuses=self.state.unknown_statuses)
            for by in self.state.first_seen(new_ends(change), hinted):
                self.process.first_seen(change.org, by)
        self.state.judged(seen, known, change)
        return change

    def _refused(self, seen: Observation, refused: Mapping[str, Unstorable]) -> None:
        """Count, and log once, the jobs that cannot be stored. Raises Unstorable if no listed job could be stored."""
        org, judged = self.source.org, set(seen.ids) | seen.missing
        for id_ in refused.keys() - self.state.unstorable:
            log.error("job.unstorable", org=org, job=id_, error=str(refused[id_]))
        for id_ in (self.state.unstorable & judged) - refused.keys():
            log.info("job.storable_again", org=org, job=id_)
        self.state.unstorable = (self.state.unstorable - judged) | refused.keys()
        if refused:
            self.process.skipped(org, "unstorable", len(refused))
        if seen.listed and refused and judged <= refused.keys():
            raise next(iter(refused.values()))

    async def _curves(self, ended: Sequence[str]) -> Mapping[str, Sequence[JobEvent]]:
        """The metrics events of jobs that have just ended, with their checkpoints if an earlier step may be better.

        The checkpoints are requested, because events name them only some seconds after the end, which is too late for
        the notification.
        """
        curves = dict(await self.store.curves(self.source.org, ended))
        with anyio.move_on_after(_CHECKPOINTS):
            for id_ in [id_ for id_ in ended if wants_checkpoints(curves.get(id_, ()))]:
                try:
                    checkpoints = await self.source.checkpoints(id_)
                except SourceError as error:
                    log.info("checkpoints.not_read", org=self.source.org, job=id_, error=str(error))
                    cut_traceback(error)
                    break
                events = (_as_event(self.source.org, id_, checkpoint) for checkpoint in checkpoints)
                curves[id_] = [*curves[id_], *events]
        return curves

    async def _usual(self, seen: Observation, known: Known) -> Mapping[str, Usual]:
        """How long recent jobs took, by the models of active fine-tuning jobs whose events were read."""
        now, jobs = self.clock.monotonic(), (known.jobs.get(read.job) for read in seen.reads)
        models = {was.job.model for was in jobs if was is not None and was.active and was.job.batch is None}
        cached = {model: (expiry, usual) for model, (expiry, usual) in self.state.usual.items() if expiry > now}
        if missing := models - cached.keys():
            stored = await self.store.usual(self.source.org, missing)
            cached |= {model: (now + _USUAL, usual) for model, usual in stored.items()}
        self.state.usual = cached
        return {model: cached[model][1] for model in models}

    async def _disputed(self, seen: Observation, known: Known) -> Mapping[str, Tracked]:
        """The stored state of ended jobs that the provider now lists with another status."""
        ids = frozenset(self.state.disputed(seen, known))
        self.state.doubted |= ids
        return await self.store.stored(self.source.org, ids)

    async def _decide(self, known: Known, seen: Observation) -> Change:
        """The change; for many jobs it is computed in a thread, since each takes 50 µs."""
        if len(seen.jobs) <= _DECIDED_ON_LOOP:
            return decide(known, seen, self.policy)
        return await anyio.to_thread.run_sync(decide, known, seen, self.policy)

    async def _poll(self) -> None:
        started = self.clock.monotonic()
        with self._noting_trouble():
            try:
                if await self.poll_once(self.clock.now()) is not None:
                    self._succeeded()
            except SourceError:
                self.state.up = False
                raise
            except (Unstorable, StoreUnavailable):
                self.state.up = False  # an organisation whose jobs cannot be stored is not watched
                raise
        self.process.polled(self.source.org, self.clock.monotonic() - started)
        self._pass_gate()

    def _pass_gate(self) -> None:
        """Let others be polled again: this organisation has had its first poll."""
        self.gate.passed((self.source.org,))

    async def _read_streams(self) -> bool:
        """Read a few event streams that are due. Returns whether there were any."""
        started = self.reader_clock.monotonic()
        jobs = list(self._batch(self.state.next_streams(started, _STREAMS)))
        if not jobs:
            return False
        # The next reads are planned before these ones are made, so that a poll in between can plan earlier ones, as for
        # the last read of an ended job. Failed reads wait as well: the interval is that of attempts.
        reads = turn_of(self.number, self.count, together=_READ_TOGETHER)
        self.state.tried(jobs, started, interval=self.events_interval, turn=reads)
        long = any(self._weight(job_id) == _LONG_STREAM for job_id in jobs)
        async with self.long_reads.turn(self.reader_clock) if long else nullcontext() as held:
            with self._noting_trouble():
                await self.read_events_once(self.clock.now(), jobs, held)
        await self._plan()
        return True

    def _batch(self, due: Sequence[str]) -> Iterator[str]:
        """The first of these streams, as many as are read in one step."""
        room = _STREAMS
        for id_ in due:
            room -= self._weight(id_)
            if room < 0:
                return
            yield id_

    def _weight(self, job_id: str) -> int:
        """How much of a step a stream takes: 1 if little of it is to be read, more if all of it may have to be."""
        known = self.state.planned
        was = standing(known.jobs, job_id) if known is not None else None
        if was is None or not self.source.has_read(job_id):
            return _LONG_STREAM
        return min(1 + was.known_events // _SHORT_STREAM, _LONG_STREAM) if was.status.final else 1

    async def _read_file(self) -> bool:
        """Read a training file that is due. Returns whether there was any."""
        changes = None
        with self._noting_trouble():
            changes = await self.read_file_once()
        return changes is not None

    @contextmanager
    def _noting_trouble(self) -> Iterator[None]:
        """Note what fails inside, for the pace of polls and for the operator."""
        try:
            yield
        except SourceError as error:
            self._note(error.trouble, listed=False)
            cut_traceback(error)
        except (Stale, Unstorable) as error:  # another replica has committed, or a value cannot be stored
            self._note(Trouble(reason=Reason.MALFORMED, text=str(error)), listed=False)
            cut_traceback(error)
        except StoreUnavailable as error:
            self.state.store.failed(error, org=self.source.org)

    def _must_pause(self) -> bool:
        """Whether the reader makes no requests, because polls fail or the provider has asked for a pause."""
        return self.state.up is False or self.state.paused or self.state.store.failing

    def _reader_wait(self) -> float:
        """Seconds until there may be something to read."""
        now = self.reader_clock.monotonic()
        if self._must_pause():
            return max(self.state.not_before - now, _DOWN_CHECK)
        due = min(self.state.streams_due.values(), default=now + _IDLE)
        return min(max(due - now, 0.0), _IDLE)

    def _seconds_until(self, due: float) -> float:
        """Seconds until the next poll: when it is due, but not before the provider accepts another request."""
        return max(max(due, self.state.not_before) - self.clock.monotonic(), 0.0)

    async def _record(self, next_poll: datetime) -> None:
        """Store the watch state, which every replica shows: when it changes, otherwise every 90 seconds.

        Only the holder of the lease may do that.
        """
        state, org, monotonic = self.state, self.source.org, self.clock.monotonic()
        if state.up is None or self.store.leases.term(org) is None:
            return
        current = state.up, state.trouble.reason if state.trouble is not None else None
        recorded, at, due = state.recorded or (None, monotonic, next_poll)
        # The clock may have been set since: readers would take a poll as overdue that is not.
        if recorded == current and max(monotonic - at, abs(next_poll - due).total_seconds()) < _RECORD_EVERY:
            return
        state.recorded = None
        with suppress(Stale, StoreUnavailable, Unstorable):  # the next poll tries again, and reports what is wrong
            await self.store.record(
                WatchState(
                    org=org,
                    up=state.up,
                    since=self.clock.now(),
                    owner=self.store.leases.owner,
                    trouble=state.trouble,
                    last_success=state.last_success,
                    next_poll=next_poll,
                )
            )
            state.recorded = current, monotonic, next_poll

    async def _plan(self) -> bool:
        """Plan reads of event streams. Returns whether there is a job that is not finalized."""
        if self.store.leases.term(self.source.org) is None:
            self.state.streams_due.clear()
            self.state.planned = None
            return False
        try:
            known = await self._watched()
        except StoreUnavailable:
            return bool(self.state.streams_due)
        if known is not self.state.planned:
            self.state.follow(
                known.jobs, interval=self.events_interval, now=self.clock.now(), monotonic=self.clock.monotonic()
            )
            self.state.planned = known
            self.state.work()
        return bool(self.state.streams_due)

    def _next(self, started: float, *, active: bool) -> float:
        """When the next poll is due, in monotonic seconds."""
        if self.state.store.failing:
            return started + min(_STORE_RETRY, self.pace.interval)
        trouble = self.state.trouble if self.state.paused or not self.state.up else None
        pace = relaxed(self.pace, self.state.pushed)
        if trouble is None:
            delay = next_delay(pace, active=active, failures=0, trouble=None, jitter=0.0)
            after = self.state.handover_from = slot(started + delay, delay)
            if self.state.in_turn or not self.gate.is_open:
                return after
            self.state.in_turn = True
            polls = turn_of(self.number, self.count, together=_POLLED_TOGETHER)
            return max(next_turn(started, delay, polls), self.clock.monotonic())
        failures = self.state.failures
        return started + next_delay(pace, active=active, failures=failures, trouble=trouble, jitter=self.jitter())

    def _succeeded(self) -> None:
        if self.state.up is False:
            log.info("org.recovered", org=self.source.org, failures=self.state.failures)
        self.state.store.worked(org=self.source.org)
        self.state.up = True
        self.state.last_success = self.clock.now()
        if not self.state.paused:
            self.state.failures = 0

    def _note(self, trouble: Trouble | None, *, listed: bool) -> None:
        """Note and count a failure, and log it if its reason is new. After a complete list, the trouble is over."""
        if trouble is None:
            if listed:
                self.state.trouble = None
            return
        was = self.state.trouble
        self.state.trouble = trouble
        self.state.failures += 1
        self.state.not_before = self.clock.monotonic() + (trouble.retry_after or 0.0)
        self.process.poll_failed(self.source.org, trouble.reason)
        if was is None or was.reason is not trouble.reason:
            wait = trouble.retry_after
            log.warning("poll.failed", org=self.source.org, reason=trouble.reason, error=trouble.text, retry_after=wait)


def _ended(seen: Observation, known: Known) -> Iterator[str]:
    """The jobs that have succeeded since the last poll."""
    for job in seen.jobs:
        if job.status is Status.SUCCEEDED:
            was = standing(known.jobs, job.id)
            if was is not None and not was.status.final:
                yield job.id


def _as_event(org: str, job: str, checkpoint: Checkpoint) -> JobEvent:
    """A checkpoint in the form of the event that will report it."""
    return JobEvent(
        org=org,
        job=job,
        id=f"checkpoint-{checkpoint.step}",
        at=None,
        level="info",
        message="",
        kind=EventKind.CHECKPOINT,
        checkpoint=checkpoint,
    )
