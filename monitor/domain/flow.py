"""What goes through the flow: what one poll saw, what we knew, what changed, what is told, what readers see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from monitor.domain.costs import Spending, TunedModel
from monitor.domain.model import Cost, Job, JobEvent, Status, TrainingSize
from monitor.domain.news import Delivery, Subject, job_subject


class TransitionKind(StrEnum):
    """What happened to a job. BASELINE (first sight of its organisation) and GONE, BACK are never news."""

    BASELINE = "baseline"
    APPEARED = "appeared"
    MOVED = "moved"
    STALLED = "stalled"
    GONE = "gone"
    BACK = "back"


class Reason(StrEnum):
    """Why a poll failed; the label of `finetune_org_poll_errors_total`."""

    AUTH = "auth"
    NOT_ELIGIBLE = "not_eligible"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    MALFORMED = "malformed"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What went wrong with an organisation's API. The text is safe to show."""

    reason: Reason
    text: str
    retry_after: float | None = None
    """Seconds the provider asked us to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsRead:
    """What reading one job's event stream brought, newest first: at least the events that are not known yet."""

    job: str
    events: tuple[JobEvent, ...]
    whole: bool
    """Every event the provider has was read, back to the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one poll saw. `trouble` is what stopped it from seeing more; what it did see is sound."""

    org: str
    at: datetime
    jobs: tuple[Job, ...] = ()
    """Without duplicates, as the provider listed or returned them; without what their events tell."""
    reads: tuple[EventsRead, ...] = ()
    missing: frozenset[str] = frozenset()
    """Ids of active jobs that the provider says do not exist (404)."""
    sizes: Mapping[str, TrainingSize] = field(default_factory=dict)
    """By job: what its training file holds, where that was read."""
    listed: bool = True
    """Whether the job list was read; False for a look at event streams alone."""
    complete: bool = True
    """Whether the list was read to its end or to the lookback."""
    shift: timedelta = timedelta(0)
    """How far the wall clock jumped since the last look."""
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A job and what we remember about watching it."""

    job: Job
    seq: int
    """Number of its last transition, counted from 1."""
    since: datetime
    """When we first saw it in its present status."""
    last_activity_at: datetime
    """The last sign of life, on our clock."""
    stalled: bool = False
    missing: int = 0
    """Looks in a row in which the provider did not know it."""
    paused: timedelta = timedelta(0)
    """How long it has been paused, in all pauses that are over."""
    size: TrainingSize | None = None
    finalized: bool = False
    """Over, and its last events are read: nothing more is asked about it."""
    cost: Cost | None = None
    """An estimate as long as it is active, where one can be made; once computed at the end, it stays."""
    recent: tuple[str, ...] = ()
    """Ids of its newest stored events, at most RECENT, newest last. Kept with the events, not with the job."""

    @property
    def active(self) -> bool:
        """Whether we still ask about it: not over, and not gone from the provider."""
        return not self.job.status.final and self.missing < GONE_AFTER

    def ready_to_finalize(self, now: datetime) -> bool:
        """Over for long enough that its last events are there: they come up to 8 s after the end."""
        return self.job.status.final and not self.finalized and abs(now - self.since) >= SETTLE_AFTER


RECENT = 400
GONE_AFTER = 3
SETTLE_AFTER = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What we knew of one organisation. `version` 0 means that it was never seen."""

    org: str
    version: int = 0
    jobs: Mapping[str, Tracked] = field(default_factory=dict)
    """By id: active jobs, and ended ones that are not settled."""
    final: frozenset[str] = frozenset()
    """Ids of settled jobs: what the provider says of them is no longer heard."""
    horizon: datetime | None = None
    """Unknown final jobs created at or before this moment are history, not news."""
    partial: bool = False
    """Only a part of the first look is stored: what else that finds is history too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A job's change as it was decided: the event everything else is derived from."""

    org: str
    job: str
    seq: int
    at: datetime
    kind: TransitionKind
    before: Status | None
    after: Status
    resumed: bool = False
    """It runs or queues again after a pause."""
    restarted: bool = False
    """It had started before, so that RUNNING is not its start."""

    @property
    def subject(self) -> Subject:
        """The job."""
        return job_subject(self.org, self.job)

    @property
    def id(self) -> str:
        """`org/job/seq`: the same transition has the same id wherever it is seen."""
        return f"{self.subject.key}/{self.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterIncrement:
    """An addition to a counter that outlives the process. Amounts are whole: counts, milliseconds, nano-dollars."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one decision changes, committed as a whole or not at all."""

    org: str
    based_on: int
    at: datetime
    tracked: tuple[Tracked, ...] = ()
    events: tuple[JobEvent, ...] = ()
    transitions: tuple[Transition, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    counters: tuple[CounterIncrement, ...] = ()
    spendings: tuple[Spending, ...] = ()
    """Costs that became known, of ended jobs; those of the baseline among them."""
    tuned: tuple[TunedModel, ...] = ()
    """Models that these jobs have brought forth."""
    horizon: datetime | None = None
    more: bool = False
    """The same first look changes more, which follows in changes of its own."""

    @property
    def empty(self) -> bool:
        """Nothing to write. The first sight of an organisation is never empty: it is a fact in itself."""
        written = (self.tracked, self.events, self.transitions, self.deliveries, self.spendings, self.tuned)
        return self.based_on > 0 and not any(written)
