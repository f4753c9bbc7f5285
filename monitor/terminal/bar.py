"""A running job on one line: how far it is, how long it still takes, what it has cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from monitor.domain.render import span
from monitor.terminal import words
from monitor.terminal.answers import Event, Job
from monitor.terminal.look import Look, cells, fit, inert, status_look
from monitor.terminal.steps import latest, remaining, step

_BAR: Final = (10, 40)


def bar(job: Job, events: Sequence[Event], look: Look, now: datetime) -> str:
    """The line, one cell narrower than the terminal, so that it never wraps; what does not fit is left out."""
    room = look.columns - 1
    code, sign = status_look(job.status, stalled=job.stalled)
    status = fit(f"{sign} {inert(job.status, 40)}", room)
    said, used = list[str](), cells(status)
    least = _BAR[0] + 2 if job.progress is not None else 0
    for part in _parts(job, events, now):
        if used + (least if said else 0) + cells(part) + 2 <= room:  # the first is worth more than the blocks
            said.append(part)
            used += cells(part) + 2
    blocks = []
    if job.progress is not None and room - used >= least:
        wide = min(room - used - 2, _BAR[1])
        full = int(job.progress * wide)
        blocks.append(look.paint("█" * full, code) + look.paint("░" * (wide - full), "dim"))
    return "  ".join([look.paint(status, code), *blocks, *said])


def _parts(job: Job, events: Sequence[Event], now: datetime) -> Iterator[str]:
    """What is told beside the bar, the most wanted first."""
    if job.progress is not None:
        yield f"{job.progress:4.0%}"
    else:
        yield f"for {span(now - job.since)}" if job.since is not None and job.since <= now else "…"
    if job.progress is not None and (text := step(events)):
        yield text
    if (left := remaining(job, events, now)) is not None:
        yield f"{span(left)} left" if left >= timedelta(seconds=1) else "ends any moment"
    metrics = latest(events)
    if metrics is not None and metrics.train_loss is not None:
        yield f"loss {metrics.train_loss:.4g}"
    if text := words.short_cost(job):
        yield text
