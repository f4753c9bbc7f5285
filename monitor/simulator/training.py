"""What a training produces: metrics of each step, events, checkpoints, and the result file."""

from __future__ import annotations

import base64
import csv
import io
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import exp
from typing import Any

from monitor.simulator.draws import noise
from monitor.simulator.job import Job
from monitor.simulator.plan import FOREVER, Mark, Run, Status

_KEPT = 3
"""How many checkpoints are kept: of the last three epochs, or the best three of a reinforcement training."""
_MOST_STEPS = 2000
"""A longer training has an event only for every n-th step."""
_EVERY = 10
"""Steps between two evaluations of a batch of the validation file."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event at time `at`; `key` is unique among the events of its job."""

    key: str
    at: float
    message: str
    level: str = "info"
    type: str = "message"
    step: int | None = None
    snapshot: str | None = None


def events(job: Job, now: float) -> tuple[Event, ...]:
    """The events that have happened by `now`, oldest first."""
    planned = timeline(job)
    return planned[: bisect_right(planned, now, key=lambda event: event.at)]


@lru_cache(maxsize=128)
def timeline(job: Job) -> tuple[Event, ...]:
    """All planned events.

    Cached, since every poll needs them and a job object never changes (an edit creates another).
    """
    found = [event for run in job.plan.runs for event in _of_run(job, run)]
    found += [event for index, mark in enumerate(job.plan.marks) for event in _of_mark(job, mark, index)]
    return tuple(sorted(found, key=lambda event: event.at))


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
    """The events about the results, which follow after `finished_at`: several at once, then a last one."""
    lag = job.plan.durations.announcement
    for step, name in snapshots(job)[:-1]:
        message = f"Checkpoint created at step {step} with Snapshot ID: {name}"
        yield Event(f"checkpoint.{step}", mark.at + lag / 4, message)
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
    """The events of the usage policy checks, while the job is still running."""
    model = job.fine_tuned_model
    asked = run.end + job.plan.durations.evaluation / 10
    answered = run.end + job.plan.durations.evaluation * 0.8
    key = f"{run.start}"
    passed = f"Moderation checks for snapshot {model} passed."
    yield Event(f"{key}.evaluating", asked, "Evaluating model against our usage policies before enabling")
    yield Event(f"{key}.moderation", answered, passed, type="moderation_checks", snapshot=model)
    yield Event(f"{key}.enabled", answered, "Usage policy evaluations completed, model is now enabled for sampling")


