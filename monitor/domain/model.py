"""Fine-tuning jobs, batches of requests and their events, in one language for all providers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """Where a job is. What a provider says that is not in its table is UNKNOWN, which is not final."""

    VALIDATING = "validating"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def final(self) -> bool:
        """Whether the job is over: a final status never changes again."""
        return self in _FINAL


_FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})


class Method(StrEnum):
    """How a model is tuned; a closed set, because it is a metric label."""

    SUPERVISED = "supervised"
    DPO = "dpo"
    REINFORCEMENT = "reinforcement"
    UNKNOWN = "unknown"


class EventKind(StrEnum):
    """What an event of a job's stream is about, whatever words the provider chose."""

    MESSAGE = "message"
    METRICS = "metrics"
    STARTED = "started"
    CHECKPOINT = "checkpoint"
    MODERATION = "moderation"


class Basis(StrEnum):
    """Where a cost comes from: guessed before the end, computed from trained tokens or hours, the vendor's own figure
    for the job, or not to be had.
    """

    ESTIMATED = "estimated"
    COMPUTED = "computed"
    REPORTED = "reported"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a job's training costs, in US dollars. `usd` is None exactly when the basis is UNKNOWN."""

    basis: Basis
    usd: Decimal | None = None
    low: Decimal | None = None
    """Of an estimate that rests on a guess, the least and the most it may be."""
    high: Decimal | None = None

    @property
    def computed(self) -> Decimal | None:
        """The amount, where it is no estimate."""
        return self.usd if self.basis in (Basis.COMPUTED, Basis.REPORTED) else None


UNKNOWN_COST = Cost(basis=Basis.UNKNOWN)


class JobKind(StrEnum):
    """What a job does: tune a model, or answer a file of requests."""

    FINE_TUNING = "fine_tuning"
    BATCH = "batch"


BATCH_PREFIX: Final = "batch:"
"""What the ids of batches begin with here, so that none is that of a fine-tuning job, which may not begin so."""


def kind_of(job_id: str) -> JobKind:
    """What the job with this id does."""
    return JobKind.BATCH if job_id.startswith(BATCH_PREFIX) else JobKind.FINE_TUNING


def provider_id(job_id: str) -> str:
    """The id of a job or batch as its provider has it."""
    return job_id.removeprefix(BATCH_PREFIX)


