"""Fine-tuning jobs, batches of requests and their events, in the same terms for all providers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """The status of a job. A provider's status that is in no table is UNKNOWN, which is not final."""

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
    """The method of fine-tuning. It is a metric label, and therefore a closed set."""

    SUPERVISED = "supervised"
    DPO = "dpo"
    REINFORCEMENT = "reinforcement"
    UNKNOWN = "unknown"


class EventKind(StrEnum):
    """What an event of a job's stream is about, independent of the provider's wording."""

    MESSAGE = "message"
    METRICS = "metrics"
    STARTED = "started"
    CHECKPOINT = "checkpoint"
    MODERATION = "moderation"


class Basis(StrEnum):
    """Where a cost comes from."""

    ESTIMATED = "estimated"
    """Estimated before the end of the job."""
    COMPUTED = "computed"
    """Computed from trained tokens or hours and a price."""
    REPORTED = "reported"
    """The provider's own figure for the finished job."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of a job in US dollars. `usd` is None exactly when the basis is UNKNOWN."""

    basis: Basis
    usd: Decimal | None = None
    low: Decimal | None = None
    """The lower bound of an estimate that rests on an inexact training size; otherwise None."""
    high: Decimal | None = None
    """The upper bound, given together with `low`."""

    @property
    def computed(self) -> Decimal | None:
        """The amount in US dollars unless it is an estimate."""
        return self.usd if self.basis in (Basis.COMPUTED, Basis.REPORTED) else None


UNKNOWN_COST = Cost(basis=Basis.UNKNOWN)


class JobKind(StrEnum):
    """Whether a job fine-tunes a model or answers a file of requests."""

    FINE_TUNING = "fine_tuning"
    BATCH = "batch"


BATCH_PREFIX: Final = "batch:"
"""The prefix of batch ids inside the program, which keeps them apart from the ids of fine-tuning jobs."""
PREFIXES: Final = (BATCH_PREFIX, *(f"{method}:" for method in Method))
"""The possible prefixes of our ids."""


def kind_of(job_id: str) -> JobKind:
    """The kind of the job with this id."""
    return JobKind.BATCH if job_id.startswith(BATCH_PREFIX) else JobKind.FINE_TUNING


def provider_id(job_id: str) -> str:
    """The provider's own id of a job or batch."""
    return job_id.removeprefix(BATCH_PREFIX)


def stored_id(listed: str, lists: Mapping[str, str]) -> str:
    """Our id of a job, given the one that names its list.

    `lists` has the lists of jobs that were stored when ids did not name them yet, by id: these keep their ids. A job of
    another list with the same id at the provider names its list even if that is the usual one.
    """
    method, _, bare = listed.rpartition(":")
    if bare not in lists:
        return listed
    return bare if method == lists[bare] else f"{method or Method.SUPERVISED}:{bare}"


def listed_id(stored: str, lists: Mapping[str, str]) -> str:
    """The id that names a job's list, given our id: the inverse of `stored_id`."""
    if stored in lists:
        return f"{lists[stored]}:{stored}"
    method, _, bare = stored.rpartition(":")
    return bare if method == Method.SUPERVISED and bare in lists else stored


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
    """Why a job failed, in the provider's words, bounded in length and without secrets."""

    code: str | None = None
    message: str | None = None
    param: str | None = None
    failure: FailureClass | None = None
    """The class of this code according to the vendor's documentation; None if it does not mention the code."""
    hint: str | None = None
    """What to do next, if that is more specific than the hint of its class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """One measurement of a training run. Missing fields are None; no field is ever NaN or infinite."""

    step: int | None = None
    steps: int | None = None
    train_loss: float | None = None
    valid_loss: float | None = None
    train_accuracy: float | None = None
    valid_accuracy: float | None = None
    train_reward: float | None = None
    valid_reward: float | None = None
    loop_seconds: float | None = None
    """Seconds that this step took in the core training loop, which is the billed time of reinforcement jobs."""
    lost: bool = False
    """Whether the reported training loss is not finite; `train_loss` is None then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A state of the model that was saved during training and can be used, or trained further."""

    step: int
    name: str
    """The provider's name of the checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What the events of a job have shown of its training so far."""

    started_at: datetime | None = None
    last_event_at: datetime | None = None
    latest: Metrics = Metrics()
    """The newest value of each field, each from the last event that had it."""
    loop_seconds: float = 0.0
    """Sum of the steps' `loop_seconds`; 0.0 if the provider gives none."""
    counted_step: int = 0
    """The last step that was reported."""
    timed_steps: int = 0
    """Number of reported steps whose seconds are included in `loop_seconds`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSize:
    """The size of a training file, in tokens of one epoch. If it is not exact, it lies between `low` and `high`."""

    tokens: int
    low: int
    high: int
    examples: int | None
    """Number of examples; None if only the length of the file is known."""
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """Token counts of requests to a model. They are disjoint: `input` excludes cached tokens."""

    input: int = 0
    cached_input: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuning:
    """The part of a job that only fine-tuning jobs have. A field is None if it is unknown."""

    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    """Billable tokens of the whole run, with the epochs already multiplied in."""
    epochs: int | None = None
    hyperparameters: dict[str, str] = field(default_factory=dict, compare=False)
    """Hyperparameters by the vendor's names. Like `seed`, they do not count as a change of the job."""
    seed: int | None = field(default=None, compare=False)
    training_file: str | None = None
    validation_file: str | None = None
    result_files: tuple[str, ...] = ()
    shared: bool = False
    """Whether its training data is shared with the provider, which lowers the price of using some models."""
    tier: str | None = None
    """The provider's price tier of the training, if it has several."""


