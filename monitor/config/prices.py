"""The price table: prices of training and inference, the days they apply to, and how reliable they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from monitor.config.parts import Part, countable
from monitor.config.reading import document, validated
from monitor.domain.model import Method
from monitor.domain.pricing import ModelEnd, Prices, Rate, Rates, TokenPrices, TokenRate

_CHECKOUT: Final = Path(__file__).parents[2] / "config" / "prices.yaml"


def _exact(value: object) -> object:
    """The price as text, so that a float becomes the decimal number that was written."""
    return str(value) if isinstance(value, float) else value


Dollars = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, le=1_000_000), AfterValidator(countable)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Confidence = Literal["A", "B", "C"]


class TrainingPriceRow(Part):
    """A price of training in US dollars, per million trained tokens or per hour of the core training loop."""

    per_million: Dollars | None = None
    per_hour: Dollars | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    """The last day on which this price applies."""

    @model_validator(mode="after")
    def _one_price(self) -> TrainingPriceRow:
        if (self.per_million is None) == (self.per_hour is None):
            raise ValueError("give either per_million or per_hour")
        if self.valid_from and self.valid_until and self.valid_from > self.valid_until:
            raise ValueError("valid_from should not be after valid_until")
        return self


class TokenPriceRow(Part):
    """Prices of requests to a fine-tuned model in US dollars per million tokens."""

    input: Dollars | None = None
    cached_input: Dollars | None = None
    output: Dollars | None = None

    @property
    def prices(self) -> TokenPrices:
        """The prices as a domain value."""
        return TokenPrices(input=self.input, cached_input=self.cached_input, output=self.output)


class Inference(TokenPriceRow):
    """Prices of requests to a fine-tuned model, for single requests and for the Batch API."""

    batch: TokenPriceRow | None = None
    shared: TokenPriceRow | None = None
    """Prices for models whose training data is shared with the provider, if they differ."""
    shared_batch: TokenPriceRow | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    """The last day on which these prices apply."""
    confidence: Confidence | None = None
    """How reliable these prices are, if that differs from the row."""


class AvailabilityWindow(Part):
    """When new jobs could be created. Jobs that end later keep their price."""

    opened: date | None = None
    """The first day on which jobs could be created."""
    closed: date | None = None
    """The first day on which jobs can no longer be created."""


class Shutdown(Part):
    """The first days on which models no longer answer."""

    base: date | Mapping[str, date] | None = None
    """The day for the base model, or days by name if its snapshots differ."""
    fine_tuned: date | None = None
    """The day for models that were tuned from it."""


class PriceRow(Part):
    """The prices and dates of one base model with its snapshots and aliases."""

    models: Annotated[tuple[Name, ...], Field(min_length=1)]
    provider: Name = "openai"
    tier: Literal["standard", "global", "datazone", "developer"] | None = None
    """The training tier at Azure that the training prices apply to; by default all tiers."""
    methods: Annotated[tuple[Literal["supervised", "dpo", "reinforcement"], ...], Field(min_length=1)]
    training: Annotated[tuple[TrainingPriceRow, ...], Field(max_length=100)] = ()
    """Prices of training, the newest first; empty if they are unknown."""
    inference: tuple[Inference, ...] = ()
    window: AvailabilityWindow = AvailabilityWindow()
    shutdown: Shutdown = Shutdown()
    confidence: Confidence
    """How reliable the prices are. A: from the provider's own page. B: two or more other sources agree. C: less, and
    therefore not used."""
    source: str
    note: str | None = None

    @property
    def rates(self) -> Iterator[Rate]:
        """The training prices that are reliable enough to be used."""
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
        """The prices of requests that are reliable enough to be used."""
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
        """The dates of its models. Providers announce dates, so that they do not depend on `confidence`."""
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
    """A price table in US dollars."""

    checked: date
    """When it was last compared with its sources."""
    prices: tuple[PriceRow, ...]
    """The first row that applies is used."""


def load_prices(override: Path | None = None) -> Prices:
    """All prices and dates, with those of the override first. Raises ConfigError or OSError."""
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
    """The training prices, with those of the override first. Raises ConfigError or OSError."""
    return load_prices(override).training


def price_table(path: Path | None = None) -> PriceTable:
    """A price table, by default the packaged one. Raises ConfigError or OSError."""
    file = path or _packaged()
    return validated(PriceTable, document(file, {}), str(file))


def _packaged() -> Path:
    packaged = Path(str(files("monitor") / "prices.yaml"))
    return packaged if packaged.is_file() else _CHECKOUT
