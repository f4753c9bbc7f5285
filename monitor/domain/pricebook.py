"""The book of prices: what training and tokens cost on which day, how models are named in it, and when they end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Final

from monitor.domain.ledger import TokenCount, TokenDollars
from monitor.domain.model import Method

MILLION: Final = Decimal(1_000_000)
DEAREST: Final = Decimal(10_000_000)
"""Dollars of one job, or of one model's use on one day: what comes to more has a figure that is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One row of the price table: what training these models costs, in US dollars, over a span of days."""

    models: tuple[str, ...]
    """Base model names, snapshots and aliases; compared as a whole."""
    methods: frozenset[Method]
    provider: str = "openai"
    per_million: Decimal | None = None
    """Per million trained tokens (supervised and DPO)."""
    per_hour: Decimal | None = None
    """Per hour of the core training loop (reinforcement)."""
    valid_from: date | None = None
    valid_until: date | None = None
    """The last day it holds."""


Rates = tuple[Rate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrices:
    """US dollars per million tokens of requests, by kind; None is not known."""

    input: Decimal | None = None
    cached_input: Decimal | None = None
    output: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRate:
    """What the use of models tuned from these costs, over a span of days; None where such a use has no known price."""

    models: tuple[str, ...]
    provider: str = "openai"
    prices: TokenPrices = TokenPrices()
    batch: TokenPrices | None = None
    """Over the Batch API."""
    shared: TokenPrices | None = None
    """Of models whose training data is shared with the provider; None where that changes nothing."""
    shared_batch: TokenPrices | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    """The last day it holds."""

    def of(self, *, batch: bool, shared: bool) -> TokenPrices | None:
        """The prices of one way of use."""
        if shared and self.shared is not None:
            return self.shared_batch if batch else self.shared
        return self.batch if batch else self.prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """When these base models could be trained, and when they and what was tuned from them stop answering."""

    models: tuple[str, ...]
    provider: str = "openai"
    opened: date | None = None
    """The first day on which jobs could be created."""
    closed: date | None = None
    """The first day on which they cannot."""
    base: date | None = None
    """The first day on which the base does not answer."""
    fine_tuned: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """All that is known of prices and ends, the rows to be preferred first."""

    training: Rates = ()
    tokens: tuple[TokenRate, ...] = ()
    endings: tuple[Ending, ...] = ()
    provider: str = "openai"
    """Whose models `use_cost`, `shutdown` and `training_window` are asked about."""

    def of(self, provider: str) -> PriceBook:
        """The same book, asked about another provider's models."""
        return self if provider == self.provider else replace(self, provider=provider)


EMPTY: Final = PriceBook()


def base_model(model: str) -> str:
    """The base of a model name: `gpt-4o-mini-2024-07-18` of `ft:gpt-4o-mini-2024-07-18:org:name:id:ckpt-step-100`.

    Models of before 2023 are called `curie:ft-org-2021-…`; bills and deprecations write `ft-gpt-4o-2024-08-06`.
    """
    if model.startswith("ft:"):
        return model.split(":")[1]
    return model.split(":ft-", maxsplit=1)[0].removeprefix("ft-")


def use_cost(
    model: str, day: date, tokens: TokenCount, book: PriceBook, *, batch: bool = False, shared: bool = False
) -> TokenDollars | None:
    """What these tokens of requests to a fine-tuned model cost on a UTC day; None where a price they need is unknown,
    or where the amount is beyond belief.

    Cached tokens are not taken for input where a model has no price for them: such a model has no cache that we know
    of, so that nobody has said what they cost.
    """
    prices = _prices(base_model(model), day, book, batch=batch, shared=shared)
    if prices is None:
        return None
    input_, cached = _cost(tokens.input, prices.input), _cost(tokens.cached_input, prices.cached_input)
    output = _cost(tokens.output, prices.output)
    if input_ is None or cached is None or output is None:
        return None
    return TokenDollars(input=input_, cached_input=cached, output=output)


def shutdown(model: str, book: PriceBook) -> date | None:
    """The first day on which a base or a fine-tuned model does not answer; None where no end is known."""
    base = base_model(model)
    return _first(ending.base if base == model else ending.fine_tuned for ending in _endings(base, book))


def training_window(model: str, book: PriceBook) -> tuple[date | None, date | None]:
    """The first day on which jobs of a base could be created, and the first on which they cannot; None: not known."""
    endings = _endings(base_model(model), book)
    return _first(ending.opened for ending in endings), _first(ending.closed for ending in endings)


def holds(rate: Rate | TokenRate, day: date | None) -> bool:
    """Whether a price holds on a day; where the day is not known, every one does."""
    if day is None:
        return True
    return (rate.valid_from is None or rate.valid_from <= day) and (rate.valid_until is None or day <= rate.valid_until)


def _prices(base: str, day: date, book: PriceBook, *, batch: bool, shared: bool) -> TokenPrices | None:
    named: Iterable[TokenRate] = (
        rate for rate in book.tokens if rate.provider == book.provider and base in rate.models
    )
    rate = next((rate for rate in named if holds(rate, day)), None)
    return rate.of(batch=batch, shared=shared) if rate is not None else None


def _endings(base: str, book: PriceBook) -> list[Ending]:
    return [ending for ending in book.endings if ending.provider == book.provider and base in ending.models]


def _first(days: Iterable[date | None]) -> date | None:
    """What the first row that knows it says: one that only changes a price hides no date."""
    return next((day for day in days if day is not None), None)


def _cost(tokens: int, per_million: Decimal | None) -> Decimal | None:
    """Nothing costs nothing, whatever the price; None where there is none, or where the amount cannot be."""
    if tokens == 0:
        return Decimal(0)
    usd = Decimal(tokens) * per_million / MILLION if per_million is not None else None
    return usd if usd is not None and usd <= DEAREST else None