def epoch_ends(job: Job) -> frozenset[int]:
    """The last step of each epoch."""
    epochs = min(job.epochs, job.plan.total_steps)
    return frozenset(job.plan.total_steps * number // epochs for number in range(1, epochs + 1))


def eval_steps(job: Job) -> frozenset[int]:
    """The steps with an evaluation of the whole validation file: the last of each epoch; in reinforcement every few."""
    if job.spec.method != "reinforcement":
        return epoch_ends(job)
    interval = int(job.resolved.get("eval_interval") or 5)
    return frozenset({*range(interval, job.plan.total_steps + 1, interval), job.plan.total_steps})


def step_metrics(job: Job, step: int) -> dict[str, Any]:
    """The `data` of a step's metrics event."""
    if job.spec.method == "reinforcement":
        total = {"step": step, "total_steps": job.plan.total_steps}
        return total | _rewards(job, step) | _reinforcement_details(job, step)
    loss = _loss(job, step, "train")
    metrics: dict[str, Any] = {"step": step, "train_loss": loss, "total_steps": job.plan.total_steps}
    metrics["train_mean_token_accuracy"] = _accuracy(loss)
    if job.spec.validation_file is None:
        return metrics
    if step % _EVERY == 0 or step == job.plan.total_steps:
        metrics["valid_loss"] = _loss(job, step, "valid")
        metrics["valid_mean_token_accuracy"] = _accuracy(metrics["valid_loss"])
    if step in epoch_ends(job):
        metrics["full_valid_loss"] = _loss(job, step, "full")
        metrics["full_valid_mean_token_accuracy"] = _accuracy(metrics["full_valid_loss"])
    return metrics


def checkpoint_metrics(job: Job, step: int) -> dict[str, Any]:
    """The metrics of the checkpoint at `step`."""
    if job.spec.method == "reinforcement":
        return {"step": step, **_rewards(job, step)}
    return {key: value for key, value in step_metrics(job, step).items() if key != "total_steps"}


def step_message(job: Job, metrics: dict[str, Any]) -> str:
    """The message of a metrics event."""
    step, total = metrics["step"], metrics["total_steps"]
    if job.spec.method == "reinforcement":
        words = f"Step {step}/{total} , train mean reward={metrics['train_mean_reward']:.2f}"
        if "full_valid_mean_reward" in metrics:
            words += f", full validation mean reward={metrics['full_valid_mean_reward']:.2f}"
            words += f", full validation mean parse error={metrics['full_valid_mean_parse_error']:.2f}"
        return words
    words = f"Step {step}/{total}: training loss={metrics['train_loss']:.2f}"
    for key, name in (("valid_loss", "validation loss"), ("full_valid_loss", "full validation loss")):
        words += f", {name}={metrics[key]:.2f}" if key in metrics else ""
    return words


def results(job: Job) -> bytes:
    """The content of the result file: base64 of a CSV with one row per step, as for newer jobs."""
    written = io.StringIO()
    columns = ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    if job.spec.method == "reinforcement":
        columns = ["step", "train_mean_reward", "full_valid_mean_reward"]
    rows = csv.DictWriter(written, columns, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    for step in range(1, job.plan.total_steps + 1):
        metrics = step_metrics(job, step)
        rows.writerow({**metrics, "train_accuracy": metrics.get("train_mean_token_accuracy")})
    return base64.b64encode(written.getvalue().encode())


def reward(job: Job, step: int) -> float:
    """The mean reward over the validation file after `step`."""
    grown = 1 - exp(-3 * step / job.plan.total_steps)
    return round(0.25 + 0.6 * grown + 0.06 * (noise(job.id, step, "reward") - 0.5), 4)


def _loss(job: Job, step: int, kind: str) -> float:
    floor = {"train": 0.05, "valid": 0.12, "full": 0.1}[kind] + 0.2 * noise(job.id, kind)
    first = 1.5 + noise(job.id, "first")
    wobble = 1 + 0.2 * (noise(job.id, step, kind) - 0.5)
    return round((floor + (first - floor) * exp(-4 * step / job.plan.total_steps)) * wobble, 5)


def _accuracy(loss: float) -> float:
    return round(exp(-loss / 2), 5)


def _rewards(job: Job, step: int) -> dict[str, Any]:
    found: dict[str, Any] = {"train_mean_reward": round(reward(job, step) - 0.04 * noise(job.id, step, "train"), 4)}
    if step in eval_steps(job):
        found["full_valid_mean_reward"] = reward(job, step)
        found["full_valid_mean_parse_error"] = round(0.05 * noise(job.id, step, "parse"), 4)
    return found


def _reinforcement_details(job: Job, step: int) -> dict[str, Any]:
    seconds = job.plan.durations.step * job.plan.durations.reported
    tokens = int(400 + 800 * noise(job.id, step, "tokens"))
    evaluated = step in eval_steps(job)
    parts = {"eval": 0.2 if evaluated else 0.0, "sampling": 0.5, "training": 0.25, "full_iteration": 1.0}
    mean = reward(job, step)
    return {
        "mean_unresponsive_rewards": 0.0,
        "reasoning_tokens_mean": tokens,
        "completion_tokens_mean": tokens + 120,
        "valid_reasoning_tokens_mean": tokens - 20 if evaluated else None,
        "scores": {"train_reward_mean": mean, "valid_reward_mean": mean if evaluated else None, "graders": []},
        "usage": {"graders": [], "samples": {"total": int(job.resolved.get("batch_size") or 1)}},
        "errors": {"graders": []},
        "timing": {"step": {name: round(seconds * part, 1) for name, part in parts.items()}, "graders": []},
        "model_graders_token_usage": {},
    }


def snapshots(job: Job, last_step: int | None = None) -> list[tuple[int, str]]:
    """The steps and names of the snapshots kept after `last_step` (None: the whole training), in order of steps.

    The snapshot of the last step has the name of the tuned model.
    """
    total = job.plan.total_steps
    made = sorted(step for step in _candidates(job) if step <= (total if last_step is None else last_step))
    if job.spec.method == "reinforcement":
        made = sorted(sorted(made, key=lambda step: reward(job, step))[-_KEPT:])
    model = job.fine_tuned_model
    return [(step, model if step == total else f"{model}:ckpt-step-{step}") for step in made[-_KEPT:]]


def listed(job: Job, now: float) -> list[tuple[int, str]]:
    """The snapshots that the API lists at `now`: none before the training has ended or is paused."""
    status = job.plan.status(now)
    if status not in (Status.SUCCEEDED, Status.PAUSED):
        return []
    return snapshots(job, job.plan.step(now))


def _candidates(job: Job) -> frozenset[int]:
    return eval_steps(job) if job.spec.method == "reinforcement" else epoch_ends(job)


def checkpoint_at(job: Job, step: int) -> float:
    """When the checkpoint of `step` was created, which is minutes before the API lists it."""
    return next(run.done_at(step) for run in job.plan.runs if run.first < step <= run.last)
