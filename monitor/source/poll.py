"""The state of a poll in progress: what it has found, and what is still to be requested. It does no I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from monitor.domain.event_ids import KnownIds
from monitor.domain.flow import EventsRead, Known, Observation, Tracked, standings
from monitor.domain.model import Job, JobEvent, Status
from monitor.providers.base import (
    AuthFailed,
    NotEligible,
    Page,
    ProviderUnavailable,
    RateLimited,
    SourceError,
    TimedOut,
)
from monitor.source.found import FoundJobs
from monitor.source.walk import Order
from monitor.tracebacks import cut_traceback

_MOST_FAILURES: Final = 3  # failures of the server after which a poll makes no more requests
_SKEW: Final = timedelta(days=1)
_FEW: Final = 10  # absent jobs that are requested one by one rather than by another page
_REVISIT_EVERY: Final = 10  # polls between two requests for the same job, at first
_REVISIT_AT_MOST: Final = 40  # polls, if the list has always been right
_AGREEING: Final = 20  # jobs in a row that were as listed, after which the interval doubles
_REVISITED: Final = 4  # jobs in one poll


@dataclass(slots=True)
class Revisits:
    """Decides which active jobs to request one by one: each at most every tenth poll, and few in one poll.

    The longer the list has been right about all of them, the less often that is done.
    """

    turns: dict[str, int] = field(default_factory=dict)
    """The number of the poll in which a job is requested next, by job id."""
    agreed: int = 0
    """How many jobs in a row were as listed."""
    _poll: int = 0
    _next: int = 0
    """The number of the next poll in which any job is requested."""

    def due(self, active: Callable[[], Collection[str]], *, same: bool = False) -> list[str]:
        """The jobs to request in this poll, those that have waited longest first.

        `same` says that the active jobs are those of the last call, so that `active` need not be called.
        """
        self._poll += 1
        if same and self._poll < self._next:
            return []
        self.turns = {job: self.turns.get(job, self._poll + _REVISIT_EVERY - 1) for job in active()}
        waiting = (job for job, turn in self.turns.items() if turn <= self._poll)
        turn = sorted(waiting, key=self.turns.__getitem__)[:_REVISITED]
        self.turns |= dict.fromkeys(
            turn, self._poll + min(_REVISIT_EVERY << self.agreed // _AGREEING, _REVISIT_AT_MOST)
        )
        self._next = min(self.turns.values(), default=self._poll + 1)
        return turn

    def answered(self, job: str, *, agrees: bool) -> None:
        """Note whether a requested job was as listed. If not, it is requested again in the next poll, in case that what
        was found cannot be stored now."""
        self.agreed = self.agreed + 1 if agrees else 0
        if not agrees:
            self.turns[job] = self._next = self._poll + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An event stream to read."""

    job: str
    recent: KnownIds = field(default_factory=lambda: KnownIds(b""))
    """The known recent events. Everything older is known as well."""
    whole: bool = False
    """Whether to read the stream to its beginning, even if events are known."""

    def read(
        self, events: Mapping[str, JobEvent], *, whole: bool, order: Order = Order.NEWEST_FIRST, span: int = 0
    ) -> EventsRead:
        """The result of a read, newest first: all events if `whole`, otherwise the unknown ones of `span`."""
        found = [event for event in events.values() if whole or event.id not in self.recent]
        if order is Order.OLDEST_FIRST:
            found.reverse()
        return EventsRead(job=self.job, events=tuple(found), whole=whole, span=span)


@dataclass(slots=True, kw_only=True)
class ListRead:
    """The progress of reading one job list in this poll."""

    order: Order = Order.UNKNOWN
    reached: bool = False
    """Whether it was read up to known jobs, to the lookback, or to its end."""
    error: SourceError | None = None
    """Why reading ended early. There may be unknown jobs between those that were found and the known ones."""
    _last: datetime | None = None

    def take(self, page: Page[Job]) -> datetime | None:
        """Note the order of a page. Returns the oldest time so far, if the list is sorted newest first."""
        times = [job.created_at for job in page.items]
        self.order = self.order.with_times([self._last, *times])
        self._last = next((at for at in reversed(times) if at is not None), self._last)
        return self._last if self.order is Order.NEWEST_FIRST else None


