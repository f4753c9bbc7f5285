"""The values between the stages of a poll: what was known, what was observed, and the change that is committed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from monitor.domain.costs import Spending, TunedModel
from monitor.domain.eta import StepRate
from monitor.domain.event_ids import NONE_YET, RecentIds
from monitor.domain.model import Cost, Job, JobEvent, JobKind, Status, TrainingSize, kind_of
from monitor.domain.news import CardChange, Delivery, Subject, job_subject
from monitor.domain.stall import Promise, Stall, Usual
from monitor.domain.verdict import Verdict


class TransitionKind(StrEnum):
    """What happened to a job. BASELINE (the first sight of its organisation) and BACK are never news."""

    BASELINE = "baseline"
    APPEARED = "appeared"
    MOVED = "moved"
    STALLED = "stalled"
    GONE = "gone"
    BACK = "back"
    MOVING = "moving"
    """The job shows activity again after a stall."""
    CORRECTED = "corrected"
    """The provider has corrected the final status of the job."""


class Reason(StrEnum):
    """Why a poll failed; the `reason` label of `finetune_org_poll_errors_total`."""

    AUTH = "auth"
    NOT_ELIGIBLE = "not_eligible"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    MALFORMED = "malformed"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What went wrong with an organisation's API. The text contains no secrets."""

    reason: Reason
    text: str
    retry_after: float | None = None
    """Seconds that the provider asks to wait; None if it does not ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsRead:
    """The result of reading one job's event stream."""

    job: str
    events: tuple[JobEvent, ...]
    """Newest first, with at least all events that are not stored yet."""
    whole: bool
    """Whether every event that the provider has was read, back to the first."""
    span: int = 0
    """The number of events that a read goes through to find the new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one poll saw. If `trouble` cut it short, what it contains is still valid."""

    org: str
    at: datetime
    jobs: Sequence[Job] = ()
    """The jobs as the provider listed or returned them, without duplicates and without what their events show."""
    reads: tuple[EventsRead, ...] = ()
    unread: frozenset[str] = frozenset()
    """Jobs whose event streams were to be read and were not requested: the provider wants a pause, or time was up."""
    missing: frozenset[str] = frozenset()
    """Ids of active jobs for which the provider answers 404."""
    sizes: Mapping[str, TrainingSize] = field(default_factory=dict)
    """The sizes of training files that were read, by job id."""
    listed: bool = True
    """Whether the job list was read; False if only event streams or files were read."""
    complete: bool = True
    """Whether the list was read to its end or back to the lookback."""
    last: bool = True
    """Whether this is the last part of the poll; see `slices`."""
    provider_now: datetime | None = None
    """The time on the provider's clock; None if its answers do not give it."""
    settled_until: datetime | None = None
    """An earlier poll has seen every job that ended up to this moment, on the provider's clock."""
    curves: Mapping[str, Sequence[JobEvent]] = field(default_factory=dict)
    """The metrics and checkpoint events so far, by id of a job that has just ended."""
    usual: Mapping[str, Usual] = field(default_factory=dict)
    """How long recent jobs took, by model, for the models of jobs whose events were read."""
    disputed: Mapping[str, Tracked] = field(default_factory=dict)
    """Finalized jobs by id, as stored, that the provider now lists with another status."""
    shift: timedelta = timedelta(0)
    """How far the wall clock has jumped since the previous poll."""
    account: str | None = None
    """The provider's own id of the organisation that the jobs belong to; None if the jobs do not give it."""
    acquainted: bool = True
    """Whether a listed job is known, finalized or not."""
    trouble: Trouble | None = None

    @property
    def ids(self) -> Collection[str]:
        """The ids of the observed jobs."""
        return self.jobs.ids if isinstance(self.jobs, ManyJobs) else [job.id for job in self.jobs]

    def without(self, ids: Collection[str]) -> Observation:
        """The same observation without the jobs with these ids."""
        if isinstance(self.jobs, ManyJobs):
            return replace(self, jobs=self.jobs.without(ids))
        return replace(self, jobs=tuple(job for job in self.jobs if job.id not in ids))

    @property
    def quiet(self) -> bool:
        """Whether everything was read and nothing has changed, if the organisation was seen before."""
        whole = self.listed and self.complete and self.trouble is None
        return whole and not (self.jobs or self.reads or self.missing or self.sizes or self.disputed or self.shift)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """The provider lists a finished job with another status. After BELIEVED_AFTER polls it is believed."""

    status: Status
    polls: int
    at: datetime
    """The time of the latest poll that counts in `polls`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headway:
    """The progress of a running job. Its size is bounded, however many events there were."""

    rate: StepRate = field(default_factory=StepRate)
    finish: datetime | None = None
    """When the last step will be completed at that rate; None if the rate does not allow an estimate."""
    step_at: datetime | None = None
    """When the newest step was first seen, on the local clock."""
    promise: Promise | None = None
    """The expected finish that later estimates are compared with."""


class ManyJobs(Sequence[Job]):
    """More jobs than fit into one commit, oldest first, in a compact form. Each job is built on access."""

    @property
    @abstractmethod
    def ids(self) -> Collection[str]:
        """The ids of all jobs, without building the jobs."""

    @abstractmethod
    def without(self, ids: Collection[str]) -> ManyJobs:
        """All jobs except those with these ids."""


class Standing(Protocol):
    """The part of a job's state that each poll needs of all jobs."""

    @property
    def status(self) -> Status:
        """As in `Job`."""
        ...

    @property
    def summary_only(self) -> bool:
        """As in `Job`."""
        ...

    @property
    def gone(self) -> bool:
        """As in `Tracked`."""
        ...

    @property
    def active(self) -> bool:
        """As in `Tracked`."""
        ...

    @property
    def in_question(self) -> bool:
        """As in `Tracked`."""
        ...

    @property
    def unmeasured(self) -> bool:
        """As in `Tracked`."""
        ...

    @property
    def known_events(self) -> int:
        """As in `Tracked`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A job and the state of watching it."""

    job: Job
    seq: int
    """Number of the last transition, counted from 1."""
    since: datetime
    """When the job was first seen in its current status."""
    last_activity_at: datetime | None = None
    """The last activity: on the local clock if it was observed, otherwise as the provider gives it, if it does."""
    ran_at: datetime | None = None
    """When the job was seen to begin to run; None if it was not seen waiting before."""
    doubt: Doubt | None = None
    corrected: bool = False
    """Whether the final status was corrected once. A second correction is not believed."""
    stalled: bool = False
    """Whether a stall episode is open. Each episode is announced once, even if its reason changes."""
    stall: Stall | None = None
    """The open stall episode; None if there is none, or if an older version of the program began it."""
    headway: Headway | None = None
    """The progress; None for a job that never ran, is over, or has no known steps."""
    missing: int = 0
    """Consecutive polls in which the provider did not know the job."""
    paused: timedelta = timedelta(0)
    """Total duration of the pauses that are over."""
    size: TrainingSize | None = None
    finalized: bool = False
    """Whether the job is over and its last events are read, so that the provider is asked nothing more about it."""
    cost: Cost | None = None
    """An estimate while the job is active, if one is possible; after its end the final cost."""
    verdict: Verdict | None = None
    """What a succeeded job's training curve shows; None if it is healthy or not known."""
    recent_ids: RecentIds = NONE_YET
    """The ids of the newest stored events. They are stored with the events, not with the job."""

    @property
    def status(self) -> Status:
        """As in `Job`."""
        return self.job.status

    @property
    def summary_only(self) -> bool:
        """As in `Job`."""
        return self.job.summary_only

    @property
    def in_question(self) -> bool:
        """Whether the last poll did not find the job, or contradicted the status with which it ended."""
        return self.missing > 0 or self.doubt is not None

    @property
    def unmeasured(self) -> bool:
        """Whether the job is active and has a training file whose size is not known."""
        return self.active and self.size is None and self.job.tuning.training_file is not None

    @property
    def known_events(self) -> int:
        """The number of its latest events whose ids are known."""
        return len(self.recent_ids)

    @property
    def gone(self) -> bool:
        """Whether the provider no longer knows the job. It is still asked about it, at growing intervals."""
        return self.missing >= GONE_AFTER

    @property
    def active(self) -> bool:
        """Whether the job is neither over nor gone from the provider."""
        return not self.job.status.final and not self.gone

    @property
    def alive_at(self) -> datetime:
        """The moment from which silence is measured: the last activity, but not before the job was first seen."""
        return max(self.since, self.last_activity_at or self.since)

    def expected_finish(self, now: datetime) -> datetime | None:
        """When the job will finish: the provider's estimate, or else that by the rate of its steps; None without any.

        A provider's estimate that has passed is returned only if there is no other.
        """
        if not self.active:
            return None
        given, by_rate = self.job.estimated_finish, self.headway.finish if self.headway is not None else None
        if given is not None and (by_rate is None or given > now):
            return given
        return by_rate if by_rate is not None and by_rate > now else given

    @property
    def started_at(self) -> datetime | None:
        """When the job began to run: as the provider says, or else when it was observed."""
        return self.job.started_at or self.ran_at

    @property
    def computed_usd(self) -> Decimal | None:
        """The cost in US dollars unless it is an estimate or unknown."""
        return self.cost.computed if self.cost is not None else None

    @property
    def ended_at(self) -> datetime | None:
        """When the job ended: as the provider says, or else when it was observed.

        None for active jobs, and for those that had ended before they were first seen if the provider gives no time.
        """
        if not self.job.status.final:
            return None
        return self.job.finished_at or (self.since if self.seq > 1 else None)

    def ready_to_finalize(self, now: datetime) -> bool:
        """Whether the job has been over for long enough that its last events are there: they come up to 8 s late.

        If only the provider's list was read, which leaves out how the job ended, the wait is DETAIL_WAIT.
        """
        wait = DETAIL_WAIT if self.job.summary_only else SETTLE_AFTER
        return self.job.status.final and not self.finalized and abs(now - self.since) >= wait


