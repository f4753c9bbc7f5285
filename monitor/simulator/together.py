"""Together: one unpaged list of jobs, times as text, prices in nano-dollars, and events without ids.

Shapes and statuses are those of the `together` package (`together/types/fine_tuning_*.py`, `lib/types/fine_tuning.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from monitor.simulator.dialect import ApiCall, Dialect, Route, by_key, rfc3339
from monitor.simulator.draws import derived, noise
from monitor.simulator.errors import ApiError
from monitor.simulator.job import Job
from monitor.simulator.orgs import Org
from monitor.simulator.plan import Ending, Mark, Plan, Status
from monitor.simulator.training import epoch_ends, snapshots, step_metrics

_NANODOLLARS_PER_TOKEN = {"supervised": 480, "dpo": 1200}
_LEVELS = {
    "info": ("info", "Info", "legacy_info"),
    "warning": ("warning", "Warning", "legacy_iwarning"),
    "error": ("error", "Error", "legacy_ierror"),
}
"""The spellings of a level, one per age of job. Event types are in capitals or not for the same reason."""
_UNLIKE = {"MODEL_COMPRESSING": "COMPRESSING_MODEL"}
_BALANCE = "The job was cancelled automatically: the balance of your account does not cover it."

_OF_STATUS = {
    Status.VALIDATING: (("JOB_PENDING", "info", "Fine-tune request created"),),
    Status.RUNNING: (
        ("JOB_START", "info", "Job started"),
        ("TRAINING_DATA_DOWNLOADING", "info", "Downloading training data"),
    ),
    Status.PAUSED: (("JOB_STOPPED", "warning", "Job stopped"),),
    Status.CANCELLING: (("CANCEL_REQUESTED", "warning", _BALANCE),),
    Status.CANCELLED: (("JOB_STOPPED", "warning", _BALANCE),),
}
"""Type, level and message of the events at the beginning of a status, where they are always the same."""


moment = partial(rfc3339, digits=3)


def stages(plan: Plan) -> Iterator[tuple[float, str]]:
    """The statuses of a job's whole life with their start times. Training is followed by compressing and uploading."""
    for mark in plan.marks:
        match mark.status:
            case Status.VALIDATING:
                yield mark.at, "pending"
            case Status.RUNNING:
                yield mark.at, "running"
            case Status.CANCELLING:
                yield mark.at, "cancel_requested"
            case Status.SUCCEEDED:
                trained = plan.trained_at or mark.at
                yield trained, "compressing"
                yield trained + (mark.at - trained) / 3, "uploading"
                yield mark.at, "completed"
            case Status.FAILED:
                yield mark.at, "error" if plan.ending is Ending.SERVER_ERROR else "user_error"
            case other:
                yield mark.at, other.value


def stage(job: Job, now: float) -> tuple[float, str]:
    """The status at `now` and its start time."""
    return [each for each in stages(job.plan) if each[0] <= now][-1]


def job_json(job: Job, now: float, *, whole: bool) -> dict[str, Any]:
    """A job as the list has it or, if `whole`, as GET has it."""
    began, status = stage(job, now)
    dpo = job.spec.method == "dpo"
    shown: dict[str, Any] = {
        "id": job.id,
        "status": status,
        "user_id": derived(24, job.owner.org.id, "user"),
        "created_at": moment(job.created_at),
        "updated_at": moment(_happened(job, now)[-1][0]),
        "started_at": None if status in ("pending", "queued") else moment(began),
        "model": job.spec.model,
        "model_output_name": job.fine_tuned_model,
        "suffix": job.spec.suffix,
        "training_file": job.spec.training_file,
        "validation_file": job.spec.validation_file or "",
        "n_epochs": job.epochs,
        "n_evals": 0,
        "n_checkpoints": 1,
        "batch_size": int(job.resolved["batch_size"]),
        "learning_rate": 1e-5,
        "lr_scheduler": {"lr_scheduler_type": "cosine", "lr_scheduler_args": {"min_lr_ratio": 0.1, "num_cycles": 0.5}},
        "training_method": {"method": "dpo", "dpo_beta": 0.1} if dpo else {"method": "sft", "train_on_inputs": "auto"},
        "training_type": {"type": "Lora", "lora_r": 64, "lora_alpha": 128, "lora_trainable_modules": "all-linear"},
        "progress": _progress(job, began, status),
        "events": [],
        **_amounts(job, now),
        **_early_stop(job, status),
    }
    return shown | _alone(job, now) if whole else shown


