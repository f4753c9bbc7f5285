"""Google's Vertex AI: the tuning jobs of a project in its locations, in proto3's JSON.

In that JSON, 64-bit integers are text, empty and zero values are left out (an empty list is `{}`), and times have nine
fractional digits. Shapes and states are those of the `google-genai` package (`google/genai/types.py`).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from monitor.simulator import errors
from monitor.simulator.dialect import ApiCall, Dialect, Route, by_key, rfc3339, token_page
from monitor.simulator.draws import derived, noise
from monitor.simulator.errors import ApiError
from monitor.simulator.job import Job
from monitor.simulator.orgs import Org
from monitor.simulator.plan import TERMINAL, Ending, Status

LOCATIONS = ("us-central1", "europe-west4")
"""The locations of every project; each job is in one of them."""
_STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_FILTER = re.compile(r'\s*state\s*=\s*"?(JOB_STATE_[A-Z_]+)"?\s*')
_moment = partial(rfc3339, digits=9)


def location(job: Job) -> str:
    """The job's location."""
    return LOCATIONS[int(noise(job.id, "location") * len(LOCATIONS))]


def started_at(job: Job) -> float:
    """When the job becomes `RUNNING`: long before the training, with the processing of the dataset."""
    return job.created_at + job.plan.durations.validation / 3


def states(job: Job, now: float) -> tuple[str, str | None]:
    """State and detailed state without prefixes. A job that waits for capacity is `RUNNING`."""
    waited = "WAITING_FOR_QUOTA" if noise(job.id, "quota") < 0.3 else None
    match job.plan.status(now):
        case Status.VALIDATING if now < started_at(job):
            return ("QUEUED" if waited else "PENDING"), waited
        case Status.VALIDATING:
            return "RUNNING", "PROCESSING_DATASET"
        case Status.QUEUED:
            return "RUNNING", "WAITING_FOR_CAPACITY"
        case Status.RUNNING:
            trained = job.plan.trained_at
            return "RUNNING", "TUNING" if trained is None or now < trained else "POST_PROCESSING"
        case Status.SUCCEEDED:
            return ("PARTIALLY_SUCCEEDED" if noise(job.id, "partial") < 0.05 else "SUCCEEDED"), None
        case other:
            return other.value.upper(), None


def job_json(job: Job, now: float) -> dict[str, Any]:
    """A tuning job. Its name contains the project's number, and not the id by which it was requested."""
    state, detail = states(job, now)
    last = [mark for mark in job.plan.marks if mark.at <= now][-1]
    step = job.plan.step(now)
    epochs = step * job.epochs // job.plan.total_steps
    shown: dict[str, Any] = {
        "name": f"{_parent(job)}/tuningJobs/{job.id}",
        "state": f"JOB_STATE_{state}",
        "createTime": _moment(job.created_at),
        "updateTime": _moment(now if last.status not in TERMINAL else last.at),
        "baseModel": job.spec.model,
        **_spec(job),
        "tunedModelDisplayName": job.spec.suffix or "tuned",
        "labels": dict(job.spec.metadata or {}),
        "experiment": f"{_parent(job)}/metadataStores/default/contexts/tuning-experiment-{job.id}",
        "tuningJobMetadata": {"completedEpochCount": str(epochs), "completedStepCount": str(step)} if step else {},
    }
    if detail is not None:
        shown["tuningJobState"] = f"TUNING_JOB_STATE_{detail}"
    if now >= started_at(job):
        shown["startTime"] = _moment(started_at(job))
    if any(mark.status is Status.QUEUED and mark.at <= now for mark in job.plan.marks):
        shown["tuningDataStats"] = _statistics(job)
    if last.status in TERMINAL:
        shown |= {"endTime": _moment(last.at), **_outcome(job, last.status)}
    return {name: value for name, value in shown.items() if value != {}}


def number(org: Org) -> str:
    """The project's number, which all resource names contain."""
    return str(int(derived(10, org.id, "number"), 16) + 10**11)[:12]


def service_account(org: Org) -> str:
    """The service account that may get tokens for the project."""
    return f"monitor@{org.id}.iam.gserviceaccount.com"


def _parent(job: Job) -> str:
    return f"projects/{number(job.owner.org)}/locations/{location(job)}"


def _spec(job: Job) -> dict[str, Any]:
    """The key of the spec determines the method."""
    uris = {"trainingDatasetUri": f"gs://{job.owner.org.id}/{job.spec.training_file}.jsonl"}
    if job.spec.validation_file:
        uris["validationDatasetUri"] = f"gs://{job.owner.org.id}/{job.spec.validation_file}.jsonl"
    chosen: dict[str, Any] = {
        "epochCount": str(job.epochs),
        "learningRateMultiplier": 1,
        "adapterSize": "ADAPTER_SIZE_FOUR",
    }
    if job.spec.method == "dpo":
        return {"preferenceOptimizationSpec": {**uris, "hyperParameters": {**chosen, "beta": 0.1}}}
    return {"supervisedTuningSpec": {**uris, "hyperParameters": chosen}}


def _statistics(job: Job) -> dict[str, Any]:
    """Statistics of the dataset; tokens are those of one epoch."""
    counted = {
        "tuningDatasetExampleCount": str(job.dataset.examples),
        "totalBillableTokenCount": str(job.dataset.tokens),
        "tuningStepCount": str(job.plan.total_steps),
    }
    return {"preferenceOptimizationDataStats" if job.spec.method == "dpo" else "supervisedTuningDataStats": counted}


