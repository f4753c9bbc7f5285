"""`/v1/organization/…`: usage, costs and projects, for callers with an admin key."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from monitor.simulator import errors
from monitor.simulator.books import DAY, Charge, Use, charges, uses
from monitor.simulator.door import Door
from monitor.simulator.orgs import Caller, Project
from monitor.simulator.paging import page, read_cut
from monitor.simulator.simulation import Simulation
from monitor.simulator.usage import Tokens

_WIDTHS = {"1m": (60, 60, 1440), "1h": (3600, 24, 168), "1d": (DAY, 7, 31)}
"""Seconds of a bucket, and how many of them a page has, by default and at most."""
_USAGE_GROUPS = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier")
_COST_GROUPS = ("project_id", "line_item", "api_key_id")
Results = Callable[[int, int], list[dict[str, Any]]]


@dataclass(frozen=True)
class Span:
    """The buckets that a page has: they begin at these moments and are so many seconds wide."""

    starts: range
    page: range

    @property
    def next(self) -> str | None:
        """The cursor of the page after this one."""
        following = self.page.stop
        return _cursor(following) if following < self.starts.stop else None


@dataclass(frozen=True)
class BookRoutes:
    """The books of a simulation."""

    simulation: Simulation

    def routes(self, door: Door) -> list[web.AbstractRouteDef]:
        """Every route, guarded."""
        usage = "api.usage.read"
        return [
            web.get("/v1/organization/usage/completions", door.guard_books(self.completions, usage)),
            web.get("/v1/organization/costs", door.guard_books(self.costs, usage)),
            web.get("/v1/organization/projects", door.guard_books(self.projects, "api.management.read")),
        ]

    async def completions(self, request: web.Request, caller: Caller) -> web.Response:
        query, now = request.query, self.simulation.now()
        groups = _groups(request, _USAGE_GROUPS)
        wanted = _filter(request)

        def results(start: int, width: int) -> list[dict[str, Any]]:
            found = uses(self.simulation, caller.org, start, min(start + width, now + 1))
            return _usage_results([use for use in found if wanted(use)], groups)

        return _told(_span(query, now, _WIDTHS), results)

    async def costs(self, request: web.Request, caller: Caller) -> web.Response:
        query, now = request.query, self.simulation.now()
        groups = _groups(request, _COST_GROUPS)
        projects = _list(request, "project_ids")

        def results(start: int, _width: int) -> list[dict[str, Any]]:
            found = charges(self.simulation, caller.org, start, now)
            return _cost_results([each for each in found if not projects or each.project_id in projects], groups)

        return _told(_span(query, now, {"1d": (DAY, 7, 180)}), results)

    async def projects(self, request: web.Request, caller: Caller) -> web.Response:
        cut = read_cut(request.query, default=20)
        shown, more = page(caller.org.projects, cut, name=lambda project: project.id)
        listed = [_project(project) for project in shown]
        ends = {name: listed[at]["id"] if listed else None for name, at in (("first_id", 0), ("last_id", -1))}
        return web.json_response({"object": "list", "data": listed, **ends, "has_more": more})


def _project(project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "object": "organization.project",
        "name": project.name,
        "created_at": 1_711_471_533,
        "archived_at": None,
        "status": "active",
    }


def _told(span: Span, results: Results) -> web.Response:
    width = span.starts.step
    buckets = [
        {"object": "bucket", "start_time": start, "end_time": start + width, "results": results(start, width)}
        for start in span.page
    ]
    following = span.next
    return web.json_response(
        {"object": "page", "data": buckets, "has_more": following is not None, "next_page": following}
    )


def _span(query: Mapping[str, str], now: float, widths: Mapping[str, tuple[int, int, int]]) -> Span:
    """Which buckets are asked for; raises ApiError 400. The future has none."""
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


def _list(request: web.Request, name: str) -> list[str]:
    """A list in either spelling: `name=a&name=b`, `name[]=a&name[]=b`."""
    return [*request.query.getall(name, []), *request.query.getall(f"{name}[]", [])]


def _groups(request: web.Request, known: Sequence[str]) -> tuple[str, ...]:
    wanted = _list(request, "group_by")
    for name in wanted:
        if name not in known:
            message = f"Invalid value: '{name}'. Supported values are: {', '.join(known)}."
            raise errors.bad("group_by", message, "invalid_value")
    return tuple(name for name in known if name in wanted)


def _filter(request: web.Request) -> Callable[[Use], bool]:
    projects, models = _list(request, "project_ids"), _list(request, "models")
    batch = request.query.get("batch")

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
