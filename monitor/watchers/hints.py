"""Has jobs read back that webhooks say are over: what a webhook says is never believed, only looked into.

The look is a poll, made at once. So an end goes the same way whatever has shown it, and is announced once.
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

_GAP: Final = 0.3  # seconds between two polls for webhooks that come one after the other
_IDLE: Final = 60.0
_LONGEST: Final = 30.0
_STORE_RETRY: Final = 5.0
_PRUNE_EVERY: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingHint:
    """One organisation's jobs that are to be read back, and when, in monotonic seconds."""

    jobs: frozenset[str]
    due: float
    tries: int = 0
    """Polls made for them; the provider may show an end later than it pushes it."""
    polled: float = -math.inf

    def joined(self, jobs: frozenset[str], monotonic: float) -> PendingHint:
        """With the jobs as they are now: a new one is looked for at once, whatever the others wait for."""
        if jobs <= self.jobs:
            return replace(self, jobs=jobs)
        return replace(self, jobs=jobs, tries=0, due=max(monotonic, self.polled + _GAP))

    def tried(self, monotonic: float) -> PendingHint:
        """After a poll: the next is due ever later."""
        wait = min(2.0**self.tries, _LONGEST)
        return replace(self, tries=self.tries + 1, due=monotonic + wait, polled=monotonic)


@dataclass(slots=True, kw_only=True)
class HintWatcher:
    """Nudges the polls of those organisations of which a webhook came."""

    store: HintStore
    polls: Mapping[str, PollState]
    """By organisation."""
    clock: Clock
    _pending: dict[str, PendingHint] = field(default_factory=dict)
    _pruned: float | None = None

    async def run(self) -> None:
        """Look for webhooks for ever, whenever one comes."""
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

    async def step(self, now: datetime) -> float:
        """Nudge the polls that are due; the seconds until there is something to do again. Raises StoreError."""
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
        if state.paused or monotonic < state.not_before:  # the provider asked for a pause, which its own webhooks keep
            return replace(pending, due=max(state.not_before, monotonic + 1.0))
        state.poll()
        return pending.tried(monotonic)
