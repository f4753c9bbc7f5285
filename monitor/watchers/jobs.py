"""Watches the fine-tuning jobs of one organisation: look, decide, commit, wait."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import anyio
import anyio.to_thread

from monitor.clock import Clock
from monitor.domain.decide import Policy, decide
from monitor.domain.flow import Change, Known, Observation, Reason, Trouble
from monitor.domain.pace import Pace, next_delay
from monitor.log import get_logger
from monitor.metrics.health import OrgHealth
from monitor.metrics.process import ProcessMetrics
from monitor.providers.base import AuthFailed, NotEligible, RateLimited, SourceError
from monitor.source import Source, training_size
from monitor.store import JobStore, Stale, Unavailable, Unstorable
from monitor.watchers.report import report
from monitor.watchers.rounds import Rounds
from monitor.watchers.sizes import Reading, Sizes, wanted

log = get_logger()

LEASE: Final = timedelta(minutes=3)  # a look is over long before: its deadline is a third of this
_BATCH: Final = 4  # event streams read in one step
_FILES: Final = 4  # training files read between two polls
_MANY: Final = 500  # jobs
_STORE_RETRY: Final = 5.0
_PAUSES: Final = frozenset({Reason.AUTH, Reason.NOT_ELIGIBLE, Reason.RATE_LIMITED})


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
    health: OrgHealth
    own: ProcessMetrics
    owner: str
    jitter: Callable[[], float]
    rounds: Rounds = field(default_factory=Rounds)
    sizes: Sizes = field(default_factory=Sizes)

    async def run(self, first: float = 0.0) -> None:
        """Poll for ever, `first` seconds from now on; between the polls, read training files and event streams."""
        await self.clock.sleep(first)
        while True:
            started = self.clock.monotonic()
            await self._poll()
            due = started + self._delay(await self._active())
            with anyio.move_on_after(self._until(due) / 2):
                await self._measure()
            with anyio.move_on_after(self._until(due)):
                await self._listen()
            await self.clock.sleep(self._until(due))

    async def poll_once(self, now: datetime) -> Change | None:
        """One step: look at the list and at what changed. None when another replica holds the lease.

        Raises SourceError when nothing was seen, StoreError when nothing was stored.
        """
        known = await self._known()
        return await self._commit(known, await self.source.observe(known, now)) if known is not None else None

    async def tail_once(self, now: datetime, jobs: Sequence[str]) -> Change | None:
        """One step: look at the event streams of these jobs alone. None when another replica holds the lease."""
        known = await self._known()
        return await self._commit(known, await self.source.tail(known, jobs, now)) if known is not None else None

    async def size_once(self) -> Change | None:
        """One step: read one training file for the estimate of its jobs. None when none was to be had."""
        known = await self._known()
        if known is None:
            return None
        lacking = wanted(known, self.policy.prices.training)
        if not self.sizes.known(lacking):
            reading = self.sizes.due(lacking, self.clock.monotonic())
            if reading is None or not await self._read(reading):
                return None
        sizes = self.sizes.known(lacking)
        return await self._commit(known, Observation(org=known.org, at=self.clock.now(), listed=False, sizes=sizes))

    async def _read(self, reading: Reading) -> bool:
        """Whether the file could be read. A refusal is no trouble: the jobs can still be watched."""
        self.sizes.trying(reading, self.clock.monotonic())
        file, model = reading
        try:
            self.sizes.learn(reading, await training_size(self.source, file, model))
        except SourceError as error:
            if isinstance(error, (AuthFailed, NotEligible, RateLimited)):
                self.sizes.refused(self.clock.monotonic())
            log.info("file.not_read", org=self.source.org, file=file, error=str(error))
            _let_go(error)
            return False
        return True

    async def _known(self) -> Known | None:
        """What we know, if it is ours to look."""
        org = self.source.org
        return await self.store.known(org) if await self.store.leases.take(org, self.owner, LEASE) else None

    async def _commit(self, known: Known, seen: Observation) -> Change:
        monotonic = self.clock.monotonic()
        change = await self._decide(known, replace(seen, shift=self.rounds.jump(seen.at, monotonic)))
        if not change.empty:
            await self.store.commit(change)
            report(change, now=self.clock.now(), own=self.own, strange=self.rounds.strange)
        self.rounds.looked(seen.at, monotonic)
        self.rounds.heard([read.job for read in seen.reads], monotonic + self.events_interval)
        self._note(seen.trouble, listed=seen.listed)
        return change

    async def _decide(self, known: Known, seen: Observation) -> Change:
        """Where there is much to decide, in a thread: it takes 50 µs for each job."""
        if len(seen.jobs) <= _MANY:
            return decide(known, seen, self.policy)
        return await anyio.to_thread.run_sync(decide, known, seen, self.policy)

    async def _poll(self) -> None:
        started = self.clock.monotonic()
        try:
            change = await self.poll_once(self.clock.now())
        except SourceError as error:
            self._note(error.trouble, listed=False)
            self.health.up = False
            _let_go(error)
        except (Stale, Unstorable) as error:  # another replica was first; or a value that no database takes
            self._note(Trouble(reason=Reason.MALFORMED, text=str(error)), listed=False)
        except Unavailable as error:
            self._store_trouble(error)
        else:
            if change is not None:
                self._succeeded()
        self.health.tried = True
        self.own.polled(self.source.org, self.clock.monotonic() - started)

    async def _measure(self) -> None:
        """Read a few training files, so that active jobs have an estimate; not where the list itself fails."""
        for _ in range(_FILES):
            if self.health.up is False or self._paused():
                return
            try:
                if await self.size_once() is None:
                    return
            except (Stale, Unstorable) as error:
                self._note(Trouble(reason=Reason.MALFORMED, text=str(error)), listed=False)
            except Unavailable as error:
                self._store_trouble(error)
                return

    async def _listen(self) -> None:
        """Read the event streams that are due, a few at a time, until none is; not where the list itself fails."""
        while (
            self.health.up is not False
            and not self._paused()
            and (jobs := self.rounds.silent(self.clock.monotonic(), _BATCH))
        ):
            self.rounds.heard(jobs, self.clock.monotonic() + self.events_interval)
            try:
                await self.tail_once(self.clock.now(), jobs)
            except SourceError as error:
                self._note(error.trouble, listed=False)
                _let_go(error)
            except (Stale, Unstorable) as error:
                self._note(Trouble(reason=Reason.MALFORMED, text=str(error)), listed=False)
            except Unavailable as error:
                self._store_trouble(error)
                return

    def _until(self, due: float) -> float:
        """Seconds to the next poll: when it is due, but not before the provider wants to hear of us again."""
        wait = max(due, self.rounds.not_before) - self.clock.monotonic()
        self.health.next_poll_at = self.clock.now() + timedelta(seconds=max(wait, 0.0))
        return max(wait, 0.0)

    async def _active(self) -> bool:
        """Whether there is a job to follow. Plans the reading of their event streams."""
        try:
            known = await self.store.known(self.source.org)
        except Unavailable as error:
            self._store_trouble(error)
            return bool(self.rounds.events_due)
        active = [job for job, tracked in known.jobs.items() if tracked.active]
        self.rounds.follow(active, self.clock.monotonic())
        unsettled = any(not tracked.finalized and tracked.job.status.final for tracked in known.jobs.values())
        return bool(active) or unsettled

    def _delay(self, active: bool) -> float:
        if self.rounds.store_failed:
            return min(_STORE_RETRY, self.pace.interval)
        trouble = self.rounds.trouble if self._paused() or not self.health.up else None
        return next_delay(
            self.pace, active=active, failures=self.rounds.failures, trouble=trouble, jitter=self.jitter()
        )

    def _paused(self) -> bool:
        """Whether the provider told us to leave it alone for a while."""
        return self.rounds.trouble is not None and self.rounds.trouble.reason in _PAUSES

    def _succeeded(self) -> None:
        if self.health.up is False:
            log.info("org.recovered", org=self.source.org, failures=self.rounds.failures)
        if self.rounds.store_failed:
            log.info("store.recovered", org=self.source.org)
        self.rounds.store_failed = False
        self.health.up = True
        self.health.last_success = self.clock.now()
        if not self._paused():
            self.rounds.failures = 0

    def _note(self, trouble: Trouble | None, *, listed: bool) -> None:
        """Remember what went wrong, count it, and log it when it is something new."""
        if trouble is None:
            if listed:
                self.rounds.trouble = self.health.trouble = None
            return
        was = self.rounds.trouble
        self.rounds.trouble = self.health.trouble = trouble
        self.rounds.failures += 1
        self.rounds.not_before = self.clock.monotonic() + (trouble.retry_after or 0.0)
        self.own.poll_failed(self.source.org, trouble.reason)
        if was is None or was.reason is not trouble.reason:
            wait = trouble.retry_after
            log.warning("poll.failed", org=self.source.org, reason=trouble.reason, error=trouble.text, retry_after=wait)

    def _store_trouble(self, error: Unavailable) -> None:
        if not self.rounds.store_failed:
            log.error("store.failed", org=self.source.org, error=str(error))
        self.rounds.store_failed = True


def _let_go(error: BaseException | None) -> None:
    """Free what the frames of a failure hold: whole answers, which else stay until the next collection of garbage."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
