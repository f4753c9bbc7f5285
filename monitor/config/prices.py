"""The price table: what training and inference cost, since when, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from monitor.config.parts import Part
from monitor.config.reading import document, validated
from monitor.domain.model import Method
from monitor.domain.pricing import ModelEnd, Prices, Rate, Rates, TokenPrices, TokenRate

_CHECKOUT: Final = Path(__file__).parents[2] / "config" / "prices.yaml"


def _exact(value: object) -> object:
    """A float is not a price: 0.1 is not what anybody charges."""
    return str(value) if isinstance(value, float) else value


Dollars = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, le=1_000_000)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Confidence = Literal["A", "B", "C"]


class TrainingPriceRow(Part):
    """What training costs: per million trained tokens, or per hour of the core training loop."""

    per_million: Dollars | None = None
    per_hour: Dollars | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    """The last day this price holds."""

    @model_validator(mode="after")
    def _one_price(self) -> TrainingPriceRow:
        if (self.per_million is None) == (self.per_hour is None):
            raise ValueError("give either per_million or per_hour")
        if self.valid_from and self.valid_until and self.valid_from > self.valid_until:
            raise ValueError("valid_from should not be after valid_until")
        return self


class TokenPriceRow(Part):
    """What a fine-tuned model's tokens cost, per million."""

    input: Dollars | None = None
    cached_input: Dollars | None = None
    output: Dollars | None = None

    @property
    def prices(self) -> TokenPrices:
        """As the domain has them."""
        return TokenPrices(input=self.input, cached_input=self.cached_input, output=self.output)


class Inference(TokenPriceRow):
    """The prices of using a fine-tuned model, now and over the Batch API."""

    batch: TokenPriceRow | None = None
    shared: TokenPriceRow | None = None
    """For jobs whose data is shared with the provider."""
    shared_batch: TokenPriceRow | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    confidence: Confidence | None = None
    """Where it differs from the row's."""


class AvailabilityWindow(Part):
    """When new jobs could be created. Jobs that end later keep their price."""

    opened: date | None = None
    closed: date | None = None


class Shutdown(Part):
    """When models stop answering; by name where snapshots differ."""

    base: date | Mapping[str, date] | None = None
    fine_tuned: date | None = None


class PriceRow(Part):
    """One base model with its snapshots and aliases."""

    models: Annotated[tuple[Name, ...], Field(min_length=1)]
    provider: Name = "openai"
    tier: Literal["standard", "global", "datazone", "developer"] | None = None
    """Azure's training tier that its training prices are for; by default all."""
    methods: Annotated[tuple[Literal["supervised", "dpo", "reinforcement"], ...], Field(min_length=1)]
    training: Annotated[tuple[TrainingPriceRow, ...], Field(max_length=100)] = ()
    """The newest price first; none where it is not known."""
    inference: tuple[Inference, ...] = ()
    window: AvailabilityWindow = AvailabilityWindow()
    shutdown: Shutdown = Shutdown()
    confidence: Confidence
    """How sure the prices are. A: the provider's own page. B: two or more others agree. C: less; never used."""
    source: str
    note: str | None = None

    @property
    def rates(self) -> Iterator[Rate]:
        """What may be computed with."""
        for price in self.training if self.confidence != "C" else ():
            yield Rate(
                models=self.models,
                methods=frozenset(map(Method, self.methods)),
                provider=self.provider,
                tier=self.tier,
                per_million=price.per_million,
                per_hour=price.per_hour,
                valid_from=price.valid_from,
                valid_until=price.valid_until,
            )

    @property
    def token_rates(self) -> Iterator[TokenRate]:
        """What use may be computed with."""
        for price in self.inference:
            if (price.confidence or self.confidence) != "C":
                yield TokenRate(
                    models=self.models,
                    provider=self.provider,
                    prices=price.prices,
                    batch=price.batch.prices if price.batch else None,
                    shared=price.shared.prices if price.shared else None,
                    shared_batch=price.shared_batch.prices if price.shared_batch else None,
                    valid_from=price.valid_from,
                    valid_until=price.valid_until,
                )

    @property
    def ends(self) -> Iterator[ModelEnd]:
        """When its models begin and end; dates are announced by the provider, however sure the prices are."""
        base = self.shutdown.base
        named = base if isinstance(base, Mapping) else dict.fromkeys(self.models, base)
        for model in self.models:
            yield ModelEnd(
                models=(model,),
                provider=self.provider,
                opened=self.window.opened,
                closed=self.window.closed,
                base=named.get(model),
                fine_tuned=self.shutdown.fine_tuned,
            )


class PriceTable(Part):
    """A price table. Money is US dollars."""

    checked: date
    """When somebody last compared it with its sources."""
    prices: tuple[PriceRow, ...]
    """The first that fits is taken."""


def load_prices(override: Path | None = None) -> Prices:
    """All prices and dates, those of the override first. Raises ConfigError, or OSError for a file it cannot read."""
    own = _prices(price_table(override), published=False) if override is not None else Prices()
    packaged = _prices(price_table(), published=True)
    return Prices(
        training=(*own.training, *packaged.training),
        tokens=(*own.tokens, *packaged.tokens),
        ends=(*own.ends, *packaged.ends),
    )


def _prices(table: PriceTable, *, published: bool) -> Prices:
    return Prices(
        training=tuple(replace(rate, published=published) for row in table.prices for rate in row.rates),
        tokens=tuple(replace(rate, published=published) for row in table.prices for rate in row.token_rates),
        ends=tuple(replace(end, published=published) for row in table.prices for end in row.ends),
    )


def rates(override: Path | None = None) -> Rates:
    """The training prices, those of the override first. Raises ConfigError, or OSError where a file cannot be read."""
    return load_prices(override).training


def price_table(path: Path | None = None) -> PriceTable:
    """A price table, by default the one that comes with the program. Raises ConfigError or OSError."""
    file = path or _packaged()
    return validated(PriceTable, document(file, {}), str(file))


def _packaged() -> Path:
    packaged = Path(str(files("monitor") / "prices.yaml"))
    return packaged if packaged.is_file() else _CHECKOUT