class FailureClass(StrEnum):
    """Who can fix a failure; the `reason` label of `finetune_job_failures_total`."""

    FILE = "data"
    MODERATION = "moderation"
    PROVIDER = "provider"
    QUOTA = "quota"
    PERMISSION = "permission"
    SETTINGS = "settings"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed, in the provider's words (bounded in length, cleared of secrets)."""

    code: str | None = None
    message: str | None = None
    param: str | None = None
    failure: FailureClass | None = None
    """What the vendor's documentation says of this code; None where it says nothing."""
    hint: str | None = None
    """What to do next, where the code says more than its class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """One measurement of a training run; None is what it did not say. No field is ever NaN or infinite."""

    step: int | None = None
    steps: int | None = None
    train_loss: float | None = None
    valid_loss: float | None = None
    train_accuracy: float | None = None
    valid_accuracy: float | None = None
    train_reward: float | None = None
    valid_reward: float | None = None
    loop_seconds: float | None = None
    """Seconds this step took in the core training loop (reinforcement: the billed time)."""
    lost: bool = False
    """The training loss was told, and it is no finite number: `train_loss` is None then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A state of the model that was kept, and can be used or gone on from."""

    step: int
    name: str
    """As the provider calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What the event stream has shown of a job's training so far."""

    started_at: datetime | None = None
    last_event_at: datetime | None = None
    latest: Metrics = Metrics()
    """The newest value of each field, each from the last event that had it."""
    loop_seconds: float = 0.0
    """Sum over the steps; 0.0 where the provider gives no times."""
    counted_step: int = 0
    """The last step that was reported."""
    timed_steps: int = 0
    """How many of the reported steps have their seconds in `loop_seconds`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSize:
    """How much a training file holds. Tokens are those of one epoch, and between `low` and `high` where not `exact`."""

    tokens: int
    low: int
    high: int
    examples: int | None
    """None where only the length of the file is known."""
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """Tokens of requests to a model. The three are disjoint: `input` is without what came from the cache."""

    input: int = 0
    cached_input: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a batch has that a fine-tuning job lacks. None is what its provider does not tell, or not yet."""

    endpoint: str | None = None
    """Where its requests are for, or how they are made: `/v1/responses`, `InvokeModel`."""
    total: int | None = None
    """How many requests it has."""
    completed: int | None = None
    """How many are answered."""
    failed: int | None = None
    """How many were refused."""
    input_file: str | None = None
    output_file: str | None = None
    """Where the answers are: an id, or an address."""
    error_file: str | None = None
    """Where it says which requests were refused, and why."""
    expires_at: datetime | None = None
    """When it fails, unless it is over by then."""
    tokens: TokenCount | None = None

    @property
    def progress(self) -> float | None:
        """Requests that are answered or refused, of all of them, 0 to 1."""
        done = (self.completed or 0) + (self.failed or 0)
        return min(done / self.total, 1.0) if self.total else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A fine-tuning job or a batch as last seen. Times are aware UTC; absent is None, never 0."""

    org: str
    id: str
    """The provider's id; of a batch, BATCH_PREFIX and the provider's id."""
    provider: str
    model: str
    method: Method
    status: Status
    raw_status: str = ""
    """The provider's own word, for people; bounded in length."""
    name: str | None = None
    base_model: str = ""
    """What `model` was tuned from, where that is itself a tuned model."""
    fine_tuned_model: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    taken_up_at: datetime | None = None
    """When it left the vendor's queue, be it only to wait for capacity: its start where nobody knows a better one."""
    finished_at: datetime | None = None
    estimated_finish: datetime | None = None
    trained_tokens: int | None = None
    """Billable tokens of the whole run: already tokens times epochs."""
    epochs: int | None = None
    hyperparameters: dict[str, str] = field(default_factory=dict, compare=False)
    """What the training was set to, by the vendor's names. That they become known is no change of the job."""
    seed: int | None = field(default=None, compare=False)
    training_file: str | None = None
    validation_file: str | None = None
    result_files: tuple[str, ...] = ()
    error: JobError | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    shared: bool = False
    """Its training data is shared with the provider, who asks less for the use of some tuned models then."""
    url: str | None = None
    tier: str | None = None
    """In which of the vendor's price tiers it trains, where there are several."""
    reported_usd: Decimal | None = None
    """The vendor's own figure of what the job cost, or will have cost where it is not over."""
    reported_progress: float | None = None
    """The vendor's own figure, 0 to 1; where there are steps, those count."""
    training: Training = Training()
    summary_only: bool = False
    """It is over, and only its provider's list was read, which leaves out how it ended: it is still to be asked for."""
    batch: Batch | None = None
    """What it is where it is a batch; then it trains nothing, and what there is to say of training is absent."""

    @property
    def kind(self) -> JobKind:
        """What it does."""
        return JobKind.FINE_TUNING if self.batch is None else JobKind.BATCH

    @property
    def provider_id(self) -> str:
        """Its id as its provider has it."""
        return provider_id(self.id)

    @property
    def base(self) -> str:
        """The model that was trained, or what that was tuned from: the name that has a price."""
        return self.base_model or self.model

    @property
    def progress(self) -> float | None:
        """Steps done of all steps, or requests of all, 0 to 1; None until both are known.

        A job that succeeded has done them all.
        """
        done, total = self.training.latest.step, self.training.latest.steps
        if self.status is Status.SUCCEEDED:
            return 1.0
        if self.batch is not None:
            return self.batch.progress
        return min(done / total, 1.0) if done is not None and total else self.reported_progress

    @property
    def queue_time(self) -> timedelta | None:
        """Created to started, never negative."""
        return span(self.created_at, self.started_at)

    @property
    def total_time(self) -> timedelta | None:
        """Created to finished, never negative."""
        return span(self.created_at, self.finished_at)

    @property
    def run_time(self) -> timedelta | None:
        """Started to finished, never negative."""
        return span(self.started_at, self.finished_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One line of a job's event stream. `id` is the provider's, or a hash of the content where it gives none."""

    org: str
    job: str
    id: str
    at: datetime | None
    level: str
    """`info`, `warn` or `error`; anything else was made `info` at the border."""
    message: str
    kind: EventKind = EventKind.MESSAGE
    metrics: Metrics | None = None
    checkpoint: Checkpoint | None = None


LONGEST = timedelta(days=366)
"""No job takes longer: one of the two times is nonsense then, such as the second after 1970 began."""


def span(start: datetime | None, end: datetime | None) -> timedelta | None:
    """From one moment to another, never negative; None where that cannot be known."""
    if start is None or end is None or end - start > LONGEST:
        return None
    return max(end - start, timedelta(0))
