"""The `notify` commands: send a test message, explain routes, render messages, list dead letters, replay."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeVar

import aiohttp
import anyio
import click
from rich.text import Text

from monitor import __version__, notifiers
from monitor.clock import SystemClock
from monitor.config import Settings
from monitor.domain.bundle import MOST, bundle
from monitor.domain.cards import card_template, render_card
from monitor.domain.flow import Tracked
from monitor.domain.model import FailureClass, FineTuning, Job, JobError, Method, Status
from monitor.domain.news import OF_JOBS, Card, Delivery, EventType, Message, Severity, Subject, SubjectKind
from monitor.domain.render import Labelling, build_delivery, moment
from monitor.domain.routing import Recipient, Rule, address
from monitor.domain.samples import JOB, moment_of, samples
from monitor.environ import environ
from monitor.notifiers import NO_EDITS, Attempt, FailureKind, HttpNotifier, Notifier, SendError
from monitor.secret import Redactor
from monitor.terminal import answers
from monitor.terminal.answers import JobDetails, Replayed, Requeued
from monitor.terminal.client import connect, job_path
from monitor.terminal.explanation import Explanation
from monitor.terminal.listings import print_list
from monitor.terminal.options import Options
from monitor.terminal.output import BAD, Column, clock_time, console, inert, table

_Enum = TypeVar("_Enum", bound=StrEnum)
_DEAD: Final = (
    Column(title="KEY"),
    Column(title="ATTEMPTS", right=True, spare=2),
    Column(title="DEAD SINCE", spare=1),
    Column(title="REASON", least=12),
    Column(title="ANSWER", least=12),
    Column(title="MESSAGE", least=8, spare=3),
)
_REPLAYED: Final = (
    Column(title="KEY"),
    Column(title="SENT BEFORE"),
    Column(title="MESSAGE", least=8, spare=1),
)


_CONSEQUENCES: Final = {
    FailureKind.RATE: "a notification would be sent when the receiver allows it",
    FailureKind.TRANSIENT: "a notification would be retried",
    FailureKind.AMBIGUOUS: "a notification would be sent once more, marked as a possible repeat",
    FailureKind.TARGET: "the notifier would be suspended, and its notifications kept",
    FailureKind.MESSAGE: "a notification would become a dead letter",
    FailureKind.CARD: "a card would be posted anew",
    FailureKind.CRASH: "a notification would be retried a few times",
}
"""What the daemon does with a notification for which an attempt fails like this."""
_UNROUTED: Final = "no route sends this there; if one did, it would look like this"
_SAMPLE_CARD: Final = Card(place="C0SAMPLE", reference="1700000000.000001")


class NoSuchNotifier(click.ClickException):
    """The configuration has no notifier of this name. The text lists the existing ones."""

    exit_code = 2


def test(settings: Settings, name: str) -> bool:
    """Send a test message by a configured notifier to its real target. Returns whether it was accepted."""
    try:
        anyio.run(_send, settings, name, SystemClock().now())
    except SendError as error:
        answer = f": {inert(error.answer, 300)}" if error.answer else ""
        click.echo(f"{name}: not accepted: {error}{answer} ({_CONSEQUENCES[error.kind]})", err=True)
        return False
    click.echo(f"{name}: accepted")
    return True


def explain(options: Options, settings: Settings, org: str, job_id: str) -> None:
    """Print which routes of the configuration match a job of the daemon, and who is notified of which event."""
    found, _ = connect(options.access, environ()).get(job_path(org, job_id), JobDetails)
    labels = {configured.name: configured.labels for configured in settings.organizations}.get(org, {})
    now = SystemClock().now()
    explanation = Explanation(settings=settings, tracked=_tracked(found, now), labels=labels, now=now)
    if options.as_json:
        click.echo(json.dumps(explanation.view))
        return
    out = console(ascii_only=options.ascii)
    for text in explanation.lines:
        out.print(text, soft_wrap=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """A request to render a notification."""

    name: str
    """The notifier."""
    event: EventType
    job: tuple[str, str] | None = None
    """The organisation and id of a job of the daemon; None for an example."""
    together: int = 1
    """The number of such notifications in one message."""


def render(options: Options, settings: Settings, request: RenderRequest) -> None:
    """Print what a configured notifier would send for an event: of a job of the daemon, or of an example."""
    now, event = SystemClock().now(), request.event
    if request.job is not None and event not in OF_JOBS:
        raise click.UsageError(f"{event} is not an event of a job")
    if request.together > 1 and event is EventType.PROGRESS:
        raise click.UsageError("a card is about one job")
    tracked = JOB
    if request.job is not None:
        tracked = _tracked(connect(options.access, environ()).get(job_path(*request.job), JobDetails)[0], now)
    message, manners = (
        _rendered(settings, request.name, event, tracked, now)
        if event in OF_JOBS
        else (_example(settings, request.name, event), [])
    )
    if message.template_failure is not None:
        failure = message.template_failure
        click.echo(f"template {failure.template} failed, so this is the built-in text: {failure.reason}", err=True)
    if manners:
        click.echo(f"{request.name}: {'; '.join(manners)}", err=True)
    if request.together > 1:
        message = _together(message, request)
    try:
        text = anyio.run(_preview, settings, request.name, message, now, event is EventType.PROGRESS)
        click.echo(text.rstrip("\n"))
    except SendError as error:
        raise click.ClickException(f"{request.name}: {error}") from None


def _together(message: Message, request: RenderRequest) -> Message:
    """One message that combines `together` copies, as `group_wait` and `mute` combine notifications."""
    subject, name = message.subject, request.name
    each = [replace(subject, id=f"{subject.id}-{number}") for number in range(1, request.together + 1)]
    return bundle(
        [Delivery(subject=one, seq=3, notifier=name, message=replace(message, subject=one)) for one in each[:MOST]]
    )


def dead(options: Options, *, requeue: bool) -> None:
    """Print the dead letters, newest first, and perhaps requeue all of them."""
    daemon = connect(options.access, environ())
    found = [*daemon.pages("/api/v1/deliveries", answers.Delivery, {"state": "dead"})]
    requeued = daemon.post("/-/requeue", Requeued) if requeue else None  # first, as it may be refused
    print_list(options, found, _DEAD, _dead_row, empty="There are no dead letters.")
    if requeued is not None:
        click.echo(json.dumps(requeued.raw) if options.as_json else f"Requeued: {requeued.value.requeued:,}.")


def replay(options: Options, *, since: str, notifier: str | None, dry_run: bool) -> None:
    """Replay the transitions of the last `since`, or print what would be sent."""
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
        f"{'Would be sent' if dry_run else 'Queued'}: {replayed.again:,} again, {replayed.new:,} for the first time; "
        f"{replayed.waiting:,} are pending anyway."
    )


def _tracked(details: answers.Job, now: datetime) -> Tracked:
    """The job as a value of the domain, with the fields that routes match and messages show."""
    job = Job(
        org=details.org,
        id=details.id,
        provider=details.provider,
        model=details.model,
        base_model=details.base_model,
        method=_member(Method, details.method, Method.UNKNOWN),
        status=_member(Status, details.status, Status.UNKNOWN),
        name=details.name,
        created_at=details.created_at,
        started_at=details.started_at,
        finished_at=details.finished_at,
        estimated_finish=details.estimated_finish,
        reported_progress=details.progress,
        error=_error(details.error) if details.error is not None else None,
        metadata=details.metadata,
        url=details.url,
        tuning=FineTuning(fine_tuned_model=details.fine_tuned_model, trained_tokens=details.trained_tokens),
        batch=details.batch.batch if details.batch is not None else None,
    )
    return Tracked(job=job, seq=1, since=now, last_activity_at=now, cost=details.cost.cost)


def _error(error: answers.JobError) -> JobError:
    cls = _member(FailureClass, error.cls or "", FailureClass.UNKNOWN)
    return JobError(code=error.code, message=error.message, failure=cls, hint=error.hint)


def _member(kind: type[_Enum], word: str, otherwise: _Enum) -> _Enum:
    """The enum's member, or `otherwise` for a word of a newer daemon that it does not have."""
    return kind(word) if word in {*kind} else otherwise


