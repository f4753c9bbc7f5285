"""Prices of training and of use by the day they hold, when models end, and what a job's training costs."""

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
"""Dollars of one job, or of one model's use on one day: what comes to more has a figure that is wrong."""
_HOUR: Final = Decimal(3600)
_FEWEST: Final = 10  # examples, or OpenAI refuses the file
_LONGEST: Final = 65_536  # tokens of one example; what is longer is cut
_SHORTEST: Final = 10  # tokens of one example: a question and an answer of a word each


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One row of the price table: what training these models costs, in US dollars, over a span of days."""

    models: tuple[str, ...]
    """Base model names, snapshots and aliases; compared as a whole."""
    methods: frozenset[Method]
    provider: str = "openai"
    tier: str | None = None
    """The price tier that it is for; None for all."""
    per_million: Decimal | None = None
    """Per million trained tokens (supervised and DPO)."""
    per_hour: Decimal | None = None
    """Per hour of the core training loop (reinforcement)."""
    valid_from: date | None = None
    valid_until: date | None = None
    """The last day it holds."""
    published: bool = False
    """It came with the program: it is what the provider itself published."""


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
    published: bool = False
    """It came with the program: it is what the provider itself published."""

    def of(self, *, batch: bool, shared: bool) -> TokenPrices | None:
        """The prices of one way of use."""
        if shared and self.shared is not None:
            return self.shared_batch if batch else self.shared
        return self.batch if batch else self.prices


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnd:
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
    published: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """All that is known of prices and ends, the rows to be preferred first."""

    training: Rates = ()
    tokens: tuple[TokenRate, ...] = ()
    ends: tuple[ModelEnd, ...] = ()
    naming: Naming = UNNAMED
    """How the models are named to which they belong."""

    def of(self, provider: str, *, seller: str | None, naming: Naming = UNNAMED) -> Prices:
        """The prices that hold for one organisation.

        Published ones hold for the `seller` that published them, None where the organisation is at none; those of the
        operator's own file hold for every organisation of the provider.
        """

        def held(rows: tuple[_Row, ...]) -> tuple[_Row, ...]:
            return tuple(
                replace(row, provider=provider)
                for row in rows
                if row.provider == (seller if row.published else provider)
            )

        return Prices(training=held(self.training), tokens=held(self.tokens), ends=held(self.ends), naming=naming)


_Row = TypeVar("_Row", Rate, TokenRate, ModelEnd)
EMPTY: Final = Prices()


def use_cost(
    model: str, day: date, tokens: TokenCount, prices: Prices, *, batch: bool = False, shared: bool = False
) -> TokenDollars | None:
    """What these tokens of requests to a fine-tuned model cost on a UTC day; None where a price they need is unknown,
    or where the amount is beyond belief.

    Cached tokens are not taken for input where a model has no price for them: such a model has no cache that we know
    of, so that nobody has said what they cost.
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
    """The first day on which a base, or what was `tuned` from it, does not answer; None where no end is known."""
    return _first(end.fine_tuned if tuned else end.base for end in _ends(base, prices))


def training_window(model: str, prices: Prices) -> tuple[date | None, date | None]:
    """The first day on which jobs of a base could be created, and the first on which they cannot; None: not known."""
    ends = _ends(prices.naming.base_model(model), prices)
    return _first(end.opened for end in ends), _first(end.closed for end in ends)


def holds(rate: Rate | TokenRate, day: date | None) -> bool:
    """Whether a price holds on a day; where the day is not known, every one does."""
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
    """What the first row that knows it says: one that only changes a price hides no date."""
    return next((day for day in days if day is not None), None)


def _cost(tokens: int, per_million: Decimal | None) -> Decimal | None:
    """Nothing costs nothing, whatever the price; None where there is none, or where the amount cannot be."""
    if tokens == 0:
        return Decimal(0)
    usd = Decimal(tokens) * per_million / MILLION if per_million is not None else None
    return usd if usd is not None and usd <= DEAREST else None


