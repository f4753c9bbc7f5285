"""Watches the fine-tuning jobs of one organisation: poll, decide, commit, wait; and beside it, read what takes longer.

The list is committed as soon as it is read, so that no end waits for the event streams of others. Streams and training
files are read by a second loop, which never holds up a poll.
"""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import anyio
import anyio.to_thread

from monitor.clock import Clock
from monitor.domain.decide import Policy, decide, singles, slices, wants_checkpoints
from monitor.domain.flow import Change, Known, Observation, Reason, Tracked, Trouble
from monitor.domain.model import Checkpoint, EventKind, JobEvent, Status
from monitor.domain.pace import Pace, next_delay, relaxed, slot
from monitor.domain.snapshot import WatchState
from monitor.domain.stall import Usual
from monitor.log import get_logger
from monitor.metrics.process import ProcessMetrics
from monitor.providers.base import AuthFailed, NotEligible, ProviderUnavailable, RateLimited, SourceError
from monitor.source import Source, training_size
from monitor.store import JobStore, Stale, StoreUnavailable, Unstorable
from monitor.watchers.accounts import Accounts
from monitor.watchers.long_reads import LongReads
from monitor.watchers.report import new_ends, report
from monitor.watchers.sizes import Reading, Sizes, wanted
from monitor.watchers.state import PollState, StartGate

log = get_logger()