def _outcome(job: Job, status: Status) -> dict[str, Any]:
    """The resulting model, or an error, which cancelled jobs have too."""
    if status is Status.CANCELLED:
        return {"error": {"code": 1, "message": "The job was cancelled."}}
    if status is Status.FAILED:
        mine = job.plan.ending is not Ending.SERVER_ERROR and job.plan.fault is not None
        message = job.plan.fault.message if mine and job.plan.fault else "Internal error encountered."
        return {"error": {"code": 3 if mine else 13, "message": message}}
    made = int(derived(15, job.id, "model"), 16)
    endpoint = f"{_parent(job)}/endpoints/{made + 1}"
    ends = range(1, job.epochs + 1)
    checkpoints = [
        {
            "checkpointId": str(epoch),
            "epoch": str(epoch),
            "step": str(job.plan.total_steps * epoch // job.epochs),
            "endpoint": endpoint,
        }
        for epoch in ends
    ]
    model = f"{_parent(job)}/models/{made}@1"
    return {"tunedModel": {"model": model, "endpoint": endpoint, "checkpoints": checkpoints}}


def list_jobs(call: ApiCall) -> dict[str, Any]:
    jobs = [job for job in _own(call) if location(job) == call.params["location"]]
    wanted = call.query.get("filter")
    if wanted:
        found = _FILTER.fullmatch(wanted)
        if found is None:
            raise errors.bad("filter", f"Invalid filter: {wanted}")
        jobs = [job for job in jobs if f"JOB_STATE_{states(job, call.now)[0]}" == found[1]]
    shown, following = token_page(jobs, call, size="pageSize", after="pageToken", most=100, default=100)
    answer = {"tuningJobs": [job_json(job, call.now) for job in shown], "nextPageToken": following}
    return {name: value for name, value in answer.items() if value}


def get(call: ApiCall) -> dict[str, Any]:
    return job_json(_job(call), call.now)


def cancel(call: ApiCall) -> dict[str, Any]:
    call.simulation.cancel(call.org, _job(call).id)
    return {}


def _job(call: ApiCall) -> Job:
    for job in _own(call):
        if (job.id, location(job)) == (call.params["job"], call.params["location"]):
            return job
    raise ApiError(404, f"The TuningJob does not exist: {call.params['job']}")


def _own(call: ApiCall) -> tuple[Job, ...]:
    """The jobs of the project in the path. Raises ApiError 403 if the token is for another project."""
    if call.params["project"] not in (call.org.id, number(call.org)):
        message = f"Permission 'aiplatform.tuningJobs.list' denied on resource 'projects/{call.params['project']}'"
        raise ApiError(403, message)
    return call.simulation.jobs(call.org)


def error_response(error: ApiError) -> tuple[Any, Mapping[str, str]]:
    """Google's error body; for token requests, that of OAuth."""
    if error.type == "oauth":
        return {"error": error.code, "error_description": error.message}, {}
    message = error.message
    if error.status == 401:
        message = "Request had invalid authentication credentials. Expected OAuth 2 access token."
    status = _STATUSES.get(error.status, "RESOURCE_EXHAUSTED" if error.status == 429 else "UNKNOWN")
    return {"error": {"code": error.status, "message": message, "status": status}}, {}


def issue(form: Mapping[str, str], orgs: Sequence[Org]) -> Any:
    """Issue a token for the assertion of a service account. That it is signed is checked, but not by whom.

    RFC 7523, as `google-auth` implements it.
    """
    claims = _claims(form.get("assertion", "")) if form.get("grant_type") == _GRANT else {}
    org = next((org for org in orgs if service_account(org) == claims.get("iss")), None)
    if org is None or not {"aud", "scope", "exp", "iat"} <= claims.keys():
        raise ApiError(400, "Invalid grant: account not found", code="invalid_grant", type="oauth")
    return {"access_token": org.key, "expires_in": 3599, "token_type": "Bearer"}


def _claims(assertion: str) -> dict[str, Any]:
    """The claims of a signed RS256 token; empty if it is malformed."""
    try:
        header, claims, signature = (base64.urlsafe_b64decode(f"{part}==") for part in assertion.split("."))
        found = json.loads(claims) if json.loads(header)["alg"] == "RS256" and len(signature) >= 128 else {}
    except (ValueError, KeyError, TypeError, binascii.Error):
        return {}
    return found if isinstance(found, dict) else {}


def _configuration(org: Org, address: str, folder: Path) -> dict[str, Any]:
    file = folder / f"{org.name}.token"
    file.touch(mode=0o600)
    file.write_text(org.key)
    return {
        "base_url": f"{address}/vertex",
        "project": org.id,
        "locations": list(LOCATIONS),
        "token_file": str(file),
    }


_JOBS = "/{version:v1|v1beta1}/projects/{project}/locations/{location}/tuningJobs"

VERTEX = Dialect(
    provider="vertex",
    prefix="/vertex",
    routes=(
        Route("GET", _JOBS, list_jobs),
        Route("GET", _JOBS + "/{job}", get),
        Route("POST", _JOBS + "/{job}:cancel", cancel),
    ),
    authenticate=by_key,
    error_response=error_response,
    configuration=_configuration,
    tokens=(("/token", issue),),
)
