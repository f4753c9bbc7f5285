"""OpenAI's `/organization/…` for admin keys: usage, costs and projects."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import chain
from typing import Any

from monitor.simulator import errors
from monitor.simulator.dialect import ApiCall, Route
from monitor.simulator.draws import noise
from monitor.simulator.job import Job
from monitor.simulator.models import base_of, is_tuned
from monitor.simulator.openai.pages import cut, named
from monitor.simulator.orgs import Org, Project
from monitor.simulator.simulation import Simulation, Tokens

DAY = 86400
_BILLED_AFTER = 6 * 3600
"""Seconds until usage is billed; training takes up to a day."""
_HOUR_OF_REINFORCEMENT = Decimal(100)
_WIDTHS = {"1m": (60, 60, 1440), "1h": (3600, 24, 168), "1d": (DAY, 7, 31)}
"""For each bucket width: its seconds, and the default and maximum number of buckets on a page."""
_USAGE_GROUPS = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier")
_COST_GROUPS = ("project_id", "line_item", "api_key_id")


def completions(call: ApiCall) -> dict[str, Any]:
    groups, wanted = _groups(call, _USAGE_GROUPS), _filter(call)

    def results(start: int, width: int) -> list[dict[str, Any]]:
        found = uses(call.simulation, call.org, start, min(start + width, call.now + 1))
        return _usage_results([use for use in found if wanted(use)], groups)

    return _buckets(_span(call.query, call.now, _WIDTHS), results)


def costs(call: ApiCall) -> dict[str, Any]:
    groups, projects = _groups(call, _COST_GROUPS), _list(call, "project_ids")

    def results(start: int, _width: int) -> list[dict[str, Any]]:
        found = charges(call.simulation, call.org, start, call.now)
        return _cost_results([each for each in found if not projects or each.project_id in projects], groups)

    return _buckets(_span(call.query, call.now, {"1d": (DAY, 7, 180)}), results)


def projects(call: ApiCall) -> dict[str, Any]:
    shown, more = cut(call.org.projects, call.query, default=20, name=lambda project: project.id)
    return named([_project(project) for project in shown], more=more)


COSTS = (
    Route("GET", "/organization/usage/completions", completions, scope="api.usage.read"),
    Route("GET", "/organization/costs", costs, scope="api.usage.read"),
    Route("GET", "/organization/projects", projects, scope="api.management.read"),
)


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens: of training, and of the tuned model's use."""

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
    """The usage of a model in a span of time."""

    project_id: str
    model: str
    batch: bool
    tokens: Tokens


@dataclass(frozen=True)
class Charge:
    """An amount on one day's bill, in US dollars."""

    project_id: str
    line_item: str
    usd: Decimal
    quantity: float
    unit: str


def uses(simulation: Simulation, org: Org, start: float, end: float) -> Iterator[Use]:
    """The usage from `start` to before `end`: recorded requests, and those of models in constant use."""
    for key, tokens in simulation.usage.items():
        if key.org_id == org.id and start <= key.minute < end:
            yield Use(key.project_id, key.model, False, tokens)
    for job in simulation.in_use(org):
        tokens = _tokens(job, start, end)
        if tokens.requests:
            yield Use(job.owner.project.id, job.fine_tuned_model, noise(job.id, "batch") < 0.3, tokens)


def _tokens(job: Job, start: float, end: float) -> Tokens:
    """The usage of a job's model at a constant rate of its own.

    Adjacent spans add up, as each is a difference of sums.
    """
    born = job.plan.finished_at or start
    first, last = (max(0.0, moment - born) for moment in (start, max(start, end)))
    rate = 0.005 + 0.02 * noise(job.id, "requests")
    requests, before = int(last * rate), int(first * rate)
    prompt, completion = (int(low + 900 * noise(job.id, what)) for low, what in ((200, "prompt"), (50, "completion")))
    cached = 0 if job.spec.base.id.startswith(_NO_CACHE) else int(0.4 * prompt)
    count = requests - before
    return Tokens(prompt * count, completion * count, cached * count, count)


def charges(simulation: Simulation, org: Org, day: int, now: float) -> list[Charge]:
    """The charges that are billed at `now` for the day that begins at `day`; complete only a day later."""
    end = min(day + DAY, now - _BILLED_AFTER)
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
    tuned = is_tuned(use.model)
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
    """The charges of a training: reinforcement per run, however it ended; other methods only after success."""
    line_item = f"{job.spec.base.id} fine-tuning training"
    reinforced = job.spec.method == "reinforcement"
    for index, (ended, hours) in enumerate(_runs(job) if reinforced else _success(job)):
        billed = ended + DAY * noise(job.id, "booked", index)
        if not (day <= ended < day + DAY and billed <= now):
            continue
        if reinforced:
            yield Charge(
                job.owner.project.id, line_item, hours * _HOUR_OF_REINFORCEMENT, float(hours), "duration_hours"
            )
        elif (price := _PRICES.get(job.spec.base.id)) is not None:
            usd = price.training * job.trained_tokens / 1_000_000
            yield Charge(job.owner.project.id, line_item, usd, job.trained_tokens, "tokens")


def _runs(job: Job) -> Iterator[tuple[float, Decimal]]:
    """When each run of the training ended, and the hours of its core training loop."""
    plan = job.plan
    for run in plan.runs:
        ended = plan.ended_at if run is plan.runs[-1] else run.end
        seconds = (run.last - run.first) * round(run.seconds * plan.durations.reported, 1)
        if ended is not None and seconds:
            yield ended, round(Decimal(seconds) / 3600, 2)


