"""News of a notifier that is down, and that it is up again. The other notifiers deliver it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from monitor.domain.news import OUTAGE, EventType, Message, News, Severity, Subject, SubjectKind, json_text, with_page
from monitor.domain.render import clock_time, moment, span
from monitor.domain.routing import Match, Rule, address, route

_EVENTS: Final = (EventType.NOTIFIER_UP, EventType.NOTIFIER_DOWN)  # by the number of the news: odd is down
_LOOK_AT: Final = (
    "Check its address, credentials and server, and test it with: finetune-monitor notify test {name}. Pending "
    "notifications go out by themselves once it works."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierBacklog:
    """What is pending for one notifier, by the clock of the store."""

    name: str
    at: datetime
    """The time of this state."""
    waiting: int = 0
    """The number of pending deliveries that are not held back."""
    failing_since: datetime | None = None
    """When the oldest pending delivery that has failed at least once was enqueued; None if none has."""
    reason: str | None = None
    """Why the last attempt failed."""
    answer: str | None = None
    """The answer of the target to that attempt, redacted."""
    last_delivered: datetime | None = None
    """When the target last accepted something; None if it never has."""

    def down_since(self, patience: timedelta) -> datetime | None:
        """Since when the notifier is down; None if it is not.

        It is down if it has accepted nothing for `patience`, while a delivery has been failing for as long. A delivery
        that fails while others are accepted does not make it down.
        """
        if self.failing_since is None:
            return None
        since = max(filter(None, (self.failing_since, self.last_delivered)))
        return since if self.at - since >= patience else None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutagePolicy:
    """How outages of notifiers are announced."""

    patience: timedelta = timedelta(minutes=15)
    """How long a notifier is down before that is announced, since most faults pass soon."""
    monitor_url: str = ""
    """The URL of the web interface without a trailing slash; if empty, messages have no link to it."""


def notifier_subject(name: str) -> Subject:
    """A notifier as the subject of outages."""
    return Subject(kind=SubjectKind.NOTIFIER, org=None, id=f"{name}/{OUTAGE}")


def down_since(name: str, notified: Mapping[str, str | None]) -> datetime | None:
    """Since when a notifier is announced as down; None if it is not."""
    return notifier_subject(name).outage_since(notified)


def subscribed(rules: Iterable[Rule]) -> list[Rule]:
    """The rules that announce outages of notifiers: those without conditions, since a notifier has no organisation."""
    return [rule for rule in rules if rule.on.intersection(_EVENTS) and rule.match == Match()]


def notifier_news(
    backlog: NotifierBacklog,
    rules: Iterable[Rule],
    notified: Mapping[str, str | None],
    *,
    policy: OutagePolicy,
    down: Collection[str] = (),
    now: datetime,
) -> News | None:
    """News that the notifier is down, or up again; None if that has not changed since the last news.

    `notified` maps the ids of earlier news to the beginning of their outage. The news goes by the rules with
    `notifier_down` or `notifier_up` and without conditions, since a notifier belongs to no organisation, but never to
    the notifier itself or to those that are `down` as well. If there is such a rule, the news is recorded even without
    a recipient.
    """
    wanted = subscribed(rules)
    name, lost = backlog.name, down_since(backlog.name, notified)
    begun = backlog.down_since(policy.patience) if lost is None else None
    accepted = backlog.last_delivered if lost is not None else None
    if not wanted or (begun is None and (lost is None or accepted is None or accepted <= lost)):
        return None
    subject = notifier_subject(name)
    seq = subject.last_seq(notified) + 1
    message = with_page(_message(backlog, subject, _EVENTS[seq % 2], begun or lost or now), policy.monitor_url)
    routed = route((_EVENTS[seq % 2],), wanted, lambda _: True, now=now)
    others = {to: recipient for to, recipient in routed.items() if to.partition("#")[0] not in (name, *down)}
    deliveries = (address(subject, seq, to, recipient, message) for to, recipient in others.items())
    judged_by = begun.isoformat(timespec="milliseconds") if begun is not None else None
    return News(subject=subject, seq=seq, judged_by=judged_by, deliveries=tuple(deliveries))


def _message(backlog: NotifierBacklog, subject: Subject, event: EventType, since: datetime) -> Message:
    name, up = backlog.name, event is EventType.NOTIFIER_UP
    return Message(
        type=subject.type_of(event),
        at=backlog.at,
        title=f"Notifications to {name} are getting through again"
        if up
        else f"Notifications to {name} are not getting through",
        severity=Severity.GOOD if up else Severity.BAD,
        subject=subject,
        event_type=event,
        facts=tuple(_facts(backlog, since, up=up)),
        error=None if up else ": ".join(filter(None, (backlog.reason, backlog.answer))) or None,
        hint=None if up else _LOOK_AT.format(name=name),
        data=json_text({"notifier": _view(backlog, since, up=up)}),
    )


def _facts(backlog: NotifierBacklog, since: datetime, *, up: bool) -> Iterator[tuple[str, str]]:
    yield "Down for", f"{span(_away(backlog, since, up=up))}, since {clock_time(since, backlog.at)}"
    waiting = f"{backlog.waiting:,} notification{'' if backlog.waiting == 1 else 's'}"
    yield "Still waiting" if up else "Waiting", waiting if backlog.waiting else "none"
    if not up:
        last = backlog.last_delivered
        yield "Last delivered", clock_time(last, backlog.at) if last is not None else "never"


def _view(backlog: NotifierBacklog, since: datetime, *, up: bool) -> dict[str, object]:
    return {
        "name": backlog.name,
        "down_since": moment(since),
        "down_seconds": round(_away(backlog, since, up=up).total_seconds()),
        "last_delivered": moment(backlog.last_delivered),
        "waiting": backlog.waiting,
        "reason": None if up else backlog.reason,
        "answer": None if up else backlog.answer,
    }


def _away(backlog: NotifierBacklog, since: datetime, *, up: bool) -> timedelta:
    until = backlog.last_delivered if up else None
    return (until or backlog.at) - since
