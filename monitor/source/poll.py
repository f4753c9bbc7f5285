"""What one poll of an organisation has brought so far, and what is still to be asked. Pure: no I/O."""

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

_PATIENCE: Final = 3  # failures of the server in one poll, after which it is left alone until the next
_SKEW: Final = timedelta(days=1)
_FEW: Final = 10  # jobs that are asked for one by one
_REVISIT_EVERY: Final = 10  # polls
_REVISIT_SELDOM: Final = 40  # polls, where the list has always been right
_SOUND: Final = 20  # jobs that were as their list had them, after which half as many are asked for
_REVISITED: Final = 4  # jobs in one poll


@dataclass(slots=True)
class Revisits:
    """Whose turn it is to be asked for alone: each active job once in ten polls at most, and few in one poll.

    The longer a server's list has been right about all who were asked for, the more seldom that is.
    """

    turns: dict[str, int] = field(default_factory=dict)
    """By job, the number of the poll in which it is asked for."""
    agreed: int = 0
    """How many in a row were as their list has them."""
    _poll: int = 0
    _next: int = 0
    """The poll in which the next turn is."""

    def due(self, active: Callable[[], Collection[str]], *, same: bool = False) -> list[str]:
        """The jobs whose turn it is in this poll, those that wait longest first. `same`: the active ones are who they
        were."""
        self._poll += 1
        if same and self._poll < self._next:
            return []
        self.turns = {job: self.turns.get(job, self._poll + _REVISIT_EVERY - 1) for job in active()}
        waiting = (job for job, turn in self.turns.items() if turn <= self._poll)
        turn = sorted(waiting, key=self.turns.__getitem__)[:_REVISITED]
        self.turns |= dict.fromkeys(turn, self._poll + min(_REVISIT_EVERY << self.agreed // _SOUND, _REVISIT_SELDOM))
        self._next = min(self.turns.values(), default=self._poll + 1)
        return turn

    def answered(self, *, agrees: bool) -> None:
        """Who was asked for is as its list has it, or is not."""
        self.agreed = self.agreed + 1 if agrees else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An event stream to read."""

    job: str
    recent: KnownIds = field(default_factory=lambda: KnownIds(b""))
    """Events that are known: older ones are, too."""
    whole: bool = False
    """Whether to read it to its beginning, whatever is known."""

    def read(
        self, events: Mapping[str, JobEvent], *, whole: bool, order: Order = Order.NEWEST_FIRST, span: int = 0
    ) -> EventsRead:
        """What the reading of it brought, newest first: everything, or what is not known. `span`: of so many."""
        found = [event for event in events.values() if whole or event.id not in self.recent]
        if order is Order.OLDEST_FIRST:
            found.reverse()
        return EventsRead(job=self.job, events=tuple(found), whole=whole, span=span)


@dataclass(slots=True, kw_only=True)
class ListRead:
    """The reading of one job list in this poll."""

    order: Order = Order.UNKNOWN
    reached: bool = False
    """It was read to what is known, or to the lookback, or to wherever it led."""
    error: SourceError | None = None
    """What broke the reading off: between the jobs it found and those that are known there may be others."""
    _last: datetime | None = None

    def take(self, page: Page[Job]) -> datetime | None:
        """What a page says about the list's order; the oldest time so far, where it is sorted by time."""
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
    """Jobs that are gone from the provider and are asked for again; and ended ones whose end is in doubt."""
    provider_now: datetime | None = None
    """The time by the provider's clock."""
    account: str | None = None
    listing: bool = True
    """Whether it reads the job lists; otherwise event streams alone."""
    reads: list[EventsRead] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)
    """Jobs whose event streams were asked for, whatever the answer was."""
    missing: set[str] = field(default_factory=set)
    unchanged: bool = False
    """The lists say what they said before, with which what is known agrees."""
    listed: bool = False
    """All job lists were read, each as far as it led."""
    complete: bool = True
    """Each was read to its end, or to where it is known."""
    halted: bool = False
    """The provider wants no more requests now."""
    failures: int = 0
    error: SourceError | None = None
    _lists: dict[str, ListRead] = field(default_factory=dict)
    """By job, the list that has it."""
    _sought: int | None = None
    """How many jobs were absent when it was last worth another page."""

    @property
    def first(self) -> bool:
        """Whether the first sight of this organisation is not stored whole yet."""
        return self.known.first_sight

    def by_provider(self, date: datetime | None) -> None:
        """The provider says what time it is.

        Where that is more than a day from our own, one of both is no clock to go by. The earlier one is taken: what
        ends after it is news, and a clock that was ahead once must not silence what ends until it was right.
        """
        if date is not None:
            self.provider_now = date if abs(date - self.now) <= _SKEW else min(date, self.now)

    def take(self, read: ListRead, page: Page[Job]) -> bool:
        """Add a page of a list. True when all that lies behind it is known.

        That can only be said of a list that is sorted; any other is read to its end. So is every list at first sight,
        because jobs that are still active may be older than the lookback.
        """
        oldest = read.take(page)
        self.account = self.account or page.account
        for job in page.items:
            if self.first:
                if not job.status.final or not self._older(job.created_at):
                    self.found(job, read)
            elif not read.reached or job.id in self.known.jobs:  # behind what is known nothing is news
                self.found(job, read)
        if self.first:
            read.reached = read.reached or (oldest is not None and self._older(oldest))
            return False
        return oldest is not None and self._known_territory(page, oldest)

    def _older(self, created: datetime | None) -> bool:
        """Whether a job is from before the lookback."""
        return created is not None and created < (self.provider_now or self.now) - self.lookback

    def _known_territory(self, page: Page[Job], oldest: datetime) -> bool:
        horizon = self.known.horizon
        if horizon is not None and oldest <= horizon and all(job.status.final for job in page.items):
            return True
        return any(job.id in self.known.jobs or job.id in self.known.final for job in page.items)

    def found(self, job: Job, read: ListRead | None = None) -> None:
        """Add a job. Seen twice, it is as it was first (newer answers come first), but an end is an end."""
        before = self.jobs.get(job.id)
        if before is None or (job.status.final and not before.status.final):
            self.jobs[job.id] = job
            if read is not None:
                self._lists[job.id] = read

    def note(self, error: SourceError) -> None:
        """Remember what stopped us from seeing more; the worst counts."""
        grave = isinstance(error, (AuthFailed, NotEligible, RateLimited))
        if self.error is None or (grave and not self.halted):
            self.error = error
        self.failures += isinstance(error, ProviderUnavailable)
        self.halted = self.halted or grave or self.failures >= _PATIENCE

    def broken_off(self, read: ListRead, error: SourceError) -> None:
        """The reading of a list ended in an error: what is known of the jobs that were found is sound.

        The others are not reported before the reading succeeds: once they are known, none would go behind them, to
        those that this one did not reach.
        """
        read.error, self.complete = error, False

    def endless(self, read: ListRead, error: SourceError) -> None:
        """The list led nowhere. What it gave is all there is."""
        if self.jobs:
            read.reached, self.complete = True, False
            self.note(error)
        else:
            self.broken_off(read, error)

    def all_listed(self, reads: Sequence[ListRead]) -> None:
        """The lists were read. Raises the error of one where nothing can be concluded without it.

        That is where no list could be read; and at first sight, where one will be there soon. A list that is refused,
        or is none, does not keep the others from being watched.
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
        """Time is up. Raises TimedOut where the list was not read."""
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
        """Active jobs that were not listed, and gone ones that are to be asked for again."""
        return [
            id_
            for id_, one in standings(self.known.jobs)
            if id_ not in self.jobs and (one.active or id_ in self.recheck)
        ]

    def summaries(self) -> list[Job]:
        """Jobs that are over and of which nobody has said yet how they ended, those among them that were not listed."""
        known = self.known.jobs
        bare = {id_ for id_, one in self.jobs.items() if one.summary_only}
        reported = (self.jobs[id_] for id_ in self._reported() if id_ in bare)
        listed = [job for job in reported if not self._end_known(job)]
        others = [known[id_].job for id_, one in standings(known) if id_ not in self.jobs and one.summary_only]
        return [*listed, *others]

    def _end_known(self, job: Job) -> bool:
        """Whether it is known already how a job ended."""
        was = self.known.jobs.get(job.id)
        return was is not None and was.job.status is job.status and not was.job.summary_only

    def active(self) -> list[str]:
        """Jobs that are known, and listed as active."""
        if self.unchanged:
            return [id_ for id_, one in standings(self.known.jobs) if one.active]
        return [id_ for id_, one in self.jobs.items() if not one.status.final and id_ in self.known.jobs]

    def status(self, job_id: str) -> Status:
        """Where a job that is known stands: as it is listed."""
        return (self.jobs.get(job_id) or self.known.jobs[job_id]).status

    def another(self) -> bool:
        """Whether one more page of the list is cheaper than to ask for each job that is absent.

        Behind what is known there is nothing new. But who follows hundreds of jobs finds them there by the hundred.
        """
        absent = len(self.absent())
        fruitful = self._sought is None or absent < self._sought - 1
        self._sought = absent
        return fruitful and absent > _FEW

    def _reported(self) -> Iterator[str]:
        for id_, one in self.jobs.items():
            read = self._lists.get(id_)
            whole = read is None or read.error is None
            if id_ in self.known.jobs or (whole and not self._settled(id_, one.status)):
                yield id_

    def _settled(self, id_: str, status: Status) -> bool:
        """Whether nothing is asked about the job any more, and the list says the same of it as before."""
        return self.known.final.get(id_) is status and id_ not in self.recheck

    def observation(self, org: str) -> Observation:
        """What was seen, as a value."""
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
            trouble=None if self.error is None else self.error.trouble,
        )


def stream(was: Tracked) -> Stream:
    """The event stream of a job that we know: of an ended one all of it, because nothing will follow."""
    return Stream(job=was.job.id, recent=was.recent_ids.lookup(), whole=was.job.status.final)