def _dead_row(delivery: answers.Delivery) -> tuple[str | Text, ...]:
    return (
        inert(delivery.key, 500),
        str(delivery.attempts),
        clock_time(delivery.settled_at),
        Text(inert(delivery.reason), BAD),
        inert(delivery.answer, 300),
        inert(delivery.title),
    )


def _replayed_row(delivery: answers.Delivery) -> tuple[str | Text, ...]:
    return inert(delivery.key, 500), "no" if delivery.new else "yes", inert(delivery.title)


async def _send(settings: Settings, name: str, now: datetime) -> None:
    """Send a test message once. Raises NoSuchNotifier, and SendError if it is not accepted."""
    async with notifiers.session(public_only=settings.outbound.public_only) as session:
        # Each test has a key of its own, since receivers drop messages whose key they have seen.
        attempt = Attempt(key=f"test/{now:%Y%m%dT%H%M%S.%f}/1@{name}", at=now)
        await _notifier(settings, name, session).send(_message(name, now), attempt)


def _notifier(settings: Settings, name: str, session: aiohttp.ClientSession) -> Notifier:
    """The configured notifier of this name. Raises NoSuchNotifier."""
    wanted = next((one for one in settings.notifiers if one.name == name), None)
    if wanted is None:
        known = ", ".join(one.name for one in settings.notifiers) or "none"
        raise NoSuchNotifier(f"no notifier is named {inert(name)}; the configuration has: {known}")
    timeout, public_only = settings.delivery.timeout.total_seconds(), settings.outbound.public_only
    return notifiers.build(wanted, session=session, redactor=Redactor(), timeout=timeout, public_only=public_only)


