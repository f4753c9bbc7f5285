"""The daemon's JSON answers as values: unknown keys are ignored, impossible values raise an error.

A daemon may be newer than this program, so statuses, kinds and classes are plain text here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from monitor.domain.model import Basis, Batch, Cost, Status, TokenCount

Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[int, Meta(ge=0, le=10**10)]

FINAL: Final = frozenset(status.value for status in Status if status.final)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON object of the daemon."""

    def __post_init__(self) -> None:
        """Check the fields: times must be UTC, and amounts must be plausible amounts of money. Raises ValueError."""
        for name in self.__struct_fields__:
            match getattr(self, name):
                case datetime() as at if at.utcoffset() != timedelta(0):
                    raise ValueError("a time is not UTC")
                case Decimal() as usd if usd and not (usd.is_finite() and -12 <= usd.adjusted() < 12):
                    raise ValueError("not an amount of money")


class Page(Answer, frozen=True, kw_only=True):
    """One page of a list."""

    data: list[dict[str, Any]]
    next: str | None = None


class Single(Answer, frozen=True, kw_only=True):
    """A single object."""

    data: dict[str, Any]


class Price(Answer, frozen=True, kw_only=True):
    """The cost of a job in US dollars."""

    basis: str = Basis.UNKNOWN.value
    usd: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None

    @property
    def cost(self) -> Cost:
        """The cost as a value of the domain."""
        if self.usd is None:
            return Cost(basis=Basis.UNKNOWN)
        basis = Basis.COMPUTED if self.basis in ("computed", "reported") else Basis.ESTIMATED
        return Cost(basis=basis, usd=self.usd, low=self.low, high=self.high)


class JobError(Answer, frozen=True, kw_only=True):
    """Why a job failed."""

    code: str | None = None
    message: str | None = None
    param: str | None = None
    cls: str | None = msgspec.field(name="class", default=None)
    hint: str | None = None
    retryable: bool | None = None


class Stall(Answer, frozen=True, kw_only=True):
    """Why a job counts as stalled."""

    reason: str
    since: Moment


class Verdict(Answer, frozen=True, kw_only=True):
    """How a job's training went."""

    text: str
    best_step: Count | None = None
    best_checkpoint: str | None = None


class Requests(Answer, frozen=True, kw_only=True):
    """The progress of a batch's requests."""

    total: Count | None = None
    completed: Count | None = None
    failed: Count | None = None


class Tokens(Answer, frozen=True, kw_only=True):
    """The tokens of a batch's requests."""

    input: Count = 0
    cached_input: Count = 0
    output: Count = 0


class BatchDetails(Answer, frozen=True, kw_only=True):
    """The part of a batch that fine-tuning jobs do not have."""

    endpoint: str | None = None
    requests: Requests = Requests()
    tokens: Tokens | None = None
    input_file: str | None = None
    output_file: str | None = None
    error_file: str | None = None
    expires_at: Moment | None = None

    @property
    def batch(self) -> Batch:
        """The details as a value of the domain."""
        tokens = self.tokens
        return Batch(
            endpoint=self.endpoint,
            total=self.requests.total,
            completed=self.requests.completed,
            failed=self.requests.failed,
            input_file=self.input_file,
            output_file=self.output_file,
            error_file=self.error_file,
            expires_at=self.expires_at,
            tokens=TokenCount(input=tokens.input, cached_input=tokens.cached_input, output=tokens.output)
            if tokens is not None
            else None,
        )


