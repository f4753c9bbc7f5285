"""Grouped notifications: several deliveries as one message, with counts in its title and one line for each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from monitor.domain.news import Delivery, EventType, Message, Severity, Subject, SubjectKind, json_text

MOST: Final = 50
"""The most notifications in one message: more would exceed the limits of some channels."""
_SHOWN: Final = 30
_ERROR: Final = 120
_BY_SEVERITY: Final = (Severity.INFO, Severity.GOOD, Severity.WARNING, Severity.BAD)
_FACTS: Final = ("Duration", "Cost")


def bundle(deliveries: Sequence[Delivery]) -> Message:
    """Combine at least one delivery into a message. The same deliveries always give the same message."""
    messages = [delivery.message for delivery in deliveries]
    first = deliveries[0]
    orgs = {message.subject.org for message in messages}
    mentions = dict.fromkeys(message.mention for message in messages if message.mention is not None)
    routes = {message.route for message in messages}
    pages = {message.monitor_url for message in messages if message.monitor_url is not None}
    return Message(
        type="finetune.notifications.grouped",
        at=max(message.at for message in messages),
        title=_title(messages),
        severity=max((message.severity for message in messages), key=_BY_SEVERITY.index),
        subject=Subject(
            kind=SubjectKind.GROUP,
            org=next(iter(orgs)) if len(orgs) == 1 else None,
            id=f"{first.subject.key}/{first.seq}+{len(messages) - 1}",
        ),
        event_type=None,
        facts=tuple(_table(messages, of_one=len(orgs) == 1)),
        monitor_url=_page(pages),
        data=_data(messages),
        channel=first.message.channel,
        mention=" ".join(mentions) or None,
        route=next(iter(routes)) if len(routes) == 1 else None,
    )


def _page(pages: Collection[str]) -> str | None:
    """Where all of them lead; else our own page as a whole."""
    first = min(pages, default=None)
    if first is None or len(pages) == 1:
        return first
    return f"{first.partition('/jobs/')[0].partition('/#')[0]}/"


def _title(messages: Sequence[Message]) -> str:
    """The title of the message, such as `20 jobs: 18 succeeded, 2 failed` or `20 jobs succeeded`."""
    kinds, subjects = {message.subject.kind for message in messages}, {message.subject for message in messages}
    named = _NAMES.get(next(iter(kinds))) if len(kinds) == 1 else None
    what = f"{len(messages)} notifications"
    if named is not None:
        what = f"{len(subjects)} {named[len(subjects) > 1]}"
    events = Counter(_word(message) for message in messages)
    if named is not None and len(events) == 1 and len(subjects) == len(messages):
        return f"{what} {_word(messages[0])}"
    counts = ", ".join(_counted(word, number) for word, number in events.most_common())
    return counts if events.keys() <= _NOUNS.keys() else f"{what}: {counts}"


def _counted(word: str, number: int) -> str:
    return f"{number} {_NOUNS[word][number > 1] if word in _NOUNS else word}"


_NAMES: Final = {
    SubjectKind.JOB: ("job", "jobs"),
    SubjectKind.BATCH: ("batch", "batches"),
    SubjectKind.ORGANIZATION: ("organisation", "organisations"),
    SubjectKind.NOTIFIER: ("notifier", "notifiers"),
}
_WORDS: Final = {
    EventType.ORG_DOWN: "down",
    EventType.ORG_UP: "up again",
    EventType.NOTIFIER_DOWN: "down",
    EventType.NOTIFIER_UP: "up again",
}
_NOUNS: Final = {
    EventType.BUDGET.value: ("budget alert", "budget alerts"),
    EventType.SHUTDOWN.value: ("shutdown", "shutdowns"),
}
"""The words that do not say what became of something, with how they are counted."""


def _word(message: Message) -> str:
    if message.event_type is None:
        return "other"
    return _WORDS.get(message.event_type, message.event_type.value)


def _table(messages: Sequence[Message], *, of_one: bool) -> Iterator[tuple[str, str]]:
    """One line for each notification, labelled with its event, the most severe first."""
    ranked = sorted(messages, key=lambda message: -_BY_SEVERITY.index(message.severity))
    for message in ranked[:_SHOWN]:
        yield _word(message).capitalize(), _row(message, with_org=not of_one)
    if len(ranked) > _SHOWN:
        yield "More", f"and {len(ranked) - _SHOWN} more"


def _row(message: Message, *, with_org: bool) -> str:
    """The label says already what happened."""
    facts = dict(message.facts)
    org = message.subject.org if with_org and message.subject.org and message.subject.org not in message.title else None
    error = (message.error or "")[:_ERROR]
    of_job = message.subject.kind in (SubjectKind.JOB, SubjectKind.BATCH)
    title = message.title.removesuffix(f" {_word(message)}") if of_job else message.title
    title = title.removeprefix("Budget ") if message.subject.kind is SubjectKind.BUDGET else title
    return " · ".join(filter(None, (title, org, *(facts.get(label) for label in _FACTS), error)))


def _data(messages: Sequence[Message]) -> str:
    events = [
        {"type": one.type, "timestamp": f"{one.at:%Y-%m-%dT%H:%M:%SZ}", "data": json.loads(one.data)}
        for one in messages
    ]
    return json_text({"count": len(events), "events": events})
