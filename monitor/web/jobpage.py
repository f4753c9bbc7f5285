"""The page of one job: facts, curves, what happened, and who was told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from monitor.domain.flow import Tracked, Transition
from monitor.domain.model import EventKind, Job, JobEvent
from monitor.domain.render import moment, span
from monitor.metrics.labels import clean
from monitor.store import DeliverySummary, JobFile, Listing
from monitor.web.drawing import Chart, chart
from monitor.web.look import page
from monitor.web.rows import cut, row, when

_MOST_FILES: Final = 10
_MOST_CHECKPOINTS: Final = 50
_MOST_METADATA: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that is shown of one job."""

    file: JobFile
    measured: Sequence[JobEvent]
    """Measurements and checkpoints, oldest first."""
    events: Listing[JobEvent]
    first: bool
    """Whether these are the newest events."""
    at: datetime


def gone(org: str, job_id: str, now: datetime, *, fragment: bool = False) -> bytes:
    """What stands where a job is not, or not any more."""
    shown = {"root": "../../", "at": moment(now), "org": clean(org, 64), "job_id": clean(job_id, 200)}
    return page("gone.html", shown, fragment=fragment)


def render(story: Story, *, fragment: bool = False) -> bytes:
    """The page as UTF-8. Called in a worker thread."""
    tracked, now = story.file.tracked, story.at
    job = tracked.job
    shown: dict[str, Any] = {
        "root": "../../",
        "at": moment(now),
        "org": clean(job.org, 64),
        "job_id": clean(job.id, 1000),
        "row": row(tracked, now),
        "api": f"../../api/v1/{row(tracked, now).page}",
        "facts": [(label, value) for label, value in _facts(tracked) if value],
        "charts": list(_charts(story.measured)),
        "checkpoints": [_line(one) for one in story.measured if one.kind is EventKind.CHECKPOINT][-_MOST_CHECKPOINTS:],
        "events": [_line(one) for one in story.events.items],
        "first": story.first,
        "older": story.events.next,
        "transitions": [_step(one, now) for one in reversed(story.file.transitions)],
        "deliveries": [_delivery(one, now) for one in reversed(story.file.deliveries)],
    }
    return page("job.html", shown, fragment=fragment)


def _charts(measured: Sequence[JobEvent]) -> Iterator[Chart]:
    for id_, title, fields in (
        ("loss", "Loss", ("train_loss", "valid_loss")),
        ("accuracy", "Accuracy", ("train_accuracy", "valid_accuracy")),
        ("reward", "Reward", ("train_reward", "valid_reward")),
    ):
        if (found := chart(id_, title, measured, *fields)) is not None:
            yield found


def _facts(tracked: Tracked) -> Iterator[tuple[str, str | None]]:
    job = tracked.job
    yield "Provider", clean(job.provider, 64)
    yield "Method", job.method.value
    yield "Provider's word", clean(job.raw_status, 80) if job.raw_status != job.status.value else None
    yield "Created", moment(job.created_at)
    yield "Started", moment(job.started_at)
    yield "Finished", moment(job.finished_at)
    yield "Waited for", span(job.queue_time) if job.queue_time is not None else None
    yield "Ran for", span(job.run_time) if job.run_time is not None else None
    yield "Trained tokens", f"{job.trained_tokens:,}" if job.trained_tokens is not None else None
    yield "Epochs", f"{job.epochs:,}" if job.epochs is not None else None
    yield from _files(job)
    for key, value in list(job.metadata.items())[:_MOST_METADATA]:
        yield clean(key, 64), clean(value, 200)


def _files(job: Job) -> Iterator[tuple[str, str | None]]:
    yield "Training file", clean(job.training_file or "", 120)
    yield "Validation file", clean(job.validation_file or "", 120)
    yield "Result files", ", ".join(clean(file, 120) for file in job.result_files[:_MOST_FILES])


def _line(one: JobEvent) -> dict[str, Any]:
    metrics = one.metrics
    return {
        "at": moment(one.at),
        "level": one.level,
        "kind": one.kind.value,
        "message": cut(one.message, 500),
        "step": f"{metrics.step:,}" if metrics is not None and metrics.step is not None else None,
    }


def _step(one: Transition, now: datetime) -> dict[str, Any]:
    return {
        "seq": one.seq,
        "kind": one.kind.value,
        "before": one.before.value if one.before is not None else None,
        "after": one.after.value,
        "at": when(one.at, now),
    }


def _delivery(one: DeliverySummary, now: datetime) -> dict[str, Any]:
    return {
        "notifier": clean(one.notifier, 64),
        "title": clean(one.title, 120),
        "state": one.state,
        "attempts": one.attempts,
        "at": when(one.settled_at or one.created_at, now),
        "reason": clean(one.why, 360),
    }
