"""What the watchers of one organisation remember between their steps; nothing in it needs to survive a restart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import anyio

from monitor.clock import Nudge
from monitor.domain.flow import SETTLE_AFTER, Change, Known, Observation, Reason, Tracked, Trouble
from monitor.domain.model import JobKind, Status
from monitor.domain.stall import Usual
from monitor.watchers.store_trouble import StoreTrouble

_JUMP: Final = timedelta(seconds=30)  # more than any drift between two polls
_LATE_LISTING: Final = timedelta(hours=1)  # how late a job may turn up on its list
_PAUSES: Final = frozenset({Reason.AUTH, Reason.NOT_ELIGIBLE, Reason.RATE_LIMITED})
_GONE_RETRY: Final = (60.0, 3600.0)  # seconds until a job that is gone is asked for again: at first, and at most


@dataclass(slots=True)
class PollState:
    """Troubles, and what is due when, in monotonic seconds."""

    not_before: float = 0.0
    """The provider asked not to be asked before this moment."""
    failures: int = 0
    trouble: Trouble | None = None
    up: bool | None = None
    """Whether the last poll saw what it wanted to see, and could store it."""
    last_success: datetime | None = None
    recorded: tuple[tuple[bool | None, Reason | None], float] | None = None
    """The watch state that was stored last, and when."""
    store: StoreTrouble = field(default_factory=StoreTrouble)
    unknown_statuses: set[str] = field(default_factory=set)
    """Statuses outside the provider's table that were already warned about."""
    work: Nudge = field(default_factory=Nudge)
    """Nudged when there may be streams or files to read."""
    poll: Nudge = field(default_factory=Nudge)
    """Nudged to poll at once."""
    acquired: Nudge = field(default_factory=Nudge)
    """Nudged when the organisation has become this replica's to poll."""
    hinted: frozenset[str] = frozenset()
    """Jobs that are over, by the provider's webhooks, and were not seen so yet."""
    pushed: int = 0
    """How many ends in a row a webhook has shown first."""
    committing: anyio.Lock = field(default_factory=anyio.Lock)
    """Decisions on one organisation are made one after the other: each on what the one before has written."""
    streams_due: dict[str, float] = field(default_factory=dict)
    doubted: set[str] = field(default_factory=set)
    """Finalized jobs whose end the provider contradicts."""
    agreed: int | None = None
    """The version of what is known with which the lists agreed, as they were read last."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Jobs that this key sees and another organisation of the same account has, by organisation."""
    unstorable: set[str] = field(default_factory=set)
    """Jobs that the store has refused, and that were already warned about."""
    usual: dict[str, tuple[float, Usual]] = field(default_factory=dict)
    """By model of active jobs: how long the last jobs took, and until when that is good."""
    planned: Known | None = None
    """What was known when the reading of streams was planned last: until that changes, the plan stands."""
    watched: tuple[Known, frozenset[JobKind], Known] | None = None
    """What is known, and what of it is of the kinds that are watched, as it was worked out last."""
    _statuses: dict[str, Status] = field(default_factory=dict)
    _gone: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Jobs that are gone from the provider: when to ask again, and how long to wait after that."""
    _gone_among: Mapping[str, Tracked] | None = None
    """The jobs in which these were looked for."""
    _seen: tuple[datetime, float] | None = None
    _settled_until: datetime | None = None

    @property
    def paused(self) -> bool:
        """Whether the provider asked us to pause."""
        return self.trouble is not None and self.trouble.reason in _PAUSES

    def jump(self, now: datetime, monotonic: float) -> timedelta:
        """How far the wall clock was set since the last poll, beyond the time that passed; small drifts are none."""
        if self._seen is None:
            return timedelta(0)
        wall, steady = self._seen
        jump = (now - wall) - timedelta(seconds=monotonic - steady)
        return jump if abs(jump) > _JUMP else timedelta(0)

    def committed(self, seen: Observation, monotonic: float) -> None:
        """An observation was committed: its jump is accounted for, and what it listed is settled."""
        self._seen = (seen.at, monotonic)
        if seen.listed and seen.complete and seen.trouble is None:
            self._settled_until = (seen.provider_now or seen.at) - _LATE_LISTING

    @property
    def settled_until(self) -> datetime | None:
        """Up to when an earlier poll has seen all that ended, on the provider's clock."""
        return self._settled_until

    def first_seen(self, ends: Iterable[str], hinted: Collection[str]) -> Iterator[str]:
        """What has shown each of these new ends first, `poll` or `push`, which shows how reliable webhooks are."""
        for job in ends:
            self.pushed = self.pushed + 1 if job in hinted else 0
            yield "push" if self.pushed else "poll"

    def follow(self, jobs: Mapping[str, Tracked], *, interval: float, now: datetime, monotonic: float) -> None:
        """Plan the reading of event streams, given all jobs that are not finalized.

        The stream of a job that is new, or whose status has changed, comes before those that are merely due.
        """
        due: dict[str, float] = {}
        for id_, tracked in jobs.items():
            status = tracked.job.status
            changed = self._statuses.get(id_) is not status
            if tracked.active:
                at = self.streams_due.get(id_, monotonic)
                due[id_] = min(at, monotonic - interval) if changed else at
            elif status.final:
                rest = SETTLE_AFTER - abs(now - tracked.since)
                default = monotonic + max(rest.total_seconds(), 0.0)
                due[id_] = default if changed else self.streams_due.get(id_, default)
        self.streams_due = due
        self._statuses = {id_: tracked.job.status for id_, tracked in jobs.items()}
        if any(at <= monotonic for at in due.values()):
            self.work()

    def next_streams(self, monotonic: float, most: int) -> list[str]:
        """The jobs whose event streams are due, the longest waiting first."""
        due = sorted((at, id_) for id_, at in self.streams_due.items() if at <= monotonic)
        return [id_ for _, id_ in due[:most]]

    def tried(self, jobs: Iterable[str], due: float) -> None:
        """These streams were read or could not be: they are due again then."""
        self.streams_due |= {id_: due for id_ in jobs if id_ in self.streams_due}

    def recheck(self, jobs: Mapping[str, Tracked], monotonic: float) -> frozenset[str]:
        """The jobs that are gone from the provider and due to be asked for again, ever more seldom."""
        first, longest = _GONE_RETRY
        if jobs is not self._gone_among:
            gone = (id_ for id_, tracked in jobs.items() if tracked.gone and not tracked.job.status.final)
            self._gone = {id_: self._gone.get(id_, (monotonic + first, first)) for id_ in gone}
            self._gone_among = jobs
        due = frozenset(id_ for id_, (at, _) in self._gone.items() if at <= monotonic)
        for id_ in due:
            wait = min(2 * self._gone[id_][1], longest)
            self._gone[id_] = (monotonic + wait, wait)
        return due

    def agree(self, seen: Observation, changes: Iterable[Change], known: Known) -> None:
        """A poll is over: whether what is known now is all that its lists say, so that they need not be read again."""
        moved = any(change.transitions for change in changes)
        whole = seen.listed and seen.complete and seen.trouble is None and not known.first_sight and not moved
        odd = seen.missing or self.doubted or self.unstorable
        open_ = any(one.missing or one.doubt is not None or one.job.summary_only for one in known.jobs.values())
        self.agreed = known.version if whole and not odd and not open_ else None

    def changed(self, known: Known, change: Change) -> None:
        """A change was committed: what no transition came of is as the lists have it."""
        agrees = self.agreed == known.version and not change.transitions
        self.agreed = known.version + 1 if agrees else None

    def disputed(self, seen: Observation, known: Known) -> Iterator[str]:
        """The finalized jobs that are listed with another status now, or were at an earlier poll."""
        for job in seen.jobs:
            status = known.final.get(job.id)
            if status is not None and (job.id in self.doubted or job.status not in (status, Status.UNKNOWN)):
                yield job.id

    def judged(self, seen: Observation, known: Known, change: Change) -> None:
        """Doubts that are over are forgotten: the provider agrees again, is believed, or knows the job no more."""
        stored = {one.job.id: one for one in change.tracked}
        doubtful = {id_ for id_, was in seen.disputed.items() if stored.get(id_, was).doubt is not None}
        self.doubted = (self.doubted - seen.disputed.keys() - seen.missing) & known.final.keys() | doubtful


@dataclass(slots=True)
class StartGate:
    """Holds back what can wait until every organisation was polled once, or some time has passed."""

    waiting: set[str]
    patience: float = 60.0
    _opened: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        """Open it where there is nobody to wait for."""
        self.passed(())

    def passed(self, orgs: Collection[str]) -> None:
        """These organisations were polled once, whatever came of it."""
        self.waiting.difference_update(orgs)
        if not self.waiting:
            self._opened.set()

    async def wait(self) -> None:
        """Wait until it is open."""
        with anyio.move_on_after(self.patience):
            await self._opened.wait()
