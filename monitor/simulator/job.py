"""A simulated job: what was asked, what the file weighs, its plan, and what the API shows of it at any moment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.simulator.draws import derived, noise
from monitor.simulator.plan import TERMINAL, Fault, Plan, Status
from monitor.simulator.spec import Ending, JobSpec
from monitor.simulator.training import Dataset


@dataclass(frozen=True)
class Truth:
    """What will have been the case when a job is over, if nobody touches it; None for what never happens."""

    status: Status
    created_at: int
    started_at: int | None
    finished_at: int | None
    trained_tokens: int | None


@dataclass(frozen=True, eq=False)
class Job:
    """Compared and cached by identity: an edited job is another object with the same id."""

    id: str
    org_id: str
    org_name: str
    project_id: str
    created_at: float
    spec: JobSpec
    dataset: Dataset
    settled: Mapping[str, Any]
    """The hyperparameters with every "auto" decided."""
    plan: Plan

    @property
    def fine_tuned_model(self) -> str:
        """The name that the tuned model will have."""
        base = self.spec.model.split(":")[1] if self.spec.model.startswith("ft:") else self.spec.model
        return f"ft:{base}:{slug(self.org_name)}:{slug(self.spec.suffix or '')}:{derived(8, self.id, 'model')}"

    @property
    def result_file(self) -> str:
        """The id that the file of results will have."""
        return f"file-{derived(22, self.id, 'results')}"

    @property
    def epochs(self) -> int:
        """Passes over the training file."""
        return int(self.settled["n_epochs"])

    @property
    def trained_tokens(self) -> int:
        """Billable tokens of the whole training: the file's tokens times the epochs."""
        return self.dataset.tokens * self.epochs

    @property
    def truth(self) -> Truth:
        """What a watcher should have found out by the end."""
        status = self.plan.marks[-1].status
        return Truth(
            status=status,
            created_at=int(self.created_at),
            started_at=_seconds(self.plan.started_at),
            finished_at=_seconds(self.plan.finished_at),
            trained_tokens=self.trained_tokens if status is Status.SUCCEEDED else None,
        )

    def succeeded(self, now: float) -> bool:
        """Whether the tuned model exists at `now`."""
        return self.plan.status(now) is Status.SUCCEEDED


def slug(text: str) -> str:
    """`text` as it may stand in a model's name."""
    return re.sub(r"[^a-z0-9_.-]+", "-", text.lower()).strip("-")


def view(job: Job, now: float) -> dict[str, Any]:
    """The job as the API shows it at `now`."""
    status = job.plan.status(now)
    succeeded = status is Status.SUCCEEDED
    spec = job.spec
    hyperparameters = _hyperparameters(job, now)
    shown: dict[str, Any] = {
        "object": "fine_tuning.job",
        "id": job.id,
        "model": spec.model,
        "created_at": int(job.created_at),
        "finished_at": _seconds(job.plan.finished_at) if status in TERMINAL else None,
        "fine_tuned_model": job.fine_tuned_model if succeeded else None,
        "organization_id": job.org_id,
        "result_files": [job.result_file] if succeeded else [],
        "status": status.value,
        "validation_file": spec.validation_file,
        "training_file": spec.training_file,
        "trained_tokens": job.trained_tokens if succeeded else None,
        "error": _error(job, status),
        "user_provided_suffix": spec.suffix,
        "seed": spec.seed if spec.seed is not None else int(noise(job.id, "seed") * 2**31),
        "estimated_finish": _estimated_finish(job, status),
        "integrations": list(spec.integrations),
        "method": {"type": spec.method, spec.method: {"hyperparameters": hyperparameters, **spec.method_extras}},
        "metadata": dict(spec.metadata) if spec.metadata is not None else None,
        "usage_metrics": None,
        "shared_with_openai": False,
    }
    if spec.method != "reinforcement":
        shown["hyperparameters"] = hyperparameters if spec.method == "supervised" else None
    return shown


def _hyperparameters(job: Job, now: float) -> dict[str, Any]:
    """As asked until the files are validated, and then as settled; never settled where validation failed."""
    validated = any(mark.status is Status.QUEUED and mark.at <= now for mark in job.plan.marks)
    return dict(job.settled if validated else job.spec.hyperparameters)


def _error(job: Job, status: Status) -> dict[str, Any]:
    """A healthy job has an error too: an empty one, in one of the two spellings that the API uses."""
    if status is Status.FAILED and job.plan.fault is not None:
        return fault_json(job.plan.fault)
    if job.spec.method == "reinforcement" or noise(job.id, "error") < 0.3:
        return {}
    return {"code": None, "message": None, "param": None}


def fault_json(fault: Fault) -> dict[str, Any]:
    """A job's `error`."""
    return {"code": fault.code, "message": fault.message, "param": fault.param}


def _estimated_finish(job: Job, status: Status) -> int | None:
    """Null for most jobs, 0 for some, and for the rest a guess while they run."""
    drawn = noise(job.id, "estimate")
    if drawn < 0.5:
        return None
    if drawn < 0.7 or status is not Status.RUNNING:
        return 0
    planned = job.plan.ended_at if job.plan.ending is Ending.SUCCESS else None
    return int(planned or job.plan.runs[-1].done_at(job.plan.total_steps)) + 60


def _seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
