"""The commands that list jobs, organisations, budgets, fine-tuned models and daily costs, and `reload`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import islice, takewhile
from typing import Final, TypeVar

import click
from rich.text import Text

from monitor.clock import SystemClock
from monitor.domain.health import poll_interval
from monitor.domain.model import Status
from monitor.domain.render import span
from monitor.domain.routing import Match, names
from monitor.environ import environ
from monitor.terminal.answers import Answer, Budget, DailyCosts, Job, Org, TunedModel
from monitor.terminal.client import Daemon, Item, connect
from monitor.terminal.job import model, short_cost
from monitor.terminal.options import Options
from monitor.terminal.output import (
    BAD,
    GOOD,
    ODD,
    Column,
    age,
    console,
    inert,
    moment,
    money,
    pairs,
    problem,
    status_style,
    table,
)

A = TypeVar("A", bound=Answer)
Row = tuple[str | Text, ...]

_ACTIVE: Final = tuple(status.value for status in Status if not status.final)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_JOBS: Final = (
    Column(title="ORG", least=8, spare=1),
    Column(title="JOB"),
    Column(title="STATUS"),
    Column(title="DONE", right=True, spare=3),
    Column(title="AGE", right=True),
    Column(title="RAN", right=True, spare=6),
    Column(title="COST", right=True, spare=4),
    Column(title="MODEL", least=12, spare=7),
    Column(title="NAME", least=8, spare=5),
    Column(title="FAILURE", least=8, spare=2),
)
_ORGS: Final = (
    Column(title="ORG", least=12),
    Column(title="PROVIDER", spare=2),
    Column(title="STATE"),
    Column(title="POLLED"),
    Column(title="NEXT POLL", right=True, spare=3),
    Column(title="LABELS", least=12, spare=4),
    Column(title="PROBLEM", least=20),
)
_BUDGETS: Final = (
    Column(title="BUDGET", least=12),
    Column(title="SPENT", right=True),
    Column(title="LIMIT", right=True),
    Column(title="USED", right=True),
    Column(title="PERIOD ENDS", spare=1),
)
_MODELS: Final = (
    Column(title="ORG", least=8),
    Column(title="MODEL"),
    Column(title="BASE MODEL", least=12, spare=1),
    Column(title="SHUTDOWN", least=10),
    Column(title="NOTE", spare=2),
)
_COSTS: Final = (
    Column(title="DAY"),
    Column(title="ORG", least=8),
    Column(title="TRAINING", right=True),
    Column(title="BILLED", right=True),
    Column(title="INFERENCE", right=True),
    Column(title="BILLED", right=True),
    Column(title="HOSTING", right=True, spare=3),
    Column(title="OTHER BILLED", right=True, spare=2),
    Column(title="NOTE", least=8, spare=1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """The jobs to list."""

    org: str | None = None
    status: str | None = None
    kind: str | None = None
    """`fine_tuning` or `batch`."""
    active: bool = False
    """Only jobs that have not ended; excludes a status."""
    model: str | None = None
    """A shell pattern for the model, its base model or the fine-tuned model, as in routes."""
    since: timedelta | None = None
    """The maximum age, by the time of creation."""


def jobs(options: Options, wanted: JobFilter, limit: int | None) -> None:
    """Print jobs, newest first, at most `limit`."""
    daemon, now = connect(options.access, environ()), SystemClock().now()
    found = _matching(daemon, wanted, limit, now)
    count = print_list(options, islice(found, limit), _JOBS, lambda job: _job_row(job, now), empty="No job matches.")
    if not count and (no_success := _no_success(daemon, wanted.org)):
        click.echo(no_success, err=True)
    if count == limit and next(found, None) is not None:
        click.echo(f"There are older jobs: {_hint(count)}.", err=True)


def orgs(options: Options) -> None:
    """Print the organisations and their health."""
    daemon, now = connect(options.access, environ()), SystemClock().now()
    found = daemon.list("/api/v1/orgs", Org)
    print_list(options, found, _ORGS, lambda org: _org_row(org, now), empty="No organisation is configured.")


def budgets(options: Options) -> None:
    """Print the budgets and what was spent of them."""
    daemon, now = connect(options.access, environ()), SystemClock().now()
    found = daemon.list("/api/v1/budgets", Budget)
    print_list(options, found, _BUDGETS, lambda budget: _budget_row(budget, now), empty="No budget is configured.")


def models(options: Options, org: str | None, limit: int | None) -> None:
    """Print the fine-tuned models, at most `limit`, those with the earliest shutdown first."""
    found = [*connect(options.access, environ()).pages("/api/v1/models", TunedModel, {"org": org})]
    count = print_list(options, found[:limit], _MODELS, _model_row, empty="No fine-tuned model is known.")
    if count < len(found):
        click.echo(f"There are {len(found) - count:,} more models: {_hint(count)}.", err=True)


def costs(options: Options, org: str | None, days: int) -> None:
    """Print daily costs by organisation, newest first: computed from prices, and billed by the provider."""
    daemon = connect(options.access, environ())
    found = [*daemon.pages("/api/v1/costs", DailyCosts, {"org": org, "days": str(days)})]
    print_list(options, found, _COSTS, _cost_row, empty=f"No costs are known for the last {days} days.")


def reload(options: Options) -> bool:
    """Make the daemon reload its configuration and print the problems. Returns whether it was reloaded."""
    problems = connect(options.access, environ()).reload()
    if options.as_json:
        click.echo(json.dumps({"reloaded": not problems, "problems": [*problems]}))
        return not problems
    click.echo("Nothing was changed, because the configuration has problems:" if problems else "Reloaded.")
    for text in problems:
        click.echo(text)
    return not problems


def print_list(
    options: Options, found: Iterable[Item[A]], columns: Sequence[Column], row: Callable[[A], Row], *, empty: str
) -> int:
    """Print a table, or with `--json` one object per line. Returns the number of items."""
    count = 0
    if options.as_json:
        for count, item in enumerate(found, start=1):  # noqa: B007 - it is the result
            click.echo(json.dumps(item.raw))
        return count
    out = console(ascii_only=options.ascii)
    rows = [row(item.value) for item in found]
    out.print(table(columns, rows, out.width) if rows else empty, crop=False)
    return len(rows)


def _hint(limit: int) -> str:
    return f"--limit 0 shows all, --limit {2 * limit} twice as many"


def _matching(daemon: Daemon, wanted: JobFilter, limit: int | None, now: datetime) -> Iterator[Item[Job]]:
    """Yield the jobs that match, newest first. The daemon is asked for more pages only as they are needed."""
    filtered = wanted.active or wanted.model is not None
    most = limit + 1 if limit is not None and not filtered else None  # one more shows whether there are more
    statuses = _ACTIVE if wanted.active else (wanted.status,)
    filters: dict[str, str | None] = {"org": wanted.org, "kind": wanted.kind}
    pages = [daemon.pages("/api/v1/jobs", Job, {**filters, "status": status}, most=most) for status in statuses]
    found: Iterator[Item[Job]] = merge(*pages, key=lambda item: item.value.created_at or _LONG_AGO, reverse=True)
    if wanted.active:
        found = (item for item in found if not item.value.gone)
    if (since := wanted.since) is not None:
        found = takewhile(lambda item: now - (item.value.created_at or _LONG_AGO) <= since, found)
    if (pattern := wanted.model) is not None:
        match = Match(models=(pattern,))
        found = (
            item for item in found if names(match, item.value.model, item.value.base_model, item.value.fine_tuned_model)
        )
    return found


def _no_success(daemon: Daemon, org: str | None) -> str:
    """A message where no organisation has been polled successfully yet, with their problems; otherwise empty."""
    asked = [one for one, _ in daemon.list("/api/v1/orgs", Org) if org in (None, one.org)]
    if not asked or any(one.last_success is not None for one in asked):
        return ""
    problems = [f"  {inert(one.org)}: {problem(one.trouble)}" for one in asked if one.trouble is not None]
    return "\n".join(["No organisation has been polled successfully yet.", *problems])


def _job_row(job: Job, now: datetime) -> Row:
    ran = job.run_time(now)
    style, _ = status_style(job.status, stalled=job.stalled)
    status = inert(job.shown_status, 40)
    return (
        inert(job.org),
        inert(job.id),
        Text(f"{status}, stalled" if job.stalled else status, style),
        f"{job.progress:.0%}" if job.progress is not None and not job.ended else "",
        age(job.created_at, now),
        span(ran) if ran is not None else "",
        short_cost(job),
        model(job),
        inert(job.name),
        Text(inert(job.error.cls if job.error is not None else None, 40), BAD),
    )


def _org_row(org: Org, now: datetime) -> Row:
    state = ("not reached yet", ODD) if org.up is None else ("up", GOOD) if org.up else ("down", BAD)
    records = problem(org.books.trouble) if org.books is not None else ""
    return (
        inert(org.org),
        inert(org.provider, 40),
        Text(*state),
        _polled(org, now),
        _in(org.next_poll_at, now) if not org.up else "",
        pairs(org.labels),
        "; ".join(filter(None, (problem(org.trouble), f"billed costs: {records}" if records else ""))),
    )


def _polled(org: Org, now: datetime) -> str:
    """How often a healthy organisation is polled; otherwise when it was last polled successfully."""
    interval = poll_interval(org.last_success, org.next_poll_at, now) if org.up else None
    if interval is not None:
        return f"every {span(interval)}"
    return f"{age(org.last_success, now)} ago" if org.last_success is not None else "never"


def _budget_row(budget: Budget, now: datetime) -> Row:
    style = BAD if budget.ratio >= 1 else ODD if budget.ratio >= 0.8 else ""
    return (
        inert(budget.name),
        money(budget.spent),
        money(budget.limit),
        Text(f"{budget.ratio:.0%}", style),
        moment(budget.period_end, now) if budget.period_end is not None else "",
    )


def _model_row(model: TunedModel) -> Row:
    style = "" if model.days_left is None else BAD if model.days_left <= 0 else ODD if model.days_left <= 30 else ""
    return (
        inert(model.org),
        inert(model.id),
        inert(model.base_model),
        Text(f"{inert(model.shutdown_date)}{_days_left(model.days_left)}", style),
        "" if model.listed else "deleted",
    )


def _cost_row(day: DailyCosts) -> Row:
    notes = ["bill not final"] if not day.settled else []
    if day.unpriced:
        notes.append(f"{day.unpriced} jobs unpriced" if day.unpriced > 1 else "1 job unpriced")
    return (
        inert(day.day),
        inert(day.org),
        money(day.computed.training),
        money(day.billed.training),
        money(day.computed.use),
        money(day.billed.use),
        money(day.computed.hosting) if day.computed.hosting else "",
        money(day.billed.other),
        ", ".join(notes),
    )


def _days_left(days: int | None) -> str:
    if days is None:
        return ""
    if days < 0:
        return f" ({-days} days ago)" if days < -1 else " (yesterday)"
    return f" (in {days} days)" if days > 1 else " (tomorrow)" if days else " (today)"


def _in(at: datetime | None, now: datetime) -> str:
    return "" if at is None else f"in {span(at - now)}" if at > now else "now"
