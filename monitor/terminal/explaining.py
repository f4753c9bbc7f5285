"""Which routes of a configuration fit a job, which do not and why, and who hears of what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from monitor.domain.model import Job, Method, Status
from monitor.domain.news import EventType
from monitor.domain.routing import Match, OrgRef, Rule, covers, matches, names
from monitor.terminal import answers
from monitor.terminal.look import Look, inert

_OTHERS: Final = (EventType.BUDGET, EventType.SHUTDOWN, EventType.ORG_DOWN, EventType.ORG_UP)
_OF_JOBS: Final = tuple(event for event in EventType if event not in _OTHERS)


def explained(shown: answers.Job, labels: Mapping[str, str], rules: Sequence[Rule], look: Look) -> Iterator[str]:
    """The lines: every route with its verdict, then who hears of each word; what was decided is in the deliveries."""
    job = _job(shown)
    for number, rule in enumerate(rules, start=1):
        wrong = misfits(rule.match, job, labels)
        code, verdict = ("dim", f"does not fit: {', '.join(wrong)}") if wrong else ("good", "fits")
        notified = ", ".join(inert(name) for name in rule.notify)
        yield f"route {number}  {look.paint(inert(verdict, 1000), code)}"
        yield f"  on {' '.join(_in_order(rule.on))} → {notified}"
    if not rules:
        yield "There are no routes."
    yield ""
    wide = max(map(len, _OF_JOBS))
    for word, hearers in _told(job, labels, rules).items():
        yield f"{word:<{wide}}  {', '.join(map(inert, hearers)) or look.paint('nobody', 'dim')}"


def explained_to_programs(shown: answers.Job, labels: Mapping[str, str], rules: Sequence[Rule]) -> dict[str, Any]:
    """The same as one JSON object; `why` is empty of a route that fits."""
    job = _job(shown)
    wrong = [misfits(rule.match, job, labels) for rule in rules]
    routes = [
        {
            "route": number,
            "fits": not why,
            "why": why,
            "on": sorted(rule.on, key=[*EventType].index),
            "notify": [*rule.notify],
        }
        for number, (rule, why) in enumerate(zip(rules, wrong, strict=True), start=1)
    ]
    return {"org": job.org, "job": job.id, "routes": routes, "told": _told(job, labels, rules)}


def _in_order(events: Iterable[EventType]) -> list[EventType]:
    return sorted(events, key=[*EventType].index)


def misfits(match: Match, job: Job, labels: Mapping[str, str]) -> list[str]:
    """The conditions of a route that a job does not meet; none where it matches."""
    account = OrgRef(org=job.org, provider=job.provider, labels=labels)
    conditions = (
        ("org", covers(Match(orgs=match.orgs), account)),
        ("provider", covers(Match(providers=match.providers), account)),
        ("labels", covers(Match(labels=match.labels), account)),
        ("model", names(Match(models=match.models), job.model, job.fine_tuned_model)),
        ("metadata", matches(Match(metadata=match.metadata), job, labels)),
    )
    return [f"{name} is not {_wanted(match, name)}" for name, met in conditions if not met]


def _wanted(match: Match, name: str) -> str:
    pairs = match.labels if name == "labels" else match.metadata
    wanted = {"org": sorted(match.orgs), "provider": sorted(match.providers), "model": match.models}
    return " or ".join(wanted[name]) if name in wanted else ", ".join(f"{key}: {pairs[key]}" for key in pairs)


def _told(job: Job, labels: Mapping[str, str], rules: Sequence[Rule]) -> dict[str, list[str]]:
    """Who hears of each word."""
    return {word: _hearers(word, job, labels, rules) for word in _OF_JOBS}


def _hearers(word: str, job: Job, labels: Mapping[str, str], rules: Sequence[Rule]) -> list[str]:
    fitting = (rule for rule in rules if word in rule.on and matches(rule.match, job, labels))
    return list(dict.fromkeys(notifier for rule in fitting for notifier in rule.notify))


def _job(shown: answers.Job) -> Job:
    """What routes look at."""
    return Job(
        org=shown.org,
        id=shown.id,
        provider=shown.provider,
        model=shown.model,
        method=Method.UNKNOWN,
        status=Status.UNKNOWN,
        fine_tuned_model=shown.fine_tuned_model,
        metadata=shown.metadata,
    )
