"""Fireworks: one list of jobs per training method below an account, with different fields each.

Shapes and states are those of the `fireworks-ai` package (`fireworks/types/*_job.py`); lists are paged as in Google's
AIP-158 and ordered as in AIP-132.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from monitor.simulator import errors
from monitor.simulator.dialect import ApiCall, Dialect, Route, by_key, rfc3339, token_page
from monitor.simulator.draws import derived, noise
from monitor.simulator.errors import ApiError
from monitor.simulator.job import Job
from monitor.simulator.orgs import Org
from monitor.simulator.plan import TERMINAL, Ending, Mark, Status

LISTS = {
    "supervised": "supervisedFineTuningJobs",
    "dpo": "dpoJobs",
    "reinforcement": "reinforcementFineTuningJobs",
}
"""The collection of each method's jobs."""
_GRPC = {400: 3, 401: 16, 403: 7, 404: 5, 429: 8}
"""The number of the gRPC status for each HTTP status."""
_NANODOLLARS_PER_TOKEN = 500
_STATES = {
    Status.QUEUED: "PENDING",
    Status.PAUSED: "PAUSED",
    Status.CANCELLING: "CANCELLING",
    Status.CANCELLED: "CANCELLED",
    Status.FAILED: "FAILED",
}
_ORDERS: dict[str, Callable[[Job], Any]] = {"name": lambda job: job.id, "create_time": lambda job: job.created_at}
_FILTER = re.compile(r'\s*state\s*=\s*"?(JOB_STATE_[A-Z_]+)"?\s*')
_time = partial(rfc3339, digits=6)


def state(job: Job, now: float) -> str:
    """The job's state, without the prefix `JOB_STATE_`."""
    status = job.plan.status(now)
    passed = [mark for mark in job.plan.marks if mark.at <= now]
    match status:
        case Status.VALIDATING:
            return "CREATING" if now < job.created_at + job.plan.durations.validation / 4 else "VALIDATING"
        case Status.QUEUED if len(passed) > 2:
            return "RE_QUEUEING"
        case Status.RUNNING:
            return "WRITING_RESULTS" if job.plan.trained_at is not None and now >= job.plan.trained_at else "RUNNING"
        case Status.SUCCEEDED:
            return "EARLY_STOPPED" if noise(job.id, "early") < 0.15 else "COMPLETED"
    return _STATES[status]


def job_json(job: Job, now: float) -> dict[str, Any]:
    """A job as its list and GET have it."""
    account = f"accounts/{job.owner.org.id}"
    last = [mark for mark in job.plan.marks if mark.at <= now][-1]
    shown: dict[str, Any] = {
        "name": f"{account}/{LISTS[job.spec.method]}/{job.id}",
        "displayName": job.spec.suffix or "",
        "createTime": _time(job.created_at),
        "createdBy": f"someone@{job.owner.org.name}.example",
        "dataset": f"{account}/datasets/{job.spec.training_file}",
        "evaluationDataset": f"{account}/datasets/{job.spec.validation_file}" if job.spec.validation_file else "",
        "state": f"JOB_STATE_{state(job, now)}",
        "status": _status(job, last),
        "wandbConfig": _wandb(job),
    }
    if last.status in TERMINAL:
        shown["completedTime"] = _time(last.at)
    return shown | _OWN[job.spec.method](job, now)


def _status(job: Job, last: Mark) -> dict[str, str]:
    """The job's gRPC status, which is OK for a healthy job."""
    match last.status:
        case Status.FAILED if job.plan.ending is Ending.SERVER_ERROR:
            return {"code": "INTERNAL", "message": "The trainer failed. Please contact support."}
        case Status.FAILED:
            return {"code": "INVALID_ARGUMENT", "message": job.plan.fault.message if job.plan.fault else ""}
        case Status.CANCELLED:
            return {"code": "CANCELLED", "message": ""}
        case Status.PAUSED:
            return {"code": "FAILED_PRECONDITION", "message": "The account is suspended."}
    return {"code": "OK", "message": ""}


def _wandb(job: Job) -> dict[str, Any]:
    """The job's Weights & Biases settings, with the user's own key, which the API returns to whoever lists the jobs."""
    if noise(job.id, "wandb") < 0.5:
        return {"enabled": False, "apiKey": "", "project": "", "entity": "", "runId": "", "url": ""}
    names = {"project": "tuning", "entity": job.owner.org.name, "runId": derived(8, job.id, "run")}
    url = f"https://wandb.ai/{names['entity']}/{names['project']}/runs/{names['runId']}"
    return {"enabled": True, "apiKey": derived(40, job.owner.org.id, "wandb"), **names, "url": url}


def _settings(job: Job) -> dict[str, Any]:
    output = job.fine_tuned_model
    return {
        "baseModel": job.spec.model,
        "outputModel": output,
        "epochs": job.epochs,
        "learningRate": 1e-4,
        "loraRank": 8,
    }