_RECORD_EVERY: Final = 90.0  # seconds between two lines in the store that say the same of how watching goes
_BATCH: Final = 24  # event streams read in one step; one that is read to its beginning counts for some
_WHOLE: Final = 12
_MANY: Final = 100  # jobs that are decided on the event loop; more, in a thread
_STORE_RETRY: Final = 5.0
_IDLE: Final = 60.0  # seconds between two looks for something to read, where nothing is planned
_CHECKPOINTS: Final = 5.0  # seconds for which an end waits for the names of checkpoints
_USUAL: Final = 600.0  # seconds for which it is known how long jobs take
_BREATH: Final = 1.0  # seconds until an organisation that is down is checked again


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWatcher:
    """One organisation's jobs. Several organisations are several of these, and none waits for another."""

    source: Source
    store: JobStore
    policy: Policy
    pace: Pace
    events_interval: float
    """Seconds between two readings of an active job's event stream."""
    clock: Clock
    """Of the polls; see `reader_clock`."""
    reader_clock: Clock
    """Of the loop that reads streams and files, so that each loop is seen to come round."""
    process: ProcessMetrics
    jitter: Callable[[], float]
    gate: StartGate | None = None
    long_reads: LongReads = field(default_factory=LongReads)
    """Shared by all organisations."""
    accounts: Accounts = field(default_factory=Accounts)
    """What is known of the keys of all organisations."""
    state: PollState = field(default_factory=PollState)
    sizes: Sizes = field(default_factory=Sizes)

    async def run(self, first: float = 0.0) -> None:
        """Poll for ever, `first` seconds from now on."""
        due = self.clock.monotonic() + first
        await self.clock.sleep(first)
        while True:
            while (pause := self.state.not_before - self.clock.monotonic()) > 0:  # the reader may have met a limit
                await self.clock.sleep(pause)
            if not await self._ours():
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
            wait = self._until(due)
            await self._record(self.clock.now() + timedelta(seconds=wait))
            await self.state.poll.wait(self.clock, wait)
            if self.gate is not None:  # whoever was not polled yet goes first, but a server that hangs holds up nobody
                await self.gate.wait(self.clock, self.pace.interval)

    async def read(self) -> None:
        """Read event streams and training files for ever, as they fall due: in turn, so that neither starves."""
        if self.gate is not None:
            await self.gate.wait(self.reader_clock)
        while True:
            if self._down():
                await self.reader_clock.sleep(self._rest())
                continue
            streams = await self._read_streams()
            file = not self._down() and await self._read_file()
            if not streams and not file:
                await self.state.work.wait(self.reader_clock, self._rest())

    async def poll_once(self, now: datetime) -> Sequence[Change] | None:
        """One step: read the list and commit it, in slices. None when another replica holds the lease.

        Raises SourceError when nothing was seen, StoreError when nothing was stored.
        """
        began = self.clock.monotonic()
        known = await self._known()
        if known is None:
            self.accounts.asked(self.source.org)
            return None
        recheck = self.state.recheck(known.jobs, began)
        settled = not recheck and self.state.agreed == (known.version, self.source.reading)
        seen = None
        try:
            seen = await self.source.observe(known, now, recheck | self.state.doubted, settled=settled)
        finally:
            self.accounts.asked(self.source.org, seen.account if seen is not None else None)
        changes: Sequence[Change] = ()
        if seen.quiet and not known.first_sight and not self.state.jump(now, began):
            self.state.committed(seen, began)
            self._note(None, listed=True)
        else:
            changes = await self.commit(replace(seen, settled_until=self.state.settled_until), began)
        if not (settled and seen.quiet):
            self.state.agree(seen, changes, await self.store.known(self.source.org), self.source.reading)
        return changes

    async def read_events_once(self, now: datetime, jobs: Sequence[str]) -> Sequence[Change] | None:
        """One step: read the event streams of these jobs. None when another replica holds the lease."""
        began = self.clock.monotonic()
        known = await self._known()
        if known is None:
            return None
        seen = await self.source.tail(known, jobs, now)
        self.state.tried(seen.unread, self.reader_clock.monotonic())  # they are due as before
        return await self.commit(seen, began)

    async def read_file_once(self) -> Sequence[Change] | None:
        """One step: read one training file for the estimate of its jobs. None when none is wanted now."""
        known = await self._known()
        if known is None:
            return None
        lacking = wanted(known, self.policy.prices.training)
        if not self.sizes.known(lacking):
            reading = self.sizes.due(lacking, self.reader_clock.monotonic())
            if reading is None:
                return None
            if not await self._measure(reading):
                return ()  # it is tried again later; the next file may be read now
        sizes = self.sizes.known(lacking)
        return await self.commit(Observation(org=known.org, at=self.clock.now(), listed=False, sizes=sizes))

    async def _measure(self, reading: Reading) -> bool:
        """Whether the file could be read. A refusal is no trouble: the jobs can still be watched."""
        file, model = reading
        try:
            self.sizes.keep(reading, await training_size(self.source, file, model))
        except SourceError as error:
            failed = isinstance(error, (ProviderUnavailable, RateLimited))
            self.sizes.failed(reading, self.reader_clock.monotonic(), refused=not failed)
            if isinstance(error, (AuthFailed, NotEligible, RateLimited)):
                self.sizes.refused(self.reader_clock.monotonic())
            log.info("file.not_read", org=self.source.org, file=file, error=str(error))
            _release_frames(error)
            return False
        return True

    async def _known(self) -> Known | None:
        """What we know, if it is ours to poll."""
        return await self._watched() if await self.store.leases.take(self.source.org) else None

    async def _watched(self) -> Known:
        """What we know of the kinds that are watched."""
        known, kinds = await self.store.known(self.source.org), self.source.kinds
        of, wanted, found = self.state.watched or (None, kinds, known)
        if of is not known or wanted != kinds:
            found = known.of(kinds)
            self.state.watched = known, kinds, found
        return found

    async def _ours(self) -> bool:
        """Whether this replica polls it now; where it has too many organisations, another one does in its place."""
        leases, org = self.store.leases, self.source.org
        with suppress(StoreUnavailable):  # the poll meets it again, and says so
            if not await leases.hand_over(org) and await leases.take(org):
                return True
            self._passed()
            return False
        return True

    async def commit(self, seen: Observation, began: float | None = None) -> Sequence[Change]:
        """Decide on what was seen, and commit that: the oldest jobs first, a bounded number at a time.

        `began` is the monotonic time of `seen.at`, which may be minutes ago: only so a clock that was set is detected.
        """
        began = self.clock.monotonic() if began is None else began
        changes = []
        async with self.state.committing, self.accounts.turn(self.source.org):
            seen = await self._without_theirs(seen)
            seen = replace(seen, shift=self.state.jump(seen.at, began))
            refused: dict[str, Unstorable] = {}
            for part in slices(seen):
                done = await self._commit_part(part, refused)
                changes += done if part is seen else [one.outline() for one in done]
            self.state.committed(seen, began)
        self._note(seen.trouble, listed=seen.listed)
        self._refused(seen, refused)
        return changes

    async def _without_theirs(self, seen: Observation) -> Observation:
        """Without the jobs that another organisation of the same account has already: two keys may see the same."""
        if not seen.jobs or seen.account is None:
            return seen
        known = await self.store.known(self.source.org)
        fresh = {id_ for id_ in seen.ids if id_ not in known.jobs and id_ not in known.final}
        if not fresh:
            return seen
        await self.accounts.known(self.source.org)
        found = await self.store.holders(self.accounts.others(self.source.org), fresh - self.state.elsewhere.keys())
        for other in sorted(set(found.values()) - set(self.state.elsewhere.values())):
            jobs = sum(holder == other for holder in found.values())
            log.warning("org.sees_jobs_of_another", org=self.source.org, other=other, jobs=jobs)
        self.state.elsewhere |= found
        return seen.without(self.state.elsewhere.keys()) if self.state.elsewhere else seen

    async def _commit_part(self, part: Observation, refused: dict[str, Unstorable]) -> list[Change]:
        """Decide on a part and commit it: job by job where the store refuses one, so that it keeps no other back.

        `refused` learns the jobs that cannot be stored.
        """
        known = await self.store.known(self.source.org)
        curves = await self._curves(list(_ended(part, known)))
        usual = await self._usual(part, known)
        part = replace(part, disputed=await self._disputed(part, known), curves=curves, usual=usual)
        change = await self._decide(known, part)
        try:
            return [await self._commit_change(change, part, known)]
        except Unstorable:
            return [one async for one in self._commit_singles(singles(part, change), refused)]

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
                refused[id_] = error

    async def _commit_change(self, change: Change, seen: Observation, known: Known) -> Change:
        if not change.empty:
            hinted = self.state.hinted  # of before the commit, which closes them
            await self.store.commit(change)
            self.state.changed(known, change)
            report(change, now=self.clock.now(), process=self.process, unknown_statuses=self.state.unknown_statuses)
            for by in self.state.first_seen(new_ends(change), hinted):
                self.process.first_seen(change.org, by)
        self.state.judged(seen, known, change)
        return change

    def _refused(self, seen: Observation, refused: Mapping[str, Unstorable]) -> None:
        """Count, and log once, the jobs that cannot be stored. Raises Unstorable where the list held no other."""
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
        """What was measured of jobs that have just ended; with their checkpoints, where one of them may be preferred.

        Events name checkpoints some seconds after the end only, which is too late for the notification of it.
        """
        curves = dict(await self.store.curves(self.source.org, ended))
        with anyio.move_on_after(_CHECKPOINTS):
            for id_ in [id_ for id_ in ended if wants_checkpoints(curves.get(id_, ()))]:
                try:
                    kept = await self.source.checkpoints(id_)
                except SourceError as error:
                    log.info("checkpoints.not_read", org=self.source.org, job=id_, error=str(error))
                    _release_frames(error)
                    break
                curves[id_] = [*curves[id_], *(_as_event(self.source.org, id_, one) for one in kept)]
        return curves

    async def _usual(self, seen: Observation, known: Known) -> Mapping[str, Usual]:
        """How long the last jobs took, by the models of active fine-tuning jobs whose events were read."""
        now, jobs = self.clock.monotonic(), (known.jobs.get(read.job) for read in seen.reads)
        models = {one.job.model for one in jobs if one is not None and one.active and one.job.batch is None}
        good = {model: found for model, found in self.state.usual.items() if found[0] > now}
        if old := models - good.keys():
            found = await self.store.usual(self.source.org, old)
            good |= {model: (now + _USUAL, usual) for model, usual in found.items()}
        self.state.usual = good
        return {model: good[model][1] for model in models}

    async def _disputed(self, seen: Observation, known: Known) -> Mapping[str, Tracked]:
        """What is stored of ended jobs that the provider says otherwise of now."""
        ids = frozenset(self.state.disputed(seen, known))
        self.state.doubted |= ids
        return await self.store.stored(self.source.org, ids)

    async def _decide(self, known: Known, seen: Observation) -> Change:
        """Where there is much to decide, in a thread: it takes 50 µs for each job."""
        if len(seen.jobs) <= _MANY:
            return decide(known, seen, self.policy)
        return await anyio.to_thread.run_sync(decide, known, seen, self.policy)

    async def _poll(self) -> None:
        started = self.clock.monotonic()
        with self._troubles():
            try:
                if await self.poll_once(self.clock.now()) is not None:
                    self._succeeded()
            except SourceError:
                self.state.up = False
                raise
            except (Unstorable, StoreUnavailable):
                self.state.up = False  # what is not stored is not watched
                raise
        self.process.polled(self.source.org, self.clock.monotonic() - started)
        self._passed()

    def _passed(self) -> None:
        if self.gate is not None:
            self.gate.passed((self.source.org,))

    async def _read_streams(self) -> bool:
        """Read a few event streams that are due; whether there were any."""
        started = self.reader_clock.monotonic()
        jobs = list(self._batch(self.state.next_streams(started, _BATCH)))
        if not jobs:
            return False
        # Before they are read: what a poll plans meanwhile, such as the last events of a job that ends, comes sooner.
        # Also what could not be read waits: the interval is how often it is tried.
        self.state.tried(jobs, slot(started + self.events_interval, self.events_interval))
        long = any(map(self._is_long, jobs))
        async with self.long_reads.turn(self.reader_clock) if long else nullcontext():
            with self._troubles():
                await self.read_events_once(self.clock.now(), jobs)
        await self._plan()
        return True

    def _batch(self, due: Sequence[str]) -> Iterator[str]:
        """The first of these streams, as many as are read in one step."""
        room = _BATCH
        for id_ in due:
            room -= _WHOLE if self._is_long(id_) else 1
            if room < 0:
                return
            yield id_

    def _is_long(self, job_id: str) -> bool:
        """Whether an event stream may have to be read to its beginning."""
        known = self.state.planned
        was = known.jobs.get(job_id) if known is not None else None
        return was is None or was.job.status.final or not self.source.has_read(job_id)

    async def _read_file(self) -> bool:
        """Read a training file that is due; whether there was any."""
        changes = None
        with self._troubles():
            changes = await self.read_file_once()
        return changes is not None

    @contextmanager
    def _troubles(self) -> Iterator[None]:
        """Remember what goes wrong, for the pace and for the operator."""
        try:
            yield
        except SourceError as error:
            self._note(error.trouble, listed=False)
            _release_frames(error)
        except (Stale, Unstorable) as error:  # another replica was first; or a value that no database takes
            self._note(Trouble(reason=Reason.MALFORMED, text=str(error)), listed=False)
        except StoreUnavailable as error:
            self.state.store.failed(error, org=self.source.org)

    def _down(self) -> bool:
        """Whether the organisation is left alone by the reader: its list fails, or it wants a pause."""
        return self.state.up is False or self.state.paused or self.state.store.failing

    def _rest(self) -> float:
        """Seconds until there may be something to read."""
        now = self.reader_clock.monotonic()
        if self._down():
            return max(self.state.not_before - now, _BREATH)
        due = min(self.state.streams_due.values(), default=now + _IDLE)
        return min(max(due - now, 0.0), _IDLE)

    def _until(self, due: float) -> float:
        """Seconds to the next poll: when it is due, but not before the provider wants another request."""
        return max(max(due, self.state.not_before) - self.clock.monotonic(), 0.0)

    async def _record(self, next_poll: datetime) -> None:
        """Keep how watching goes for all readers: when that changes, else now and then. Only its holder may."""
        state, org, monotonic = self.state, self.source.org, self.clock.monotonic()
        if state.up is None or self.store.leases.term(org) is None:
            return
        said = state.up, state.trouble.reason if state.trouble is not None else None
        known, at = state.recorded or (None, monotonic)
        if known == said and monotonic - at < _RECORD_EVERY:
            return
        state.recorded = None
        with suppress(Stale, StoreUnavailable, Unstorable):  # the next poll tries again, and says what is wrong
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
            state.recorded = said, monotonic

    async def _plan(self) -> bool:
        """Plan the reading of event streams; whether there is a job that is not finalized."""
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
        """When the poll after this one is due."""
        if self.state.store.failing:
            return started + min(_STORE_RETRY, self.pace.interval)
        trouble = self.state.trouble if self.state.paused or not self.state.up else None
        pace = relaxed(self.pace, self.state.pushed)
        if trouble is None:
            delay = next_delay(pace, active=active, failures=0, trouble=None, jitter=0.0)
            return slot(started + delay, delay)
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
        """Remember what went wrong, count it, and log it when it is something new."""
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
    """The jobs that have succeeded since they were seen last."""
    for job in seen.jobs:
        was = known.jobs.get(job.id)
        if job.status is Status.SUCCEEDED and was is not None and not was.job.status.final:
            yield job.id


def _as_event(org: str, job: str, checkpoint: Checkpoint) -> JobEvent:
    """A checkpoint as the events will tell of it."""
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


def _release_frames(error: BaseException | None) -> None:
    """Free what the frames of a failure hold: whole answers, which else stay until the next collection of garbage."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
