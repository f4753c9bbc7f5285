"""What goes through the flow: what one poll saw, what we knew, what changed, what is announced, what readers see."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from monitor.domain.costs import Spending, TunedModel
from monitor.domain.eta import StepRate
from monitor.domain.event_ids import NONE_YET, RecentIds
from monitor.domain.model import Cost, Job, JobEvent, JobKind, Status, TrainingSize, kind_of
from monitor.domain.news import CardChange, Delivery, Subject, job_subject
from monitor.domain.stall import Promise, Stall, Usual
from monitor.domain.verdict import Verdict


class TransitionKind(StrEnum):
    """What happened to a job. BASELINE (first sight of its organisation) and BACK are never news."""

    BASELINE = "baseline"
    APPEARED = "appeared"
    MOVED = "moved"
    STALLED = "stalled"
    GONE = "gone"
    BACK = "back"
    MOVING = "moving"
    """It shows signs of life after a stall."""
    CORRECTED = "corrected"
    """The provider has taken an end back for good."""


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
    """Without duplicates, as the provider listed or returned them; without what their events show."""
    reads: tuple[EventsRead, ...] = ()
    missing: frozenset[str] = frozenset()
    """Ids of active jobs that the provider says do not exist (404)."""
    sizes: Mapping[str, TrainingSize] = field(default_factory=dict)
    """By job: what its training file holds, where that was read."""
    listed: bool = True
    """Whether the job list was read; False for a look at event streams alone."""
    complete: bool = True
    """Whether the list was read to its end or to the lookback."""
    last: bool = True
    """Nothing of the same poll follows; see `slices`."""
    provider_now: datetime | None = None
    """The time by the provider's own clock, where it says."""
    settled_until: datetime | None = None
    """An earlier poll has seen all that ended up to this moment, on the provider's clock."""
    curves: Mapping[str, Sequence[JobEvent]] = field(default_factory=dict)
    """By job that has just ended: the measurements of its training and its checkpoints so far."""
    usual: Mapping[str, Usual] = field(default_factory=dict)
    """By model of a job whose events were read: how long the last jobs took."""
    disputed: Mapping[str, Tracked] = field(default_factory=dict)
    """Ended jobs that nothing was asked about any more, and that are listed with another status now."""
    shift: timedelta = timedelta(0)
    """How far the wall clock jumped since the last look."""
    account: str | None = None
    """The provider's own name of the organisation to which the jobs belong, where they say it."""
    trouble: Trouble | None = None

    @property
    def quiet(self) -> bool:
        """Everything was read, and there is nothing to decide on: of an organisation that is known, nothing changes."""
        whole = self.listed and self.complete and self.trouble is None
        return whole and not (self.jobs or self.reads or self.missing or self.sizes or self.disputed or self.shift)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """The provider says another status of a job that has ended: believed when it says so often enough."""

    status: Status
    polls: int
    at: datetime
    """When the last of those polls was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headway:
    """How a running job gets on. It is of one size, however many events there were."""

    rate: StepRate = field(default_factory=StepRate)
    finish: datetime | None = None
    """When its last step will be done, at that rate; None where the rate does not mean enough for that."""
    step_at: datetime | None = None
    """When we saw its newest step."""
    promise: Promise | None = None
    """The finish that it is held to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A job and what we remember about watching it."""

    job: Job
    seq: int
    """Number of its last transition, counted from 1."""
    since: datetime
    """When we first saw it in its present status."""
    last_activity_at: datetime | None = None
    """The last sign of life: on our clock where we saw it, else as the provider gives it; None where it gives none."""
    ran_at: datetime | None = None
    """When we saw it begin to run, where we had seen it wait before."""
    doubt: Doubt | None = None
    corrected: bool = False
    """Its end was taken back once: that is believed no second time."""
    stalled: bool = False
    """An episode has begun and not ended, whatever its reason; each of them is announced once."""
    stall: Stall | None = None
    """The episode; None where there is none, or it began in an older version."""
    headway: Headway | None = None
    """How it gets on while it runs; None of other jobs, and where nothing tells."""
    missing: int = 0
    """Looks in a row in which the provider did not know it."""
    paused: timedelta = timedelta(0)
    """How long it has been paused, in all pauses that are over."""
    size: TrainingSize | None = None
    finalized: bool = False
    """Over, and its last events are read: nothing more is asked about it."""
    cost: Cost | None = None
    """An estimate as long as it is active, where one can be made; once computed at the end, it stays."""
    verdict: Verdict | None = None
    """What there is to say of how its training went, once it succeeded; None of a healthy one."""
    recent_ids: RecentIds = NONE_YET
    """Of its newest stored events. Kept with the events, not with the job."""

    @property
    def gone(self) -> bool:
        """The provider does not know it any more; it is asked again, ever more seldom."""
        return self.missing >= GONE_AFTER

    @property
    def active(self) -> bool:
        """Neither over nor gone from the provider."""
        return not self.job.status.final and not self.gone

    @property
    def alive_at(self) -> datetime:
        """From when on it counts as silent: its last sign of life, but not from before we came."""
        return max(self.since, self.last_activity_at or self.since)

    def expected_finish(self, now: datetime) -> datetime | None:
        """When it will be done: as the provider says, else at the rate of its steps; None where nobody can say.

        An estimate of the provider that has passed is only given where there is no other.
        """
        if not self.active:
            return None
        given, by_rate = self.job.estimated_finish, self.headway.finish if self.headway is not None else None
        if given is not None and (by_rate is None or given > now):
            return given
        return by_rate if by_rate is not None and by_rate > now else given

    @property
    def started_at(self) -> datetime | None:
        """When it began to run: by the provider, else when we saw it."""
        return self.job.started_at or self.ran_at

    @property
    def computed_usd(self) -> Decimal | None:
        """What it costs, where that is no estimate."""
        return self.cost.computed if self.cost is not None else None

    @property
    def ended_at(self) -> datetime | None:
        """When it ended: by the provider, else when we saw it end; None of what had ended before we came."""
        if not self.job.status.final:
            return None
        return self.job.finished_at or (self.since if self.seq > 1 else None)

    def ready_to_finalize(self, now: datetime) -> bool:
        """Over for long enough that its last events are there: they come up to 8 s after the end.

        How it ended is waited for much longer, where its provider's list leaves that out.
        """
        wait = DETAIL_WAIT if self.job.summary_only else SETTLE_AFTER
        return self.job.status.final and not self.finalized and abs(now - self.since) >= wait


GONE_AFTER = 3
SETTLE_AFTER = timedelta(seconds=10)
DETAIL_WAIT = timedelta(hours=1)
"""For how long a job that is over is asked how it ended, while the provider does not answer that."""
BELIEVED_AFTER = 3
"""Polls in which a provider has to contradict an end before it is believed, …"""
DOUBT_GAP = timedelta(seconds=30)
"""… at least so far apart: a gateway's cache or a stale replica says the old for a while."""
SLICE = 500
"""Jobs of one commit: memory and the size of a transaction are bounded by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What we knew of one organisation. `version` 0 means that it was never seen."""

    org: str
    version: int = 0
    jobs: Mapping[str, Tracked] = field(default_factory=dict)
    """By id: active jobs, and ended ones that are not finalized."""
    final: Mapping[str, Status] = field(default_factory=dict)
    """Finalized jobs by id: nothing is asked about them any more."""
    horizon: datetime | None = None
    """Unknown jobs that ended at or before this moment, on the provider's clock, are history and not news."""
    partial: bool = False
    """Only a part of the first sight is stored: what else that finds is history too."""

    @property
    def first_sight(self) -> bool:
        """Whether the organisation is seen for the first time: what there is, is a baseline and not news."""
        return self.version == 0 or self.partial

    def of(self, kinds: Container[JobKind]) -> Known:
        """Without the jobs of a kind that is not watched any more: they stay as they were."""
        jobs = {id_: one for id_, one in self.jobs.items() if kind_of(id_) in kinds}
        return self if len(jobs) == len(self.jobs) else replace(self, jobs=jobs)


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
    cards: tuple[CardChange, ...] = ()
    counters: tuple[CounterIncrement, ...] = ()
    spendings: tuple[Spending, ...] = ()
    """Costs that became known, of ended jobs; those of the baseline among them."""
    tuned: tuple[TunedModel, ...] = ()
    """Models that these jobs have brought forth."""
    horizon: datetime | None = None
    more: bool = False
    """The same first sight changes more, which follows in changes of its own."""
    completes: bool = False
    """It ends a first sight of which a part was stored before."""

    @property
    def empty(self) -> bool:
        """Nothing to write. The first sight of an organisation is never empty, nor is its end: they are facts."""
        written = (
            self.completes,
            self.tracked,
            self.events,
            self.transitions,
            self.deliveries,
            self.spendings,
            self.tuned,
        )
        return self.based_on > 0 and not any(written)