@dataclass(slots=True, kw_only=True)
class Poll:
    """A poll in progress."""

    known: Known
    now: datetime
    lookback: timedelta
    jobs: FoundJobs = field(default_factory=FoundJobs)
    recheck: frozenset[str] = frozenset()
    """Gone jobs that are requested again, and ended ones whose end is in doubt."""
    provider_now: datetime | None = None
    """The time of the provider's clock."""
    account: str | None = None
    listing: bool = True
    """Whether it reads the job lists; otherwise it only reads event streams."""
    reads: list[EventsRead] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)
    """Jobs whose event streams were requested, successfully or not."""
    missing: set[str] = field(default_factory=set)
    unchanged: bool = False
    """Whether the lists are the same as at the last poll, and agree with the known state."""
    listed: bool = False
    """Whether all job lists were read, as far as possible."""
    complete: bool = True
    """Whether each list was read to its end, or to known jobs."""
    halted: bool = False
    """Whether no more requests may be made in this poll."""
    failures: int = 0
    error: SourceError | None = None
    _lists: dict[str, ListRead] = field(default_factory=dict)
    """The list on which a job was found, by job id."""
    _sought: int | None = None
    """The number of absent jobs when another page was last requested to find them."""

    @property
    def first(self) -> bool:
        """Whether the first sight of the organisation is not completely stored yet."""
        return self.known.first_sight

    def by_provider(self, date: datetime | None) -> None:
        """Note the provider's time.

        If it differs from ours by more than a day, one of the clocks is wrong. The earlier one is used: ends after it
        are news, and a clock that was once ahead must not suppress the announcement of later ends.
        """
        if date is not None:
            self.provider_now = date if abs(date - self.now) <= _SKEW else min(date, self.now)

    def take(self, read: ListRead, page: Page[Job]) -> bool:
        """Add a page of a list. Returns whether everything on the following pages is known.

        That is only possible if the list is sorted; otherwise it is read to its end. At first sight every list is,
        since active jobs may be older than the lookback.
        """
        oldest = read.take(page)
        self.account = self.account or page.account
        for job in page.items:
            if self.first:
                if not job.status.final or not self._older(job.created_at):
                    self.found(job, read)
            elif not read.reached or job.id in self.known.jobs:  # after known jobs, no job is new
                self.found(job, read)
        if self.first:
            read.reached = read.reached or (oldest is not None and self._older(oldest))
            return False
        return oldest is not None and self._all_known_after(page, oldest)

    def _older(self, created: datetime | None) -> bool:
        """Whether a job is from before the lookback."""
        return created is not None and created < (self.provider_now or self.now) - self.lookback

    def _all_known_after(self, page: Page[Job], oldest: datetime) -> bool:
        """Whether a sorted list has no unknown jobs after this page, whose oldest job was created at `oldest`."""
        horizon = self.known.horizon
        if horizon is not None and oldest <= horizon and all(job.status.final for job in page.items):
            return True
        return any(self.known.has(job.id) for job in page.items)

    def found(self, job: Job, read: ListRead | None = None) -> None:
        """Add a job. Of several reports the first one, which is newer, counts, unless a later one is an end."""
        before = self.jobs.get(job.id)
        if before is None or (job.status.final and not before.status.final):
            self.jobs[job.id] = job
            if read is not None:
                self._lists[job.id] = read

    def note(self, error: SourceError) -> None:
        """Note an error, of which the gravest is reported, and stop making requests if necessary."""
        cut_traceback(error)
        grave = isinstance(error, (AuthFailed, NotEligible, RateLimited))
        if self.error is None or (grave and not self.halted):
            self.error = error
        self.failures += isinstance(error, ProviderUnavailable)
        self.halted = self.halted or grave or self.failures >= _MOST_FAILURES

    def broken_off(self, read: ListRead, error: SourceError) -> None:
        """Note that reading a list ended with an error.

        Of the jobs that were found, only the known ones are reported. If new ones were, later polls would stop at them,
        and never reach the jobs behind them that this poll did not see.
        """
        cut_traceback(error)
        read.error, self.complete = error, False

    def endless(self, read: ListRead, error: SourceError) -> None:
        """Note that the list has no proper end. The jobs that were found count as the whole list."""
        if self.jobs:
            read.reached, self.complete = True, False
            self.note(error)
        else:
            self.broken_off(read, error)

    def all_listed(self, reads: Sequence[ListRead]) -> None:
        """Note that all lists were read. Raises the error of a list if nothing can be concluded without it.

        That is so if no list could be read, and at first sight also if a list failed that may be readable soon. A list
        that is refused or does not exist does not keep the others from being watched.
        """
        errors = [read.error for read in reads if read.error is not None]
        passing = [error for error in errors if isinstance(error, (ProviderUnavailable, RateLimited))]
        if errors and ((len(errors) == len(reads) and not self.jobs) or (self.first and (passing or len(reads) == 1))):
            raise (passing or errors)[0]
        for error in errors:
            self.note(error)
        self.listed = True
        self.halted = self.halted or bool(passing) or len(reads) == len(errors) > 0

    def late(self, deadline: float) -> None:
        """Note that the deadline has passed. Raises TimedOut if no list was read."""
        error = TimedOut(f"the poll took longer than {deadline:g} s")
        if self.listing and not self.listed and (self.first or not self.jobs):
            raise error
        if not self.listed:
            for read in self._lists.values():
                read.error = read.error or (None if read.reached else error)
            self.complete = False
        self.listed = self.listing
        self.note(error)

    def absent(self) -> list[str]:
        """Active jobs that were not listed, and gone ones that are to be requested again."""
        return [
            id_
            for id_, standing in standings(self.known.jobs)
            if id_ not in self.jobs and (standing.active or id_ in self.recheck)
        ]

    def summaries(self) -> list[Job]:
        """Ended jobs whose list does not say how they ended, including those that were not listed."""
        known = self.known.jobs
        bare = {id_ for id_, found in self.jobs.items() if found.summary_only}
        reported = (self.jobs[id_] for id_ in self._reported() if id_ in bare)
        listed = [job for job in reported if not self._end_known(job)]
        others = [
            known[id_].job for id_, standing in standings(known) if id_ not in self.jobs and standing.summary_only
        ]
        return [*listed, *others]

    def _end_known(self, job: Job) -> bool:
        """Whether it is already known how a job ended."""
        was = self.known.jobs.get(job.id)
        return was is not None and was.job.status is job.status and not was.job.summary_only

    def active(self) -> list[str]:
        """Known jobs that are listed as active."""
        if self.unchanged:
            return [id_ for id_, standing in standings(self.known.jobs) if standing.active]
        return [id_ for id_, found in self.jobs.items() if not found.status.final and id_ in self.known.jobs]

    def status(self, job_id: str) -> Status:
        """The status of a known job, by its list if it was listed."""
        return (self.jobs.get(job_id) or self.known.jobs[job_id]).status

    def another(self) -> bool:
        """Whether another page of the list is cheaper than requesting each absent job.

        The pages after known jobs have nothing new, but with hundreds of active jobs, many of these are found there.
        """
        absent = len(self.absent())
        fruitful = self._sought is None or absent < self._sought - 1
        self._sought = absent
        return fruitful and absent > _FEW

    def _reported(self) -> Iterator[str]:
        for id_, found in self.jobs.items():
            read = self._lists.get(id_)
            whole = read is None or read.error is None
            if id_ in self.known.jobs or (whole and not self._settled(id_, found.status)):
                yield id_

    def _settled(self, id_: str, status: Status) -> bool:
        """Whether the job is finalized with this status, and need not be reported again."""
        return self.known.final.get(id_) is status and id_ not in self.recheck

    def observation(self, org: str) -> Observation:
        """The result of the poll."""
        return Observation(
            org=org,
            at=self.now,
            jobs=self.jobs.chosen(list(self._reported())),
            reads=tuple(self.reads),
            missing=frozenset(self.missing),
            listed=self.listed,
            complete=self.complete,
            provider_now=self.provider_now,
            account=self.account,
            acquainted=self.unchanged or any(map(self.known.has, self.jobs.keys())),
            trouble=None if self.error is None else self.error.trouble,
        )


def stream(was: Tracked) -> Stream:
    """The event stream of a known job. For an ended one it is read completely, because nothing will follow."""
    return Stream(job=was.job.id, recent=was.recent_ids.lookup(), whole=was.job.status.final)
