"""The state of one organisation's watchers between two steps. None of it needs to survive a restart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import anyio

from monitor.clock import Clock, Nudge
from monitor.domain.flow import SETTLE_AFTER, Change, Known, Observation, Reason, Tracked, Trouble, standings
from monitor.domain.model import JobKind, Status
from monitor.domain.pace import next_turn, slot
from monitor.domain.stall import Usual
from monitor.watchers.store_trouble import StoreTrouble

_JUMP: Final = timedelta(seconds=30)  # more than clocks drift apart between two polls
_LATE_LISTING: Final = timedelta(hours=1)  # how late a job may appear on the provider's list
_PAUSES: Final = frozenset({Reason.AUTH, Reason.NOT_ELIGIBLE, Reason.RATE_LIMITED})
_GONE_RETRY: Final = (60.0, 3600.0)  # seconds until the provider is asked again for a gone job: at first, and at most


@dataclass(slots=True)
class PollState:
    """The state of polling one organisation. Times that are floats are monotonic seconds."""

    not_before: float = 0.0
    """The provider asked not to be polled before this moment."""
    handover_until: float = 0.0
    """Another replica may have polled shortly before it handed over: until then, only a webhook triggers a poll."""
    handover_from: float = 0.0
    """The lease is not handed over before this moment, a whole interval after the last poll, because the replica that
    gets it polls soon."""
    in_turn: bool = False
    """Whether polls have found their turn. From then on only the interval counts."""
    failures: int = 0
    """Number of consecutive failed polls."""
    trouble: Trouble | None = None
    """Why the last poll failed."""
    up: bool | None = None
    """Whether the last poll succeeded and was stored; None before the first one."""
    last_success: datetime | None = None
    recorded: tuple[tuple[bool | None, Reason | None], float, datetime] | None = None
    """The watch state that was stored last, when, and the next poll that it named."""
    store: StoreTrouble = field(default_factory=StoreTrouble)
    unknown_statuses: set[str] = field(default_factory=set)
    """Statuses outside the provider's table that were already logged."""
    work: Nudge = field(default_factory=Nudge)
    """Wakes the loop that reads event streams and training files."""
    poll: Nudge = field(default_factory=Nudge)
    """Triggers a poll at once."""
    acquired: Nudge = field(default_factory=Nudge)
    """Wakes the poll loop when this replica has acquired the organisation."""
    hinted: frozenset[str] = frozenset()
    """Jobs that have ended according to webhooks, and whose end no poll has seen yet."""
    pushed: int = 0
    """Number of consecutive ends that a webhook reported before a poll saw them."""
    committing: anyio.Lock = field(default_factory=anyio.Lock)
    """Held from reading the known state to the commit, so that no decision is based on an outdated state."""
    streams_due: dict[str, float] = field(default_factory=dict)
    """When to read the event stream of a job next, by job id."""
    doubted: set[str] = field(default_factory=set)
    """Finalized jobs whose final status the provider contradicts."""
    agreed: tuple[int, int] | None = None
    """The version of the known state, and the number of the reading of the lists that it agrees with; None if it agrees
    with none. If a reading could not be stored, the pair no longer matches, and the lists are read again."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """The organisation of the same account that a job belongs to, by id of a job that this key sees as well."""
    unstorable: set[str] = field(default_factory=set)
    """Jobs that the store has refused and that were already logged."""
    usual: dict[str, tuple[float, Usual]] = field(default_factory=dict)
    """How long recent jobs took, by model of active jobs, with the time until which the figures are valid."""
    planned: Known | None = None
    """The known state for which reads of event streams were last planned. The plan stays valid until it changes."""
    watched: tuple[Known, frozenset[JobKind], Known] | None = None
    """A cache: a known state, the watched kinds, and the part of that state that is of these kinds."""
    _out_of_turn: set[str] = field(default_factory=set)
    """Jobs whose event streams are read, or were last read, because they are new or have changed their status."""
    _statuses: dict[str, Status] = field(default_factory=dict)
    """The statuses of jobs when streams were last planned."""
    _gone: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When to ask the provider again for a gone job, and the wait that led there, by job id."""
    _gone_among: Mapping[str, Tracked] | None = None
    """The jobs from which `_gone` was computed."""
    _seen: tuple[datetime, float] | None = None
    """The wall clock and the monotonic clock at the last committed poll."""
    _settled_until: datetime | None = None

    @property
    def paused(self) -> bool:
        """Whether polls are paused because of the key or a rate limit."""
        return self.trouble is not None and self.trouble.reason in _PAUSES

    def jump(self, now: datetime, monotonic: float) -> timedelta:
        """How far the wall clock was set since the last committed observation; 0 for drifts of up to 30 seconds."""
        if self._seen is None:
            return timedelta(0)
        wall, before = self._seen
        jump = (now - wall) - timedelta(seconds=monotonic - before)
        return jump if abs(jump) > _JUMP else timedelta(0)

    def committed(self, seen: Observation, monotonic: float) -> None:
        """Note that an observation was committed: a jump of the clock is handled, and the listed ends are known."""
        self._seen = (seen.at, monotonic)
        if seen.listed and seen.complete and seen.trouble is None:
            self._settled_until = (seen.provider_now or seen.at) - _LATE_LISTING

    @property
    def settled_until(self) -> datetime | None:
        """The moment, on the provider's clock, up to which an earlier poll has seen every end."""
        return self._settled_until

    def first_seen(self, ends: Iterable[str], hinted: Collection[str]) -> Iterator[str]:
        """`poll` or `push` for each new end, by what reported it first. Updates `pushed`."""
        for job in ends:
            self.pushed = self.pushed + 1 if job in hinted else 0
            yield "push" if self.pushed else "poll"

    def follow(self, jobs: Mapping[str, Tracked], *, interval: float, now: datetime, monotonic: float) -> None:
        """Plan reads of event streams, given all jobs that are not finalized.

        The stream of a job that is new or has changed its status comes before those that are merely due.
        """
        due: dict[str, float] = {}
        for id_, standing in standings(jobs):
            status = standing.status
            changed = self._statuses.get(id_) is not status
            if standing.active:
                at = self.streams_due.get(id_, monotonic)
                due[id_] = min(at, monotonic - interval) if changed else at
                if changed:
                    self._out_of_turn.add(id_)
            elif status.final:
                if changed or id_ not in self.streams_due:
                    rest = SETTLE_AFTER - abs(now - jobs[id_].since)
                    due[id_] = monotonic + max(rest.total_seconds(), 0.0)
                else:
                    due[id_] = self.streams_due[id_]
        self.streams_due = due
        self._out_of_turn &= due.keys()
        self._statuses = {id_: standing.status for id_, standing in standings(jobs)}
        if any(at <= monotonic for at in due.values()):
            self.work()

    def next_streams(self, monotonic: float, most: int) -> list[str]:
        """At most `most` jobs whose event streams are due, those that have waited longest first."""
        due = sorted((at, id_) for id_, at in self.streams_due.items() if at <= monotonic)
        return [id_ for _, id_ in due[:most]]

    def tried(self, jobs: Iterable[str], started: float, *, interval: float, turn: float) -> None:
        """Note an attempt to read the streams of these jobs, and when they are due again.

        That is after the interval, or in their organisation's turn after a read that was not in turn.
        """
        after, in_turn = slot(started + interval, interval), next_turn(started, interval, turn)
        for id_ in jobs:
            if id_ in self.streams_due:
                self.streams_due[id_] = in_turn if id_ in self._out_of_turn else after
        self._out_of_turn.difference_update(jobs)

    def unread(self, jobs: Iterable[str], now: float) -> None:
        """Note that the streams of these jobs were not reached: they are due at once."""
        waiting = self.streams_due.keys() & jobs
        self.streams_due |= dict.fromkeys(waiting, now)
        self._out_of_turn |= waiting

    def recheck(self, jobs: Mapping[str, Tracked], monotonic: float) -> frozenset[str]:
        """The gone jobs for which the provider is to be asked again now. Intervals double up to an hour."""
        first, longest = _GONE_RETRY
        if jobs is not self._gone_among:
            gone = (id_ for id_, standing in standings(jobs) if standing.gone and not standing.status.final)
            self._gone = {id_: self._gone.get(id_, (monotonic + first, first)) for id_ in gone}
            self._gone_among = jobs
        due = frozenset(id_ for id_, (at, _) in self._gone.items() if at <= monotonic)
        for id_ in due:
            wait = min(2 * self._gone[id_][1], longest)
            self._gone[id_] = (monotonic + wait, wait)
        return due

    def agree(self, seen: Observation, changes: Iterable[Change], known: Known, reading: int) -> None:
        """Note after a poll whether the known state agrees with this reading of the lists, so that lists that are still
        the same can be skipped.
        """
        moved = any(change.transitions for change in changes)
        whole = seen.listed and seen.complete and seen.trouble is None and not known.first_sight and not moved
        odd = seen.missing or self.doubted or self.unstorable
        open_ = any(standing.in_question or standing.summary_only for _, standing in standings(known.jobs))
        self.agreed = (known.version, reading) if whole and not odd and not open_ else None

    def changed(self, known: Known, change: Change) -> None:
        """Note a committed change. The known state still agrees with the lists unless there was a transition."""
        version, reading = self.agreed or (None, 0)
        agrees = version == known.version and not change.transitions
        self.agreed = (known.version + 1, reading) if agrees else None

    def disputed(self, seen: Observation, known: Known) -> Iterator[str]:
        """The ids of finalized jobs that are listed with another status, or that are doubted since an earlier poll."""
        for job in seen.jobs:
            status = known.final.get(job.id)
            if status is not None and (job.id in self.doubted or job.status not in (status, Status.UNKNOWN)):
                yield job.id

    def judged(self, seen: Observation, known: Known, change: Change) -> None:
        """Update `doubted`. A doubt ends if the provider agrees again, is believed, or no longer knows the job."""
        stored = {tracked.job.id: tracked for tracked in change.tracked}
        doubtful = {id_ for id_, was in seen.disputed.items() if stored.get(id_, was).doubt is not None}
        self.doubted = (self.doubted - seen.disputed.keys() - seen.missing) & known.final.keys() | doubtful


@dataclass(slots=True)
class StartGate:
    """Delays second polls and all less urgent work at the start until every organisation was polled once."""

    waiting: set[str]
    """Organisations that were not polled yet."""
    patience: float = 60.0
    """The longest delay in seconds."""
    _opened: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        """Open the gate at once if there is no organisation to wait for."""
        self.passed(())

    def passed(self, orgs: Collection[str]) -> None:
        """Note that these organisations were polled, successfully or not."""
        self.waiting.difference_update(orgs)
        if not self.waiting:
            self._opened.set()

    @property
    def is_open(self) -> bool:
        """Whether every organisation was polled."""
        return self._opened.is_set()

    async def wait(self, clock: Clock, seconds: float | None = None) -> bool:
        """Wait until the gate is open, but at most so many seconds, or `patience`. Returns whether it was closed."""
        if self.is_open:
            return False
        await clock.wait(self._opened, self.patience if seconds is None else seconds)
        return True
