"""Renders the page of one job: details, charts, transitions, notifications and events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from monitor.domain.flow import Tracked, Transition, TransitionKind
from monitor.domain.model import EventKind, FineTuning, JobEvent
from monitor.domain.render import batch_facts, best_model, moment, span, stall_facts
from monitor.metrics.labels import clean
from monitor.store import DeliverySummary, JobFile, ResultPage
from monitor.web.drawing import Chart, chart
from monitor.web.job_rows import cut, job_row, when
from monitor.web.style import render_template

_MOST_FILES: Final = 10
_MOST_CHECKPOINTS: Final = 50
_MOST_METADATA: Final = 32
_EPOCHS: Final = ("n_epochs", "epochs", "epochCount")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStory:
    """All that the page of a job shows."""

    file: JobFile
    labels: Mapping[str, str]
    """The labels of its organisation."""
    measured: Sequence[JobEvent]
    """Events with metrics or checkpoints, oldest first."""
    events: ResultPage[JobEvent]
    first: bool
    """Whether `events` is the newest page."""
    at: datetime


def render_missing(org: str, job_id: str, now: datetime, *, fragment: bool = False) -> bytes:
    """The page of a job that does not exist, or no longer, as UTF-8."""
    shown = {"root": "../../", "at": moment(now), "org": clean(org, 64), "job_id": clean(job_id, 200)}
    return render_template("missing.html", shown, fragment=fragment)


def render(story: JobStory, *, fragment: bool = False) -> bytes:
    """The page as UTF-8. Called in a worker thread."""
    tracked, now = story.file.tracked, story.at
    job, row = tracked.job, job_row(tracked, now)
    shown: dict[str, Any] = {
        "root": "../../",
        "at": moment(now),
        "org": clean(job.org, 64),
        "job_id": clean(job.id, 1000),
        "row": row,
        "batch": job.batch is not None,
        "api": f"../../api/v1/{row.page}",
        "times": [(label, moment(at)) for label, at in _times(tracked) if at is not None],
        "details": [(label, value) for label, value in _details(tracked, now) if value],
        "metadata": [(clean(key, 64), clean(text, 200)) for key, text in list(job.metadata.items())[:_MOST_METADATA]],
        "labels": [clean(f"{key}: {text}", 128) for key, text in story.labels.items()],
        "charts": list(_charts(story.measured)),
        "checkpoints": [_line(one) for one in story.measured if one.kind is EventKind.CHECKPOINT][-_MOST_CHECKPOINTS:],
        "events": [_line(one) for one in story.events.items],
        "first": story.first,
        "older": story.events.next,
        "transitions": [_step(one, now) for one in reversed(story.file.transitions)],
        "deliveries": [_delivery(one, now) for one in reversed(story.file.deliveries)],
    }
    return render_template("job.html", shown, fragment=fragment)


def _charts(measured: Sequence[JobEvent]) -> Iterator[Chart]:
    for id_, title, fields in (
        ("loss", "Loss", ("train_loss", "valid_loss")),
        ("accuracy", "Accuracy", ("train_accuracy", "valid_accuracy")),
        ("reward", "Reward", ("train_reward", "valid_reward")),
    ):
        if (found := chart(id_, title, measured, *fields)) is not None:
            yield found


def _times(tracked: Tracked) -> Iterator[tuple[str, datetime | None]]:
    job = tracked.job
    yield "Created", job.created_at
    yield "Started", job.started_at
    yield "Finished", job.finished_at
    yield "Expires", job.batch.expires_at if job.batch is not None and not job.status.final else None
    yield "Last activity", tracked.last_activity_at if tracked.active else None


def _details(tracked: Tracked, now: datetime) -> Iterator[tuple[str, str | None]]:
    job, size = tracked.job, tracked.size
    yield "Provider", clean(job.provider, 64)
    yield "Base model", clean(job.base_model, 80)
    yield "Method", job.method.value if job.batch is None else None
    yield "Status at the provider", clean(job.raw_status, 80) if job.raw_status != job.status.value else None
    yield "Queued for", span(job.queue_time) if job.queue_time is not None else None
    if tracked.verdict is not None:
        yield "Verdict", tracked.verdict.text
        yield "Best", clean(best_model(tracked.verdict) or "", 300)
    if tracked.active and tracked.stalled and tracked.stall is not None:
        yield from stall_facts(tracked, tracked.stall, now)
    yield "Ran for", span(job.run_time) if job.run_time is not None else None
    yield "Trained tokens", f"{job.tuning.trained_tokens:,}" if job.tuning.trained_tokens is not None else None
    yield from hyperparameters(job.tuning)
    if size is not None:
        yield "Examples", f"{size.examples:,}" if size.examples is not None else None
        yield "Tokens in one epoch", f"{size.tokens:,}" if size.exact else f"{size.low:,} to {size.high:,}"
    yield from _files(job.tuning)
    if job.batch is not None:
        yield "Input", clean(job.batch.input_file or "", 120)
        yield from ((label, clean(value, 200)) for label, value in batch_facts(job.batch))


def hyperparameters(tuning: FineTuning) -> Iterator[tuple[str, str | None]]:
    """The training's settings: epochs under the name that all vendors share, the others under the vendor's names."""
    yield "Epochs", f"{tuning.epochs:,}" if tuning.epochs is not None else None
    shown = () if tuning.epochs is None else _EPOCHS
    chosen = {name: value for name, value in tuning.hyperparameters.items() if name not in shown}
    yield "Hyperparameters", clean(", ".join(f"{name} {value}" for name, value in chosen.items()), 1000)
    yield "Seed", f"{tuning.seed}" if tuning.seed is not None else None


def _files(tuning: FineTuning) -> Iterator[tuple[str, str | None]]:
    yield "Training file", clean(tuning.training_file or "", 120)
    yield "Validation file", clean(tuning.validation_file or "", 120)
    yield "Result files", ", ".join(clean(file, 120) for file in tuning.result_files[:_MOST_FILES])


def _line(one: JobEvent) -> dict[str, Any]:
    metrics = one.metrics
    return {
        "at": moment(one.at),
        "level": one.level,
        "kind": one.kind.value,
        "message": cut(one.message, 500),
        "step": f"{metrics.step:,}" if metrics is not None and metrics.step is not None else None,
    }


_CHANGES: Final = {
    TransitionKind.BASELINE: "first seen",
    TransitionKind.MOVED: "status",
    TransitionKind.GONE: "no longer known to the provider",
    TransitionKind.BACK: "known to the provider again",
    TransitionKind.MOVING: "moving again",
}
"""How kinds of transitions are shown, if not by the API's word."""


def _step(one: Transition, now: datetime) -> dict[str, Any]:
    return {
        "seq": one.seq,
        "kind": _CHANGES.get(one.kind, one.kind.value),
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
        "reason": cut(one.why, 360),
    }
