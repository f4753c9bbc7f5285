"""Who hears of what: the words it goes by, and the rules that match it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from monitor.domain.flow import Kind, Transition
from monitor.domain.model import Job, Status
from monitor.domain.pricing import base_model

WORDS: Final = (
    "appeared", "started", "paused", "resumed", "succeeded", "failed", "cancelled", "stalled",
    "budget", "shutdown", "org_down", "org_up",
)  # fmt: skip
DEFAULT_ON: Final = frozenset({"succeeded", "failed", "cancelled", "stalled"})


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A configured route: these jobs, on these words, to these notifiers."""

    match: Match = Match()
    on: frozenset[str] = DEFAULT_ON
    notify: tuple[str, ...] = ()


def words(transition: Transition) -> tuple[str, ...]:
    """The `on` words of a transition, the most telling first; none for what is never news."""
    if transition.kind is Kind.STALLED:
        return ("stalled",)
    if transition.kind not in (Kind.APPEARED, Kind.MOVED):
        return ()
    told = _status_words(transition)
    if transition.kind is Kind.APPEARED and not transition.after.final:
        return (*told, "appeared")
    return told


def _status_words(transition: Transition) -> tuple[str, ...]:
    if transition.after.final or transition.after is Status.PAUSED:
        return (transition.after.value,)
    if transition.resumed:
        return ("resumed",)
    if transition.after is Status.RUNNING and not transition.restarted:
        return ("started",)
    return ()


def route(
    transition: Transition, job: Job, rules: Iterable[Rule], labels: Mapping[str, str]
) -> Iterable[tuple[str, str]]:
    """The notifiers that hear of it, each once, with the word that the first rule to name it goes by."""
    told: dict[str, str] = {}
    for rule in rules:
        word = next((word for word in words(transition) if word in rule.on), None)
        if word is not None and matches(rule.match, job, labels):
            for notifier in rule.notify:
                told.setdefault(notifier, word)
    return told.items()


def matches(match: Match, job: Job, labels: Mapping[str, str]) -> bool:
    """Whether a job of an organisation with these labels is one the rule is for."""
    return (
        covers(match, OrgRef(org=job.org, provider=job.provider, labels=labels))
        and names(match, job.model, job.fine_tuned_model)
        and match.metadata.items() <= job.metadata.items()
    )


def covers(match: Match, account: OrgRef) -> bool:
    """Whether the organisation is one the rule is for; which of its jobs or models are, is another question."""
    return (
        (not match.orgs or account.org in match.orgs)
        and (not match.providers or account.provider in match.providers)
        and match.labels.items() <= account.labels.items()
    )


def names(match: Match, model: str, tuned: str | None = None) -> bool:
    """Whether a model, the base it was tuned from, or what was made of it, has a name the rule is for."""
    known = (model, base_model(model), tuned or "")
    return not match.models or any(fnmatchcase(name, pattern) for pattern in match.models for name in known)
