"""The JSON API, which docs/openapi.yaml describes: jobs, organisations, deliveries, costs, budgets and models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeVar

import anyio
import msgspec
from aiohttp import web
from anyio import to_thread

from monitor.clock import Clock
from monitor.domain.costs import TunedModel
from monitor.domain.flow import Tracked, Transition, Trouble
from monitor.domain.health import BillingHealth, BudgetState, Health, OrgHealth
from monitor.domain.model import JobEvent, JobKind, Status
from monitor.domain.money import dollars
from monitor.domain.reconcile import DayCosts, reconcile, with_hosting
from monitor.domain.render import headway_view, job_view, moment
from monitor.providers import line_item_kind
from monitor.store import CostStore, DeliverySummary, JobFile, Reader, ResultPage
from monitor.web import query

T = TypeVar("T")
View = dict[str, Any]

_STATES: Final = ("pending", "sent", "dead")  # the states of a DeliverySummary
_DAYS: Final = 30
_MOST_DAYS: Final = 366


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRoutes:
    """The handlers of the API."""

    reader: Reader
    costs_store: CostStore
    health: Health
    read_health: Callable[[], Awaitable[Health]]
    """The health of all organisations as of now."""
    clock: Clock
    monitor_url: Callable[[], str]
    """The base URL of our own pages, without a trailing slash."""
    threads: anyio.CapacityLimiter

    async def jobs(self, request: web.Request) -> web.Response:
        """GET /api/v1/jobs: jobs and batches, newest first."""
        given = query.only(request.query, "org", "status", "kind", "limit", "after")
        org = query.choice(given, "org", tuple(self.health.orgs))
        status = query.choice(given, "status", tuple(Status))
        kind = query.choice(given, "kind", tuple(JobKind))
        listing = await self.reader.jobs(
            org=org, status=status, kind=kind, limit=query.limit(given, 50), after=given.get("after")
        )
        view = partial(job, health=self.health.copy(), now=self.clock.now(), monitor_url=self.monitor_url())
        return await self._json(lambda: page(listing, view))

    async def job(self, request: web.Request) -> web.Response:
        """GET /api/v1/jobs/{org}/{job_id}: one job with its transitions and deliveries."""
        query.only(request.query)
        file = await self.reader.job(request.match_info["org"], request.match_info["job_id"])
        if file is None:
            raise query.NoSuchObject("there is no such job")
        health, now, monitor_url = self.health.copy(), self.clock.now(), self.monitor_url()
        return await self._json(lambda: encoded(job_file(file, health, now, monitor_url)))

    async def events(self, request: web.Request) -> web.Response:
        """GET /api/v1/jobs/{org}/{job_id}/events: a job's event stream, newest first."""
        given = query.only(request.query, "limit", "after")
        org, job_id = request.match_info["org"], request.match_info["job_id"]
        if await self.reader.job(org, job_id) is None:
            raise query.NoSuchObject("there is no such job")
        listing = await self.reader.events(org, job_id, limit=query.limit(given, 100), after=given.get("after"))
        return await self._json(lambda: page(listing, event))

    async def orgs(self, request: web.Request) -> web.Response:
        """GET /api/v1/orgs: the organisations and their health."""
        query.only(request.query)
        health = await self.read_health()
        shown = [organisation(org, health.billing.get(org.org)) for org in health.orgs.values()]
        return await self._json(lambda: encoded(shown))

    async def deliveries(self, request: web.Request) -> web.Response:
        """GET /api/v1/deliveries: the outbox, newest first."""
        given = query.only(request.query, "state", "limit", "after")
        state = query.choice(given, "state", _STATES)
        listing = await self.reader.deliveries(state=state, limit=query.limit(given, 50), after=given.get("after"))
        return await self._json(lambda: page(listing, delivery))

    async def costs(self, request: web.Request) -> web.Response:
        """GET /api/v1/costs: computed and billed costs by organisation and UTC day, newest day first."""
        given = query.only(request.query, "org", "days", "limit", "after")
        orgs = self._orgs(given)
        days = query.whole(given, "days", otherwise=_DAYS, most=_MOST_DAYS)
        today = self.clock.now().astimezone(UTC).date()
        since = today - timedelta(days=days - 1)
        found = await self.costs_store.records(datetime.combine(since, time(), UTC), orgs)

        def encode() -> bytes:
            daily = reconcile(found.trained, found.usages, found.bills, since, today, kinds=line_item_kind)
            daily = with_hosting(daily, found.hostings, since, today)
            return page(query.paged(daily, lambda one: (-one.day.toordinal(), one.org), given), day_costs)

        return await self._json(encode)

    async def models(self, request: web.Request) -> web.Response:
        """GET /api/v1/models: the fine-tuned models, those with the earliest shutdown first."""
        given = query.only(request.query, "org", "limit", "after")
        listing = await self.costs_store.models(
            self._orgs(given), limit=query.limit(given, query.PAGE), after=given.get("after")
        )
        now = self.clock.now().astimezone(UTC)
        return await self._json(lambda: page(listing, partial(tuned_model, now=now)))

    async def budgets(self, request: web.Request) -> web.Response:
        """GET /api/v1/budgets: what was spent of each budget."""
        query.only(request.query)
        return await self._json(lambda: encoded([budget(one) for one in self.health.budgets]))

    def _orgs(self, given: Mapping[str, str]) -> tuple[str, ...]:
        known = tuple(self.health.orgs)
        org = query.choice(given, "org", known)
        return known if org is None else (org,)

    async def _json(self, encode: Callable[[], bytes]) -> web.Response:
        return answered(await to_thread.run_sync(encode, limiter=self.threads))


