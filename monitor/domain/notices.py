"""What is told of budgets and of models' ends: each notice with its text, its payload, and who hears of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from monitor.domain.budgets import Budget, Period, Span, Sum, crossed, per_mille, period_of
from monitor.domain.costs import TunedModel
from monitor.domain.flow import Delivery, Message, Notice, Severity
from monitor.domain.pricing import dollars
from monitor.domain.render import moment
from monitor.domain.retirement import Retirement, retirements
from monitor.domain.routing import Match, OrgRef, Rule, covers, names

_CENT: Final = Decimal("0.01")
_NEAR: Final = 7  # days before the end from which on it is bad and no mere warning
_SHOWN: Final = 20  # models that people are shown
_NAMED: Final = 5_000  # models that receivers get: more would not fit into a message
_WHEN: Final = {
    Period.DAY: "today",
    Period.WEEK: "this week",
    Period.MONTH: "this month",
    Period.TOTAL: "in all",
}


def budget_notice(
    budget: Budget,
    counted: Sum,
    *,
    accounts: Iterable[OrgRef],
    rules: Iterable[Rule],
    told: Collection[str],
    now: datetime,
) -> Notice | None:
    """The highest threshold that is crossed, where neither it nor a higher one was told in this period.

    It goes to the notifiers of every rule on `budget` whose organisations, providers and labels fit an organisation
    that the budget covers; what a rule asks of models and metadata is not asked of budgets. None where nobody hears it:
    it is told as soon as somebody does.
    """
    span, threshold = period_of(budget.period, now), crossed(budget, counted.spent)
    covered = budget.covers(accounts)
    hearers = dict.fromkeys(
        notifier
        for rule in rules
        if "budget" in rule.on and any(covers(rule.match, account) for account in covered)
        for notifier in rule.notify
    )
    if threshold is None or not hearers or _latest(budget.topic, span.id, told) >= per_mille(threshold):
        return None
    seq, message = per_mille(threshold), _budget_message(budget, counted, threshold, span, now)
    return Notice(
        topic=budget.topic,
        subject=span.id,
        seq=seq,
        deliveries=tuple(
            Delivery(org=budget.topic, job=span.id, seq=seq, notifier=notifier, message=message) for notifier in hearers
        ),
    )


def shutdown_notices(
    account: OrgRef, models: Iterable[TunedModel], *, rules: Iterable[Rule], told: Collection[str], now: datetime
) -> Iterator[Notice]:
    """One notice for each day on which models of the organisation stop, where its latest milestone was not told yet.

    A rule on `shutdown` hears of the models that its patterns name; one that asks for metadata, which models have not,
    hears of none. A model that comes later than its day's milestone is told with the next one.
    """
    wanted = [rule for rule in rules if _hears_of_models(rule, account)]
    for retirement in retirements((model for model in models if model.org == account.org), now):
        if _latest(account.org, retirement.subject, told) < retirement.milestone:
            deliveries = tuple(_shutdown_deliveries(account, retirement, wanted, now))
            if deliveries:
                yield Notice(
                    topic=account.org, subject=retirement.subject, seq=retirement.milestone, deliveries=deliveries
                )


def _latest(topic: str, subject: str, told: Iterable[str]) -> int:
    """The highest number that was told of a subject; 0 where none was."""
    start = f"{topic}/{subject}/"
    return max((int(id_.removeprefix(start)) for id_ in told if id_.startswith(start)), default=0)


def _budget_message(budget: Budget, counted: Sum, threshold: Decimal, span: Span, now: datetime) -> Message:
    part = int(counted.spent * 100 / budget.amount)
    amounts = f"{_round(counted.spent)} of {_round(budget.amount)} {_WHEN[budget.period]}"
    return Message(
        type="finetune.budget.crossed",
        at=now,
        title=f"Budget {budget.name} is at {part:,} % ({amounts})",
        severity=Severity.BAD if threshold >= 1 else Severity.WARNING,
        org=f"budget {budget.name}",
        job=span.id,
        word="budget",
        facts=tuple(_budget_facts(budget, counted, threshold, span)),
        data=_json({"budget": _budget_view(budget, counted, threshold, span)}),
    )


def _budget_facts(budget: Budget, counted: Sum, threshold: Decimal, span: Span) -> Iterator[tuple[str, str]]:
    yield "Budget", budget.name
    yield "Period", span.id
    yield "Threshold", f"{(threshold * 100).normalize():,f} %"
    yield "Limit", _round(budget.amount)
    yield "Spent", _round(counted.spent)
    yield "Ended jobs", _round(counted.computed)
    yield "Active jobs (est.)", _round(counted.estimated)
    if budget.include_usage:
        yield "Use of models", _round(counted.usage)
    if counted.unknown_jobs:
        yield "Not known", _jobs(counted.unknown_jobs)


def _jobs(count: int) -> str:
    return "1 active job" if count == 1 else f"{count:,} active jobs"


def _budget_view(budget: Budget, counted: Sum, threshold: Decimal, span: Span) -> dict[str, Any]:
    return {
        "name": budget.name,
        "amount": dollars(budget.amount),
        "currency": "USD",
        "period": budget.period,
        "period_start": moment(span.start),
        "period_end": moment(span.end),
        "threshold": f"{threshold.normalize():f}",
        "spent": dollars(counted.spent),
        "computed": dollars(counted.computed),
        "estimated": dollars(counted.estimated),
        "usage": dollars(counted.usage) if budget.include_usage else None,
        "unknown_jobs": counted.unknown_jobs,
        "match": _match_view(budget.match),
    }


def _match_view(match: Match) -> dict[str, Any]:
    return {
        "org": sorted(match.orgs),
        "provider": sorted(match.providers),
        "model": list(match.models),
        "labels": dict(match.labels),
        "metadata": dict(match.metadata),
    }


def _hears_of_models(rule: Rule, account: OrgRef) -> bool:
    return "shutdown" in rule.on and not rule.match.metadata and covers(rule.match, account)


def _shutdown_deliveries(
    account: OrgRef, retirement: Retirement, rules: Iterable[Rule], now: datetime
) -> Iterator[Delivery]:
    """A message for each notifier, with the models that its rules name."""
    heard: dict[str, set[TunedModel]] = {}
    for rule in rules:
        named = {model for model in retirement.models if names(rule.match, model.id, model.base)}
        for notifier in rule.notify if named else ():
            heard.setdefault(notifier, set()).update(named)
    for notifier, models in heard.items():
        message = _shutdown_message(account, retirement, sorted(models, key=lambda model: model.id), now)
        yield Delivery(
            org=account.org, job=retirement.subject, seq=retirement.milestone, notifier=notifier, message=message
        )


def _shutdown_message(account: OrgRef, retirement: Retirement, models: list[TunedModel], now: datetime) -> Message:
    which = "A fine-tuned model" if len(models) == 1 else f"{len(models):,} fine-tuned models"
    stop = "stops" if len(models) == 1 else "stop"
    return Message(
        type="finetune.model.shutdown",
        at=now,
        title=f"{which} of {account.org} {stop} on {_day(retirement.day)}, {_left(retirement.days_left)}",
        severity=Severity.BAD if retirement.days_left <= _NEAR else Severity.WARNING,
        org=account.org,
        job=f"shutdown {retirement.day.isoformat()}",
        word="shutdown",
        facts=tuple(_shutdown_facts(account, retirement, models)),
        data=_json(_shutdown_view(account, retirement, models)),
    )


def _shutdown_facts(account: OrgRef, retirement: Retirement, models: list[TunedModel]) -> Iterator[tuple[str, str]]:
    yield "Organisation", account.org
    yield "Stops on", _day(retirement.day)
    yield "Days left", str(retirement.days_left)
    for model in models[:_SHOWN]:
        yield "Model", model.id
    if len(models) > _SHOWN:
        yield "Model", f"and {len(models) - _SHOWN:,} more"


def _shutdown_view(account: OrgRef, retirement: Retirement, models: list[TunedModel]) -> Mapping[str, Any]:
    return {
        "org": account.org,
        "provider": account.provider,
        "labels": dict(account.labels),
        "shutdown_date": retirement.day.isoformat(),
        "days_left": retirement.days_left,
        "model_count": len(models),
        "models": [{"id": model.id, "base_model": model.base} for model in models[:_NAMED]],
    }


def _left(days: int) -> str:
    return {0: "today", 1: "tomorrow"}.get(days, f"in {days} days")


def _day(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def _round(usd: Decimal) -> str:
    """For people: whole dollars or cents; what is less than a cent is not nothing."""
    if 0 < usd < _CENT:
        return f"${dollars(usd)}"
    return f"${usd.quantize(_CENT):,}".removesuffix(".00")


def _json(view: Mapping[str, Any]) -> str:
    return json.dumps(view, ensure_ascii=False, allow_nan=False)
