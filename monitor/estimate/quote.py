"""What training costs today, what the fine-tuned model's use costs, and when training and model end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from difflib import get_close_matches

from monitor.config.prices import PriceRow, PriceTable, load_prices
from monitor.dataset import Measure
from monitor.domain.model import Method
from monitor.domain.pricing import MILLION, Prices, Rate, TokenRate, holds, shutdown, training_window
from monitor.providers.openai.naming import NAMING, base_model

SOURCES = {"A": "the provider's own page", "B": "two or more other sources agree", "C": "one other source; not used"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """An estimate with everything it is based on. Money is in US dollars; None stands for unknown."""

    model: str
    base: str
    method: Method
    provider: str
    size: Measure
    """The tokens of one epoch."""
    epochs: int
    epochs_given: bool
    usd: Decimal | None
    low: Decimal | None
    high: Decimal | None
    rate: Rate | None
    """Today's training price."""
    row: PriceRow | None
    """The row of the price table that the price is from."""
    use: TokenRate | None
    """Today's price of the fine-tuned model's tokens."""
    checked: date
    closed: date | None
    """The first day on which jobs with this base model can no longer be created."""
    shutdown: date | None
    """The first day on which the fine-tuned model no longer answers."""
    near: tuple[str, ...]
    """Similar names in the price table, for an unknown model."""

    def closed_by(self, today: date) -> bool:
        """Whether jobs can no longer be created on this day."""
        return self.closed is not None and self.closed <= today

    @property
    def billable(self) -> Measure:
        """The tokens of all epochs."""
        size, times = self.size, self.epochs
        return replace(size, tokens=size.tokens * times, low=size.low * times, high=size.high * times)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateRequest:
    """The user's request; None if an option was not given."""

    model: str
    provider: str = "openai"
    epochs: int | None = None
    method: Method | None = None


def quote(
    request: EstimateRequest, method: Method, size: Measure, epochs: int, *, table: PriceTable, today: date
) -> Quote:
    """Estimate the cost by today's prices. Without a price, only the dollars are None."""
    base = base_model(request.model)
    prices = load_prices().of(request.provider, seller=request.provider, naming=NAMING)
    rows = [row for row in table.prices if row.provider == request.provider and base in row.models]
    row = next((row for row in rows if method in row.methods), rows[0] if rows else None)
    named = [one for one in prices.training if one.provider == request.provider and base in one.models]
    rate = next((one for one in named if method in one.methods and holds(one, today)), None)
    used = (one for one in prices.tokens if one.provider == request.provider and base in one.models)
    use = next((one for one in used if holds(one, today)), None)
    per_million = rate.per_million if rate is not None else None
    usd, low, high = (
        None if per_million is None else Decimal(tokens * epochs) * per_million / MILLION
        for tokens in (size.tokens, size.low, size.high)
    )
    return Quote(
        model=request.model, base=base, provider=request.provider, method=method, size=size,
        epochs=epochs, epochs_given=request.epochs is not None, usd=usd, low=low, high=high,
        rate=rate, row=row, use=use, checked=table.checked,
        closed=_closed(base, prices), shutdown=shutdown(base, prices, tuned=True),
        near=() if row else _near(base, request.provider, table),
    )  # fmt: skip


def _closed(base: str, prices: Prices) -> date | None:
    """The day since which training is impossible: the base model is closed for training, or shut down."""
    days = [day for day in (training_window(base, prices)[1], shutdown(base, prices)) if day is not None]
    return min(days, default=None)


def _near(base: str, provider: str, table: PriceTable) -> tuple[str, ...]:
    names = [name for row in table.prices if row.provider == provider for name in row.models]
    return tuple(get_close_matches(base, names, n=3, cutoff=0.6))