def answered(content: bytes) -> web.Response:
    """A JSON response."""
    return web.Response(body=content, content_type="application/json")


def page(listing: ResultPage[T], view: Callable[[T], View]) -> bytes:
    """Encode one page of a list and the cursor of the next page."""
    return encoded([view(item) for item in listing.items], listing.next)


def encoded(shown: View | list[View], following: str | None = None) -> bytes:
    """Encode an answer: `data`, and for a list `next`."""
    answer = {"data": shown, "next": following} if isinstance(shown, list) else {"data": shown}
    return msgspec.json.encode(answer)


def job(tracked: Tracked, health: Health, now: datetime, monitor_url: str = "") -> View:
    """A job as in notifications, with its organisation's labels and the state that we keep of it."""
    org = health.orgs.get(tracked.job.org)
    return {
        "org": tracked.job.org,
        "provider": tracked.job.provider,
        "labels": dict(org.labels) if org is not None else {},
        **job_view(tracked.job, tracked.cost, monitor_url=monitor_url, verdict=tracked.verdict),
        "base_model": tracked.job.base_model,
        "hyperparameters": tracked.job.tuning.hyperparameters,
        "seed": tracked.job.tuning.seed,
        "gone": tracked.gone and not tracked.job.status.final,
        "since": moment(tracked.since),
        "stalled": tracked.stalled,
        **headway_view(tracked, now),
    }


def job_file(file: JobFile, health: Health, now: datetime, monitor_url: str = "") -> View:
    """A job with its transitions and deliveries."""
    return {
        **job(file.tracked, health, now, monitor_url),
        "transitions": [transition(one) for one in file.transitions],
        "deliveries": [delivery(one) for one in file.deliveries],
    }


def transition(entry: Transition) -> View:
    """A transition as in notifications."""
    return {
        "id": entry.id,
        "seq": entry.seq,
        "kind": entry.kind,
        "from": entry.before,
        "to": entry.after,
        "observed_at": moment(entry.at),
    }


def event(job_event: JobEvent) -> View:
    """One event of a job, with its metrics."""
    metrics = asdict(job_event.metrics) if job_event.metrics is not None else {}
    return {
        "id": job_event.id,
        "at": moment(job_event.at),
        "level": job_event.level,
        "kind": job_event.kind,
        "message": job_event.message,
        "metrics": {name: value for name, value in metrics.items() if value is not None and value is not False} or None,
        "checkpoint": asdict(job_event.checkpoint) if job_event.checkpoint is not None else None,
    }


def delivery(summary: DeliverySummary) -> View:
    """A delivery without its content."""
    return {
        "key": summary.key,
        "notifier": summary.notifier,
        "org": summary.org,
        "job": summary.job,
        "seq": summary.seq,
        "type": summary.type,
        "title": summary.title,
        "state": summary.state,
        "attempts": summary.attempts,
        "created_at": moment(summary.created_at),
        "due_at": moment(summary.due_at),
        "settled_at": moment(summary.settled_at),
        "reason": summary.reason,
        "answer": summary.answer,
    }


def organisation(health: OrgHealth, imports: BillingHealth | None) -> View:
    """The health of an organisation and, where they are imported, of its billed costs."""
    return {
        "org": health.org,
        "provider": health.provider,
        "labels": dict(health.labels),
        "up": health.up,
        "last_success": moment(health.last_success),
        "next_poll_at": moment(health.next_poll_at),
        "trouble": _trouble(health.trouble),
        "books": None
        if imports is None
        else {
            "last_success": moment(imports.last_success),
            "next_read_at": moment(imports.next_read_at),
            "trouble": _trouble(imports.trouble),
        },
    }


def _trouble(trouble: Trouble | None) -> Mapping[str, str] | None:
    return None if trouble is None else {"reason": trouble.reason, "text": trouble.text}


def day_costs(day: DayCosts) -> dict[str, Any]:
    """The costs of one day. Money is decimal text; null where nothing was billed."""
    return {
        "org": day.org,
        "day": day.day.isoformat(),
        "settled": day.settled,
        "computed": {
            "training": dollars(day.computed_training),
            "use": dollars(day.computed_use),
            "hosting": dollars(day.computed_hosting),
        },
        "billed": {
            "training": _money(day.billed_training),
            "use": _money(day.billed_inference),
            "other": _money(day.billed_other),
        },
        "unpriced": day.unpriced,
        "unknown_line_items": list(day.unknown),
    }


def tuned_model(model: TunedModel, now: datetime) -> dict[str, Any]:
    """A fine-tuned model and its shutdown date."""
    return {
        "org": model.org,
        "id": model.id,
        "base_model": model.base,
        "shutdown_date": model.shutdown.isoformat() if model.shutdown is not None else None,
        "days_left": (model.shutdown - now.date()).days if model.shutdown is not None else None,
        "listed": model.listed,
    }


def budget(state: BudgetState) -> dict[str, Any]:
    """A budget and what was spent of it."""
    return {
        "name": state.name,
        "limit": dollars(state.limit),
        "spent": dollars(state.spent),
        "ratio": float(round(state.spent / state.limit, 4)),
        "period_end": moment(state.period_end),
    }


def _money(usd: Decimal | None) -> str | None:
    return None if usd is None else dollars(usd)
