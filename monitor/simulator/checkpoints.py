"""The snapshots that a training leaves: the last three epochs, or the best three of a reinforcement training."""

from __future__ import annotations

from typing import Any

from monitor.simulator.curves import checkpoint_metrics, epoch_ends, eval_steps, reward
from monitor.simulator.draws import derived
from monitor.simulator.job import Job
from monitor.simulator.plan import Status

_KEPT = 3


def snapshots(job: Job, last_step: int | None = None) -> list[tuple[int, str]]:
    """Steps and names of the snapshots kept after `last_step` (the whole training if None), in order of steps.

    The one made at the very end carries the name of the tuned model.
    """
    total = job.plan.total_steps
    made = sorted(step for step in _candidates(job) if step <= (total if last_step is None else last_step))
    if job.spec.method == "reinforcement":
        made = sorted(sorted(made, key=lambda step: reward(job, step))[-_KEPT:])
    model = job.fine_tuned_model
    return [(step, model if step == total else f"{model}:ckpt-step-{step}") for step in made[-_KEPT:]]


def listed(job: Job, now: float) -> list[tuple[int, str]]:
    """The snapshots that the API lists at `now`: none before the training is done or paused."""
    status = job.plan.status(now)
    if status not in (Status.SUCCEEDED, Status.PAUSED):
        return []
    return snapshots(job, job.plan.step(now))


def checkpoint_id(job: Job, step: int) -> str:
    """The same at every call."""
    return f"ftckpt_{derived(24, job.id, 'checkpoint', step)}"


def checkpoint_json(job: Job, step: int, name: str) -> dict[str, Any]:
    """A checkpoint as the API shows it; it was made when its step was done, minutes before the API tells of it."""
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": checkpoint_id(job, step),
        "created_at": int(_made_at(job, step)),
        "fine_tuned_model_checkpoint": name,
        "fine_tuning_job_id": job.id,
        "metrics": checkpoint_metrics(job, step),
        "step_number": step,
    }


def _candidates(job: Job) -> frozenset[int]:
    return eval_steps(job) if job.spec.method == "reinforcement" else epoch_ends(job)


def _made_at(job: Job, step: int) -> float:
    return next(run.done_at(step) for run in job.plan.runs if run.first < step <= run.last)
