"""What one look at an organisation has brought so far, and what is still to be asked. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from monitor.domain.flow import EventsRead, Known, Observation, Tracked
from monitor.domain.model import Job, JobEvent
from monitor.providers.base import AuthFailed, NotEligible, Page, RateLimited, SourceError, TimedOut, Unavailable

_PATIENCE: Final = 3  # failures of the server in one look, after which it is left alone until the next
_FEW: Final = 10  # jobs that are asked for one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An event stream to read."""

    job: str
    recent: frozenset[str] = frozenset()
    """Events that are known: older ones are, too."""
    whole: bool = False
    """Whether to read it to its beginning, whatever is known."""

    def read(self, events: Mapping[str, JobEvent], *, whole: bool) -> EventsRead:
        """What the reading of it brought: everything, or what is not known."""
        found = (event for event in events.values() if whole or event.id not in self.recent)
        return EventsRead(job=self.job, events=tuple(found), whole=whole)


@dataclass(slots=True, kw_only=True)
class Look:
    """A look in progress."""

    known: Known
    now: datetime
    lookback: timedelta
    jobs: dict[str, Job] = field(default_factory=dict)
    listing: bool = True
    """Whether it looks at the job list; else at event streams alone."""
    reads: list[EventsRead] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    listed: bool = False
    """The job list was walked to what is known, or to wherever that led."""
    complete: bool = True
    """The walk came to the end of the list, or to where it is known."""
    gap: bool = False
    """The walk broke off: between the jobs it found and those that are known there may be others."""
    halted: bool = False
    """The provider wants no more requests now."""
    failures: int = 0
    error: SourceError | None = None
    _newest_first: bool = True
    _oldest: datetime | None = None
    _sought: int | None = None
    """How many jobs were absent when it was last worth another page."""

    @property
    def first(self) -> bool:
        """Whether this organisation was never seen before."""
        return self.known.version == 0

    def take(self, page: Page[Job]) -> bool:
        """Add a page of the list. True when what lies behind it is known, or history.

        That can only be said of a list that is sorted; any other is read to its end.
        """
        for job in page.items:
            if not self.listed or job.id in self.known.jobs:  # behind what is known nothing is news
                self.found(job)
        dates = [job.created_at for job in page.items if job.created_at is not None]
        self._newest_first = self._newest_first and (bool(dates) or len(page.items) < 2)
        for created in dates:
            self._newest_first = self._newest_first and (self._oldest is None or created <= self._oldest)
            self._oldest = created
        return self._newest_first and (self._past_lookback(page) if self.first else self._known_territory(page))

    def _past_lookback(self, page: Page[Job]) -> bool:
        old = self._oldest is not None and self._oldest < self.now - self.lookback
        return old and all(job.status.final for job in page.items)

    def _known_territory(self, page: Page[Job]) -> bool:
        horizon = self.known.horizon
        if horizon is not None and self._oldest is not None and self._oldest <= horizon:
            return True
        return any(job.id in self.known.jobs or job.id in self.known.final for job in page.items)

    def found(self, job: Job) -> None:
        """Add a job. Seen twice, it is as it was first (newer answers come first), but an end is an end."""
        before = self.jobs.get(job.id)
        if before is None or (job.status.final and not before.status.final):
            self.jobs[job.id] = job

    def note(self, error: SourceError) -> None:
        """Remember what stopped us from seeing more; the worst counts."""
        grave = isinstance(error, (AuthFailed, NotEligible, RateLimited))
        if self.error is None or (grave and not self.halted):
            self.error = error
        self.failures += isinstance(error, Unavailable)
        self.halted = self.halted or grave or self.failures >= _PATIENCE

    def broken_off(self, error: SourceError) -> None:
        """The walk of the list ended in an error. Raises it where nothing can be concluded from half a list.

        Later, what is known of the jobs that were found is sound. The others are not reported before the walk succeeds:
        once they are known, no later walk would go behind them, to those that this one did not reach.
        """
        if self.first or not self.jobs:
            raise error
        self.note(error)
        self.listed, self.complete, self.gap, self.halted = True, False, True, True

    def endless(self, error: SourceError) -> None:
        """The list led nowhere. What it gave is all there is; raises the error where that is nothing."""
        if not self.jobs:
            raise error
        self.note(error)
        self.complete = False

    def late(self, deadline: float) -> None:
        """Time is up. Raises TimedOut where the list was not read."""
        error = TimedOut(f"the look took longer than {deadline:g} s")
        if self.listing and not self.listed:
            self.broken_off(error)
        else:
            self.note(error)

    def absent(self) -> list[str]:
        """Jobs that we follow and that were not listed."""
        return [id_ for id_, tracked in self.known.jobs.items() if tracked.active and id_ not in self.jobs]

    def another(self) -> bool:
        """Whether one more page of the list is cheaper than to ask for each job that is absent.

        Behind what is known there is nothing new. But who follows hundreds of jobs finds them there by the hundred.
        """
        absent = len(self.absent())
        fruitful = self._sought is None or absent < self._sought - 1
        self._sought = absent
        return fruitful and absent > _FEW

    def streams(self) -> list[Stream]:
        """The event streams to read now: of what is new, of what changed, and once more of what is over.

        The streams of the other active jobs are read in their own rhythm.
        """
        return [*self._of_changed(), *self._of_ended()]

    def _of_changed(self) -> Iterator[Stream]:
        for job in self._reported():
            was = self.known.jobs.get(job.id)
            if was is None and not self._history(job):
                yield Stream(job=job.id)
            elif was is not None and was.job.status is not job.status and not was.job.status.final:
                yield stream(was)

    def _history(self, job: Job) -> bool:
        """An ended job that is no news."""
        horizon = self.known.horizon
        old = horizon is not None and job.created_at is not None and job.created_at <= horizon
        return job.status.final and (self.first or old)

    def _of_ended(self) -> Iterator[Stream]:
        return (stream(was, whole=True) for was in self.known.jobs.values() if was.ready_to_finalize(self.now))

    def _reported(self) -> Iterator[Job]:
        for job in self.jobs.values():
            if job.id in self.known.jobs or not (self.gap or job.id in self.known.final):
                yield job

    def observation(self, org: str) -> Observation:
        """What was seen, as a value."""
        return Observation(
            org=org,
            at=self.now,
            jobs=tuple(self._reported()),
            reads=tuple(self.reads),
            missing=frozenset(self.missing),
            listed=self.listed,
            complete=self.complete,
            trouble=None if self.error is None else self.error.trouble,
        )


def stream(was: Tracked, *, whole: bool = False) -> Stream:
    """The event stream of a job that we know."""
    return Stream(job=was.job.id, recent=frozenset(was.recent), whole=whole)
