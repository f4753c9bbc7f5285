"""Jobs as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from monitor.domain.render import span
from monitor.terminal import words
from monitor.terminal.answers import Job
from monitor.terminal.look import Look, inert, status_look
from monitor.terminal.table import Cell, Column, table

_COLUMNS: Final = (
    Column(title="ORG", least=8, spare=1),
    Column(title="JOB"),
    Column(title="STATUS"),
    Column(title="DONE", right=True, spare=3),
    Column(title="AGE", right=True),
    Column(title="RAN", right=True, spare=5),
    Column(title="COST", right=True, spare=4),
    Column(title="MODEL", least=12, spare=6),
    Column(title="NAME", least=8, spare=7),
    Column(title="FAILURE", least=8, spare=2),
)


def listed(jobs: Sequence[Job], look: Look, now: datetime) -> Iterator[str]:
    """The lines of the table; of an empty list, a sentence."""
    if not jobs:
        yield "There are no such jobs."
        return
    yield from table(_COLUMNS, [_row(job, now) for job in jobs], look)


def _row(job: Job, now: datetime) -> tuple[Cell, ...]:
    ran = job.ran(now)
    code, _ = status_look(job.status, stalled=job.stalled)
    status = inert(job.status, 40)
    return (
        Cell(inert(job.org)),
        Cell(inert(job.id)),
        Cell(f"{status}, stalled" if job.stalled else status, code),
        Cell(f"{job.progress:.0%}" if job.progress is not None and not job.ended else ""),
        Cell(words.age(job.created_at, now)),
        Cell(span(ran) if ran is not None else ""),
        Cell(words.short_cost(job)),
        Cell(words.model(job)),
        Cell(inert(job.name)),
        Cell(inert(job.error.cls if job.error is not None else None, 40), "bad"),
    )