class Job(Answer, frozen=True, kw_only=True):
    """A job or a batch, as lists have it."""

    id: str
    org: str
    status: str
    provider: str = ""
    name: str | None = None
    model: str = ""
    base_model: str = ""
    method: str = ""
    fine_tuned_model: str | None = None
    created_at: Moment | None = None
    started_at: Moment | None = None
    finished_at: Moment | None = None
    estimated_finish: Moment | None = None
    since: Moment | None = None
    """When the daemon first saw it in this status."""
    queue_seconds: Seconds | None = None
    run_seconds: Seconds | None = None
    trained_tokens: Count | None = None
    batch: BatchDetails | None = None
    progress: Annotated[float, Meta(ge=0, le=1)] | None = None
    cost: Price = Price()
    error: JobError | None = None
    stalled: bool = False
    stall: Stall | None = None
    verdict: Verdict | None = None
    gone: bool = False
    """Whether the provider no longer knows it."""
    hyperparameters: dict[str, str] = {}
    seed: int | None = None
    labels: dict[str, str] = {}
    metadata: dict[str, str] = {}
    url: str | None = None
    monitor_url: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it succeeded, failed or was cancelled."""
        return self.status in FINAL

    @property
    def shown_status(self) -> str:
        """The status, or `gone`."""
        return "gone" if self.gone else self.status

    def run_time(self, now: datetime) -> timedelta | None:
        """How long it ran or has been running; None if its start is unknown."""
        if self.run_seconds is not None:
            return timedelta(seconds=self.run_seconds)
        if self.started_at is None or self.ended:
            return None
        return max(now - self.started_at, timedelta(0))


class Transition(Answer, frozen=True, kw_only=True):
    """A change of a job."""

    seq: Count
    kind: str
    before: str | None = msgspec.field(name="from", default=None)
    after: str = msgspec.field(name="to")
    observed_at: Moment


class Delivery(Answer, frozen=True, kw_only=True):
    """A notification for one notifier."""

    key: str
    notifier: str = ""
    seq: Count = 0
    state: str = ""
    attempts: Count = 0
    title: str = ""
    created_at: Moment | None = None
    due_at: Moment | None = None
    settled_at: Moment | None = None
    reason: str | None = None
    answer: str | None = None
    """The receiver's last answer: the status code and the beginning of the text."""
    new: bool = False
    """In the answer to a replay: whether this notifier was not sent it before."""


class JobDetails(Job, frozen=True, kw_only=True):
    """A job with its history."""

    transitions: list[Transition] = []
    deliveries: list[Delivery] = []


class Requeued(Answer, frozen=True, kw_only=True):
    """The number of dead letters that were requeued."""

    requeued: Count


class Replayed(Answer, frozen=True, kw_only=True):
    """What a replay enqueued, or would enqueue."""

    again: Count
    new: Count
    waiting: Count
    deliveries: list[Delivery]


class Metrics(Answer, frozen=True, kw_only=True):
    """The metrics of one step."""

    step: Count | None = None
    steps: Count | None = None
    train_loss: float | None = None
    valid_loss: float | None = None
    train_accuracy: float | None = None
    valid_accuracy: float | None = None
    train_reward: float | None = None
    valid_reward: float | None = None


class Event(Answer, frozen=True, kw_only=True):
    """One event of a job."""

    at: Moment | None = None
    metrics: Metrics | None = None


class Trouble(Answer, frozen=True, kw_only=True):
    """Why polls or imports fail."""

    reason: str
    text: str = ""


class CostRecords(Answer, frozen=True, kw_only=True):
    """The state of the import of an organisation's billed costs."""

    last_success: Moment | None = None
    trouble: Trouble | None = None


class Org(Answer, frozen=True, kw_only=True):
    """An organisation and its health."""

    org: str
    provider: str = ""
    labels: dict[str, str] = {}
    up: bool | None = None
    """None before the first poll."""
    last_success: Moment | None = None
    next_poll_at: Moment | None = None
    trouble: Trouble | None = None
    books: CostRecords | None = None


class Budget(Answer, frozen=True, kw_only=True):
    """A budget and what was spent of it."""

    name: str
    limit: Decimal
    spent: Decimal
    ratio: float
    period_end: Moment | None = None


class TunedModel(Answer, frozen=True, kw_only=True):
    """A fine-tuned model and its shutdown date."""

    org: str
    id: str
    base_model: str = ""
    shutdown_date: str | None = None
    days_left: int | None = None
    listed: bool = True
    """Whether the provider still lists it."""


class Amounts(Answer, frozen=True, kw_only=True):
    """The costs of a day by purpose, in US dollars."""

    training: Decimal | None = None
    use: Decimal | None = None
    hosting: Decimal | None = None
    other: Decimal | None = None


class DailyCosts(Answer, frozen=True, kw_only=True):
    """The costs of one organisation on one UTC day: computed by the daemon, and billed by the provider."""

    org: str
    day: str
    settled: bool = True
    computed: Amounts
    billed: Amounts
    unpriced: Count = 0
