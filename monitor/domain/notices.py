"""News of budgets and of model shutdowns: text, payload and recipients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from monitor.domain.budgets import Budget, Period, Span, Sum, crossed, per_mille, period_of
from monitor.domain.costs import TunedModel
from monitor.domain.money import dollars, whole
from monitor.domain.news import EventType, Message, News, Severity, Subject, SubjectKind, json_text, with_page
from monitor.domain.render import moment
from monitor.domain.retirement import Retirement, retirements
from monitor.domain.routing import Match, OrgRef, Recipient, Rule, address, covers, names, route

_NEAR: Final = 7  # days before a shutdown from which on it has the severity BAD
_SHOWN: Final = 20  # models in the text for people
_NAMED: Final = 5_000  # models in the payload: more would exceed the size of a message
_BEFORE: Final = (
    "Before that day, fine-tune a base model that remains available, with the same training file, and move your "
    "applications to it. Requests to a model that is shut down fail."
)
_TOO_LATE: Final = "Requests to these models fail now: move your applications to another model."
_WHEN: Final = {
    Period.DAY: "today",
    Period.WEEK: "this week",
    Period.MONTH: "this month",
    Period.TOTAL: "in all",
}


def budget_news(  # noqa: PLR0913 - two of them are for the text alone
    budget: Budget,
    counted: Sum,
    span: Span,
    *,
    recipients: Mapping[str, Recipient],
    notified: Mapping[str, str | None],
    now: datetime,
    page: str = "",
) -> News | None:
    """News of the highest crossed threshold, unless it or a higher one was announced in this period.

    None also while there is no recipient; it is announced as soon as there is one. `notified` maps the ids of earlier
    news to the budget's amount at that time: thresholds of an amount that is changed within a period count anew.
    """
    threshold, subject = crossed(budget, counted.spent), _judged_subject(budget, span, notified)
    if threshold is None or not recipients or subject.last_seq(notified) >= per_mille(threshold):
        return None
    seq, message = per_mille(threshold), _budget_message(budget, counted, threshold, span, now)
    message = with_page(message, page)
    news = _news(subject, seq, {to: (recipient, message) for to, recipient in recipients.items()})
    return replace(news, judged_by=dollars(budget.amount))


def budget_recipients(
    budget: Budget, orgs: Iterable[OrgRef], rules: Iterable[Rule], now: datetime | None = None
) -> Mapping[str, Recipient]:
    """The recipients of a budget's news, by address.

    A rule on `budget` applies if its organisations, providers and labels match an organisation that the budget covers.
    Its conditions on models and jobs are ignored.
    """
    covered = budget.covers(orgs)
    return route((EventType.BUDGET,), rules, lambda match: any(covers(match, org) for org in covered), now=now)


def _judged_subject(budget: Budget, span: Span, notified: Mapping[str, str | None]) -> Subject:
    """The period as the subject of news, with the amount in its id if another amount was announced in the period."""
    plain, amount = budget_subject(budget, span), dollars(budget.amount)
    amounts = {by for id_, by in notified.items() if id_.startswith(f"{plain.key}/") and by is not None}
    return plain if amounts <= {amount} else replace(plain, id=f"{plain.id}@{amount}")


def shutdown_news(
    org: OrgRef,
    models: Iterable[TunedModel],
    *,
    rules: Iterable[Rule],
    notified: Collection[str],
    now: datetime,
    page: str = "",
) -> Iterator[News]:
    """News of each day on which models of the organisation are shut down, once per milestone.

    A rule on `shutdown` gets the models that its patterns match, and none if it has conditions that only jobs can
    meet. A model that becomes known after a milestone of its day is announced at the next one.
    """
    wanted = [rule for rule in rules if _is_for_models(rule, org)]
    for retirement in retirements((model for model in models if model.org == org.org), now):
        subject = shutdown_subject(org.org, retirement.day)
        if subject.last_seq(notified) < retirement.milestone:
            messages = _shutdown_messages(org, retirement, wanted, now)
            if messages:
                linked = {to: (recipient, with_page(message, page)) for to, (recipient, message) in messages.items()}
                yield _news(subject, retirement.milestone, linked)


def budget_subject(budget: Budget, span: Span) -> Subject:
    """One period of a budget as the subject of news."""
    return Subject(kind=SubjectKind.BUDGET, org=None, id=f"{budget.name}/{span.id}")


def shutdown_subject(org: str, day: date) -> Subject:
    """The day on which models of an organisation are shut down as the subject of news."""
    return Subject(kind=SubjectKind.SHUTDOWN, org=org, id=day.isoformat())


def _news(subject: Subject, seq: int, messages: Mapping[str, tuple[Recipient, Message]]) -> News:
    deliveries = (address(subject, seq, to, recipient, message) for to, (recipient, message) in messages.items())
    return News(subject=subject, seq=seq, deliveries=tuple(deliveries))


def _budget_message(budget: Budget, counted: Sum, threshold: Decimal, span: Span, now: datetime) -> Message:
    part = int(counted.spent * 100 / budget.amount)
    subject = budget_subject(budget, span)
    when = _WHEN[budget.period] if span == period_of(budget.period, now) else f"in {span.id}"
    amounts = f"{whole(counted.spent)} of {whole(budget.amount)} {when}"
    return Message(
        type=subject.type_of(EventType.BUDGET),
        at=now,
        title=f"Budget {budget.name} is at {part:,}% ({amounts})",
        severity=Severity.BAD if threshold >= 1 else Severity.WARNING,
        subject=subject,
        event_type=EventType.BUDGET,
        facts=tuple(_budget_facts(budget, counted, threshold, span)),
        data=json_text({"budget": _budget_view(budget, counted, threshold, span)}),
    )


def _budget_facts(budget: Budget, counted: Sum, threshold: Decimal, span: Span) -> Iterator[tuple[str, str]]:
    yield "Period", span.id
    yield "Threshold", f"{(threshold * 100).normalize():,f}%"
    yield "Finished jobs", whole(counted.computed)
    yield "Active jobs", f"about {whole(counted.estimated)}" if counted.estimated else "none"
    if budget.include_usage:
        yield "Model usage", whole(counted.usage)
    if counted.unknown_jobs:
        yield "Unknown cost", _jobs(counted.unknown_jobs)


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


def _is_for_models(rule: Rule, org: OrgRef) -> bool:
    return EventType.SHUTDOWN in rule.on and not rule.match.asks_of_jobs and covers(rule.match, org)


def _shutdown_messages(
    org: OrgRef, retirement: Retirement, rules: Iterable[Rule], now: datetime
) -> Mapping[str, tuple[Recipient, Message]]:
    """A recipient and a message by address, with the models for which the rules name that address."""
    named: dict[str, set[TunedModel]] = {}
    by: dict[str, Recipient] = {}
    for model in retirement.models:
        routed = route((EventType.SHUTDOWN,), rules, lambda match: names(match, model.id, model.base), now=now)  # noqa: B023 - used at once
        for to, recipient in routed.items():
            named.setdefault(to, set()).add(model)
            by.setdefault(to, recipient)
    return {
        to: (by[to], _shutdown_message(org, retirement, sorted(models, key=lambda model: model.id), now))
        for to, models in named.items()
    }


def _shutdown_message(org: OrgRef, retirement: Retirement, models: list[TunedModel], now: datetime) -> Message:
    which = "A fine-tuned model" if len(models) == 1 else f"{len(models):,} fine-tuned models"
    verb = "shuts" if len(models) == 1 else "shut"
    subject = shutdown_subject(org.org, retirement.day)
    return Message(
        type=subject.type_of(EventType.SHUTDOWN),
        at=now,
        title=f"{which} of {org.org} {verb} down on {spoken_day(retirement.day)}, {_left(retirement.days_left)}",
        severity=Severity.BAD if retirement.days_left <= _NEAR else Severity.WARNING,
        subject=subject,
        event_type=EventType.SHUTDOWN,
        facts=tuple(_shutdown_facts(models)),
        hint=_BEFORE if retirement.days_left > 0 else _TOO_LATE,
        data=json_text(_shutdown_view(org, retirement, models)),
    )


def _shutdown_facts(models: list[TunedModel]) -> Iterator[tuple[str, str]]:
    for base, count in _by_base(models)[:_SHOWN]:
        yield "Base model", f"{base}: {_models(count)}"
    for model in models[:_SHOWN]:
        yield "Model", model.id
    if len(models) > _SHOWN:
        yield "Model", f"and {len(models) - _SHOWN:,} more"


def _by_base(models: Iterable[TunedModel]) -> list[tuple[str, int]]:
    """The number of models per base model, in descending order."""
    return Counter(model.base or "unknown" for model in models).most_common()


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count:,} models"


def _shutdown_view(org: OrgRef, retirement: Retirement, models: list[TunedModel]) -> Mapping[str, Any]:
    return {
        "org": org.org,
        "provider": org.provider,
        "labels": dict(org.labels),
        "shutdown_date": retirement.day.isoformat(),
        "days_left": retirement.days_left,
        "model_count": len(models),
        "base_models": [{"id": base, "model_count": count} for base, count in _by_base(models)],
        "models": [{"id": model.id, "base_model": model.base} for model in models[:_NAMED]],
    }


def _left(days: int) -> str:
    return {0: "today", 1: "tomorrow"}.get(days, f"in {days} days")


def spoken_day(day: date) -> str:
    """A date for people: `14 January 2027`."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
