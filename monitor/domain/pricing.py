"""What a job's training costs, by the price of its day: estimated before the end, computed at it, or unknown."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from monitor.domain.model import UNKNOWN_COST, Basis, Cost, Job, Training, TrainingSize
from monitor.domain.pricebook import (
    DEAREST,
    EMPTY,
    MILLION,
    Ending,
    PriceBook,
    Rate,
    Rates,
    TokenPrices,
    TokenRate,
    base_model,
    holds,
    shutdown,
    training_window,
    use_cost,
)

__all__ = [
    "EMPTY", "Ending", "PriceBook", "Rate", "Rates", "TokenPrices", "TokenRate",
    "auto_epochs", "base_model", "dollars", "estimate", "price", "rate_of", "shutdown", "spoken", "training_window",
    "use_cost",
]  # fmt: skip

_HOUR: Final = Decimal(3600)
_CENT: Final = Decimal("0.01")
_TARGET_EPOCHS: Final = 3
_LEAST_EXAMPLES: Final = 100
_MOST_EXAMPLES: Final = 25_000
_MOST_EPOCHS: Final = 25
_FEWEST: Final = 10  # examples, or OpenAI refuses the file
_LONGEST: Final = 65_536  # tokens of one example; what is longer is cut
_SHORTEST: Final = 10  # tokens of one example: a question and an answer of a word each


def price(job: Job, rates: Iterable[Rate], *, settled: bool = True) -> Cost:
    """What an ended job cost; UNKNOWN when there is no price or no sound quantity. Never a guess, never 0 for unknown.

    Supervised and DPO: trained tokens, which already include the epochs, times the price per million.
    Reinforcement: hours of the core training loop as its steps tell them, rounded to two decimals as on OpenAI's
    invoices; UNKNOWN where a step did not tell. Until the job is `settled`, more steps may come: ESTIMATED by then.
    """
    rate = rate_of(job, rates)
    if rate is None:
        return UNKNOWN_COST
    if rate.per_hour is not None:
        return _credible(_by_time(job.training, rate.per_hour, settled=settled)) or UNKNOWN_COST
    if rate.per_million is None or job.trained_tokens is None:
        return UNKNOWN_COST
    cost = Cost(basis=Basis.COMPUTED, usd=_for_tokens(job.trained_tokens, rate.per_million))
    return _credible(cost) or UNKNOWN_COST


def estimate(
    job: Job, size: TrainingSize | None, rates: Iterable[Rate], *, paused: timedelta = timedelta(0)
) -> Cost | None:
    """What an active job will have cost; None where nothing is known to reckon with.

    Supervised and DPO: the trained tokens where they are told already, else the training file's, times the epochs.
    Reinforcement: all steps last as long as those that are done. Where no step tells its seconds, the time it has run
    is shared out among them, which is more than will be asked: what lies between the steps is not billed.
    """
    rate = rate_of(job, rates)
    if rate is None:
        return None
    if rate.per_hour is None:
        return None if rate.per_million is None else _credible(_by_tokens(job, size, rate.per_million))
    seconds = _whole_loop(job, paused)
    return None if seconds is None else _credible(Cost(basis=Basis.ESTIMATED, usd=_for_time(seconds, rate.per_hour)))


def rate_of(job: Job, rates: Iterable[Rate]) -> Rate | None:
    """The first row that names the job's provider, base model and method and holds on its day."""
    day = _day(job.finished_at or job.started_at or job.created_at)
    base = base_model(job.model)
    for rate in rates:
        if rate.provider == job.provider and base in rate.models and job.method in rate.methods and holds(rate, day):
            return rate
    return None


def auto_epochs(examples: int) -> int:
    """What "auto" becomes: three epochs, but 100 to 25 000 examples in all (OpenAI's cookbook, "Data preparation")."""
    examples = max(examples, 1)
    if examples * _TARGET_EPOCHS < _LEAST_EXAMPLES:
        return min(_MOST_EPOCHS, _LEAST_EXAMPLES // examples)
    if examples * _TARGET_EPOCHS > _MOST_EXAMPLES:
        return max(1, _MOST_EXAMPLES // examples)
    return _TARGET_EPOCHS


def dollars(usd: Decimal) -> str:
    """For people and receivers: at least cents, no trailing zeros beyond them: `2.40`, `0.0123`."""
    text = f"{usd.normalize():f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(2, '0')}"


def spoken(cost: Cost) -> str:
    """For people: `$2.40`, `about $2.40`, `about $2.40 (between $2.10 and $2.90)`, `unknown`."""
    if cost.usd is None:
        return "unknown"
    if cost.basis is Basis.COMPUTED:
        return _cents(cost.usd)
    if cost.low is None or cost.high is None:
        return f"about {_cents(cost.usd)}"
    return f"about {_cents(cost.usd)} (between {_cents(cost.low)} and {_cents(cost.high)})"


def _cents(usd: Decimal) -> str:
    """Cents are enough for people, but what costs less than one is not nothing."""
    return f"${dollars(usd.quantize(_CENT) if usd >= _CENT else usd)}"


def _by_tokens(job: Job, size: TrainingSize | None, per_million: Decimal) -> Cost | None:
    told = job.trained_tokens
    if size is None:
        return None if told is None else Cost(basis=Basis.ESTIMATED, usd=_for_tokens(told, per_million))
    fewest, likely, most = _epochs(job, size)
    if told is not None and told >= size.low * fewest:  # less can only be what was trained so far
        return Cost(basis=Basis.ESTIMATED, usd=_for_tokens(told, per_million))
    usd = _for_tokens(size.tokens * likely, per_million)
    if size.exact:
        return Cost(basis=Basis.ESTIMATED, usd=usd)
    low, high = _for_tokens(size.low * fewest, per_million), _for_tokens(size.high * most, per_million)
    return Cost(basis=Basis.ESTIMATED, usd=usd, low=low, high=high)


def _epochs(job: Job, size: TrainingSize) -> tuple[int, int, int]:
    """How many epochs it will be: at least, likely, at most."""
    if job.epochs is not None:
        return job.epochs, job.epochs, job.epochs
    if size.examples is not None:
        epochs = auto_epochs(size.examples)
        return epochs, epochs, epochs
    most, fewest = max(_FEWEST, size.high // _SHORTEST), max(_FEWEST, size.low // _LONGEST)
    return auto_epochs(most), _TARGET_EPOCHS, auto_epochs(fewest)


def _by_time(training: Training, per_hour: Decimal, *, settled: bool) -> Cost:
    told = training.counted_step
    if training.loop_seconds <= 0 or _timed(training) < told:
        return UNKNOWN_COST
    complete = settled or told >= (training.latest.steps or 0)
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
    return (hours.quantize(_CENT) if hours < DEAREST else hours) * per_hour


def _for_tokens(tokens: int, per_million: Decimal) -> Decimal:
    return Decimal(tokens) * per_million / MILLION


def _day(moment: datetime | None) -> date | None:
    return moment.astimezone(UTC).date() if moment is not None else None