class KeptJobs(Mapping[str, Tracked]):
    """Jobs by id in a compact form. Each job is built on access."""

    @abstractmethod
    def standings(self) -> Iterable[tuple[str, Standing]]:
        """The standing of every job by id, without building the jobs."""

    @abstractmethod
    def standing(self, id_: str) -> Standing | None:
        """The standing of one job, without building it; None if there is no such job."""

    @abstractmethod
    def of(self, kinds: Container[JobKind]) -> Mapping[str, Tracked]:
        """The jobs of these kinds."""


def standings(jobs: Mapping[str, Tracked]) -> Iterable[tuple[str, Standing]]:
    """The standing of every job by id, without building jobs that are in a compact form."""
    return jobs.standings() if isinstance(jobs, KeptJobs) else jobs.items()


def standing(jobs: Mapping[str, Tracked], id_: str) -> Standing | None:
    """The standing of one job, without building it if it is in a compact form; None if there is no such job."""
    return jobs.standing(id_) if isinstance(jobs, KeptJobs) else jobs.get(id_)


GONE_AFTER = 3
"""Consecutive polls without a job after which it counts as gone."""
SETTLE_AFTER = timedelta(seconds=10)
"""How long after the end of a job its last events are waited for."""
DETAIL_WAIT = timedelta(hours=1)
"""How long a provider that does not answer is asked for the details of a finished job."""
BELIEVED_AFTER = 3
"""Polls that must contradict the final status of a job before the new status is believed."""
DOUBT_GAP = timedelta(seconds=30)
"""The least time between two such polls: a gateway's cache or a stale replica may answer with an old status."""
SLICE = 250
"""The most jobs in one commit, which bounds memory and the size of a transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The stored state of one organisation. Version 0 means that it was never seen."""

    org: str
    version: int = 0
    jobs: Mapping[str, Tracked] = field(default_factory=dict)
    """Active jobs, and finished ones that are not finalized, by id."""
    final: Mapping[str, Status] = field(default_factory=dict)
    """The statuses of finalized jobs by id. The provider is asked nothing more about them."""
    horizon: datetime | None = None
    """Unknown jobs that ended at or before this moment, on the provider's clock, are history and not news."""
    partial: bool = False
    """Whether only a part of the first sight is stored. The rest of it is history too."""
    place: str | None = None
    """Identifies the list of jobs that was read: provider, address, account, project. None if that was never stored."""
    lists: Mapping[str, str] = field(default_factory=dict)
    """The lists of jobs that were stored when ids did not name them yet, by id; see `stored_id`."""

    @property
    def first_sight(self) -> bool:
        """Whether the organisation is seen for the first time: its current jobs are a baseline and not news."""
        return self.version == 0 or self.partial

    def has(self, job_id: str) -> bool:
        """Whether a job is known, finalized or not."""
        return job_id in self.jobs or job_id in self.final

    def moved(self, place: str | None, seen: Observation) -> bool:
        """Whether an observation is of another list than the one that was read before.

        A known job among the listed ones shows that it is the same list, however its place is written now.
        """
        return place is not None and self.place not in (None, place) and seen.listed and not seen.acquainted

    def of(self, kinds: Container[JobKind]) -> Known:
        """The same without jobs of kinds that are no longer watched, which stay stored unchanged."""
        if all(kind_of(id_) in kinds for id_ in self.jobs):
            return self
        if isinstance(self.jobs, KeptJobs):
            return replace(self, jobs=self.jobs.of(kinds))
        return replace(self, jobs={id_: one for id_, one in self.jobs.items() if kind_of(id_) in kinds})


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One change of a job. Notifications, counters and cards are derived from it."""

    org: str
    job: str
    seq: int
    at: datetime
    kind: TransitionKind
    before: Status | None
    after: Status
    resumed: bool = False
    """Whether the job runs or queues again after a pause."""
    restarted: bool = False
    """Whether the job had started before, so that RUNNING is not its start."""

    @property
    def subject(self) -> Subject:
        """The job as the subject of news."""
        return job_subject(self.org, self.job)

    @property
    def id(self) -> str:
        """`ORG/JOB_ID/SEQ`, which every replica computes alike for the same transition."""
        return f"{self.subject.key}/{self.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterIncrement:
    """An increment of a stored counter. Amounts are whole numbers: counts, milliseconds or nano-dollars."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Everything that one decision changes, committed in one transaction."""

    org: str
    based_on: int
    """The version of the known state that the decision was made on."""
    at: datetime
    tracked: tuple[Tracked, ...] = ()
    events: tuple[JobEvent, ...] = ()
    transitions: tuple[Transition, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    cards: tuple[CardChange, ...] = ()
    counters: tuple[CounterIncrement, ...] = ()
    spendings: tuple[Spending, ...] = ()
    """Final costs that became known, including those of the baseline."""
    tuned: tuple[TunedModel, ...] = ()
    """Fine-tuned models that the jobs have produced."""
    horizon: datetime | None = None
    """The new `Known.horizon`; None if it stays."""
    more: bool = False
    """Whether further changes of the same first sight follow."""
    completes: bool = False
    """Whether it completes a first sight of which a part was stored before."""
    place: str | None = None
    """The new `Known.place`; None if it stays."""

    def outline(self) -> Change:
        """A copy without the written rows, so that the rows of many changes are not kept in memory."""
        return replace(self, tracked=(), events=(), deliveries=(), cards=(), counters=(), spendings=(), tuned=())

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write. The first sight of an organisation and its completion are never empty."""
        written = (
            self.completes,
            self.place,
            self.tracked,
            self.events,
            self.transitions,
            self.deliveries,
            self.spendings,
            self.tuned,
        )
        return self.based_on > 0 and not any(written)
