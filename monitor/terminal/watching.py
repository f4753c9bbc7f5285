"""Follows one job until it ends, through restarts of the daemon and lost connections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import click
from msgspec.structs import asdict

from monitor.clock import Clock
from monitor.domain.render import span
from monitor.domain.text import clean
from monitor.terminal import words
from monitor.terminal.answers import Event, JobFile, Transition
from monitor.terminal.asking import AskError, Daemon, Refused
from monitor.terminal.bar import bar
from monitor.terminal.details import head
from monitor.terminal.look import Look, fit, inert, status_look, wrapped
from monitor.terminal.screen import Screen
from monitor.terminal.steps import step

SUCCEEDED, ENDED_OTHERWISE = 0, 1
_BETWEEN: Final = 1.0  # seconds from one look to the next
_PAST: Final = 20  # transitions before the first look that are shown
_LONGEST: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one look saw."""

    job: JobFile
    said: Any
    """The job as the daemon said it."""
    events: list[Event]


class Teller(Protocol):
    """Who tells what is seen."""

    def saw(self, sight: Sight, now: datetime, /) -> None:
        """The daemon answered."""
        ...

    def lost(self, error: AskError, now: datetime, /) -> None:
        """The daemon did not answer; it did before."""
        ...


async def follow(daemon: Daemon, org: str, job_id: str, *, teller: Teller, clock: Clock) -> int:
    """Look until the job has ended: 0 where it succeeded, else 1. Raises AskError where even the first look fails."""
    met = False
    while True:
        try:
            sight = await _look(daemon, org, job_id)
        except AskError as error:
            if not met or isinstance(error, Refused):
                raise
            teller.lost(error, clock.now())
        else:
            met = True
            teller.saw(sight, clock.now())
            if sight.job.ended:
                return SUCCEEDED if sight.job.status == "succeeded" else ENDED_OTHERWISE
        await clock.sleep(_BETWEEN)


async def _look(daemon: Daemon, org: str, job_id: str) -> Sight:
    job, said = await daemon.job(org, job_id)
    return Sight(job=job, said=said, events=await daemon.newest_events(org, job_id))


@dataclass(slots=True)
class Lines:
    """Tells people: a line for every change, and on a terminal the present state below them."""

    screen: Screen
    told: int | None = None
    """The last transition that was told; None before the first look."""
    tenths: int = 0
    """How much of the run was told where no line is written anew."""
    lost_at: datetime | None = None

    def saw(self, sight: Sight, now: datetime) -> None:
        """Tell what is new."""
        job, screen = sight.job, self.screen
        if self.lost_at is not None:
            self.lost_at = None
            screen.say(f"{words.clock_time(now)}  connected again")
        if self.told is None:
            screen.say(fit(f"{head(job, Look())}  ({inert(job.org)}; {words.model(job)})", screen.look.width or 10**6))
        first = self.told is None
        fresh = [one for one in job.transitions if one.seq > (self.told or 0)]
        self.told = max((one.seq for one in job.transitions), default=self.told or 0)
        for one in fresh[-_PAST:] if first else fresh:
            screen.say(_changed(one, screen.look))
        if job.ended:
            screen.tell(_ending(job, screen.look))
        elif screen.look.live:
            screen.show(bar(job, sight.events, screen.look, now))
        else:
            self._progress(sight, now)

    def lost(self, error: AskError, now: datetime) -> None:
        """Say so once, and on a terminal for how long."""
        if self.lost_at is None:
            self.lost_at = now
            self.screen.say(f"{words.clock_time(now)}  connection lost: {error}; trying again")
        waited = span(max(now - self.lost_at, timedelta(0)))
        self.screen.show(fit(f"▲ no answer for {waited}", self.screen.look.columns - 1))

    def _progress(self, sight: Sight, now: datetime) -> None:
        tenths = int((sight.job.progress or 0.0) * 10)
        if tenths > self.tenths:
            said = ", ".join(filter(None, (f"{sight.job.progress:.0%}", step(sight.events), words.cost(sight.job))))
            self.screen.say(f"{words.clock_time(now)}  {said}")
        self.tenths = max(tenths, self.tenths)


@dataclass(slots=True)
class JsonLines:
    """Tells programs: the job as the API says it, with the newest measurement, once for every change."""

    told: dict[str, Any] = field(default_factory=dict)
    lost_before: bool = False

    def saw(self, sight: Sight, _now: datetime, /) -> None:
        """One line, where anything is new."""
        self.lost_before = False
        newest = next((event.metrics for event in sight.events if event.metrics is not None), None)
        metrics = asdict(newest) if newest is not None else None
        said = {**sight.said, "metrics": metrics}
        if said != self.told:
            self.told = said
            click.echo(json.dumps(said))

    def lost(self, error: AskError, _now: datetime, /) -> None:
        """Say so once, beside the lines."""
        if not self.lost_before:
            self.lost_before = True
            click.echo(f"connection lost: {error}; trying again", err=True)


def _changed(of: Transition, look: Look) -> str:
    code, sign = status_look(of.after, stalled=of.kind in ("stalled", "gone"))
    return f"{look.paint(words.clock_time(of.observed_at), 'dim')}  {look.paint(f'{sign} {words.change(of)}', code)}"


def _ending(job: JobFile, look: Look) -> Iterator[str]:
    code, sign = status_look(job.status)
    after = f" after {span(timedelta(seconds=job.run_seconds))}" if job.run_seconds is not None else ""
    said = [f"{job.trained_tokens:,} tokens"] if job.trained_tokens is not None else []
    said += [words.cost(job) or "cost unknown"]
    yield f"{look.paint(f'{sign} {inert(job.status, 40)}', code)}{after}, {', '.join(said)}"
    if job.fine_tuned_model:
        yield f"  {inert(job.fine_tuned_model)}"
    if job.error is not None:
        yield f"  {words.failure(job.error)}"
        for text in filter(None, (job.error.message, job.error.hint)):
            yield from (f"  {part}" for part in wrapped(clean(text, _LONGEST), (look.width or 10**6) - 2))
