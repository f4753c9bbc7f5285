"""News of an organisation that cannot be watched for a while, and that it can be again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from monitor.domain.flow import Reason, Trouble
from monitor.domain.model import Status
from monitor.domain.news import OUTAGE, EventType, Message, News, Severity, Subject, SubjectKind, json_text
from monitor.domain.render import moment, span
from monitor.domain.routing import OrgRef, Rule, address, covers, route

_EVENTS: Final = (EventType.ORG_UP, EventType.ORG_DOWN)  # by the number of the news: odd is down
_WHY: Final = {
    Reason.AUTH: "its key is refused",
    Reason.NOT_ELIGIBLE: "fine-tuning is not open to it",
    Reason.RATE_LIMITED: "there are too many requests",
    Reason.UNAVAILABLE: "the API is down",
    Reason.MALFORMED: "the API's answers make no sense",
    Reason.TIMEOUT: "the API does not answer in time",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgHealthChange:
    """How well one organisation can be seen now."""

    org: OrgRef
    up: bool
    """The last poll saw its jobs; else none has for long enough to be announced."""
    last_success: datetime | None = None
    trouble: Trouble | None = None
    up_since: datetime | None = None
    """When it could be seen again, where it is up."""
    ended: Mapping[Status, int] = field(default_factory=dict)
    """How many jobs ended while it could not be seen, by status, where it is up again."""


def outage_subject(org: str) -> Subject:
    """An organisation as the subject of outages."""
    return Subject(kind=SubjectKind.ORGANIZATION, org=org, id=OUTAGE)


def outage_news(
    health: OrgHealthChange, rules: Iterable[Rule], notified: Mapping[str, str | None], now: datetime
) -> News | None:
    """That the organisation is down, where the last news was that it is up or there was none; and the reverse.

    The news is numbered, so that a restart knows which was the last: `notified` has the ids of earlier news, and of
    an outage the moment when the organisation was seen last, so that its end can say how long it was. It goes
    to the rules on `org_down` or `org_up` whose organisations, providers and labels fit. While some rule is on either,
    it is numbered though it has no recipient: who is only on the end of an outage gets that.
    """
    subject = outage_subject(health.org.org)
    seq = subject.last_seq(notified) + 1
    wanted = [rule for rule in rules if rule.on.intersection(_EVENTS) and covers(rule.match, health.org)]
    if not wanted or health.up is (seq % 2 == 1):
        return None
    event = _EVENTS[seq % 2]
    lost = unseen_since(health.org.org, notified) if health.up else None
    message = _message(health, subject, event, now, lost)
    routed = route((event,), wanted, lambda _: True, now=now)
    deliveries = (address(subject, seq, to, recipient, message) for to, recipient in routed.items())
    judged_by = moment(health.last_success) if not health.up else None
    return News(subject=subject, seq=seq, judged_by=judged_by, deliveries=tuple(deliveries))


def unseen_since(org: str, notified: Mapping[str, str | None]) -> datetime | None:
    """When an organisation that is announced as down was seen last; None where it is not down, or never was seen."""
    subject = outage_subject(org)
    seq = subject.last_seq(notified)
    at = notified.get(f"{subject.key}/{seq}") if seq % 2 else None
    return datetime.fromisoformat(at) if at is not None else None


def _message(
    health: OrgHealthChange, subject: Subject, event: EventType, now: datetime, lost: datetime | None
) -> Message:
    org, trouble = health.org, health.trouble if not health.up else None
    why = f": {_WHY[trouble.reason]}" if trouble is not None else ""
    facts = [("Organisation", org.org), ("Provider", org.provider)]
    if not health.up:
        facts.append(("Last seen", moment(health.last_success) or "not yet"))
    elif lost is not None:
        facts.append(("Down for", f"{span(_away(health, lost, now))}, since {moment(lost)}"))
        facts.append(("Meanwhile", _missed(health)))
    return Message(
        type=subject.type_of(event),
        at=now,
        title=f"{org.org} is watched again" if health.up else f"{org.org} cannot be watched{why}",
        severity=Severity.GOOD if health.up else Severity.BAD,
        subject=subject,
        event_type=event,
        facts=tuple(facts),
        error=trouble.text if trouble is not None else None,
        data=json_text(_view(health, trouble) | _gap(health, lost, now)),
    )


def _away(health: OrgHealthChange, lost: datetime, now: datetime) -> timedelta:
    return max((health.up_since or now) - lost, timedelta(0))


def _missed(health: OrgHealthChange) -> str:
    """What happened while nobody could see it; each of these ends is announced by itself as well."""
    counts = [f"{count:,} {status}" for status, count in health.ended.items() if count]
    return f"jobs ended: {', '.join(counts)}" if counts else "no job ended"


def _gap(health: OrgHealthChange, lost: datetime | None, now: datetime) -> dict[str, Any]:
    """How long it was down and which jobs ended then; null where it was never seen before."""
    if not health.up:
        return {}
    return {
        "down_since": moment(lost),
        "down_seconds": round(_away(health, lost, now).total_seconds()) if lost is not None else None,
        "jobs_ended": {status.value: count for status, count in health.ended.items()} if lost is not None else None,
    }


def _view(health: OrgHealthChange, trouble: Trouble | None) -> dict[str, Any]:
    return {
        "org": health.org.org,
        "provider": health.org.provider,
        "labels": dict(health.org.labels),
        "last_success": moment(health.last_success),
        "reason": trouble.reason if trouble is not None else None,
        "error": trouble.text if trouble is not None else None,
    }
