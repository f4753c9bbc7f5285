"""The command `watch`: follows one job until it ends, across restarts of the daemon and lost connections."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

import click
from msgspec.structs import asdict
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from monitor.clock import SystemClock
from monitor.domain.render import span
from monitor.domain.text import clean
from monitor.environ import environ
from monitor.terminal.answers import Event, Job, JobDetails
from monitor.terminal.client import AskError, Daemon, Item, Refused, connect, job_path
from monitor.terminal.job import change, cost, failure, heading, latest, model, run_time, short_cost, step
from monitor.terminal.options import Options
from monitor.terminal.output import clock_time, console, inert, status_style

SUCCEEDED, ENDED_OTHERWISE = 0, 1
_INTERVAL: Final = 1.0  # seconds between two polls
_PAST: Final = 20  # earlier transitions that are shown at the start
_BAR: Final = (10, 40)  # minimum and maximum width in cells
_LONGEST: Final = 2000


class Reporter(Protocol):
    """Prints the progress of a job."""

    def poll(self, job: Item[JobDetails], events: Sequence[Event], now: datetime, /) -> None:
        """The daemon answered."""
        ...

    def lost(self, error: AskError, now: datetime, /) -> None:
        """The daemon did not answer a poll after the first."""
        ...


def watch(options: Options, org: str, job_id: str) -> int:
    """Follow a job until it ends. Returns the exit code: 0 if it succeeded, 1 if it failed or was cancelled."""
    daemon = connect(options.access, environ())
    clock = SystemClock()
    if options.as_json:
        return follow(daemon, org, job_id, JsonLines(), now=clock.now)
    out = console(ascii_only=options.ascii)
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # shows the cursor again
    with Live(console=out, auto_refresh=False, transient=True) as live:
        return follow(daemon, org, job_id, Lines(out, live), now=clock.now)


def follow(
    daemon: Daemon,
    org: str,
    job_id: str,
    reporter: Reporter,
    *,
    now: Callable[[], datetime],
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Poll until the job has ended.

    Returns 0 if it succeeded, otherwise 1. Raises AskError where the first poll fails.
    """
    path, answered = job_path(org, job_id), False
    while True:
        try:
            job = daemon.get(path, JobDetails)
            events = [event for event, _ in daemon.list(f"{path}/events", Event, {"limit": "100"})]
        except AskError as error:
            if not answered or isinstance(error, Refused):
                raise
            reporter.lost(error, now())
        else:
            answered = True
            reporter.poll(job, events, now())
            if job.value.ended:
                return SUCCEEDED if job.value.status == "succeeded" else ENDED_OTHERWISE
        sleep(_INTERVAL)


@dataclass(slots=True)
class Lines:
    """Prints a line for every change and, on a terminal, a progress bar below them."""

    out: Console
    live: Live
    seq: int | None = None
    """The last transition that was printed; None before the first poll."""
    tenths: int = 0
    """The last printed tenth of the progress, where there is no progress bar."""
    lost_at: datetime | None = None

    def poll(self, job: Item[JobDetails], events: Sequence[Event], now: datetime) -> None:
        """Print what is new."""
        self._changes(job.value, now)
        if job.value.ended:
            self.live.stop()
            for part in _outcome(job.value):
                self.out.print(part)
        elif self._live:
            self._show(progress(job.value, events, self.out.width, now))
        else:
            self._progress(job.value, events, now)

    def lost(self, error: AskError, now: datetime) -> None:
        """Print this once and, on a terminal, show for how long."""
        if self.lost_at is None:
            self.lost_at = now
            self._line(now, f"connection lost: {error}; retrying")
        self._show(Text(f"▲ no answer for {span(max(now - self.lost_at, timedelta(0)))}", no_wrap=True))

    @property
    def _live(self) -> bool:
        """Whether the terminal can redraw a line."""
        return self.out.is_terminal and not self.out.is_dumb_terminal

    def _changes(self, job: JobDetails, now: datetime) -> None:
        if self.lost_at is not None:
            self.lost_at = None
            self._line(now, "reconnected")
        new = [one for one in job.transitions if one.seq > (self.seq or 0)]
        if self.seq is None:
            where = f"  ({inert(job.org)}; {model(job)})"
            self.out.print(heading(job).append(where), no_wrap=True, overflow="ellipsis")
            new = new[-_PAST:]
        self.seq = max((one.seq for one in job.transitions), default=self.seq or 0)
        for one in new:
            self._line(one.observed_at, change(one))

    def _progress(self, job: Job, events: Sequence[Event], now: datetime) -> None:
        tenths = int((job.progress or 0.0) * 10)
        if tenths > self.tenths:
            self._line(now, ", ".join(filter(None, (f"{job.progress:.0%}", step(events), cost(job)))))
        self.tenths = max(tenths, self.tenths)

    def _line(self, at: datetime, text: str | Text) -> None:
        self.out.print(Text.assemble((clock_time(at), "dim"), "  ", text), soft_wrap=True)

    def _show(self, shown: RenderableType) -> None:
        if self._live:
            self.live.update(shown, refresh=True)


