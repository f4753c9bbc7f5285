"""An organisation's books as a server keeps them, which a test writes; and the source that reads them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from aiohttp import web
from aiolimiter import AsyncLimiter

from monitor.clock import SystemClock
from monitor.providers.openai import provider
from monitor.secret import Redactor, Secret
from monitor.source import Client, Limits, Transport, transport
from monitor.source.billing import BillingSource
from tests.source.servers import serving

ADMIN_KEY = "sk-admin-Qp7xW2mZr9LtVb4NcY6DfHsJ1gKaE8uX"
TODAY = date(2026, 11, 22)
MODEL = "ft:gpt-4o-mini-2024-07-18:acme:bot:AbC123"
Fault = Callable[[], web.StreamResponse]


def used(model: str = MODEL, input: int = 1000, output: int = 100, **fields: Any) -> dict[str, Any]:  # noqa: A002 - the kind's name
    """A row of usage."""
    counts = {"input_tokens": input, "output_tokens": output, "num_model_requests": 1}
    return {"model": model, "project_id": "proj_1", "batch": False, "input_cached_tokens": 0, **counts, **fields}


def billed(value: object, line_item: str = "ft-gpt-4o-mini-2024-07-18, input", **fields: Any) -> dict[str, Any]:
    """A row of the bill."""
    amount = {"value": value, "currency": "usd"}
    return {"amount": amount, "line_item": line_item, "project_id": "proj_1", **fields}


@dataclass
class Books:
    """What a server tells, by day. `faults` answer instead of the page with that number, once each."""

    usage: dict[date, list[dict[str, Any]]] = field(default_factory=dict)
    costs: dict[date, list[dict[str, Any]]] = field(default_factory=dict)
    today: date = TODAY
    faults: dict[tuple[str, int], Fault] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    """These answer every time."""
    asked: list[tuple[str, date, date]] = field(default_factory=list)
    """What of which days, for each first page."""
    keys: list[str] = field(default_factory=list)
    delay: float = 0.0
    per_page: int = 1000

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        name = "costs" if request.path.endswith("/costs") else "usage"
        since, until = (_day(request.query[each]) for each in ("start_time", "end_time"))
        cursor = request.query.get("page", "0")
        page = int(cursor) if cursor.isdecimal() else -1
        self.keys.append(request.headers["Authorization"].removeprefix("Bearer "))
        if page == 0:
            self.asked.append((name, since, until - timedelta(days=1)))
        fault = self.always.get(name) or self.faults.pop((name, page), None)
        if fault is not None:
            return fault()
        await asyncio.sleep(self.delay)
        days = [since + timedelta(days=n) for n in range((min(until, self.today + timedelta(days=1)) - since).days)]
        size = min(int(request.query["limit"]), self.per_page)
        shown, more = days[page * size : (page + 1) * size], (page + 1) * size < len(days)
        rows = self.costs if name == "costs" else self.usage
        return told([_bucket(day, rows.get(day, [])) for day in shown], str(page + 1) if more else None)


def told(buckets: list[dict[str, Any]], following: str | None = None) -> web.Response:
    """A page."""
    return web.json_response({"data": buckets, "has_more": following is not None, "next_page": following})


def _bucket(day: date, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"start_time": moment(day), "end_time": moment(day) + 86400, "results": rows}


def moment(day: date) -> int:
    """The second a day begins."""
    return int(datetime.combine(day, time(), UTC).timestamp())


def _day(text: str) -> date:
    return datetime.fromtimestamp(int(text), UTC).date()


def refused(status: int, message: str = "no", **headers: str) -> Fault:
    """An error in OpenAI's envelope."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: web.json_response({"error": {"message": message}}, status=status, headers=names)


def broken_off() -> web.StreamResponse:
    """Half a page."""
    return web.Response(body=json.dumps({"data": [_bucket(TODAY, [used()])]}).encode()[:-20])


def accounts(base_url: str, http: Transport, **over: Any) -> BillingSource:
    """Who reads them, as `research`."""
    redactor, org = Redactor(), over.pop("org", "research")
    billing = provider(org, base_url, billed=True).billing
    assert billing is not None
    of = {"deadline": over.pop("deadline")} if "deadline" in over else {}
    fields: dict[str, Any] = {
        "org": org,
        "base_url": base_url,
        "auth": billing.auth,
        "headers": billing.headers,
        "secrets": {"admin_key": over.pop("secret", Secret(ADMIN_KEY, redactor=redactor))},
        "transport": http,
        "limiter": AsyncLimiter(1000, 1.0),
        "redact": redactor,
        "clock": SystemClock(),
        "count": lambda operation, code: None,
        "limits": Limits(timeout=5.0),
    }
    return BillingSource(client=Client(**{**fields, **over}), billing=billing, **of)


@asynccontextmanager
async def reading(books: Books, **over: Any) -> AsyncIterator[BillingSource]:
    """A server with these books, and a source that reads them."""
    async with serving(books) as base_url, transport() as http:
        yield accounts(base_url, http, **over)
