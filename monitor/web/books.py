"""The books as JSON: costs by day, budgets, and tuned models with their ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from aiohttp import web
from anyio import to_thread

from monitor.clock import Clock
from monitor.domain.costs import TunedModel
from monitor.domain.pricing import dollars
from monitor.domain.reconcile import DayCosts, reconcile
from monitor.domain.render import moment
from monitor.metrics.health import BudgetState, Health
from monitor.store import CostStore
from monitor.web import query, views

_DAYS: Final = 30
_MOST_DAYS: Final = 366


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRoutes:
    """What answers questions about money. The methods are aiohttp handlers."""

    store: CostStore
    health: Health
    clock: Clock

    async def costs(self, request: web.Request) -> web.Response:
        """Computed beside billed, by organisation and UTC day, the newest day first."""
        given = query.only(request.query, "org", "days")
        org = query.choice(given, "org", tuple(self.health.orgs))
        days = query.whole(given, "days", otherwise=_DAYS, most=_MOST_DAYS)
        orgs = (org,) if org is not None else tuple(self.health.orgs)
        today = self.clock.now().astimezone(UTC).date()
        since = today - timedelta(days=days - 1)
        found = await self.store.records(datetime.combine(since, time(), UTC), orgs)

        def encode() -> bytes:
            books = reconcile(found.spendings, found.usages, found.bills, since, today)
            newest = sorted(books, key=lambda one: (-one.day.toordinal(), one.org))
            return views.encoded([day_view(one) for one in newest])

        return _json(await to_thread.run_sync(encode))

    async def models(self, request: web.Request) -> web.Response:
        """The tuned models, those that end first before the others."""
        given = query.only(request.query, "org")
        org = query.choice(given, "org", tuple(self.health.orgs))
        models = await self.store.tuned_models((org,) if org is not None else tuple(self.health.orgs))
        today = self.clock.now().astimezone(UTC)
        shown = sorted(models, key=lambda one: (one.shutdown is None, one.shutdown or today.date(), one.org, one.id))
        return _json(views.encoded([model_view(one, today) for one in shown]))

    async def budgets(self, request: web.Request) -> web.Response:
        """What each budget has come to."""
        query.only(request.query)
        return _json(views.encoded([budget_view(one) for one in self.health.budgets]))


def day_view(books: DayCosts) -> dict[str, Any]:
    """One day's books; money as decimal text, null where nothing was billed."""
    return {
        "org": books.org,
        "day": books.day.isoformat(),
        "settled": books.settled,
        "computed": {"training": dollars(books.computed_training), "use": dollars(books.computed_use)},
        "billed": {
            "training": _money(books.billed_training),
            "use": _money(books.billed_inference),
            "other": _money(books.billed_other),
        },
        "unpriced": books.unpriced,
        "unknown_line_items": list(books.unknown),
    }


def model_view(model: TunedModel, now: datetime) -> dict[str, Any]:
    """A tuned model and its end."""
    return {
        "org": model.org,
        "id": model.id,
        "base_model": model.base,
        "shutdown_date": model.shutdown.isoformat() if model.shutdown is not None else None,
        "days_left": (model.shutdown - now.date()).days if model.shutdown is not None else None,
        "listed": model.listed,
    }


def budget_view(budget: BudgetState) -> dict[str, Any]:
    """A budget and what was spent of it."""
    return {
        "name": budget.name,
        "limit": dollars(budget.limit),
        "spent": dollars(budget.spent),
        "ratio": float(round(budget.spent / budget.limit, 4)),
        "period_end": moment(budget.period_end),
    }


def _money(usd: Decimal | None) -> str | None:
    return None if usd is None else dollars(usd)


def _json(content: bytes) -> web.Response:
    return web.Response(body=content, content_type="application/json")
