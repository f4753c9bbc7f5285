"""News that an organisation cannot be watched (`org_down`), and that it is watched again (`org_up`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from monitor.domain.flow import Reason, Trouble
from monitor.domain.model import Status
from monitor.domain.news import OUTAGE, EventType, Message, News, Severity, Subject, SubjectKind, json_text, with_page
from monitor.domain.render import clock_time, from_now, moment, span
from monitor.domain.routing import OrgRef, Rule, address, covers, route

_EVENTS: Final = (EventType.ORG_UP, EventType.ORG_DOWN)  # by sequence number modulo 2: odd numbers are `org_down`
_WHY: Final = {
    Reason.AUTH: "its key is refused",
    Reason.NOT_ELIGIBLE: "it is not eligible for fine-tuning",
    Reason.RATE_LIMITED: "its requests are rate limited",
    Reason.UNAVAILABLE: "the API is down",
    Reason.MALFORMED: "the API gives invalid responses",
    Reason.TIMEOUT: "the API does not answer in time",
}

_HINTS: Final = {
    Reason.AUTH: "Give the organisation a working key: a key file is read again at the next poll.",
    Reason.NOT_ELIGIBLE: (
        "Ask the provider to enable fine-tuning for this organisation, or remove it from the configuration."
    ),
    Reason.RATE_LIMITED: (
        "Something else uses up the limit of this key: give the monitor a key of its own, or poll less often."
    ),
}
_ELSE: Final = "Check the provider's status page. The monitor keeps trying, and announces what it has missed."


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgHealthChange:
    """Whether one organisation can be watched now."""

    org: OrgRef
    up: bool
    """True if the last poll succeeded; False if polls have failed for long enough to be announced."""
    last_success: datetime | None = None
    trouble: Trouble | None = None
    up_since: datetime | None = None
    """When polls began to succeed again; None while it is down."""
    ended: Mapping[Status, int] = field(default_factory=dict)
    """Number of jobs that ended during the outage, by status; empty while it is down."""


def outage_subject(org: str) -> Subject:
    """The outages of an organisation as the subject of news."""
    return Subject(kind=SubjectKind.ORGANIZATION, org=org, id=OUTAGE)


def outage_news(
    health: OrgHealthChange,
    rules: Iterable[Rule],
    notified: Mapping[str, str | None],
    now: datetime,
    *,
    page: str = "",
) -> News | None:
    """News of an outage or its end; None if that was announced already.

    `notified` maps the ids of earlier news to the last success before an outage, from which its end computes how long
    it was. The last sequence number tells which news came last, also after a restart. Rules on `org_down` or `org_up`
    apply if their organisations, providers and labels match. While any rule is on either of them, news is numbered
    even without a recipient, so that a rule on `org_up` alone gets the end of an outage.
    """
    subject = outage_subject(health.org.org)
    seq = subject.last_seq(notified) + 1
    wanted = [rule for rule in rules if rule.on.intersection(_EVENTS) and covers(rule.match, health.org)]
    if not wanted or health.up is (seq % 2 == 1):
        return None
    event = _EVENTS[seq % 2]
    lost = unseen_since(health.org.org, notified) if health.up else None
    message = with_page(_message(health, subject, event, now, lost), page)
    routed = route((event,), wanted, lambda _: True, now=now)
    deliveries = (address(subject, seq, to, recipient, message) for to, recipient in routed.items())
    judged_by = moment(health.last_success) if not health.up else None
    return News(subject=subject, seq=seq, judged_by=judged_by, deliveries=tuple(deliveries))


def unseen_since(org: str, notified: Mapping[str, str | None]) -> datetime | None:
    """The last success of an organisation that was announced as down; None if it is up or never succeeded."""
    return outage_subject(org).outage_since(notified)


def _message(
    health: OrgHealthChange, subject: Subject, event: EventType, now: datetime, lost: datetime | None
) -> Message:
    org, trouble = health.org, health.trouble if not health.up else None
    why = f": {_WHY[trouble.reason]}" if trouble is not None else ""
    facts = [("Organisation", org.org), ("Provider", org.provider)]
    if not health.up:
        facts.append(("Last seen", _last_seen(health.last_success, now)))
    elif lost is not None:
        facts.append(("Down for", f"{span(_away(health, lost, now))}, since {clock_time(lost, now)}"))
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
        hint=_HINTS.get(trouble.reason, _ELSE) if trouble is not None else None,
        data=json_text(_view(health, trouble) | _gap(health, lost, now)),
    )


def _last_seen(at: datetime | None, now: datetime) -> str:
    return f"{clock_time(at, now)}, {from_now(at, now)}" if at is not None else "never"


def _away(health: OrgHealthChange, lost: datetime, now: datetime) -> timedelta:
    return max((health.up_since or now) - lost, timedelta(0))


def _missed(health: OrgHealthChange) -> str:
    """The jobs that ended during the outage. Each of these ends also has a notification of its own."""
    counts = [f"{count:,} {status}" for status, count in health.ended.items() if count]
    total = sum(health.ended.values())
    return f"{total:,} job{'' if total == 1 else 's'} ended: {', '.join(counts)}" if counts else "no job ended"


def _gap(health: OrgHealthChange, lost: datetime | None, now: datetime) -> dict[str, Any]:
    """The payload's fields about the length of a finished outage; null if the organisation never succeeded before."""
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