def _success(job: Job) -> Iterator[tuple[float, Decimal]]:
    finished = job.plan.finished_at
    if finished is not None and job.succeeded(finished):
        yield finished, Decimal(0)


Results = Callable[[int, int], list[dict[str, Any]]]


@dataclass(frozen=True)
class Span:
    """The start times of all requested buckets, and those of one page; the step is a bucket's width in seconds."""

    starts: range
    page: range

    @property
    def next(self) -> str | None:
        """The cursor of the next page."""
        following = self.page.stop
        return _cursor(following) if following < self.starts.stop else None


def _project(project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "object": "organization.project",
        "name": project.name,
        "created_at": 1_711_471_533,
        "archived_at": None,
        "status": "active",
    }


def _buckets(span: Span, results: Results) -> dict[str, Any]:
    width = span.starts.step
    buckets = [
        {"object": "bucket", "start_time": start, "end_time": start + width, "results": results(start, width)}
        for start in span.page
    ]
    following = span.next
    return {"object": "page", "data": buckets, "has_more": following is not None, "next_page": following}


def _span(query: Mapping[str, str], now: float, widths: Mapping[str, tuple[int, int, int]]) -> Span:
    """The requested buckets; none are in the future. Raises ApiError 400."""
    name = query.get("bucket_width", "1d")
    if name not in widths:
        known = ", ".join(f"'{each}'" for each in widths)
        message = f"Invalid value: '{name}'. Supported values are: {known}."
        raise errors.bad("bucket_width", message, "invalid_value")
    width, usual, most = widths[name]
    if "start_time" not in query:
        raise errors.missing("start_time")
    first = _number(query, "start_time", 0) // width * width
    end = min(_number(query, "end_time", int(now) + 1), int(now) + 1)
    limit = _number(query, "limit", usual)
    if not 1 <= limit <= most:
        message = f"Invalid 'limit': expected a value from 1 to {most}, but got {limit} instead."
        raise errors.bad("limit", message, "integer_above_max_value" if limit > most else "integer_below_min_value")
    starts = range(first, max(first, first + -(-(end - first) // width) * width), width)
    at = _from_cursor(query["page"]) if "page" in query else first
    if at != first and at not in starts:
        raise errors.bad("page", "Invalid 'page': no such page.", "invalid_value")
    return Span(starts, range(at, min(at + limit * width, starts.stop), width))


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise errors.bad_type(name, "an integer", text) from None


def _cursor(at: int) -> str:
    return f"page_{base64.urlsafe_b64encode(str(at).encode()).decode()}"


def _from_cursor(text: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(text.removeprefix("page_")))
    except (ValueError, binascii.Error):
        raise errors.bad("page", "Invalid 'page': no such page.", "invalid_value") from None


def _list(call: ApiCall, name: str) -> list[str]:
    """A list parameter in either spelling: `name=a&name=b` or `name[]=a&name[]=b`."""
    return [*call.query.getall(name, []), *call.query.getall(f"{name}[]", [])]


def _groups(call: ApiCall, known: Sequence[str]) -> tuple[str, ...]:
    wanted = _list(call, "group_by")
    for name in wanted:
        if name not in known:
            message = f"Invalid value: '{name}'. Supported values are: {', '.join(known)}."
            raise errors.bad("group_by", message, "invalid_value")
    return tuple(name for name in known if name in wanted)


def _filter(call: ApiCall) -> Callable[[Use], bool]:
    projects, models = _list(call, "project_ids"), _list(call, "models")
    batch = call.query.get("batch")

    def wanted(use: Use) -> bool:
        right = (not projects or use.project_id in projects) and (not models or use.model in models)
        return right and batch in (None, str(use.batch).lower())

    return wanted


def _usage_results(found: Iterable[Use], groups: tuple[str, ...]) -> list[dict[str, Any]]:
    sums: dict[tuple[Any, ...], Tokens] = {}
    for use in found:
        key = tuple(getattr(use, name, None) if name in groups else None for name in _USAGE_GROUPS)
        sums[key] = sums[key] + use.tokens if key in sums else use.tokens
    return [_usage_json(dict(zip(_USAGE_GROUPS, key, strict=True)), tokens) for key, tokens in sums.items()]


def _usage_json(group: Mapping[str, Any], tokens: Tokens) -> dict[str, Any]:
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": tokens.prompt,
        "input_cached_tokens": tokens.cached,
        "input_uncached_tokens": tokens.prompt - tokens.cached,
        "output_tokens": tokens.completion,
        "input_audio_tokens": 0,
        "output_audio_tokens": 0,
        "num_model_requests": tokens.requests,
        **group,
    }


def _cost_results(found: Iterable[Charge], groups: tuple[str, ...]) -> list[dict[str, Any]]:
    sums: dict[tuple[Any, ...], list[Charge]] = {}
    for charge in found:
        key = tuple(getattr(charge, name, None) if name in groups else None for name in _COST_GROUPS)
        sums.setdefault(key, []).append(charge)
    return [_cost_json(dict(zip(_COST_GROUPS, key, strict=True)), each) for key, each in sums.items()]


def _cost_json(group: Mapping[str, Any], found: Sequence[Charge]) -> dict[str, Any]:
    one_line = group["line_item"] is not None
    return {
        "object": "organization.costs.result",
        "amount": {"value": float(sum(charge.usd for charge in found)), "currency": "usd"},
        "quantity": sum(charge.quantity for charge in found) if one_line else None,
        "quantity_unit": found[0].unit if one_line else None,
        **group,
    }