NO_TUNING: Final = FineTuning()
"""The fine-tuning part of batches, and of jobs of which only an outline is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The part of a job that only batches have. A field is None if the provider does not give it, or not yet."""

    endpoint: str | None = None
    """The endpoint or operation of its requests, such as `/v1/responses` or `InvokeModel`."""
    total: int | None = None
    """Number of requests."""
    completed: int | None = None
    """Number of requests that were answered."""
    failed: int | None = None
    """Number of requests that failed."""
    input_file: str | None = None
    output_file: str | None = None
    """The id or address of the file with the answers."""
    error_file: str | None = None
    """The id or address of the file with the errors of failed requests."""
    expires_at: datetime | None = None
    """When the batch fails if it is not over by then."""
    tokens: TokenCount | None = None

    @property
    def progress(self) -> float | None:
        """The fraction of requests that were answered or failed, 0 to 1; None if the total is unknown."""
        done = (self.completed or 0) + (self.failed or 0)
        return min(done / self.total, 1.0) if self.total else None


_NONE: Final[dict[str, str]] = {}
_SOME_BATCH: Final = Batch()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A fine-tuning job or a batch as last seen: what both have, and `tuning` or `batch` for what only one has.

    Times are aware and in UTC; unknown values are None, never 0.
    """

    org: str
    id: str
    """The provider's id, for a batch with BATCH_PREFIX before it, and with the method and a colon before it if the
    provider may use the same id on several lists."""
    provider: str
    model: str
    method: Method
    status: Status
    raw_status: str = ""
    """The provider's own word for the status, for display; bounded in length."""
    name: str | None = None
    base_model: str = ""
    """The base of `model` if that is itself a fine-tuned model, otherwise empty."""
    created_at: datetime | None = None
    started_at: datetime | None = None
    taken_up_at: datetime | None = None
    """When the job left the provider's queue, even if it then waited for capacity. It replaces an unknown start."""
    finished_at: datetime | None = None
    estimated_finish: datetime | None = None
    error: JobError | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    url: str | None = None
    """The job's page in the provider's console."""
    reported_usd: Decimal | None = None
    """The provider's own figure for the cost, in US dollars; the expected total while the job is active."""
    reported_progress: float | None = None
    """The provider's own figure for the progress, 0 to 1. It is used only if steps are unknown."""
    training: Training = Training()
    summary_only: bool = False
    """Whether the job is over, but only the provider's list was read, which leaves out how it ended."""
    tuning: FineTuning = NO_TUNING
    batch: Batch | None = None
    """The details of a batch; None for a fine-tuning job."""

    def outline(self, id_: str) -> Job:
        """A copy with only the fields that are needed of a finalized job, at a tenth of its size.

        `id_` is the same id as it is in memory already.
        """
        if self.metadata is _NONE:
            return self
        return Job(
            org=sys.intern(self.org),
            id=id_,
            provider=sys.intern(self.provider),
            model=sys.intern(self.model),
            method=self.method,
            status=self.status,
            created_at=self.created_at,
            finished_at=self.finished_at,
            metadata=_NONE,
            batch=_SOME_BATCH if self.batch is not None else None,
        )

    @property
    def result_model(self) -> str | None:
        """The fine-tuned model once it exists: some servers name it already when the job is created."""
        return self.tuning.fine_tuned_model if self.status is Status.SUCCEEDED else None

    @property
    def kind(self) -> JobKind:
        """Whether it is a fine-tuning job or a batch."""
        return JobKind.FINE_TUNING if self.batch is None else JobKind.BATCH

    @property
    def provider_id(self) -> str:
        """The provider's own id."""
        return provider_id(self.id).removeprefix(f"{self.method}:")

    @property
    def base(self) -> str:
        """The base model: `model`, or what that was tuned from. Prices are by this name."""
        return self.base_model or self.model

    @property
    def progress(self) -> float | None:
        """The fraction of steps or requests that are done, 0 to 1; None if it is unknown. 1 for a succeeded job."""
        done, total = self.training.latest.step, self.training.latest.steps
        if self.status is Status.SUCCEEDED:
            return 1.0
        if self.batch is not None:
            return self.batch.progress
        return min(done / total, 1.0) if done is not None and total else self.reported_progress

    @property
    def queue_time(self) -> timedelta | None:
        """The time from creation to start, never negative; None if it is unknown."""
        return span(self.created_at, self.started_at)

    @property
    def total_time(self) -> timedelta | None:
        """The time from creation to the end, never negative; None if it is unknown."""
        return span(self.created_at, self.finished_at)

    @property
    def run_time(self) -> timedelta | None:
        """The time from start to the end, never negative; None if it is unknown."""
        return span(self.started_at, self.finished_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One event of a job's event stream."""

    org: str
    job: str
    id: str
    """The provider's id, or a hash of the content if it gives none."""
    at: datetime | None
    level: str
    """`info`, `warn` or `error`. Other levels of a provider are read as `info`."""
    message: str
    kind: EventKind = EventKind.MESSAGE
    metrics: Metrics | None = None
    checkpoint: Checkpoint | None = None


LONGEST = timedelta(days=366)
"""Longer durations are ignored, because one of the two times must be wrong, such as a second after 1970 began."""


def span(start: datetime | None, end: datetime | None) -> timedelta | None:
    """The time between two moments, never negative; None if one is unknown or it is longer than LONGEST."""
    if start is None or end is None or end - start > LONGEST:
        return None
    return max(end - start, timedelta(0))