def events(job: Job, now: float) -> Iterator[dict[str, Any]]:
    """The events that have happened by `now`, oldest first."""
    return (_event(job, *happening) for happening in _happened(job, now))


_Happening = tuple[float, str, str, str, dict[str, Any]]


@lru_cache(maxsize=1024)
def _timeline(job: Job) -> tuple[_Happening, ...]:
    """All planned events in order; cached as in `training.timeline`."""
    return tuple(sorted(_happenings(job), key=lambda each: each[0]))


def _happened(job: Job, now: float) -> tuple[_Happening, ...]:
    planned = _timeline(job)
    return planned[: bisect_right(planned, now, key=lambda each: each[0])]


def _happenings(job: Job) -> Iterator[_Happening]:
    """Time, type, level, message and further fields of all planned events."""
    plan = job.plan
    for mark in plan.marks:
        yield from _of_mark(job, mark)
    for run in plan.runs:
        for step in sorted(epoch_ends(job)):
            if run.first < step <= run.last:
                epoch = sorted(epoch_ends(job)).index(step) + 1
                total = {"step": step, "total_steps": plan.total_steps}
                yield (
                    run.done_at(step),
                    "EPOCH_COMPLETE",
                    "info",
                    f"Epoch completed, at step {step}, epoch {epoch}",
                    total,
                )
        for step, name in snapshots(job, run.last):
            if run.first < step <= run.last:
                path = {"checkpoint_path": f"s3://together-dev/finetune/{job.id}/{name}", "step": step}
                yield run.done_at(step), "CHECKPOINT_SAVE", "info", f"Checkpoint saved at step {step}", path


def _of_mark(job: Job, mark: Mark) -> Iterator[_Happening]:
    at, plan = mark.at, job.plan
    for kind, level, message in _OF_STATUS.get(mark.status, ()):
        yield at, kind, level, message, {}
    if mark.status is Status.RUNNING:
        counted = {"token_count": job.dataset.tokens}
        yield at, "TRAINING_DATA_DOWNLOAD_COMPLETE", "info", "Training data downloaded", counted
        yield at, "TRAINING_START", "info", "Training started", {"total_steps": plan.total_steps}
    elif mark.status is Status.FAILED and plan.ending is Ending.SERVER_ERROR:
        yield at, "JOB_ERROR", "error", "Job failed due to an internal error. We will refund it.", {}
        yield at, "REFUND", "info", "The price of the job was refunded", {}
    elif mark.status is Status.FAILED:
        yield at, "JOB_USER_ERROR", "error", plan.fault.message if plan.fault else "Invalid training file", {}
    elif mark.status is Status.SUCCEEDED:
        yield from _of_success(job, plan.trained_at or at, at)


def _of_success(job: Job, trained: float, ended: float) -> Iterator[_Happening]:
    uploading = trained + (ended - trained) / 3
    yield trained, "TRAINING_COMPLETE", "info", "Training completed", {}
    yield trained, "MODEL_COMPRESSING", "info", "Compressing output model", {}
    yield uploading, "MODEL_COMPRESSION_COMPLETE", "info", "Model compression complete", {}
    yield uploading, "MODEL_UPLOADING", "info", "Uploading output model", {}
    yield ended, "MODEL_UPLOAD_COMPLETE", "info", "Model upload complete", {"model_path": job.fine_tuned_model}
    yield ended, "JOB_COMPLETE", "info", "Job finished", {}


def _event(job: Job, at: float, kind: str, level: str, message: str, more: Mapping[str, Any]) -> dict[str, Any]:
    age = int(noise(job.id, "spelling") * 3)
    return {
        "object": "fine-tune-event",
        "created_at": moment(at),
        "level": _LEVELS[level][age],
        "message": message,
        "type": _UNLIKE.get(kind, kind) if age == 1 else kind.lower(),
        "param_count": 0,
        "token_count": 0,
        "checkpoint_path": "",
        "model_path": "",
        "wandb_url": "",
        "step": 0,
        "total_steps": 0,
        "hash": derived(16, at, kind, message),
        **more,
    }


def _progress(job: Job, began: float, status: str) -> dict[str, Any]:
    """The duration of the current stage, counted from its start: a constant, and not the remaining time."""
    following = next((at for at, _ in stages(job.plan) if at > began), None)
    known = status in ("running", "compressing", "uploading") and following is not None
    return {"estimate_available": known, "seconds_remaining": int(following - began) if known and following else 0}


