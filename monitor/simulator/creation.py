"""From what was asked to a job with a plan: the "auto" numbers, the steps, the faults, and how long it all takes."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from monitor.simulator.draws import dice, within
from monitor.simulator.job import Job
from monitor.simulator.orgs import Caller
from monitor.simulator.plan import Durations, Fault, Pace, lay_out
from monitor.simulator.spec import Ending, JobSpec
from monitor.simulator.training import MIN_EXAMPLES, Dataset

_FAULTS = {
    Ending.SERVER_ERROR: Fault("server_error", "The job failed due to an internal error."),
    Ending.MODERATION: Fault(
        "unsafe_file",
        "The job failed due to an unsafe training file. This training file was blocked because too many examples were "
        "flagged by our moderation API for containing content that violates OpenAI's usage policies. Use the free "
        "OpenAI Moderation API to identify these examples and remove them from your training data.",
        "training_file",
    ),
    Ending.VALIDATION: Fault(
        "invalid_file_format",
        'Invalid file format. Example 17, message 2: missing or unknown "role"; '
        "Example 41: at least one message must be from the assistant",
        "training_file",
    ),
}


@dataclass(frozen=True)
class Files:
    """What the training file and the validation file hold."""

    training: Dataset
    validation: Dataset | None = None


def plan_job(job_id: str, caller: Caller, spec: JobSpec, *, files: Files, pace: Pace, at: float) -> Job:
    """The job that starts its life at `at`; the same arguments give the same life."""
    settled = settle(spec, files.training)
    found = _fault(spec, files)
    plan = lay_out(
        at,
        durations=_durations(dice(job_id, "durations"), pace, spec.method),
        total_steps=pace.steps or _steps(files.training, settled),
        ending=Ending.VALIDATION if found else spec.ending,
        fault=found or _FAULTS.get(spec.ending),
    )
    return Job(
        id=job_id,
        org_id=caller.org.id,
        org_name=caller.org.name,
        project_id=caller.project.id,
        created_at=at,
        spec=spec,
        dataset=files.training,
        settled=settled,
        plan=plan,
    )


def settle(spec: JobSpec, dataset: Dataset) -> dict[str, Any]:
    """The hyperparameters with "auto" replaced; epochs as OpenAI's cookbook guesses them: 3, more for a small file."""
    examples = max(1, dataset.examples)
    reinforcement = spec.method == "reinforcement"
    chosen = {
        "n_epochs": _epochs(examples),
        "batch_size": max(1, min(64, examples // 10)) if reinforcement else max(1, min(256, round(examples * 0.002))),
        "learning_rate_multiplier": spec.base.multiplier,
        "beta": 0.1,
        "eval_interval": 5,
        "eval_samples": 2,
        "compute_multiplier": 1.0,
    }
    return {key: chosen[key] if value == "auto" else value for key, value in spec.hyperparameters.items()}


def _epochs(examples: int) -> int:
    if examples * 3 < 100:
        return min(25, 100 // examples)
    return max(1, 25000 // examples) if examples * 3 > 25000 else 3


def _steps(dataset: Dataset, settled: dict[str, Any]) -> int:
    """Each epoch ends with a batch of what is left."""
    return int(settled["n_epochs"]) * max(1, -(-dataset.examples // int(settled["batch_size"])))


def _durations(rng: Random, pace: Pace, method: str) -> Durations:
    return Durations(
        validation=within(rng, pace.validation),
        queue=within(rng, pace.queue),
        step=within(rng, pace.reinforcement_step if method == "reinforcement" else pace.step),
        evaluation=within(rng, pace.evaluation),
        announcement=within(rng, pace.announcement),
        told=pace.told,
    )


def _fault(spec: JobSpec, files: Files) -> Fault | None:
    return _unfit(files.training, spec.format, "training") or (
        _unfit(files.validation, spec.format, "validation") if files.validation else None
    )


def _unfit(dataset: Dataset, form: str, which: str) -> Fault | None:
    """What validation finds: a wrong format, or too few examples to train on."""
    problems = dataset.problems.get(form, ())
    if problems:
        return Fault("invalid_file_format", f"Invalid file format. {'; '.join(problems)}", f"{which}_file")
    if which == "training" and dataset.examples < MIN_EXAMPLES:
        message = f"Training file has {dataset.examples} example(s), but must have at least {MIN_EXAMPLES} examples"
        return Fault("invalid_n_examples", message, "training_file")
    return None
