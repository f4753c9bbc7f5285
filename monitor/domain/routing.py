"""Who is notified of what: the events that news is of, and the rules that match it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from monitor.domain.flow import Transition, TransitionKind
from monitor.domain.model import Job, Status
from monitor.domain.naming import UNNAMED, Naming
from monitor.domain.news import EventType

DEFAULT_ON: Final = frozenset({EventType.SUCCEEDED, EventType.FAILED, EventType.CANCELLED, EventType.STALLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which jobs a rule is for. An empty condition matches every job; all conditions must hold."""

    orgs: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    models: tuple[str, ...] = ()
    """Shell patterns for the job's model, the base that this was tuned from, or the fine-tuned model."""
    labels: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgRef:
    """An organisation as rules know it."""

    org: str
    provider: str
    labels: Mapping[str, str] = field(default_factory=dict)
    naming: Naming = UNNAMED
    """Of its vendor's models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A configured route: these jobs, on these events, to these notifiers."""

    match: Match = Match()
    on: frozenset[EventType] = DEFAULT_ON
    notify: tuple[str, ...] = ()


def event_types(transition: Transition) -> tuple[EventType, ...]:
    """What a transition is news of, the most telling first; nothing for what is never news."""
    if transition.kind is TransitionKind.STALLED:
        return (EventType.STALLED,)
    if transition.kind is TransitionKind.GONE:
        return (EventType.GONE,)
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
        return (EventType.STARTED,)
    return ()


def route(
    events: Sequence[EventType], rules: Iterable[Rule], applies: Callable[[Match], bool]
) -> Mapping[str, EventType]:
    """The notifiers that get a piece of news, each once, with the event by which the first rule names it.

    `events` are what it is news of, the most telling first; `applies` says whether a rule's conditions are met.
    """
    recipients: dict[str, EventType] = {}
    for rule in rules:
        event = next((event for event in events if event in rule.on), None)
        if event is not None and applies(rule.match):
            for notifier in rule.notify:
                recipients.setdefault(notifier, event)
    return recipients


def route_job(
    transition: Transition, job: Job, rules: Iterable[Rule], labels: Mapping[str, str]
) -> Mapping[str, EventType]:
    """The notifiers that get a transition of a job."""
    return route(event_types(transition), rules, lambda match: matches(match, job, labels))


def matches(match: Match, job: Job, labels: Mapping[str, str]) -> bool:
    """Whether a job of an organisation with these labels is one the rule is for."""
    return (
        covers(match, OrgRef(org=job.org, provider=job.provider, labels=labels))
        and names(match, job.model, job.base, job.fine_tuned_model)
        and match.metadata.items() <= job.metadata.items()
    )


def covers(match: Match, account: OrgRef) -> bool:
    """Whether the organisation is one the rule is for; which of its jobs or models are, is another question."""
    return (
        (not match.orgs or account.org in match.orgs)
        and (not match.providers or account.provider in match.providers)
        and match.labels.items() <= account.labels.items()
    )


def names(match: Match, *models: str | None) -> bool:
    """Whether one of these is a model the rule is for: a model, the base it was tuned from, what was made of it."""
    known = [name for name in models if name]
    return not match.models or any(fnmatchcase(name, pattern) for pattern in match.models for name in known)
