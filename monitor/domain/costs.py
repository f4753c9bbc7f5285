"""The books beside the jobs: what was spent, what use cost, what was billed, and which models there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from monitor.domain.model import Method, TokenCount


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The computed cost of one job's training, booked once, on the day it ended. Never an estimate."""

    org: str
    job: str
    provider: str
    model: str
    method: Method
    at: datetime
    """When it ended; where that is not known, when we saw it, or when history began."""
    usd: Decimal
    base_model: str = ""
    fine_tuned_model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one fine-tuned model was used for on one UTC day, in one project; batch requests are counted apart."""

    org: str
    project: str
    """Empty where the provider does not say."""
    model: str
    day: date
    batch: bool
    tokens: TokenCount
    usd: TokenDollars | None = None
    """By the price of the day; None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDollars:
    """What tokens cost, by kind, in US dollars."""

    input: Decimal
    cached_input: Decimal
    output: Decimal

    @property
    def total(self) -> Decimal:
        """All of it."""
        return self.input + self.cached_input + self.output


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One line of the provider's own bill: a line item of one project on one UTC day. The amount may be negative."""

    org: str
    project: str
    """Empty where the provider does not say."""
    line_item: str
    day: date
    usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedModel:
    """A fine-tuned model that can be used, and when that ends."""

    org: str
    id: str
    base: str
    shutdown: date | None = None
    """The first day it does not answer any more; None where no end is known."""
    listed: bool = False
    """The provider's own list has it; else it is only known as the result of a job."""
    shared: bool = False
    """Its training data is shared with the provider, who asks less for its use."""