def price(job: Job, rates: Iterable[Rate], *, settled: bool = True) -> Cost:
    """What an ended job cost; UNKNOWN when there is no price or no sound quantity. Never a guess, never 0 for unknown.

    The vendor's own figure for the job, where it gives one, is REPORTED. Otherwise:
    Supervised and DPO: trained tokens, which already include the epochs, times the price per million.
    Reinforcement: hours of the core training loop as its steps tell them, rounded to two decimals as on OpenAI's
    invoices; UNKNOWN where a step did not tell. Until the job is `settled`, more steps may come: ESTIMATED by then.
    """
    if job.reported_usd is not None:
        return _credible(Cost(basis=Basis.REPORTED, usd=job.reported_usd)) or UNKNOWN_COST
    rate = rate_of(job, rates)
    if rate is None:
        return UNKNOWN_COST
    if rate.per_hour is not None:
        return _credible(_by_time(job.training, rate.per_hour, settled=settled)) or UNKNOWN_COST
    if rate.per_million is None or job.trained_tokens is None:
        return UNKNOWN_COST
    cost = Cost(basis=Basis.COMPUTED, usd=_for_tokens(job.trained_tokens, rate.per_million))
    return _credible(cost) or UNKNOWN_COST


def batch_price(job: Job, prices: Prices) -> Cost:
    """What the answers of an ended batch cost, at the prices of batches on the day it ended.

    They are known of tuned models alone. UNKNOWN too where the price rests on whether the model's training data was
    shared with the provider, which nobody says of a batch.
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
    """What an active job will have cost; None where nothing is known to reckon with.

    Where the vendor gives an amount, that is it.
    Supervised and DPO: the trained tokens where they are told already, else the training file's, times the epochs.
    Reinforcement: all steps last as long as those that are done. Where no step tells its seconds, the time it has run
    is shared out among them, which is more than will be asked: what lies between the steps is not billed.
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
    """The first row that names the job's provider, base model and method and holds on its day."""
    day = _day(job.finished_at or job.started_at or job.created_at)
    base = job.base
    for rate in rates:
        fits = rate.provider == job.provider and rate.tier in (None, job.tier)
        if fits and base in rate.models and job.method in rate.methods and holds(rate, day):
            return rate
    return None


def spoken(cost: Cost) -> str:
    """For people: `$2.40`, `about $2.40`, `about $2.40 (between $2.10 and $2.90)`, `unknown`."""
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
    reported = job.trained_tokens
    if size is None:
        return None if reported is None else Cost(basis=Basis.ESTIMATED, usd=_for_tokens(reported, per_million))
    fewest, likely, most = _epochs(job, size, auto_epochs)
    if reported is not None and reported >= size.low * fewest:  # less can only be what was trained so far
        return Cost(basis=Basis.ESTIMATED, usd=_for_tokens(reported, per_million))
    usd = _for_tokens(size.tokens * likely, per_million)
    if size.exact:
        return Cost(basis=Basis.ESTIMATED, usd=usd)
    low, high = _for_tokens(size.low * fewest, per_million), _for_tokens(size.high * most, per_million)
    return Cost(basis=Basis.ESTIMATED, usd=usd, low=low, high=high)


def _epochs(job: Job, size: TrainingSize, auto_epochs: Callable[[int], int]) -> tuple[int, int, int]:
    """How many epochs it will be: at least, likely, at most."""
    if job.epochs is not None:
        return job.epochs, job.epochs, job.epochs
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
    """The seconds of all steps, by those of the steps that are done."""
    training = job.training
    steps, done, seconds = training.latest.steps, _timed(training), training.loop_seconds
    if seconds <= 0:
        done, seconds = training.latest.step or 0, _ran(job, paused)
    if not steps or not done or seconds <= 0:
        return None
    return seconds * max(steps, training.counted_step) / done


def _timed(training: Training) -> int:
    """How many steps share the seconds; documents from before they were counted have the seconds of all."""
    return training.timed_steps or training.counted_step


def _ran(job: Job, paused: timedelta) -> float:
    """Seconds from the start to the last event, without pauses."""
    start, end = job.started_at, job.training.last_event_at
    return 0.0 if start is None or end is None else (end - start - paused).total_seconds()


def _credible(cost: Cost | None) -> Cost | None:
    """The cost, where a job can cost as much."""
    amounts = (cost.usd, cost.high) if cost is not None else ()
    return cost if all(usd is None or usd <= DEAREST for usd in amounts) else None


def _for_time(seconds: float, per_hour: Decimal) -> Decimal:
    """Hours are rounded where they have a digit to spare for it."""
    hours = Decimal(str(seconds)) / _HOUR
    return (hours.quantize(CENT) if hours < DEAREST else hours) * per_hour


def _for_tokens(tokens: int, per_million: Decimal) -> Decimal:
    return Decimal(tokens) * per_million / MILLION


def _day(moment: datetime | None) -> date | None:
    return moment.astimezone(UTC).date() if moment is not None else None
