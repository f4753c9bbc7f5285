"""The command `job`, and how jobs, transitions and costs are formatted for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import click
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from monitor.clock import SystemClock
from monitor.domain.pricing import format_cost
from monitor.domain.render import batch_facts, span
from monitor.domain.text import clean
from monitor.environ import environ
from monitor.terminal.answers import Delivery, Event, Job, JobDetails, JobError, Metrics, Transition
from monitor.terminal.client import connect, job_path
from monitor.terminal.curve import curves, draw
from monitor.terminal.options import Options
from monitor.terminal.output import (
    BAD,
    BUSY,
    GOOD,
    Column,
    clock_time,
    console,
    facts,
    inert,
    moment,
    pairs,
    status_style,
    table,
)

_LONGEST: Final = 4000
_MOST_EVENTS: Final = 5000
_STALLS: Final = {
    "queued": "queued longer than usual",
    "silent": "no sign of life",
    "no_step": "no step",
    "slipping": "its expected finish keeps moving back",
}
_STATES: Final = {"sent": GOOD, "pending": BUSY, "dead": BAD}
_TRANSITIONS: Final = (
    Column(title="#", right=True),
    Column(title="OBSERVED", spare=1),
    Column(title="CHANGE", least=10),
)
_DELIVERIES: Final = (
    Column(title="NOTIFIER", least=8),
    Column(title="#", right=True),
    Column(title="STATE"),
    Column(title="ATTEMPTS", right=True, spare=2),
    Column(title="TIME", spare=1),
    Column(title="MESSAGE", least=10, spare=3),
    Column(title="REASON", least=10),
)


def show(options: Options, org: str, job_id: str) -> None:
    """Print one job with everything known about it: as text, or as one JSON object with its events."""
    daemon = connect(options.access, environ())
    path = job_path(org, job_id)
    job, raw = daemon.get(path, JobDetails)
    events = [*daemon.pages(f"{path}/events", Event, most=_MOST_EVENTS)]
    if options.as_json:
        click.echo(json.dumps({**raw, "events": [event.raw for event in events]}))
        return
    out = console(ascii_only=options.ascii)
    for part in details(job, [event.value for event in events], out, SystemClock().now()):
        out.print(part, crop=False)


def details(job: JobDetails, events: Sequence[Event], out: Console, now: datetime) -> Iterator[RenderableType]:
    """The parts of a job's page, for a console."""
    yield heading(job)
    yield ""
    yield _indented(facts(_facts(job, events, now)))
    if job.error is not None:
        yield Text("\nError", "bold")
        yield _indented(facts(_error_facts(job.error)))
    for curve in curves(events):
        yield ""
        yield draw(curve, out.width if out.is_terminal else 80, braille=out.encoding.startswith("utf"))
    if job.transitions:
        yield Text("\nTransitions", "bold")
        yield _indented(table(_TRANSITIONS, [_transition_row(one) for one in job.transitions], out.width - 2))
    if job.deliveries:
        yield Text("\nNotifications", "bold")
        yield _indented(table(_DELIVERIES, [_delivery_row(one) for one in job.deliveries], out.width - 2))


def heading(job: Job) -> Text:
    """The job's status, name and id on one line."""
    style, sign = status_style(job.status, stalled=job.stalled)
    status = f"{sign} {inert(job.shown_status, 40)}{', stalled' if job.stalled else ''}"
    return Text.assemble((status, style), "  ", (f"{inert(job.name)}  " if job.name else "", "bold"), inert(job.id))


def model(job: Job) -> str:
    """The base model and the method: `gpt-4o-mini-2024-07-18, dpo`, or `gpt-4o-mini-2024-07-18, batch`."""
    how = "batch" if job.batch is not None else inert(job.method, 40) if job.method != "unknown" else ""
    return ", ".join(filter(None, (inert(job.model), how)))


def cost(job: Job) -> str:
    """`$2.40`, `about $2.40`, `about $2.40 (between $2.10 and $2.90)`; empty if the cost is unknown."""
    return format_cost(job.cost.cost) if job.cost.usd is not None else ""


def short_cost(job: Job) -> str:
    """`$2.40`, or `~$2.40` for an estimate."""
    return cost(job).partition(" (")[0].replace("about ", "~")


def failure(error: JobError) -> str:
    """The error code with its class, and whether a retry may help."""
    advice = {True: "retrying may help", False: "retrying it unchanged will fail again", None: ""}[error.retryable]
    kind = ": ".join(filter(None, (inert(error.cls, 40), advice)))
    return f"{inert(error.code, 80) or 'no reason given'}{f' ({kind})' if kind else ''}"


def change(transition: Transition) -> Text:
    """A transition in words, such as `running → failed`, with the sign and colour of its status."""
    style, sign = status_style(transition.after, stalled=transition.kind in ("stalled", "gone"))
    return Text(f"{sign} {_change(transition)}", style)


def latest(events: Sequence[Event]) -> Metrics | None:
    """The metrics of the highest step; None if no event has any."""
    measured = [event.metrics for event in events if event.metrics is not None and event.metrics.step is not None]
    return max(measured, key=lambda metrics: metrics.step or 0, default=None)


