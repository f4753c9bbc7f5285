"""The `notify` commands: try a notifier, explain routes, list dead letters, send again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import anyio
import click
from rich.text import Text

from monitor import __version__, notifiers
from monitor.clock import SystemClock
from monitor.config import Settings
from monitor.domain.model import Job, Method, Status
from monitor.domain.news import EventType, Message, Severity, Subject, SubjectKind
from monitor.domain.render import moment
from monitor.domain.routing import Match, OrgRef, Rule, covers, matches, names
from monitor.environ import environ
from monitor.notifiers import Attempt, SendError
from monitor.secret import Redactor
from monitor.terminal import answers
from monitor.terminal.answers import Delivery, JobDetails, Replayed, Requeued
from monitor.terminal.client import connect, job_path
from monitor.terminal.options import Options
from monitor.terminal.output import BAD, GOOD, Column, clock_time, console, inert, table

_OTHERS: Final = (EventType.BUDGET, EventType.SHUTDOWN, EventType.ORG_DOWN, EventType.ORG_UP)
_OF_JOBS: Final = tuple(event for event in EventType if event not in _OTHERS)
_DEAD: Final = (
    Column(title="KEY"),
    Column(title="ATTEMPTS", right=True, spare=2),
    Column(title="GAVE UP", spare=1),
    Column(title="REASON", least=12),
    Column(title="ANSWER", least=12),
    Column(title="MESSAGE", least=8, spare=3),
)
_REPLAYED: Final = (
    Column(title="KEY"),
    Column(title="SENT BEFORE"),
    Column(title="MESSAGE", least=8, spare=1),
)


class NoSuchNotifier(click.ClickException):
    """The configuration has no notifier of this name. The text says which there are."""

    exit_code = 2


def test(settings: Settings, name: str) -> bool:
    """Send a test message by a configured notifier to its real target. Gives whether it was accepted."""
    try:
        anyio.run(_send, settings, name, SystemClock().now())
    except SendError as error:
        answer = f": {inert(error.answer, 300)}" if error.answer else ""
        click.echo(f"{name}: not accepted ({error.kind}: {error.reason}): {error}{answer}", err=True)
        return False
    click.echo(f"{name}: accepted")
    return True


def explain(options: Options, settings: Settings, org: str, job_id: str) -> None:
    """Print which routes of a configuration match a job of the daemon, and who is notified of what."""
    found, _ = connect(options.access, environ()).get(job_path(org, job_id), JobDetails)
    labels = {one.name: one.labels for one in settings.organizations}.get(org, {})
    rules = [route.rule for route in settings.routes]
    job = _job(found)
    if options.as_json:
        click.echo(json.dumps(_explanation(job, labels, rules)))
        return
    out = console(ascii_only=options.ascii)
    for text in _explained(job, labels, rules):
        out.print(text)


def dead(options: Options, *, requeue: bool) -> None:
    """Print the dead letters, newest first, and perhaps requeue all of them."""
    daemon = connect(options.access, environ())
    found = [*daemon.pages("/api/v1/deliveries", Delivery, {"state": "dead"})]
    requeued = daemon.post("/-/requeue", Requeued) if requeue else None  # before anything is printed: it may be refused
    if options.as_json:
        for raw in [*(item.raw for item in found), *([requeued.raw] if requeued else [])]:
            click.echo(json.dumps(raw))
        return
    out = console(ascii_only=options.ascii)
    rows = [_dead_row(item.value) for item in found]
    out.print(table(_DEAD, rows, out.width) if rows else "There are no dead letters.", crop=False)
    if requeued is not None:
        out.print(f"Requeued: {requeued.value.requeued:,}.")


def replay(options: Options, *, since: str, notifier: str | None, dry_run: bool) -> None:
    """Send again what was observed within that duration, or print what would be sent."""
    wanted = {"since": since, "notifier": notifier, "dry_run": "true" if dry_run else None}
    replayed, raw = connect(options.access, environ()).post("/-/replay", Replayed, wanted)
    if options.as_json:
        click.echo(json.dumps(raw))
        return
    out = console(ascii_only=options.ascii)
    if rows := [_replayed_row(one) for one in replayed.deliveries]:
        out.print(table(_REPLAYED, rows, out.width), crop=False)
    if more := replayed.again + replayed.new - len(replayed.deliveries):
        out.print(f"and {more:,} more")
    out.print(
        f"{'Would be queued' if dry_run else 'Queued'} again: {replayed.again:,}, for the first time: "
        f"{replayed.new:,}. Already pending: {replayed.waiting:,}."
    )


def mismatches(match: Match, job: Job, labels: Mapping[str, str]) -> list[str]:
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


def _explained(job: Job, labels: Mapping[str, str], rules: Sequence[Rule]) -> Iterator[Text]:
    """Every route and whether it matches, then who is notified of each event."""
    for number, rule in enumerate(rules, start=1):
        why = mismatches(rule.match, job, labels)
        verdict = (f"does not match: {inert(', '.join(why), 1000)}", "dim") if why else ("matches", GOOD)
        yield Text.assemble(f"route {number}  ", verdict)
        yield Text(f"  on {' '.join(_in_order(rule.on))} → {', '.join(map(inert, rule.notify))}")
    yield Text("" if rules else "There are no routes.\n")
    wide = max(map(len, _OF_JOBS))
    for event, recipients in _recipients(job, labels, rules).items():
        yield Text.assemble(f"{event:<{wide}}  ", ", ".join(map(inert, recipients)) or ("nobody", "dim"))


def _explanation(job: Job, labels: Mapping[str, str], rules: Sequence[Rule]) -> dict[str, Any]:
    """The same as one JSON object; `why` is empty for a route that matches."""
    routes = [
        {"route": number, "matches": not why, "why": why, "on": _in_order(rule.on),
         "notify": [*rule.notify]}
        for number, rule in enumerate(rules, start=1)
        for why in [mismatches(rule.match, job, labels)]
    ]  # fmt: skip
    return {"org": job.org, "job": job.id, "routes": routes, "recipients": _recipients(job, labels, rules)}


def _recipients(job: Job, labels: Mapping[str, str], rules: Sequence[Rule]) -> dict[str, list[str]]:
    """The notifiers by event."""
    matching = [rule for rule in rules if matches(rule.match, job, labels)]
    return {
        event: [*dict.fromkeys(name for rule in matching if event in rule.on for name in rule.notify)]
        for event in _OF_JOBS
    }


def _in_order(events: Iterable[EventType]) -> list[EventType]:
    return sorted(events, key=[*EventType].index)


def _job(of: answers.Job) -> Job:
    """What routes look at."""
    return Job(
        org=of.org,
        id=of.id,
        provider=of.provider,
        model=of.model,
        method=Method.UNKNOWN,
        status=Status.UNKNOWN,
        fine_tuned_model=of.fine_tuned_model,
        metadata=of.metadata,
    )


def _dead_row(of: Delivery) -> tuple[str | Text, ...]:
    return (
        inert(of.key, 500),
        str(of.attempts),
        clock_time(of.settled_at),
        Text(inert(of.reason), BAD),
        inert(of.answer, 300),
        inert(of.title),
    )


def _replayed_row(of: Delivery) -> tuple[str | Text, ...]:
    return inert(of.key, 500), "no" if of.new else "yes", inert(of.title)


async def _send(settings: Settings, name: str, now: datetime) -> None:
    """Send a test message once. Raises NoSuchNotifier, and SendError where it is not accepted."""
    wanted = next((one for one in settings.notifiers if one.name == name), None)
    if wanted is None:
        known = ", ".join(one.name for one in settings.notifiers) or "none"
        raise NoSuchNotifier(f"{inert(name)}: there is no such notifier; there are: {known}")
    async with notifiers.session(public_only=settings.outbound.public_only) as session:
        timeout = settings.delivery.timeout.total_seconds()
        notifier = notifiers.build(
            wanted, session=session, redactor=Redactor(), timeout=timeout, public_only=settings.outbound.public_only
        )
        # A key of its own each time: receivers drop a message whose key they know.
        await notifier.send(_message(name, now), Attempt(key=f"test/{now:%Y%m%dT%H%M%S.%f}/1@{name}", at=now))


def _message(name: str, now: datetime) -> Message:
    """A message whose `type` is that of no event, so that receivers can tell it from all events."""
    return Message(
        type="finetune.test",
        at=now,
        title="Test message: notifications arrive",
        severity=Severity.INFO,
        subject=Subject(kind=SubjectKind.TEST, org="finetune-monitor", id="test"),
        event_type=None,
        facts=(("Notifier", name), ("Sent by", f"finetune-monitor {__version__}")),
        data=json.dumps({"notifier": name, "sent_at": moment(now), "version": __version__}),
    )
