"""Polls organisations at once when a webhook reports the end of a job.

A webhook is never trusted, only taken as a hint. The poll sees the end like any other, so that it is announced once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from monitor.clock import Clock
from monitor.log import get_logger
from monitor.store import HintStore, StoreUnavailable
from monitor.watchers.state import PollState
from monitor.watchers.store_trouble import StoreTrouble

log = get_logger()

_GAP: Final = 0.3  # seconds between two polls, if webhooks arrive in quick succession
_GATHER: Final = 0.05  # seconds from a webhook to the check, so that those that arrive together share one
_IDLE: Final = 60.0  # seconds until the next check without any webhook
_LONGEST: Final = 30.0  # seconds: the longest wait between two polls for the same jobs
_STORE_RETRY: Final = 5.0  # seconds
_PRUNE_EVERY: Final = 3600.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingHint:
    """The next poll of one organisation for the jobs that webhooks hint at. Times are monotonic seconds."""

    jobs: frozenset[str]
    due: float
    tries: int = 0
    """Number of polls for these jobs: a provider may list an end later than its webhook reports it."""
    polled: float = -math.inf
    """The time of the latest of these polls."""

    def joined(self, jobs: frozenset[str], monotonic: float) -> PendingHint:
        """The same for the jobs that are hinted at now. A new job makes it due at once, at least _GAP after a poll."""
        if jobs <= self.jobs:
            return replace(self, jobs=jobs)
        return replace(self, jobs=jobs, tries=0, due=max(monotonic, self.polled + _GAP))

    def tried(self, monotonic: float) -> PendingHint:
        """The same after a poll, with exponential backoff."""
        wait = min(2.0**self.tries, _LONGEST)
        return replace(self, tries=self.tries + 1, due=monotonic + wait, polled=monotonic)


@dataclass(slots=True, kw_only=True)
class HintWatcher:
    """Triggers polls of the organisations for which a webhook has arrived."""

    store: HintStore
    polls: Mapping[str, PollState]
    """The poll state by organisation."""
    clock: Clock
    _pending: dict[str, PendingHint] = field(default_factory=dict)
    _pruned: float | None = None
    """When old hints were last deleted, in monotonic seconds."""

    async def run(self) -> None:
        """Check for webhooks for ever, whenever one arrives."""
        store = StoreTrouble()
        while True:
            try:
                wait = await self.step(self.clock.now())
            except StoreUnavailable as error:
                store.failed(error, watcher="hints")
                wait = _STORE_RETRY
            else:
                store.worked(watcher="hints")
            await self.store.arrived.wait(self.clock, wait)
            await self.clock.sleep(_GATHER)

    async def step(self, now: datetime) -> float:
        """Trigger the polls that are due. Returns the seconds until the next one is. Raises StoreError."""
        found = await self.store.open(now)
        monotonic = self.clock.monotonic()
        waiting = {}
        for org, state in self.polls.items():
            state.hinted = found.get(org, frozenset())
            if state.hinted:
                waiting[org] = self._poll_soon(org, state, monotonic)
        self._pending = waiting
        if self._pruned is None or monotonic - self._pruned > _PRUNE_EVERY:
            await self.store.prune(now)
            self._pruned = monotonic
        return max(min((one.due for one in waiting.values()), default=monotonic + _IDLE) - monotonic, 0.0)

    def _poll_soon(self, org: str, state: PollState, monotonic: float) -> PendingHint:
        was = self._pending.get(org)
        fresh = PendingHint(jobs=state.hinted, due=monotonic)
        pending = was.joined(state.hinted, monotonic) if was is not None else fresh
        if pending.due > monotonic:
            return pending
        if state.paused or monotonic < state.not_before:  # a pause that the provider asked for applies to hints, too
            return replace(pending, due=max(state.not_before, monotonic + 1.0))
        state.poll()
        return pending.tried(monotonic)
