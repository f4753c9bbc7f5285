"""Prices of training and usage with the days they apply to, shutdown dates of models, and the cost of a job."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeVar

from monitor.domain.costs import TokenDollars
from monitor.domain.model import UNKNOWN_COST, Basis, Cost, Job, Method, TokenCount, Training, TrainingSize
from monitor.domain.money import CENT, rounded
from monitor.domain.naming import UNNAMED, USUAL_EPOCHS, Naming

MILLION: Final = Decimal(1_000_000)
DEAREST: Final = Decimal(10_000_000)
"""The highest plausible cost of a job, or of one model's usage on one day, in US dollars."""
_HOUR: Final = Decimal(3600)
_FEWEST: Final = 10  # examples: OpenAI refuses a smaller file
_LONGEST: Final = 65_536  # tokens of one example: a longer one is truncated
_SHORTEST: Final = 10  # tokens of one example: a question and an answer of one word each


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One row of the price table: the price of training some models, in US dollars, for a span of days."""

    models: tuple[str, ...]
    """Names of base models, with their snapshots and aliases. They are compared as a whole."""
    methods: frozenset[Method]
    provider: str = "openai"
    tier: str | None = None
    """The price tier that the row applies to; None for all tiers."""
    per_million: Decimal | None = None
    """US dollars per million trained tokens (supervised and DPO)."""
    per_hour: Decimal | None = None
    """US dollars per hour of the core training loop (reinforcement)."""
    valid_from: date | None = None
    valid_until: date | None = None
    """The last day on which the price applies."""
    published: bool = False
    """Whether the row is part of the packaged table, which has the prices that providers publish."""


Rates = tuple[Rate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrices:
    """Prices of requests by kind of token, in US dollars per million; None if unknown."""

    input: Decimal | None = None
    cached_input: Decimal | None = None
    output: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRate:
    """One row of the price table: the price of requests to models tuned from some base models, for a span of days."""

    models: tuple[str, ...]
    """Names of base models."""
    provider: str = "openai"
    prices: TokenPrices = TokenPrices()
    batch: TokenPrices | None = None
    """The prices of the Batch API; None if unknown."""
    shared: TokenPrices | None = None
    """The prices for models whose training data is shared with the provider; None if they are the same."""
    shared_batch: TokenPrices | None = None
    """The Batch API prices for such models; None if unknown."""
    valid_from: date | None = None
    valid_until: date | None = None
    """The last day on which the prices apply."""
    published: bool = False
    """Whether the row is part of the packaged table, which has the prices that providers publish."""

    def of(self, *, batch: bool, shared: bool) -> TokenPrices | None:
        """The prices of requests, by whether they are in a batch and whether training data is shared."""
        if shared and self.shared is not None:
            return self.shared_batch if batch else self.shared
        return self.batch if batch else self.prices


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnd:
    """When some base models could be trained, and when they and the models tuned from them are shut down."""

    models: tuple[str, ...]
    """Names of base models."""
    provider: str = "openai"
    opened: date | None = None
    """The first day on which jobs could be created."""
    closed: date | None = None
    """The first day on which jobs can no longer be created."""
    base: date | None = None
    """The first day on which the base model no longer answers."""
    fine_tuned: date | None = None
    """The first day on which models tuned from it no longer answer."""
    published: bool = False
    """Whether the row is part of the packaged table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The price table. The first row that applies is used."""

    training: Rates = ()
    tokens: tuple[TokenRate, ...] = ()
    ends: tuple[ModelEnd, ...] = ()
    naming: Naming = UNNAMED
    """The vendor's rules for the names of the models."""

    def of(self, provider: str, *, seller: str | None, naming: Naming = UNNAMED) -> Prices:
        """The prices for one organisation.

        Published rows apply only if the organisation buys from the `seller` that published them; None means that it
        buys from no such seller. Rows of the operator's own file apply to every organisation of the provider.
        """

        def applicable(rows: tuple[_Row, ...]) -> tuple[_Row, ...]:
            return tuple(
                replace(row, provider=provider)
                for row in rows
                if row.provider == (seller if row.published else provider)
            )

        training, tokens, ends = applicable(self.training), applicable(self.tokens), applicable(self.ends)
        return Prices(training=training, tokens=tokens, ends=ends, naming=naming)


_Row = TypeVar("_Row", Rate, TokenRate, ModelEnd)
EMPTY: Final = Prices()


def use_cost(
    model: str, day: date, tokens: TokenCount, prices: Prices, *, batch: bool = False, shared: bool = False
) -> TokenDollars | None:
    """The cost of requests to a fine-tuned model on a UTC day.

    None if a price that they need is unknown, or if the amount exceeds DEAREST. Cached tokens without a price of their
    own are not charged as input: a price table without that column documents no cache for the model.
    """
    per_million = _token_prices(prices.naming.base_model(model), day, prices, batch=batch, shared=shared)
    if per_million is None:
        return None
    input_, cached = _cost(tokens.input, per_million.input), _cost(tokens.cached_input, per_million.cached_input)
    output = _cost(tokens.output, per_million.output)
    if input_ is None or cached is None or output is None:
        return None
    return TokenDollars(input=input_, cached_input=cached, output=output)


