"""Cost records (training, usage and bill) and fine-tuned models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from monitor.domain.model import Method, TokenCount


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The computed or reported cost of one fine-tuning job, recorded once. Never an estimate."""

    org: str
    job: str
    provider: str
    model: str
    method: Method
    at: datetime
    """When the job ended; if that is unknown, when it started, or else when it was created."""
    usd: Decimal
    base_model: str = ""
    fine_tuned_model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingDay:
    """The computed cost of all of an organisation's jobs that ended on one UTC day."""

    org: str
    day: date
    usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Requests to one fine-tuned model on one UTC day in one project. Batch requests have a record of their own."""

    org: str
    project: str
    """Empty if the provider does not name one."""
    model: str
    day: date
    batch: bool
    tokens: TokenCount
    usd: TokenDollars | None = None
    """The cost at the price of that day; None if there is no price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDollars:
    """The cost of tokens by kind, in US dollars."""

    input: Decimal
    cached_input: Decimal
    output: Decimal

    @property
    def total(self) -> Decimal:
        """The cost of all tokens."""
        return self.input + self.cached_input + self.output


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One line of the provider's bill: a line item of one project on one UTC day. The amount may be negative."""

    org: str
    project: str
    """Empty if the provider does not name one."""
    line_item: str
    day: date
    usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedModel:
    """A fine-tuned model and the day on which its provider shuts it down."""

    org: str
    id: str
    base: str
    shutdown: date | None = None
    """The first day on which the model no longer answers; None if no such day is known."""
    listed: bool = False
    """Whether the provider's list of models contains it; if not, it is only known as the result of a job."""
    shared: bool = False
    """Whether its training data is shared with the provider, which lowers the price of its use."""