@dataclass(slots=True)
class JsonLines:
    """Prints the job as the API's JSON with its newest metrics, once for every change."""

    printed: dict[str, object] = field(default_factory=dict)
    lost_before: bool = False

    def poll(self, job: Item[JobDetails], events: Sequence[Event], _now: datetime, /) -> None:
        """Print one line if anything is new."""
        self.lost_before = False
        newest = next((event.metrics for event in events if event.metrics is not None), None)
        found = {**job.raw, "metrics": asdict(newest) if newest is not None else None}
        if found != self.printed:
            self.printed = found
            click.echo(json.dumps(found))

    def lost(self, error: AskError, _now: datetime, /) -> None:
        """Print this once, on standard error."""
        if not self.lost_before:
            self.lost_before = True
            click.echo(f"connection lost: {error}; retrying", err=True)


def progress(job: Job, events: Sequence[Event], width: int, now: datetime) -> Table:
    """A job on one line: its status, a progress bar, and the most important parts that fit."""
    style, sign = status_style(job.status, stalled=job.stalled)
    status = Text(f"{sign} {inert(job.status, 40)}", style, no_wrap=True)
    status.truncate(width - 1, overflow="ellipsis")
    room, bar = width - 1 - status.cell_len, _BAR[0] if job.progress is not None else 0
    parts = list[str]()
    for part in _parts(job, events, now):
        # The first part is more important than the bar.
        if cell_len(part) + 2 <= room - (bar + 2 if parts and bar else 0):
            parts.append(part)
            room -= cell_len(part) + 2
    line = Table.grid(padding=(0, 2, 0, 0))
    cells: list[RenderableType] = [status]
    if job.progress is not None and room - 2 >= bar:
        wide = min(room - 2, _BAR[1])
        cells.append(ProgressBar(1.0, job.progress, width=wide, complete_style=style, finished_style=style))
    for _ in (*cells, *parts):
        line.add_column(no_wrap=True)
    line.add_row(*cells, *map(Text, parts))
    return line


def remaining(job: Job, now: datetime) -> timedelta | None:
    """The expected remaining time of a running job; negative where it is overdue, None if there is none."""
    if job.status != "running" or job.progress == 1 or job.estimated_finish is None:
        return None
    return job.estimated_finish - now


def _parts(job: Job, events: Sequence[Event], now: datetime) -> Iterator[str]:
    """The parts beside the bar, the most important first."""
    if job.progress is not None:
        yield f"{job.progress:4.0%}"
        if text := step(events):
            yield text
    elif (text := run_time(job, now)) or job.since is None:
        yield f"for {text}" if text else "…"
    else:
        yield f"for {span(max(now - job.since, timedelta(0)))}"
    left = remaining(job, now)
    if left is not None and abs(left) >= timedelta(seconds=1):
        yield f"{span(left)} left" if left > timedelta(0) else f"overdue by {span(-left)}"
    metrics = latest(events)
    if metrics is not None and metrics.train_loss is not None:
        yield f"loss {metrics.train_loss:.4g}"
    if text := short_cost(job):
        yield text


def _outcome(job: JobDetails) -> Iterator[RenderableType]:
    """How the job ended."""
    style, sign = status_style(job.status)
    after = f" after {span(timedelta(seconds=job.run_seconds))}" if job.run_seconds is not None else ""
    tokens = f", {job.trained_tokens:,} tokens" if job.trained_tokens is not None else ""
    yield Text.assemble((f"{sign} {inert(job.status, 40)}", style), f"{after}{tokens}, {cost(job) or 'cost unknown'}")
    if job.fine_tuned_model:
        yield Text(f"  {inert(job.fine_tuned_model)}")
    if job.error is not None:
        yield Text(f"  {failure(job.error)}")
        for text in filter(None, (job.error.message, job.error.hint)):
            yield Padding.indent(Text(clean(text, _LONGEST), overflow="fold"), 2)
