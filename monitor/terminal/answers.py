"""What the daemon's JSON API says, as values: what is not known here is passed over, what is impossible refused.

A daemon may be newer than this program, so that its words (statuses, kinds, classes) are text and no closed sets.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

from monitor.domain.model import Basis, Cost, Status

T = TypeVar("T")
Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[int, Meta(ge=0, le=10**10)]

FINAL: Final = frozenset(status.value for status in Status if status.final)
_LARGEST: Final = 12  # digits before the point
_SMALLEST: Final = -12


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON object of the daemon."""

    def __post_init__(self) -> None:
        """Refuse times that are not UTC: at the edges of the calendar others cannot be converted. Raises ValueError."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, datetime) and value.utcoffset() != timedelta(0):
                raise ValueError("a time is not UTC")


class Page(Said, Generic[T], frozen=True, kw_only=True):
    """One page of a list."""

    data: list[T]
    next: str | None = None


class One(Said, Generic[T], frozen=True, kw_only=True):
    """A single object."""

    data: T


class Price(Said, frozen=True, kw_only=True):
    """What a job costs, in US dollars."""

    basis: str = Basis.UNKNOWN.value
    usd: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None

    def __post_init__(self) -> None:
        """Refuse what is no amount of money. Raises ValueError."""
        for amount in (self.usd, self.low, self.high):
            if amount and not (amount.is_finite() and _SMALLEST <= amount.adjusted() < _LARGEST):
                raise ValueError("not an amount of money")

    @property
    def cost(self) -> Cost:
        """The same as the rest of the program knows it."""
        if self.usd is None:
            return Cost(basis=Basis.UNKNOWN)
        basis = Basis.COMPUTED if self.basis == Basis.COMPUTED else Basis.ESTIMATED
        return Cost(basis=basis, usd=self.usd, low=self.low, high=self.high)


class Failure(Said, frozen=True, kw_only=True):
    """Why a job failed."""

    code: str | None = None
    message: str | None = None
    param: str | None = None
    cls: str | None = msgspec.field(name="class", default=None)
    hint: str | None = None
    retryable: bool | None = None


class Job(Said, frozen=True, kw_only=True):
    """A job as it is listed."""

    id: str
    org: str
    status: str
    provider: str = ""
    name: str | None = None
    model: str = ""
    method: str = ""
    fine_tuned_model: str | None = None
    created_at: Moment | None = None
    started_at: Moment | None = None
    finished_at: Moment | None = None
    estimated_finish: Moment | None = None
    since: Moment | None = None
    queue_seconds: Seconds | None = None
    run_seconds: Seconds | None = None
    trained_tokens: Count | None = None
    progress: Annotated[float, Meta(ge=0, le=1)] | None = None
    cost: Price = Price()
    error: Failure | None = None
    stalled: bool = False
    labels: dict[str, str] = {}
    metadata: dict[str, str] = {}
    url: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.status in FINAL

    def ran(self, now: datetime) -> timedelta | None:
        """How long it ran, or has been running by now; None where it did not start or that is not known."""
        if self.run_seconds is not None:
            return timedelta(seconds=self.run_seconds)
        if self.started_at is None or self.ended:
            return None
        return max(now - self.started_at, timedelta(0))


class Transition(Said, frozen=True, kw_only=True):
    """A change of a job."""

    seq: Count
    kind: str
    before: str | None = msgspec.field(name="from", default=None)
    after: str = msgspec.field(name="to")
    observed_at: Moment


class Delivery(Said, frozen=True, kw_only=True):
    """What was told of a job, or is about to be."""

    key: str
    notifier: str
    seq: Count
    state: str
    type: str = ""
    title: str = ""
    attempts: Count = 0
    created_at: Moment | None = None
    due_at: Moment | None = None
    settled_at: Moment | None = None
    reason: str | None = None
    answer: str | None = None

    @property
    def why(self) -> str:
        """The reason and what the receiver answered; empty where there is neither."""
        return ": ".join(filter(None, (self.reason, self.answer)))


class JobFile(Job, frozen=True, kw_only=True):
    """A job and what became of it."""

    transitions: list[Transition] = []
    deliveries: list[Delivery] = []


class Requeued(Said, frozen=True, kw_only=True):
    """How many dead letters wait again."""

    requeued: Count


class Letter(Said, frozen=True, kw_only=True):
    """An envelope of a replay."""

    key: str
    title: str = ""
    new: bool = False
    """There was none for this notifier before."""


class Replayed(Said, frozen=True, kw_only=True):
    """What a replay did, or would do."""

    again: Count
    new: Count
    waiting: Count
    deliveries: list[Letter]


class Metrics(Said, frozen=True, kw_only=True):
    """One measurement."""

    step: Count | None = None
    steps: Count | None = None
    train_loss: float | None = None
    valid_loss: float | None = None
    train_accuracy: float | None = None
    valid_accuracy: float | None = None
    train_reward: float | None = None
    valid_reward: float | None = None


class Event(Said, frozen=True, kw_only=True):
    """One line of a job's event stream."""

    at: Moment | None = None
    level: str = "info"
    message: str = ""
    metrics: Metrics | None = None


class Org(Said, frozen=True, kw_only=True):
    """An organisation."""

    org: str


LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
