"""What an organisation used and what it is billed for: pure functions of the simulation and the moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import chain

from monitor.simulator.catalogue import base_of
from monitor.simulator.draws import noise
from monitor.simulator.job import Job
from monitor.simulator.orgs import Org
from monitor.simulator.simulation import Simulation
from monitor.simulator.usage import Tokens

DAY = 86400
BOOKED_AFTER = 6 * 3600
"""Seconds until the use of a model is on the bill; training takes up to a day."""
_HOUR_OF_REINFORCEMENT = Decimal(100)


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens; the use of the tuned model, and its training."""

    training: Decimal
    input: Decimal
    cached: Decimal
    output: Decimal


_PRICES = {
    base: Price(*map(Decimal, amounts.split()))
    for base, amounts in {
        "gpt-3.5-turbo-0613": "8 3 3 6",
        "gpt-3.5-turbo-1106": "8 3 3 6",
        "gpt-3.5-turbo-0125": "8 3 3 6",
        "gpt-4o-2024-08-06": "25 3.75 1.875 15",
        "gpt-4o-mini-2024-07-18": "3 0.30 0.15 1.20",
        "gpt-4.1-2025-04-14": "25 3 0.75 12",
        "gpt-4.1-mini-2025-04-14": "5 0.80 0.20 3.20",
        "gpt-4.1-nano-2025-04-14": "1.50 0.20 0.05 0.80",
        "o4-mini-2025-04-16": "0 4 1 16",
    }.items()
}
_NO_CACHE = ("gpt-3.5",)


@dataclass(frozen=True)
class Use:
    """What a model was used for in a span of time."""

    project_id: str
    model: str
    batch: bool
    tokens: Tokens


@dataclass(frozen=True)
class Charge:
    """An amount on the bill of a day, in US dollars."""

    project_id: str
    line_item: str
    usd: Decimal
    quantity: float
    unit: str


def uses(simulation: Simulation, org: Org, start: float, end: float) -> Iterator[Use]:
    """Requests that were made from `start` on and before `end`, and those of the models that are always in use."""
    for key, tokens in simulation.usage.items():
        if key.org_id == org.id and start <= key.minute < end:
            yield Use(key.project_id, key.model, False, tokens)
    for job in simulation.in_use(org):
        tokens = _tokens(job, start, end)
        if tokens.requests:
            yield Use(job.project_id, job.fine_tuned_model, noise(job.id, "batch") < 0.3, tokens)


def _tokens(job: Job, start: float, end: float) -> Tokens:
    """At a rate of the model's own. Spans that follow each other add up, because each is a difference of two sums."""
    born = job.plan.finished_at or start
    first, last = (max(0.0, moment - born) for moment in (start, max(start, end)))
    rate = 0.005 + 0.02 * noise(job.id, "requests")
    requests, before = int(last * rate), int(first * rate)
    prompt, completion = (int(low + 900 * noise(job.id, what)) for low, what in ((200, "prompt"), (50, "completion")))
    cached = 0 if job.spec.base.id.startswith(_NO_CACHE) else int(0.4 * prompt)
    count = requests - before
    return Tokens(prompt * count, completion * count, cached * count, count)


def charges(simulation: Simulation, org: Org, day: int, now: float) -> list[Charge]:
    """What is on the bill at `now` for the day that begins at `day`: not everything before a day has passed."""
    end = min(day + DAY, now - BOOKED_AFTER)
    use = chain.from_iterable(map(_use_charges, uses(simulation, org, day, end)))
    training = chain.from_iterable(_training_charges(job, day, now) for job in simulation.jobs(org))
    found: dict[tuple[str, str], Charge] = {}
    for charge in chain(use, training):
        key = charge.project_id, charge.line_item
        same = found.get(key)
        if same is not None:
            charge = replace(charge, usd=same.usd + charge.usd, quantity=same.quantity + charge.quantity)  # noqa: PLW2901 - the sum takes its place
        found[key] = charge
    return list(found.values())


def _use_charges(use: Use) -> Iterator[Charge]:
    base = base_of(use.model)
    price = _PRICES.get(base.id) if base else None
    if base is None or price is None:
        return
    tuned = use.model.startswith("ft:")
    factor = Decimal("0.5" if use.batch else "1") * (1 if tuned else Decimal("0.8"))
    tokens = use.tokens
    for kind, count, rate in (
        ("input", tokens.prompt - tokens.cached, price.input),
        ("cached input", tokens.cached, price.cached),
        ("output", tokens.completion, price.output),
    ):
        if count:
            line_item = f"{'ft-' if tuned else ''}{base.id}, {kind}"
            yield Charge(use.project_id, line_item, factor * rate * count / 1_000_000, count, "tokens")


def _training_charges(job: Job, day: int, now: float) -> Iterator[Charge]:
    """Reinforcement is billed whenever a run ends, however it does; the rest when it has succeeded."""
    line_item = f"{job.spec.base.id} fine-tuning training"
    reinforced = job.spec.method == "reinforcement"
    for index, (ended, hours) in enumerate(_runs(job) if reinforced else _success(job)):
        booked = ended + DAY * noise(job.id, "booked", index)
        if not (day <= ended < day + DAY and booked <= now):
            continue
        if reinforced:
            yield Charge(job.project_id, line_item, hours * _HOUR_OF_REINFORCEMENT, float(hours), "duration_hours")
        elif (price := _PRICES.get(job.spec.base.id)) is not None:
            usd = price.training * job.trained_tokens / 1_000_000
            yield Charge(job.project_id, line_item, usd, job.trained_tokens, "tokens")


def _runs(job: Job) -> Iterator[tuple[float, Decimal]]:
    """When each run of the training ended, and the hours of its core loop."""
    plan = job.plan
    for run in plan.runs:
        ended = plan.ended_at if run is plan.runs[-1] else run.end
        seconds = (run.last - run.first) * round(run.seconds * plan.durations.told, 1)
        if ended is not None and seconds:
            yield ended, round(Decimal(seconds) / 3600, 2)


def _success(job: Job) -> Iterator[tuple[float, Decimal]]:
    finished = job.plan.finished_at
    if finished is not None and job.succeeded(finished):
        yield finished, Decimal(0)
