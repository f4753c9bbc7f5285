"""One job with everything that is known of it: facts, error, curves, transitions, deliveries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from monitor.domain.render import span
from monitor.domain.text import clean
from monitor.terminal import words
from monitor.terminal.answers import Delivery, Event, JobFile, Transition
from monitor.terminal.curve import curves, drawn
from monitor.terminal.look import Look, cells, inert, status_look, wrapped
from monitor.terminal.steps import step
from monitor.terminal.table import Cell, Column, table

_LONGEST: Final = 4000
_STATES: Final = {"sent": "good", "pending": "busy", "dead": "bad"}


def detailed(job: JobFile, events: Sequence[Event], look: Look, now: datetime) -> Iterator[str]:
    """The lines that tell everything."""
    yield head(job, look)
    yield ""
    yield from _rows([*_facts(job, now), *_figures(job, events, now)], look)
    if job.error is not None:
        yield from ("", look.paint("Error", "bold"))
        yield from _rows(_troubles(job), look)
    for curve in curves(events):
        yield ""
        yield from drawn(curve, look)
    if job.transitions:
        yield from ("", look.paint("Transitions", "bold"))
        yield from _indented(_TRANSITIONS, [_transition(one) for one in job.transitions], look)
    if job.deliveries:
        yield from ("", look.paint("Deliveries", "bold"))
        yield from _indented(_DELIVERIES, [_delivery(one) for one in job.deliveries], look)


def head(job: JobFile, look: Look) -> str:
    """Which job it is and where it stands, on one line."""
    code, sign = status_look(job.status, stalled=job.stalled)
    status = f"{sign} {inert(job.status, 40)}{', stalled' if job.stalled else ''}"
    name = inert(job.name)
    return f"{look.paint(status, code)}  {look.paint(f'{name}  ' if name else '', 'bold')}{inert(job.id)}"


def _facts(job: JobFile, now: datetime) -> Iterator[tuple[str, str]]:
    yield "Organisation", f"{inert(job.org)} ({inert(job.provider, 40)})" if job.provider else inert(job.org)
    yield "Model", words.model(job)
    if job.fine_tuned_model:
        yield "Fine-tuned model", inert(job.fine_tuned_model)
    for label, at in (("Created", job.created_at), ("Started", job.started_at), ("Finished", job.finished_at)):
        if at is not None:
            yield label, words.moment(at, now)
    if job.estimated_finish is not None and not job.ended:
        yield "Finish expected", words.moment(job.estimated_finish, now)
    for label, said in (("Labels", job.labels), ("Metadata", job.metadata)):
        if said:
            yield label, _pairs(said)
    if job.url:
        yield "Link", inert(job.url, _LONGEST)


def _figures(job: JobFile, events: Sequence[Event], now: datetime) -> Iterator[tuple[str, str]]:
    if job.queue_seconds is not None:
        yield "Queued for", span(timedelta(seconds=job.queue_seconds))
    if (ran := job.ran(now)) is not None:
        yield ("Ran for" if job.ended else "Running for"), span(ran)
    steps = step(events)
    if steps or job.progress is not None:
        share = f"{job.progress:.0%}" if job.progress is not None else ""
        yield "Progress", ", ".join(filter(None, (share, steps)))
    if job.trained_tokens is not None:
        yield "Trained tokens", f"{job.trained_tokens:,}"
    yield "Cost", words.cost(job) or "unknown"


def _troubles(job: JobFile) -> Iterator[tuple[str, str]]:
    error = job.error
    if error is None:
        return
    yield "Reason", words.failure(error)
    for label, text in (("Message", error.message), ("Parameter", error.param), ("Hint", error.hint)):
        if text:
            yield label, clean(text, _LONGEST)


def _pairs(said: Mapping[str, str]) -> str:
    return ", ".join(f"{inert(key, 80)}: {inert(value)}" for key, value in list(said.items())[:50])


def _rows(facts: Sequence[tuple[str, str]] | Iterator[tuple[str, str]], look: Look) -> Iterator[str]:
    facts = list(facts)
    margin = max(cells(label) for label, _ in facts)
    for label, text in facts:
        room = max((look.width or 10**6) - margin - 4, 10)
        first, *more = [*wrapped(text, room)] or [""]
        yield f"  {look.paint(label, 'dim')}{'':{margin - cells(label)}}  {first}"
        yield from (f"{'':{margin + 4}}{part}" for part in more)


def _indented(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], look: Look) -> Iterator[str]:
    narrower = Look(width=look.width and look.width - 2, colour=look.colour, ascii=look.ascii)
    yield from (f"  {line}" for line in table(columns, rows, narrower))


_TRANSITIONS: Final = (Column(title="#", right=True), Column(title="SEEN", spare=1), Column(title="WHAT", least=10))


def _transition(of: Transition) -> tuple[Cell, ...]:
    code, _ = status_look(of.after, stalled=of.kind in ("stalled", "gone"))
    return Cell(str(of.seq)), Cell(words.clock_time(of.observed_at)), Cell(words.change(of), code)


_DELIVERIES: Final = (
    Column(title="NOTIFIER", least=8),
    Column(title="#", right=True),
    Column(title="STATE"),
    Column(title="TRIES", right=True, spare=2),
    Column(title="WHEN", spare=1),
    Column(title="WHAT", least=10, spare=3),
    Column(title="REASON", least=10),
)


def _delivery(of: Delivery) -> tuple[Cell, ...]:
    at = of.settled_at or of.due_at or of.created_at
    return (
        Cell(inert(of.notifier)),
        Cell(str(of.seq)),
        Cell(inert(of.state, 40), _STATES.get(of.state)),
        Cell(str(of.attempts)),
        Cell(words.clock_time(at) if at is not None else ""),
        Cell(inert(of.title)),
        Cell(inert(of.why)),
    )