def _amounts(job: Job, now: float) -> dict[str, Any]:
    """Tokens and price, which are missing before the start, and on some jobs always."""
    started = job.plan.started_at
    if started is None or now < started or noise(job.id, "price") < job.plan.durations.unpriced:
        return {}
    done = job.plan.step(now) if job.plan.marks[-1].status is Status.CANCELLED else job.plan.total_steps
    refunded = stage(job, now)[1] == "error"
    tokens = job.trained_tokens * done // job.plan.total_steps
    price = 0 if refunded else tokens * _NANODOLLARS_PER_TOKEN[job.spec.method]
    return {"token_count": tokens, "total_price": price}


def _early_stop(job: Job, status: str) -> dict[str, Any]:
    if status != "completed" or noise(job.id, "early") >= 0.15:
        return {}
    step = job.plan.total_steps
    best = step_metrics(job, step).get("full_valid_loss")
    return {"early_stopped": True, "early_stopping_best_step": step, "early_stopping_best_metric": best}


def _alone(job: Job, now: float) -> dict[str, Any]:
    emitted = list(events(job, now))
    done = stage(job, now)[1] == "completed"
    name = f"{job.owner.org.name}/{job.fine_tuned_model.rpartition('/')[2]}"
    return {
        "job_id": derived(12, job.id, "job"),
        "events": emitted,
        "epochs_completed": sum(each["type"].lower() == "epoch_complete" for each in emitted),
        "param_count": 8_030_261_248,
        "queue_depth": 0,
        "trainingfile_numlines": job.dataset.examples,
        "wandb_url": "",
        **({"model_object_name": name, "adapter_object_name": f"{name}-adapter"} if done else {}),
    }


def list_jobs(call: ApiCall) -> dict[str, Any]:
    """All jobs at once. The order is undocumented; here it is by id."""
    jobs = sorted(call.simulation.jobs(call.org), key=lambda job: job.id)
    return {"data": [job_json(job, call.now, whole=False) for job in jobs]}


def retrieve(call: ApiCall) -> dict[str, Any]:
    return job_json(_job(call), call.now, whole=True)


def list_events(call: ApiCall) -> dict[str, Any]:
    return {"data": list(events(_job(call), call.now))}


def list_checkpoints(call: ApiCall) -> dict[str, Any]:
    job = _job(call)
    kept = snapshots(job, job.plan.step(call.now))
    return {
        "data": [
            {
                "checkpoint_type": "Final" if step == job.plan.total_steps else "Intermediate",
                "created_at": moment(next(run.done_at(step) for run in job.plan.runs if run.first < step <= run.last)),
                "path": f"s3://together-dev/finetune/{job.id}/{name}",
                "step": step,
            }
            for step, name in kept
        ]
    }


def list_metrics(call: ApiCall) -> dict[str, Any]:
    """The metrics of a training by step. Their names are not documented, so these are a guess."""
    job = _job(call)
    first = int(call.query.get("global_step_from", "1"))
    last = min(int(call.query.get("global_step_to", str(job.plan.total_steps))), job.plan.step(call.now))
    return {"metrics": [_metric(job, step) for step in range(max(1, first), last + 1)]}


def _metric(job: Job, step: int) -> dict[str, Any]:
    names = {"train_loss": "train/loss", "full_valid_loss": "eval/loss"}
    measured = {name: value for key, name in names.items() if (value := step_metrics(job, step).get(key)) is not None}
    return {"global_step": step, **measured}


def cancel(call: ApiCall) -> dict[str, Any]:
    return job_json(call.simulation.cancel(call.org, call.params["job"]), call.now, whole=False)


def _job(call: ApiCall) -> Job:
    return call.simulation.job(call.org, call.params["job"])


def error_response(error: ApiError) -> tuple[Any, Mapping[str, str]]:
    """OpenAI's error body with Together's message."""
    message = "Invalid API key provided" if error.status == 401 else error.message
    return {"error": {"message": message, "type": error.type, "param": error.param, "code": error.code}}, {}


def _configuration(org: Org, address: str, _folder: Path) -> dict[str, Any]:
    return {"base_url": f"{address}/together/v1", "api_key": org.key}


TOGETHER = Dialect(
    provider="together",
    prefix="/together/v1",
    routes=(
        Route("GET", "/fine-tunes", list_jobs),
        Route("GET", "/fine-tunes/{job}", retrieve),
        Route("GET", "/fine-tunes/{job}/events", list_events),
        Route("GET", "/fine-tunes/{job}/checkpoints", list_checkpoints),
        Route("GET", "/fine-tunes/{job}/metrics", list_metrics),
        Route("POST", "/fine-tunes/{job}/cancel", cancel),
    ),
    authenticate=by_key,
    error_response=error_response,
    configuration=_configuration,
)
