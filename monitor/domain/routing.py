"""Routing: which event types a transition has, which rules match it, and which addresses are notified."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

from monitor.domain.flow import Tracked, Transition, TransitionKind
from monitor.domain.model import Cost, FailureClass, Job, JobKind, Method, Status
from monitor.domain.mutes import MuteTime
from monitor.domain.naming import UNNAMED, Naming
from monitor.domain.news import ALONE, Delivery, EventType, Hold, Message, Subject
from monitor.domain.templates import MessageTemplate, apply_template
from monitor.domain.triage import triage

_EVENTS: Final = {
    kind: EventType(kind.value)
    for kind in TransitionKind
    if kind.value in set(EventType) and kind is not TransitionKind.APPEARED
}
"""Kinds of transitions whose event type has the same name. The event types of other kinds depend on the status."""
DEFAULT_ON: Final = frozenset({EventType.SUCCEEDED, EventType.FAILED, EventType.CANCELLED, EventType.STALLED})
_CHANNEL: Final = re.compile(r"#[\w.-]{1,80}")
_LIST: Final = re.compile(r"[,\s]+")
_MOST_NAMED: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The conditions of a rule. An empty condition matches every job; all conditions must be met."""

    orgs: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    models: tuple[str, ...] = ()
    """Shell patterns, one of which must match the job's model, the base of that model, or the fine-tuned model."""
    labels: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    kinds: frozenset[JobKind] = frozenset()
    methods: frozenset[Method] = frozenset()
    statuses: frozenset[Status] = frozenset()
    """Allowed statuses of the job when the event happens."""
    error_classes: frozenset[FailureClass] = frozenset()
    """Allowed classes of the failure. Only failed jobs match."""
    cost_at_least: Decimal | None = None
    """The least cost in US dollars, estimated or computed. A job of unknown cost does not match."""

    @property
    def asks_of_jobs(self) -> bool:
        """Whether it has a condition besides the model that only a job can meet."""
        of_jobs = self.metadata or self.kinds or self.methods or self.statuses or self.error_classes
        return bool(of_jobs) or self.cost_at_least is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgRef:
    """The properties of an organisation that rules can match."""

    org: str
    provider: str
    was: tuple[str, ...] = ()
    """Former names of the organisation."""
    labels: Mapping[str, str] = field(default_factory=dict)
    naming: Naming = UNNAMED
    """The provider's rules for model names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedChannel:
    """Channels that a job's metadata may name: `slack:#team-x` if `prefix` is `slack` and `pattern` is `#team-*`."""

    prefix: str
    notifier: str
    """The notifier that posts to the channel."""
    pattern: str
    """A shell pattern for the channel, including the `#`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyFrom:
    """Recipients that a job names in its own metadata, restricted to those that the operator allows."""

    key: str
    """The metadata key, whose value is a list of at most ten words, separated by commas or spaces."""
    notifiers: frozenset[str] = frozenset()
    channels: tuple[AllowedChannel, ...] = ()

    def read(self, metadata: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The allowed addresses that the metadata names, and the words that are not allowed."""
        words = [word for word in _LIST.split(metadata.get(self.key, "")) if word][:_MOST_NAMED]
        found = {word: self._address(word) for word in words}
        return (
            tuple(dict.fromkeys(address for address in found.values() if address is not None)),
            tuple(word for word, address in found.items() if address is None),
        )

    def _address(self, word: str) -> str | None:
        if word in self.notifiers:
            return word
        prefix, _, channel = word.partition(":")
        if not _CHANNEL.fullmatch(channel):
            return None
        fitting = (one for one in self.channels if one.prefix == prefix and fnmatchcase(channel, one.pattern))
        return next((f"{one.notifier}{channel}" for one in fitting), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MentionFrom:
    """The mention in a message, chosen by a name in the job's metadata."""

    key: str
    mentions: Mapping[str, str]
    """The operator's mentions in the receiver's notation, by the value of the metadata key."""

    def read(self, metadata: Mapping[str, str]) -> str | None:
        """The mention in the receiver's notation; None if the metadata has no configured name."""
        return self.mentions.get(metadata.get(self.key, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A configured route: which notifiers are notified of which events of which jobs."""

    name: str | None = None
    match: Match = Match()
    on: frozenset[EventType] = DEFAULT_ON
    notify: tuple[str, ...] = ()
    notify_from: NotifyFrom | None = None
    mention_from: MentionFrom | None = None
    group_wait: timedelta = timedelta(0)
    """How long deliveries to one notifier are collected into one message; 0 sends each at once."""
    mutes: tuple[MuteTime, ...] = ()
    alone: frozenset[str] = frozenset()
    """Notifiers that get each message separately, because their receivers do the grouping."""
    cards: frozenset[str] = frozenset()
    """Notifiers that keep a card per job. Only they follow a job's progress."""
    template: MessageTemplate | None = None
    """The operator's template for its messages; None for the built-in text."""
    last: bool = False
    """Whether later rules are skipped if this one matches."""

    def addresses(self, metadata: Mapping[str, str]) -> tuple[str, ...]:
        """The addresses (`NOTIFIER` or `NOTIFIER#CHANNEL`) that are notified of a job with this metadata."""
        named = self.notify_from.read(metadata)[0] if self.notify_from is not None else ()
        return tuple(dict.fromkeys((*self.notify, *named)))

    def keeps_card(self, to: str) -> bool:
        """Whether deliveries to this address belong to a card."""
        return to.partition("#")[0] in self.cards

    def event(self, events: Sequence[EventType], to: str) -> EventType | None:
        """The first of these event types that the address is notified of; None if it is notified of none."""
        wanted = (event for event in events if event is not EventType.PROGRESS or self.keeps_card(to))
        return next((event for event in wanted if event in self.on), None)

    def hold(self, event: EventType, to: str, now: datetime) -> Hold | None:
        """Why the delivery of an event of this moment has to wait; None if it is sent at once."""
        notifier, sign, channel = to.partition("#")
        ends = [end for mute in self.mutes if event not in mute.passing and (end := mute.ends(now)) is not None]
        wait = self.group_wait if notifier not in self.alone else timedelta(0)
        until = max(ends, default=None)
        if until is None and not wait:
            return None
        group = f"until {until:%Y-%m-%dT%H:%M:%SZ}" if until is not None else "wait"
        return Hold(group=ALONE if notifier in self.alone else group + sign + channel, until=until, wait=wait)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """How an address is notified: by the first rule that names it."""

    event: EventType
    rule: Rule
    mention: str | None = None
    hold: Hold | None = None
    """Why the delivery waits; None if at least one of the matching rules sends it at once."""

    def merged(self, hold: Hold | None) -> Recipient:
        """The recipient after another rule has matched: it is sent at once if that rule has no hold."""
        return replace(self, hold=None) if hold is None else self


def event_types(transition: Transition) -> tuple[EventType, ...]:
    """The event types of a transition, the most specific first; empty if it is never news."""
    if transition.kind in _EVENTS:
        return (_EVENTS[transition.kind],)
    if transition.kind is TransitionKind.CORRECTED and not transition.after.final:
        return (EventType.RESUMED,)
    if transition.kind in (TransitionKind.BASELINE, TransitionKind.BACK):
        return ()
    found = _by_status(transition)
    if transition.kind is TransitionKind.APPEARED and not transition.after.final:
        return (*found, EventType.APPEARED)
    return found


def _by_status(transition: Transition) -> tuple[EventType, ...]:
    if transition.after.final or transition.after is Status.PAUSED:
        return (EventType(transition.after.value),)
    if transition.resumed:
        return (EventType.RESUMED,)
    if transition.after is Status.RUNNING and not transition.restarted:
        return (EventType.STARTED, EventType.PROGRESS)
    return ()


def route(
    events: Sequence[EventType],
    rules: Iterable[Rule],
    applies: Callable[[Match], bool],
    *,
    metadata: Mapping[str, str] = {},
    now: datetime | None = None,
) -> Mapping[str, Recipient]:
    """The recipients of news by address, each by the first rule that names it.

    `events` are the event types of the news, the most specific first. `applies` tells whether a rule's conditions are
    met. `metadata` is that of the job if the news is about one. Without `now`, nothing is held back.
    """
    recipients: dict[str, Recipient] = {}
    for rule in rules:
        if rule.on.isdisjoint(events) or not applies(rule.match):
            continue
        mention = rule.mention_from.read(metadata) if rule.mention_from is not None else None
        for to in rule.addresses(metadata):
            if (event := rule.event(events, to)) is None:
                continue
            hold = rule.hold(event, to, now) if now is not None else None
            new = Recipient(event=event, rule=rule, mention=mention, hold=hold)
            recipients[to] = recipients.setdefault(to, new).merged(hold)
        if rule.last:
            break
    return recipients


def route_job(
    transition: Transition, tracked: Tracked, rules: Iterable[Rule], labels: Mapping[str, str]
) -> Mapping[str, Recipient]:
    """The recipients of a job's transition by address.

    The correction of an end goes to everybody who is notified of that end, too.
    """
    job, cost, events = tracked.job, tracked.cost, event_types(transition)
    applies = partial(matches, job=job, labels=labels, cost=cost)
    if transition.kind is not TransitionKind.CORRECTED or transition.before is None:
        return route(events, rules, applies, metadata=job.metadata, now=transition.at)
    was = replace(job, status=transition.before)
    routed = route(
        (*events, EventType(transition.before)),
        rules,
        lambda match: applies(match) or matches(match, was, labels, cost),
        metadata=job.metadata,
        now=transition.at,
    )
    return {to: replace(recipient, event=events[0]) for to, recipient in routed.items()}


def address(subject: Subject, seq: int, to: str, recipient: Recipient, message: Message) -> Delivery:
    """The delivery of a message to one address, with the template, mention and hold of its rule applied."""
    notifier, sign, channel = to.partition("#")
    if recipient.rule.template is not None:
        message = apply_template(recipient.rule.template, message)
    addressed = replace(message, channel=sign + channel or None, mention=recipient.mention, route=recipient.rule.name)
    return Delivery(subject=subject, seq=seq, notifier=notifier, message=addressed, hold=recipient.hold)


def matches(match: Match, job: Job, labels: Mapping[str, str], cost: Cost | None = None) -> bool:
    """Whether a job meets all conditions. `labels` are those of its organisation."""
    return all(met for _, met, _ in _conditions(match, job, labels, cost))


def mismatches(match: Match, job: Job, labels: Mapping[str, str], cost: Cost | None = None) -> list[str]:
    """The conditions that a job does not meet, as text for people; empty if it matches."""
    return [f"{name} is not {wanted()}" for name, met, wanted in _conditions(match, job, labels, cost) if not met]


def _conditions(
    match: Match, job: Job, labels: Mapping[str, str], cost: Cost | None
) -> Iterator[tuple[str, bool, Callable[[], str]]]:
    """The name of each condition, whether it is met, and a function for the text of what would meet it."""
    failed = triage(job.error).cls if match.error_classes and job.status is Status.FAILED else None
    least, usd = match.cost_at_least, cost.usd if cost is not None else None
    yield "org", not match.orgs or job.org in match.orgs, lambda: _any(match.orgs)
    yield "provider", not match.providers or job.provider in match.providers, lambda: _any(match.providers)
    yield "labels", match.labels.items() <= labels.items(), lambda: _all(match.labels)
    yield "model", names(match, job.model, job.base, job.tuning.fine_tuned_model), lambda: " or ".join(match.models)
    yield "metadata", match.metadata.items() <= job.metadata.items(), lambda: _all(match.metadata)
    yield "kind", not match.kinds or job.kind in match.kinds, lambda: _any(match.kinds)
    yield "method", not match.methods or job.method in match.methods, lambda: _any(match.methods)
    yield "status", not match.statuses or job.status in match.statuses, lambda: _any(match.statuses)
    yield "error_class", not match.error_classes or failed in match.error_classes, lambda: _any(match.error_classes)
    yield "cost", least is None or (usd is not None and usd >= least), lambda: f"at least ${least}"


def _any(words: Iterable[str]) -> str:
    return " or ".join(sorted(words))


def _all(pairs: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in pairs.items())


def covers(match: Match, org: OrgRef) -> bool:
    """Whether an organisation meets the conditions on organisation, provider and labels."""
    return (
        (not match.orgs or org.org in match.orgs)
        and (not match.providers or org.provider in match.providers)
        and match.labels.items() <= org.labels.items()
    )


def names(match: Match, *models: str | None) -> bool:
    """Whether one of these model names meets the condition on models. None and empty names are ignored."""
    known = [name for name in models if name]
    return not match.models or any(fnmatchcase(name, pattern) for pattern in match.models for name in known)