def step(events: Sequence[Event]) -> str:
    """`step 420 of 1,000`; empty if no event has metrics."""
    metrics = latest(events)
    if metrics is None or metrics.step is None:
        return ""
    return f"step {metrics.step:,}" + (f" of {metrics.steps:,}" if metrics.steps else "")


def run_time(job: Job, now: datetime) -> str:
    """How long it ran or has been running, since its start or since it was first seen running; empty before that."""
    if (ran := job.run_time(now)) is not None:
        return span(ran)
    if job.status == "running" and job.since is not None:
        return f"{span(max(now - job.since, timedelta(0)))} since first seen"
    return ""


def _change(transition: Transition) -> str:
    after = inert(transition.after, 40)
    match transition.kind:
        case "stalled":
            return f"{after}, stalled"
        case "gone":
            return "the provider no longer knows the job"
        case "back":
            return f"the provider knows the job again: {after}"
        case "baseline":
            return f"first seen: {after}"
        case "appeared":
            return f"appeared: {after}"
        case _:
            return (
                f"{inert(transition.before, 40)} → {after}"
                if transition.before and transition.before != transition.after
                else after
            )


def _facts(job: Job, events: Sequence[Event], now: datetime) -> Iterator[tuple[str, str]]:
    """The labels and texts of a job, without empty ones."""
    share = f"{job.progress:.0%}" if job.progress is not None else ""
    rows = (
        ("Organisation", f"{inert(job.org)} ({inert(job.provider, 40)})" if job.provider else inert(job.org)),
        ("Model", model(job)),
        ("Fine-tuned model", inert(job.fine_tuned_model)),
        ("Created", _moment(job.created_at, now)),
        ("Started", _moment(job.started_at, now)),
        ("Finished", _moment(job.finished_at, now)),
        ("Expected finish", _expected_finish(job, now)),
        ("Stalled since", _stalled(job, now)),
        ("Verdict", _verdict(job)),
        ("Queued for", span(timedelta(seconds=job.queue_seconds)) if job.queue_seconds is not None else ""),
        ("Ran for" if job.ended else "Running for", run_time(job, now)),
        ("Progress", ", ".join(filter(None, (share, step(events))))),
        ("Trained tokens", f"{job.trained_tokens:,}" if job.trained_tokens is not None else ""),
        *((label, inert(text)) for label, text in (batch_facts(job.batch.batch) if job.batch is not None else ())),
        ("Expires", _moment(job.batch.expires_at, now) if job.batch is not None and not job.ended else ""),
        ("Cost", cost(job) or "unknown"),
        ("Hyperparameters", pairs(job.hyperparameters)),
        ("Seed", str(job.seed) if job.seed is not None else ""),
        ("Labels", pairs(job.labels)),
        ("Metadata", pairs(job.metadata)),
        ("Link", inert(job.url, _LONGEST)),
        ("Monitor", inert(job.monitor_url, _LONGEST)),
    )
    return ((label, text) for label, text in rows if text)


def _moment(at: datetime | None, now: datetime) -> str:
    return moment(at, now) if at is not None else ""


def _expected_finish(job: Job, now: datetime) -> str:
    """The expected finish of an active job that is trained to less than 100 %; otherwise empty."""
    at = job.estimated_finish
    if at is None or job.ended or job.progress == 1:
        return ""
    return moment(at, now) if at > now else f"{clock_time(at)}, overdue by {span(now - at)}"


def _stalled(job: Job, now: datetime) -> str:
    if not job.stalled or job.stall is None:
        return ""
    why = _STALLS.get(job.stall.reason, inert(job.stall.reason, 40))
    return f"{moment(job.stall.since, now)}, {why}"


def _verdict(job: Job) -> str:
    """How the training went, and which checkpoint is preferable."""
    verdict = job.verdict
    if verdict is None:
        return ""
    best = f" Best: step {verdict.best_step:,}" if verdict.best_step is not None else ""
    kept = f", checkpoint {inert(verdict.best_checkpoint)}" if verdict.best_checkpoint is not None else ""
    return inert(verdict.text, _LONGEST) + best + kept


def _error_facts(error: JobError) -> Iterator[tuple[str, str]]:
    yield "Reason", failure(error)
    for label, text in (("Message", error.message), ("Parameter", error.param), ("Hint", error.hint)):
        if text:
            yield label, clean(text, _LONGEST)


def _transition_row(transition: Transition) -> tuple[str | Text, ...]:
    return str(transition.seq), clock_time(transition.observed_at), change(transition)


def _delivery_row(delivery: Delivery) -> tuple[str | Text, ...]:
    return (
        inert(delivery.notifier),
        str(delivery.seq),
        Text(inert(delivery.state, 40), _STATES.get(delivery.state, "")),
        str(delivery.attempts),
        clock_time(delivery.settled_at or delivery.due_at or delivery.created_at),
        inert(delivery.title),
        inert(": ".join(filter(None, (delivery.reason, delivery.answer))), 400),
    )


def _indented(part: RenderableType) -> Padding:
    return Padding.indent(part, 2)