def shutdown(base: str, prices: Prices, *, tuned: bool = False) -> date | None:
    """The first day on which a base model (`tuned`: a model tuned from it) no longer answers; None if unknown."""
    return _first(end.fine_tuned if tuned else end.base for end in _ends(base, prices))


def training_window(model: str, prices: Prices) -> tuple[date | None, date | None]:
    """The first day on which jobs with a model could be created, and the first on which they no longer can.

    Each is None if unknown.
    """
    ends = _ends(prices.naming.base_model(model), prices)
    return _first(end.opened for end in ends), _first(end.closed for end in ends)


def holds(rate: Rate | TokenRate, day: date | None) -> bool:
    """Whether a price applies on a day. If the day is unknown, every price applies."""
    if day is None:
        return True
    return (rate.valid_from is None or rate.valid_from <= day) and (rate.valid_until is None or day <= rate.valid_until)


def _token_prices(base: str, day: date, prices: Prices, *, batch: bool, shared: bool) -> TokenPrices | None:
    named: Iterable[TokenRate] = (rate for rate in prices.tokens if base in rate.models)
    rate = next((rate for rate in named if holds(rate, day)), None)
    return rate.of(batch=batch, shared=shared) if rate is not None else None


def _ends(base: str, prices: Prices) -> list[ModelEnd]:
    return [end for end in prices.ends if base in end.models]


def _first(days: Iterable[date | None]) -> date | None:
    """The first known day. A preferred row without a date does not hide the date of a later row."""
    return next((day for day in days if day is not None), None)


def _cost(tokens: int, per_million: Decimal | None) -> Decimal | None:
    """The cost of tokens, 0 for none; None if the price is unknown or the amount exceeds DEAREST."""
    if tokens == 0:
        return Decimal(0)
    usd = Decimal(tokens) * per_million / MILLION if per_million is not None else None
    return usd if usd is not None and usd <= DEAREST else None


def price(job: Job, rates: Iterable[Rate], *, settled: bool = True) -> Cost:
    """The cost of a finished job, with the basis UNKNOWN if there is no price or no plausible quantity.

    - The provider's own figure for the job, if it gives one, is REPORTED.
    - Supervised and DPO: trained tokens, which already include the epochs, times the price per million.
    - Reinforcement: the hours of the core training loop that its steps report, rounded to two decimals as on OpenAI's
      invoices. UNKNOWN if a step does not report its time; ESTIMATED while steps are missing and the job is not
      `settled`, because they may still come.
    """
    if job.reported_usd is not None:
        return _credible(Cost(basis=Basis.REPORTED, usd=job.reported_usd)) or UNKNOWN_COST
    rate = rate_of(job, rates)
    if rate is None:
        return UNKNOWN_COST
    if rate.per_hour is not None:
        return _credible(_by_time(job.training, rate.per_hour, settled=settled)) or UNKNOWN_COST
    if rate.per_million is None or job.tuning.trained_tokens is None:
        return UNKNOWN_COST
    cost = Cost(basis=Basis.COMPUTED, usd=_for_tokens(job.tuning.trained_tokens, rate.per_million))
    return _credible(cost) or UNKNOWN_COST


def batch_price(job: Job, prices: Prices) -> Cost:
    """The cost of a finished batch at the Batch API prices of the day it ended.

    Only requests to fine-tuned models have known prices. The basis is also UNKNOWN if the price depends on whether the
    model's training data was shared with the provider, because a batch does not show that.
    """
    tokens, day = job.batch.tokens if job.batch is not None else None, _day(job.finished_at or job.created_at)
    if tokens is None or day is None:
        return UNKNOWN_COST
    if tokens == TokenCount():
        return Cost(basis=Basis.COMPUTED, usd=Decimal(0))
    costs = [use_cost(job.model, day, tokens, prices, batch=True, shared=shared) for shared in (False, True)]
    if not prices.naming.is_tuned(job.model) or costs[0] is None or costs[0] != costs[1]:
        return UNKNOWN_COST
    return Cost(basis=Basis.COMPUTED, usd=costs[0].total)


def estimate(
    job: Job,
    size: TrainingSize | None,
    rates: Iterable[Rate],
    *,
    paused: timedelta = timedelta(0),
    naming: Naming = UNNAMED,
) -> Cost | None:
    """The expected total cost of an active job; None if too little is known for an estimate.

    - If the provider gives an amount, it is used.
    - Supervised and DPO: the trained tokens if they are reported already, otherwise the tokens of the training file
      times the epochs.
    - Reinforcement: all steps are assumed to take as long as those that are done. If no step reports its seconds, the
      running time is divided among the steps. That is too high, because time between steps is not billed.
    """
    if job.reported_usd is not None:
        return _credible(Cost(basis=Basis.ESTIMATED, usd=job.reported_usd))
    rate = rate_of(job, rates)
    if rate is None:
        return None
    if rate.per_hour is None:
        if rate.per_million is None:
            return None
        return _credible(_by_tokens(job, size, rate.per_million, naming.auto_epochs))
    seconds = _whole_loop(job, paused)
    return None if seconds is None else _credible(Cost(basis=Basis.ESTIMATED, usd=_for_time(seconds, rate.per_hour)))


