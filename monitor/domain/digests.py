"""Digests: regular reports of ended and running jobs, costs, and models that are shut down soon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from monitor.domain.costs import Spending, TunedModel
from monitor.domain.flow import Tracked
from monitor.domain.model import FailureClass, Status
from monitor.domain.money import dollars, whole
from monitor.domain.news import Delivery, Message, News, Severity, Subject, SubjectKind, json_text, with_page
from monitor.domain.notices import spoken_day
from monitor.domain.render import moment
from monitor.domain.routing import Match, OrgRef, covers, matches, names
from monitor.domain.triage import triage

_WORST: Final = 3
_SOON: Final = timedelta(days=30)
_SHOWN: Final = 10
LATEST: Final = timedelta(days=1)
"""How late an issue of a digest is still sent after a downtime; an older one is skipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """The definition of a regular report."""

    name: str
    cron: str
    """When it is due: a cron expression of five fields, in the local time of `zone`."""
    zone: ZoneInfo
    notify: tuple[str, ...]
    match: Match = field(default_factory=Match)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The period of one issue of a digest: from `start` (inclusive) to `end` (exclusive), when it is due."""

    before: datetime
    """The start of the previous period."""
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestPeriod:
    """The records that a digest is made from, of all organisations."""

    ended: Sequence[Tracked]
    """Jobs that ended in the period."""
    active: Sequence[Tracked]
    spendings: Sequence[Spending]
    """Costs of the period and of the previous one."""
    models: Sequence[TunedModel]


def digest_subject(digest: Digest, due: datetime) -> Subject:
    """One issue of a digest as the subject of news. Every replica computes the same."""
    return Subject(kind=SubjectKind.DIGEST, org=None, id=f"{digest.name}/{due.astimezone(UTC):%Y%m%dT%H%MZ}")


def baseline(digest: Digest, due: datetime) -> News:
    """News without recipients, which marks an issue that was due before the digest was configured as sent."""
    return News(subject=digest_subject(digest, due), seq=1)


def digest_news(digest: Digest, times: Times, period: DigestPeriod, orgs: Iterable[OrgRef], *, page: str = "") -> News:
    """One issue of a digest, with a delivery for each of its notifiers."""
    subject, known = digest_subject(digest, times.end), {org.org: org for org in orgs if covers(digest.match, org)}
    message = with_page(_message(digest, times, _of(digest.match, period, known), subject), page)
    notifiers = dict.fromkeys(digest.notify)
    deliveries = (Delivery(subject=subject, seq=1, notifier=notifier, message=message) for notifier in notifiers)
    return News(subject=subject, seq=1, deliveries=tuple(deliveries))


def _of(match: Match, period: DigestPeriod, known: dict[str, OrgRef]) -> DigestPeriod:
    """The records of a period that a digest covers."""

    def fits(tracked: Tracked) -> bool:
        org = known.get(tracked.job.org)
        return org is not None and matches(match, tracked.job, org.labels, tracked.cost)

    def counts(one: Spending) -> bool:
        named = names(match, one.model, one.base_model, one.fine_tuned_model)
        return one.org in known and named and match.metadata.items() <= one.metadata.items()

    return DigestPeriod(
        ended=[one for one in period.ended if fits(one)],
        active=[one for one in period.active if fits(one)],
        spendings=[one for one in period.spendings if counts(one)],
        models=[one for one in period.models if one.org in known and names(match, one.id, one.base)],
    )


def _message(digest: Digest, times: Times, period: DigestPeriod, subject: Subject) -> Message:
    ended = Counter(one.job.status for one in period.ended)
    cost, before = _cost(period.spendings, times.start, times.end), _cost(period.spendings, times.before, times.start)
    failed = ended[Status.FAILED]
    return Message(
        type="finetune.digest.due",
        at=times.end,
        title=f"Digest {digest.name}: {_count(len(period.ended), 'job')} finished, {failed} failed, {whole(cost)}",
        severity=Severity.WARNING if failed else Severity.INFO,
        subject=subject,
        event_type=None,
        facts=tuple(_facts(digest, times, period, cost, before)),
        data=json_text(_view(digest, times, period, cost, before)),
    )


def _facts(
    digest: Digest, times: Times, period: DigestPeriod, cost: Decimal, before: Decimal
) -> Iterator[tuple[str, str]]:
    start, end = (f"{at.astimezone(digest.zone):%Y-%m-%d %H:%M}" for at in (times.start, times.end))
    yield "Period", f"{start} to {end} ({digest.zone.key})"
    ended = Counter(one.job.status.value for one in period.ended)
    yield "Finished", ", ".join(f"{count} {status}" for status, count in ended.most_common()) or "none"
    for cls, failed in _failures(period.ended).items():
        worst = ", ".join(f"{one.job.name or one.job.provider_id} ({one.job.org})" for one in failed[:_WORST])
        more = f" and {len(failed) - _WORST} more" if len(failed) > _WORST else ""
        yield f"Failed: {cls}", worst + more
    yield "Cost", f"{whole(cost)}, {whole(before)} in the period before"
    estimates = sum((one.cost.usd for one in period.active if one.cost is not None and one.cost.usd), Decimal(0))
    yield "Running", f"{_count(len(period.active), 'job')}" + (f", about {whole(estimates)}" if estimates else "")
    for day, model in _stopping(period.models, times.end)[:_SHOWN]:
        yield "Shutdown soon", f"{model.id} ({model.org}) on {spoken_day(day)}"


def _failures(ended: Iterable[Tracked]) -> dict[FailureClass, list[Tracked]]:
    """Failed jobs by class, the most frequent class first, and within a class the most expensive job first."""
    found: dict[FailureClass, list[Tracked]] = {}
    for one in ended:
        if one.job.status is Status.FAILED:
            found.setdefault(triage(one.job.error).cls, []).append(one)
    return {
        cls: sorted(failed, key=lambda one: (-_price(one), one.job.org, one.job.id))
        for cls, failed in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    }


def _price(tracked: Tracked) -> Decimal:
    return (tracked.cost.usd if tracked.cost is not None else None) or Decimal(0)


def _stopping(models: Iterable[TunedModel], now: datetime) -> list[tuple[date, TunedModel]]:
    last, today = (now + _SOON).date(), now.date()
    soon = [(one.shutdown, one) for one in models if one.shutdown is not None and today <= one.shutdown <= last]
    return sorted(soon, key=lambda item: (item[0], item[1].org, item[1].id))


def _cost(spendings: Iterable[Spending], start: datetime, end: datetime) -> Decimal:
    return sum((one.usd for one in spendings if start <= one.at < end), Decimal(0))


def _view(digest: Digest, times: Times, period: DigestPeriod, cost: Decimal, before: Decimal) -> dict[str, object]:
    ended = Counter(one.job.status.value for one in period.ended)
    return {
        "name": digest.name,
        "period_start": moment(times.start),
        "period_end": moment(times.end),
        "ended": dict(ended),
        "failures": [
            {
                "class": cls,
                "count": len(failed),
                "worst": [{"org": one.job.org, "id": one.job.id, "name": one.job.name} for one in failed[:_WORST]],
            }
            for cls, failed in _failures(period.ended).items()
        ],
        "cost": dollars(cost),
        "cost_before": dollars(before),
        "running": len(period.active),
        "stopping": [
            {"org": one.org, "id": one.id, "shutdown_date": str(day)}
            for day, one in _stopping(period.models, times.end)
        ],
    }


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