def _rendered(
    settings: Settings, name: str, event: EventType, tracked: Tracked, now: datetime
) -> tuple[Message, list[str]]:
    """The message of a job's event by the route that leads to this notifier, and what is special about its delivery.

    Without such a route, the rule is that of `_bare`.
    """
    labelling = _labelling(settings, tracked.job.org)
    transition, then = moment_of(event, tracked)
    explanation = Explanation(settings=settings, tracked=then, labels=labelling.labels, now=now)
    routed = explanation.routed(event)
    to = next((address for address in routed if address.partition("#")[0] == name), name)
    if event is EventType.PROGRESS:
        template = card_template(tracked, to, settings.rules, labelling.labels)
        return render_card(tracked, labelling, now, template), []
    recipient = routed.get(to, Recipient(event=event, rule=_bare(settings, name, event)))
    message = build_delivery(transition, then, to=to, recipient=recipient, labelling=labelling).message
    return message, explanation.manners(to, recipient) if to in routed else [_UNROUTED]


def _labelling(settings: Settings, org: str) -> Labelling:
    labels = {one.name: one.labels for one in settings.organizations}.get(org, {})
    return Labelling(labels=labels, monitor_url=settings.server.url)


def _example(settings: Settings, name: str, event: EventType) -> Message:
    """The message of an event that is not about a job, from an example."""
    message = next(samples(event, monitor_url=settings.server.url))
    rule = _bare(settings, name, event)
    return address(message.subject, 3, name, Recipient(event=event, rule=rule), message).message


def _bare(settings: Settings, name: str, event: EventType) -> Rule:
    """The first route for the event that names the notifier, matching or not; else a default route."""
    fitting = (rule for rule in settings.rules if event in rule.on and name in rule.notify)
    return next(fitting, Rule())


async def _preview(settings: Settings, name: str, message: Message, now: datetime, edits: bool) -> str:
    """What the notifier would send, or with `edits` edit a card to; JSON is indented. Raises SendError."""
    async with notifiers.session(public_only=settings.outbound.public_only) as session:
        notifier, attempt = _notifier(settings, name, session), Attempt(key=f"{message.subject.key}/3@{name}", at=now)
        if not edits:
            text = notifier.preview(message, attempt)
        elif isinstance(notifier, HttpNotifier):
            text = notifier.preview_edit(_SAMPLE_CARD, message, attempt)
        else:
            raise SendError(FailureKind.CARD, "no_edits", NO_EDITS)
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def _message(name: str, now: datetime) -> Message:
    """The test message. Its `type` is that of no event, so that receivers can recognise it."""
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
