"""How well a job learns: the numbers of each step, the same for metrics events, checkpoints and the file of results."""

from __future__ import annotations

import base64
import csv
import io
from math import exp
from typing import Any

from monitor.simulator.draws import noise
from monitor.simulator.job import Job

_EVERY = 10
"""Steps between two looks at a batch of the validation file."""


def epoch_ends(job: Job) -> frozenset[int]:
    """The last step of each epoch."""
    epochs = min(job.epochs, job.plan.total_steps)
    return frozenset(job.plan.total_steps * number // epochs for number in range(1, epochs + 1))


def eval_steps(job: Job) -> frozenset[int]:
    """The steps after which the whole validation file is tried: each epoch's last, or every few in reinforcement."""
    if job.spec.method != "reinforcement":
        return epoch_ends(job)
    interval = int(job.settled.get("eval_interval") or 5)
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
    """The metrics of the checkpoint made at `step`."""
    if job.spec.method == "reinforcement":
        return {"step": step, **_rewards(job, step)}
    return {key: value for key, value in step_metrics(job, step).items() if key != "total_steps"}


def step_message(job: Job, metrics: dict[str, Any]) -> str:
    """The sentence of a metrics event."""
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
    """The file of results: base64 of a CSV with one row per step, as newer jobs have it."""
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
    seconds = job.plan.durations.step * job.plan.durations.told
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
        "usage": {"graders": [], "samples": {"total": int(job.settled.get("batch_size") or 1)}},
        "errors": {"graders": []},
        "timing": {"step": {name: round(seconds * part, 1) for name, part in parts.items()}, "graders": []},
        "model_graders_token_usage": {},
    }