def rate_of(job: Job, rates: Iterable[Rate]) -> Rate | None:
    """The first row for the job's provider, tier, base model and method that applies on the day of the job."""
    day = _day(job.finished_at or job.started_at or job.created_at)
    base = job.base
    for rate in rates:
        fits = rate.provider == job.provider and rate.tier in (None, job.tuning.tier)
        if fits and base in rate.models and job.method in rate.methods and holds(rate, day):
            return rate
    return None


def format_cost(cost: Cost) -> str:
    """The text for people: `$2.40`, `about $2.40`, `about $2.40 (between $2.10 and $2.90)` or `unknown`."""
    if cost.usd is None:
        return "unknown"
    if cost.computed is not None:
        return rounded(cost.usd)
    if cost.low is None or cost.high is None:
        return f"about {rounded(cost.usd)}"
    return f"about {rounded(cost.usd)} (between {rounded(cost.low)} and {rounded(cost.high)})"


def _by_tokens(
    job: Job, size: TrainingSize | None, per_million: Decimal, auto_epochs: Callable[[int], int]
) -> Cost | None:
    reported = job.tuning.trained_tokens
    if size is None:
        return None if reported is None else Cost(basis=Basis.ESTIMATED, usd=_for_tokens(reported, per_million))
    fewest, likely, most = _epochs(job, size, auto_epochs)
    if reported is not None and reported >= size.low * fewest:  # a lower number covers only a part of the training
        return Cost(basis=Basis.ESTIMATED, usd=_for_tokens(reported, per_million))
    usd = _for_tokens(size.tokens * likely, per_million)
    if size.exact:
        return Cost(basis=Basis.ESTIMATED, usd=usd)
    low, high = _for_tokens(size.low * fewest, per_million), _for_tokens(size.high * most, per_million)
    return Cost(basis=Basis.ESTIMATED, usd=usd, low=low, high=high)


def _epochs(job: Job, size: TrainingSize, auto_epochs: Callable[[int], int]) -> tuple[int, int, int]:
    """The least, the likely and the largest number of epochs."""
    known = job.tuning.epochs
    if known is not None:
        return known, known, known
    if size.examples is not None:
        epochs = auto_epochs(size.examples)
        return epochs, epochs, epochs
    most, fewest = max(_FEWEST, size.high // _SHORTEST), max(_FEWEST, size.low // _LONGEST)
    return auto_epochs(most), USUAL_EPOCHS, auto_epochs(fewest)


def _by_time(training: Training, per_hour: Decimal, *, settled: bool) -> Cost:
    reported = training.counted_step
    if training.loop_seconds <= 0 or _timed(training) < reported:
        return UNKNOWN_COST
    complete = settled or reported >= (training.latest.steps or 0)
    basis = Basis.COMPUTED if complete else Basis.ESTIMATED
    return Cost(basis=basis, usd=_for_time(training.loop_seconds, per_hour))


def _whole_loop(job: Job, paused: timedelta) -> float | None:
    """The expected seconds of all steps, extrapolated from the steps that are done; None if too little is known."""
    training = job.training
    steps, done, seconds = training.latest.steps, _timed(training), training.loop_seconds
    if seconds <= 0:
        done, seconds = training.latest.step or 0, _ran(job, paused)
    if not steps or not done or seconds <= 0:
        return None
    return seconds * max(steps, training.counted_step) / done


def _timed(training: Training) -> int:
    """The number of steps with known seconds. Stored jobs from before these were counted have the seconds of all."""
    return training.timed_steps or training.counted_step


def _ran(job: Job, paused: timedelta) -> float:
    """Seconds from the start to the last event, without pauses; 0.0 if one of them is unknown."""
    start, end = job.started_at, job.training.last_event_at
    return 0.0 if start is None or end is None else (end - start - paused).total_seconds()


def _credible(cost: Cost | None) -> Cost | None:
    """The cost unless it exceeds DEAREST."""
    amounts = (cost.usd, cost.high) if cost is not None else ()
    return cost if all(usd is None or usd <= DEAREST for usd in amounts) else None


def _for_time(seconds: float, per_hour: Decimal) -> Decimal:
    """The price of a duration, with hours rounded to two decimals unless they have too many digits for that."""
    hours = Decimal(str(seconds)) / _HOUR
    return (hours.quantize(CENT) if hours < DEAREST else hours) * per_hour


def _for_tokens(tokens: int, per_million: Decimal) -> Decimal:
    return Decimal(tokens) * per_million / MILLION


def _day(moment: datetime | None) -> date | None:
    return moment.astimezone(UTC).date() if moment is not None else None
