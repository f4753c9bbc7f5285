"""What a job's training costs, by the price of its day: estimated before the end, computed at it, or unknown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from monitor.domain.model import UNKNOWN_COST, Basis, Cost, Job, Method

_MILLION: Final = Decimal(1_000_000)
_HOUR: Final = Decimal(3600)
_CENT: Final = Decimal("0.01")


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


def price(job: Job, rates: Iterable[Rate]) -> Cost:
    """What an ended job cost; UNKNOWN when there is no price or no quantity. Never a guess, never 0 for unknown.

    Supervised and DPO: trained tokens, which already include the epochs, times the price per million.
    Reinforcement: hours of the core training loop, rounded to two decimals as on OpenAI's invoices.
    """
    usd = _amount(job, rates, job.training.loop_seconds)
    return Cost(basis=Basis.COMPUTED, usd=usd) if usd is not None else UNKNOWN_COST


def estimate(job: Job, rates: Iterable[Rate]) -> Cost | None:
    """What an active job will have cost, where the provider tells enough of it before the end; None where it does not.

    Supervised and DPO: the trained tokens, if they are told already. Reinforcement: all steps last as long as those
    that are done.
    """
    training = job.training
    done, steps = training.counted_step, training.latest.steps
    usd = _amount(job, rates, training.loop_seconds * max(steps, done) / done if steps and done else 0.0)
    return Cost(basis=Basis.ESTIMATED, usd=usd) if usd is not None else None


def _amount(job: Job, rates: Iterable[Rate], loop_seconds: float) -> Decimal | None:
    rate = _rate_for(job, rates)
    if rate is None:
        return None
    if rate.per_hour is not None and loop_seconds > 0:
        return (Decimal(str(loop_seconds)) / _HOUR).quantize(_CENT) * rate.per_hour
    if rate.per_million is not None and job.trained_tokens is not None:
        return Decimal(job.trained_tokens) * rate.per_million / _MILLION
    return None


def _rate_for(job: Job, rates: Iterable[Rate]) -> Rate | None:
    """The first row that names the job's provider, base model and method and holds on its day."""
    day = _day(job.finished_at or job.started_at or job.created_at)
    base = base_model(job.model)
    for rate in rates:
        if rate.provider == job.provider and base in rate.models and job.method in rate.methods and _holds(rate, day):
            return rate
    return None


def base_model(model: str) -> str:
    """The base of a model name: `ft:gpt-4o-mini-2024-07-18:org:name:id` was tuned from `gpt-4o-mini-2024-07-18`."""
    return model.split(":")[1] if model.startswith("ft:") else model


def dollars(usd: Decimal) -> str:
    """For people and receivers: at least cents, no trailing zeros beyond them: `2.40`, `0.0123`."""
    text = f"{usd.normalize():f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(2, '0')}"


def spoken(cost: Cost) -> str:
    """For people: `$2.40`, `about $2.40`, `unknown`. Cents are enough, but what costs less than one is not nothing."""
    if cost.usd is None:
        return "unknown"
    rounded = f"${dollars(cost.usd.quantize(_CENT) if cost.usd >= _CENT else cost.usd)}"
    return rounded if cost.basis is Basis.COMPUTED else f"about {rounded}"


def _day(moment: datetime | None) -> date | None:
    return moment.astimezone(UTC).date() if moment is not None else None


def _holds(rate: Rate, day: date | None) -> bool:
    if day is None:
        return True
    return (rate.valid_from is None or rate.valid_from <= day) and (rate.valid_until is None or day <= rate.valid_until)
