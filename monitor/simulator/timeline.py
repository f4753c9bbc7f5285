"""The events of a job's whole life, in the words of the API, and those that have happened by some moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from monitor.simulator.checkpoints import snapshots
from monitor.simulator.curves import step_message, step_metrics
from monitor.simulator.draws import derived
from monitor.simulator.job import Job
from monitor.simulator.plan import FOREVER, Mark, Run, Status

_MOST_STEPS = 2000
"""A longer training tells only every so many-th step."""
_POLICIES = ("harassment/threatening", "hate", "self-harm/instructions", "sexual/minors", "violence/graphic", "illicit")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at `at`; `key` tells it from the other events of its job."""

    key: str
    at: float
    message: str
    level: str = "info"
    type: str = "message"
    step: int | None = None
    snapshot: str | None = None


def events(job: Job, now: float) -> tuple[Event, ...]:
    """What has happened by `now`, oldest first."""
    told = timeline(job)
    return told[: bisect_right(told, now, key=lambda event: event.at)]


@lru_cache(maxsize=128)
def timeline(job: Job) -> tuple[Event, ...]:
    """Every event that is planned; kept since each poll asks again and a job never changes (an edit makes another)."""
    found = [event for run in job.plan.runs for event in _of_run(job, run)]
    found += [event for index, mark in enumerate(job.plan.marks) for event in _of_mark(job, mark, index)]
    return tuple(sorted(found, key=lambda event: event.at))


def event_id(job: Job, event: Event) -> str:
    """The same for the same event at every call, and after every edit of the plan."""
    return f"ftevent-{derived(24, job.id, event.key)}"


def event_json(job: Job, event: Event) -> dict[str, Any]:
    """An event as the API shows it."""
    return {
        "object": "fine_tuning.job.event",
        "id": event_id(job, event),
        "created_at": int(event.at),
        "level": event.level,
        "message": event.message,
        "data": _data(job, event),
        "type": event.type,
    }


def _data(job: Job, event: Event) -> dict[str, Any] | None:
    if event.step is not None:
        return step_metrics(job, event.step)
    if event.type == "moderation_checks":
        results = [{"category": policy, "flagged": False, "enforcement": "blocking"} for policy in _POLICIES]
        return {"blocked": False, "results": results, "finetuned_model_checkpoint_id": event.snapshot}
    return {}


def _of_mark(job: Job, mark: Mark, index: int) -> Iterator[Event]:
    key = f"{index}.{mark.status}"
    match mark.status:
        case Status.VALIDATING:
            files = f"training file: {job.spec.training_file}"
            files += f" and validation file: {job.spec.validation_file}" if job.spec.validation_file else ""
            yield Event(f"{key}.created", mark.at, f"Created fine-tuning job: {job.id}")
            yield Event(key, mark.at, f"Validating {files}")
        case Status.QUEUED:
            again = index > 1
            why = "Job resumed" if again else "Files validated"
            yield Event(key, mark.at, f"{why}, moving job to queued state")
        case Status.RUNNING:
            again = job.plan.runs[0].start < mark.at
            yield Event(key, mark.at, "Fine-tuning job resumed" if again else "Fine-tuning job started")
        case Status.PAUSED:
            yield Event(key, mark.at, "Fine-tuning job paused", level="warn")
        case Status.CANCELLED:
            yield Event(key, mark.at + 2, "Fine tuning process stopping due to job cancellation", level="warn")
        case Status.FAILED:
            reason = job.plan.fault.message if job.plan.fault else "The job failed due to an internal error."
            yield Event(key, mark.at + 1, reason, level="error")
        case Status.SUCCEEDED:
            yield from _farewell(job, mark)


def _farewell(job: Job, mark: Mark) -> Iterator[Event]:
    """What was made is told after `finished_at`: a burst, then a last word."""
    lag = job.plan.durations.announcement
    for step, name in snapshots(job)[:-1]:
        told = f"Checkpoint created at step {step} with Snapshot ID: {name}"
        yield Event(f"checkpoint.{step}", mark.at + lag / 4, told)
    yield Event("model", mark.at + lag / 4, f"New fine-tuned model created: {job.fine_tuned_model}")
    yield Event("completed", mark.at + lag, "The job has successfully completed")


def _of_run(job: Job, run: Run) -> Iterator[Event]:
    stride = -(-job.plan.total_steps // _MOST_STEPS)
    for step in range(run.first + 1, run.last + 1):
        if step % stride == 0 or step == job.plan.total_steps:
            message = step_message(job, step_metrics(job, step))
            yield Event(f"step.{step}", run.done_at(step), message, type="metrics", step=step)
    if run.last == job.plan.total_steps:
        until = next((mark.at for mark in job.plan.marks if mark.at > run.start), FOREVER)
        yield from (event for event in _checks(job, run) if event.at < until)


def _checks(job: Job, run: Run) -> Iterator[Event]:
    """The usage policies, while the job still runs."""
    model = job.fine_tuned_model
    asked = run.end + job.plan.durations.evaluation / 10
    answered = run.end + job.plan.durations.evaluation * 0.8
    key = f"{run.start}"
    passed = f"Moderation checks for snapshot {model} passed."
    yield Event(f"{key}.evaluating", asked, "Evaluating model against our usage policies before enabling")
    yield Event(f"{key}.moderation", answered, passed, type="moderation_checks", snapshot=model)
    yield Event(f"{key}.enabled", answered, "Usage policy evaluations completed, model is now enabled for sampling")