def _progress(job: Job, now: float) -> dict[str, Any]:
    """The progress in proto3's JSON, which leaves zeros out."""
    step, total = job.plan.step(now), job.plan.total_steps
    reported = {
        "percent": step * 100 // total,
        "epoch": min(step * job.epochs // total, job.epochs - 1),
        "inputTokens": job.trained_tokens * step // total,
    }
    return {"jobProgress": {name: value for name, value in reported.items() if value}}


def _supervised(job: Job, now: float) -> dict[str, Any]:
    units, nanos = divmod(job.trained_tokens * _NANODOLLARS_PER_TOKEN, 10**9)
    cost: dict[str, Any] = {"currencyCode": "USD"}
    if units:
        cost["units"] = str(units)
    if nanos:
        cost["nanos"] = nanos
    updated = max(mark.at for mark in job.plan.marks if mark.at <= now)
    for run in job.plan.runs:
        if run.start <= now:
            updated = max(updated, run.done_at(run.steps_by(now)))
    return {**_settings(job), **_progress(job, now), "estimatedCost": cost, "updateTime": _time(updated)}


def _dpo(job: Job, _now: float) -> dict[str, Any]:
    return {"trainingConfig": _settings(job), "lossConfig": {"method": "DPO"}}


def _reinforcement(job: Job, now: float) -> dict[str, Any]:
    evaluator = f"accounts/{job.owner.org.id}/evaluators/exact-answer"
    shown = {"trainingConfig": _settings(job), "evaluator": evaluator, **_progress(job, now)}
    if job.plan.status(now) in TERMINAL:
        worked = sum((run.steps_by(now) - run.first) * run.seconds for run in job.plan.runs)
        shown["acceleratorSeconds"] = {"NVIDIA_H100_80GB": str(int(worked * 8))}
    return shown


_OWN = {"supervised": _supervised, "dpo": _dpo, "reinforcement": _reinforcement}
"""The fields that only the jobs of one method have. Only supervised jobs have a cost estimate and an update time."""


def _list(method: str, call: ApiCall) -> dict[str, Any]:
    jobs = [job for job in _own(call) if job.spec.method == method]
    wanted = call.query.get("filter")
    if wanted:
        found = _FILTER.fullmatch(wanted)
        if found is None:
            raise errors.bad("filter", f"invalid filter: {wanted}")
        jobs = [job for job in jobs if f"JOB_STATE_{state(job, call.now)}" == found[1]]
    shown, following = token_page(_ordered(jobs, call), call, size="pageSize", after="pageToken", most=200, default=50)
    return {
        LISTS[method]: [job_json(job, call.now) for job in shown],
        "nextPageToken": following or "",
        "totalSize": len(jobs),
    }


def _ordered(jobs: Sequence[Job], call: ApiCall) -> list[Job]:
    """The jobs in the requested order; by default by name, so that the first page need not contain the newest jobs."""
    field, _, direction = call.query.get("orderBy", "name").partition(" ")
    key = _ORDERS.get(re.sub(r"([A-Z])", r"_\1", field).lower())
    if key is None or direction.strip() not in ("", "asc", "desc"):
        raise errors.bad("orderBy", f"invalid order_by: {call.query['orderBy']}")
    return sorted(jobs, key=key, reverse=direction.strip() == "desc")


def _get(method: str, call: ApiCall) -> dict[str, Any]:
    found = next((job for job in _own(call) if (job.id, job.spec.method) == (call.params["job"], method)), None)
    if found is None:
        raise errors.ApiError(404, f"{LISTS[method]} {call.params['job']} not found")
    return job_json(found, call.now)


def _cancel(method: str, call: ApiCall) -> dict[str, Any]:
    _get(method, call)
    call.simulation.cancel(call.org, call.params["job"], method)
    return {}


def _own(call: ApiCall) -> tuple[Job, ...]:
    """The jobs of the account in the path. Raises ApiError 403 for another account than the caller's."""
    if call.params["account"] != call.org.id:
        raise ApiError(403, f"permission denied for account {call.params['account']}")
    return call.simulation.jobs(call.org)


def error_response(error: ApiError) -> tuple[Any, Mapping[str, str]]:
    """A gRPC status as grpc-gateway encodes it."""
    message = "invalid API key" if error.status == 401 else error.message
    return {"code": _GRPC.get(error.status, 2), "message": message, "details": []}, {}


def _routes() -> list[Route]:
    found = []
    for method, collection in LISTS.items():
        path = f"/accounts/{{account}}/{collection}"
        found += [
            Route("GET", path, partial(_list, method)),
            Route("GET", path + "/{job}", partial(_get, method)),
            Route("POST", path + "/{job}:cancel", partial(_cancel, method)),
        ]
    return found


def _configuration(org: Org, address: str, _folder: Path) -> dict[str, Any]:
    return {"base_url": f"{address}/fireworks/v1", "account": org.id, "api_key": org.key}


FIREWORKS = Dialect(
    provider="fireworks",
    prefix="/fireworks/v1",
    routes=tuple(_routes()),
    authenticate=by_key,
    error_response=error_response,
    configuration=_configuration,
)
