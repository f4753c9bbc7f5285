"""A simulated job: its parameters, its planned life, and the facts that a watcher should find out about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from monitor.simulator.dataset import MIN_EXAMPLES, Dataset
from monitor.simulator.draws import derived, dice, within
from monitor.simulator.models import Base, base_name, base_of
from monitor.simulator.orgs import Caller
from monitor.simulator.plan import Durations, Ending, Fault, Pace, Plan, Status, build_plan

AUTO = {
    "supervised": ("n_epochs", "batch_size", "learning_rate_multiplier"),
    "dpo": ("beta", "n_epochs", "batch_size", "learning_rate_multiplier"),
    "reinforcement": (
        "n_epochs",
        "batch_size",
        "learning_rate_multiplier",
        "eval_interval",
        "eval_samples",
        "compute_multiplier",
    ),
}
"""The training methods, with the hyperparameters that are "auto" unless the client sets them."""

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
class JobSpec:
    """The parameters of a job; `hyperparameters` has "auto" for each that the client left open."""

    training_file: str
    model: str
    method: str = "supervised"
    hyperparameters: Mapping[str, Any] = field(default_factory=lambda: dict.fromkeys(AUTO["supervised"], "auto"))
    method_extras: Mapping[str, Any] = field(default_factory=dict)
    validation_file: str | None = None
    suffix: str | None = None
    seed: int | None = None
    metadata: Mapping[str, str] | None = None
    integrations: tuple[Mapping[str, Any], ...] = ()
    ending: Ending = Ending.SUCCESS

    @property
    def base(self) -> Base:
        """The base model: the snapshot that is tuned, or the one that the tuned model came from."""
        base = base_of(self.model)
        if base is None:
            raise ValueError(f"{self.model} is tuned from no known base")
        return base

    @property
    def format(self) -> str:
        """The format that the training file must have."""
        if self.method != "supervised":
            return self.method
        return "chat" if self.base.chat else "completion"


@dataclass(frozen=True)
class Truth:
    """The facts of a job that ends undisturbed; None for what never happens."""

    status: Status
    created_at: int
    started_at: int | None
    finished_at: int | None
    trained_tokens: int | None


@dataclass(frozen=True, eq=False)
class Job:
    """A planned job. Compared by identity, also in caches: an edited job is another object with the same id."""

    id: str
    owner: Caller
    """The owner of the key that created it."""
    created_at: float
    spec: JobSpec
    dataset: Dataset
    resolved: Mapping[str, Any]
    """The hyperparameters with every "auto" replaced."""
    plan: Plan

    @property
    def fine_tuned_model(self) -> str:
        """The name of the resulting model in the provider's form."""
        org, base = self.owner.org, base_name(self.spec.model)
        suffix, made = slug(self.spec.suffix or ""), derived(8, self.id, "model")
        match org.provider:
            case "azure":
                return f"{base}.ft-{derived(32, self.id, 'model')}{'-' if suffix else ''}{suffix}"
            case "together":
                return f"{org.name}/{base.rpartition('/')[2]}-{suffix or 'ft'}-{made}"
            case "fireworks":
                return f"accounts/{org.id}/models/{suffix or 'ft'}-{made}"
            case "vertex" | "bedrock":
                return f"{suffix or 'tuned'}-{made}"
        return f"ft:{base}:{slug(org.name)}:{suffix}:{made}"

    @property
    def result_file(self) -> str:
        """The id of the result file."""
        return f"file-{derived(22, self.id, 'results')}"

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return int(self.resolved["n_epochs"])

    @property
    def trained_tokens(self) -> int:
        """The billable tokens of the training: the file's tokens × epochs."""
        return self.dataset.tokens * self.epochs

    @property
    def truth(self) -> Truth:
        """The facts that a watcher should have found out by the end."""
        status = self.plan.marks[-1].status
        return Truth(
            status=status,
            created_at=int(self.created_at),
            started_at=seconds(self.plan.started_at),
            finished_at=seconds(self.plan.finished_at),
            trained_tokens=self.trained_tokens if status is Status.SUCCEEDED else None,
        )

    def succeeded(self, now: float) -> bool:
        """Whether the tuned model exists at `now`."""
        return self.plan.status(now) is Status.SUCCEEDED


@dataclass(frozen=True)
class Files:
    """The datasets of the training file and the validation file."""

    training: Dataset
    validation: Dataset | None = None


def plan_job(job_id: str, caller: Caller, spec: JobSpec, *, files: Files, pace: Pace, at: float) -> Job:
    """Plan a job that is created at `at`. The same arguments give the same plan."""
    resolved = resolve_hyperparameters(spec, files.training)
    found = _fault(spec, files)
    plan = build_plan(
        at,
        durations=_durations(dice(job_id, "durations"), pace, spec.method, caller.org.provider),
        total_steps=pace.steps or _steps(files.training, resolved),
        ending=Ending.VALIDATION if found else spec.ending,
        fault=found or _FAULTS.get(spec.ending),
    )
    return Job(
        id=job_id,
        owner=caller,
        created_at=at,
        spec=spec,
        dataset=files.training,
        resolved=resolved,
        plan=plan,
    )


def resolve_hyperparameters(spec: JobSpec, dataset: Dataset) -> dict[str, Any]:
    """The hyperparameters with "auto" replaced. Epochs follow OpenAI's cookbook: 3, but more for small files."""
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


def _steps(dataset: Dataset, resolved: dict[str, Any]) -> int:
    """The number of steps. Each epoch ends with a smaller batch if the examples do not divide evenly."""
    return int(resolved["n_epochs"]) * max(1, -(-dataset.examples // int(resolved["batch_size"])))


def _durations(rng: Random, pace: Pace, method: str, provider: str) -> Durations:
    return Durations(
        validation=within(rng, pace.validation),
        queue=within(rng, pace.queue),
        step=within(rng, pace.reinforcement_step if method == "reinforcement" else pace.step),
        evaluation=within(rng, pace.evaluation),
        announcement=within(rng, pace.announcement),
        cancellation=0.0 if provider == "openai" else within(rng, pace.cancellation),
        silence=within(rng, pace.silence),
        reported=pace.reported,
        unpriced=pace.unpriced,
    )


def _fault(spec: JobSpec, files: Files) -> Fault | None:
    return _unfit(files.training, spec.format, "training") or (
        _unfit(files.validation, spec.format, "validation") if files.validation else None
    )


def _unfit(dataset: Dataset, form: str, which: str) -> Fault | None:
    """The fault that validation finds: a wrong format, or too few examples."""
    problems = dataset.problems.get(form, ())
    if problems:
        return Fault("invalid_file_format", f"Invalid file format. {'; '.join(problems)}", f"{which}_file")
    if which == "training" and dataset.examples < MIN_EXAMPLES:
        message = f"Training file has {dataset.examples} example(s), but must have at least {MIN_EXAMPLES} examples"
        return Fault("invalid_n_examples", message, "training_file")
    return None


def slug(text: str) -> str:
    """The text in the form that model names allow."""
    return re.sub(r"[^a-z0-9_.-]+", "-", text.lower()).strip("-")


def seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
