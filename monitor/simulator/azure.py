"""Azure OpenAI: OpenAI's API in Azure's dialect, at v1 addresses and at dated ones (`?api-version=`).

It differs (learn.microsoft.com/azure/ai-foundry/openai) in keys as `api-key`, in statuses, nulls, names of tuned models
and errors. Dated addresses accept keys only as `api-key`; v1 also accepts them as bearer tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from multidict import MultiDict

from monitor.simulator.dialect import Answer, ApiCall, Dialect, Route, Sent, Stream, bearer
from monitor.simulator.draws import derived, noise
from monitor.simulator.errors import ApiError
from monitor.simulator.job import Job
from monitor.simulator.models import base_name, is_tuned
from monitor.simulator.openai.batches import BATCHES
from monitor.simulator.openai.files import FILES
from monitor.simulator.openai.jobs import JOBS
from monitor.simulator.openai.models import MODELS
from monitor.simulator.openai.webhooks import WEBHOOKS
from monitor.simulator.orgs import Caller, Org, keyring
from monitor.simulator.plan import Status

API_VERSION = "2025-04-01-preview"
_CHECKPOINT = "ftchkpt-"
_TRANSITION = 4.0
"""Simulated seconds for which a job is shown as pausing or resuming."""
_V1 = {
    Status.VALIDATING: ("validating_files", "creating", "pending"),
    Status.QUEUED: ("queued", "pending"),
    Status.CANCELLING: ("cancelling", "canceling"),
}
_DATED = {
    Status.VALIDATING: ("pending",),
    Status.QUEUED: ("pending", "notRunning"),
    Status.CANCELLING: ("canceling",),
    Status.CANCELLED: ("cancelled", "canceled"),
}
"""The spellings of a status. Where there are several, each job keeps one of them."""
_MESSAGES = {
    "Files validated, moving job to queued state": "Job enqueued. Waiting for jobs ahead to complete.",
    "Fine-tuning job started": "Training started.",
    "The job has successfully completed": "Job succeeded.",
}
_DEPLOYMENTS = (
    "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices"
    "/accounts/{account}/deployments"
)
_CODES = {400: "BadRequest", 404: "ResourceNotFound", 405: "MethodNotAllowed", 429: "429"}
_DENIED = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource."
)


def status_word(job: Job, now: float, *, dated: bool) -> str:
    """The job's status as Azure writes it, with `pausing` and `resuming` for a few seconds."""
    status = job.plan.status(now)
    passed = [mark for mark in job.plan.marks if mark.at <= now]
    if len(passed) > 1 and now - passed[-1].at < _TRANSITION:
        if status is Status.PAUSED:
            return "pausing"
        if passed[-2].status is Status.PAUSED and status is Status.QUEUED:
            return "resuming"
    words = (_DATED if dated else _V1).get(status, (status.value,))
    return words[int(noise(job.id, "spelling") * len(words))]


def job_json(shown: Mapping[str, Any], job: Job, now: float, *, dated: bool) -> dict[str, Any]:
    """Convert OpenAI's JSON of a job to Azure's."""
    status = job.plan.status(now)
    common = {key: value for key, value in shown.items() if key not in ("usage_metrics", "shared_with_openai")}
    if dated:
        del common["user_provided_suffix"], common["metadata"]
    return common | {
        "status": status_word(job, now, dated=dated),
        "organization_id": None,
        "result_files": shown["result_files"] or None,
        "error": shown["error"] if status is Status.FAILED else None,
        "trainingType": "GlobalStandard" if noise(job.id, "type") < 0.6 else "Standard",
    }


def event_json(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Convert OpenAI's JSON of an event to Azure's."""
    return {
        **shown,
        "level": "warning" if shown["level"] == "warn" else shown["level"],
        "message": _MESSAGES.get(shown["message"], shown["message"]),
        "data": shown["data"] or None,
    }


def model_json(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Convert OpenAI's JSON of a model to that of dated addresses, with its end as a Unix time under `deprecation`."""
    day = shown["shutdown_date"]
    ends = None if day is None else int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    tuned = is_tuned(shown["id"])
    return {
        "id": shown["id"],
        "object": "model",
        "status": "succeeded",
        "created_at": shown["created"],
        "updated_at": shown["created"],
        "capabilities": {"fine_tune": not tuned, "inference": True, "chat_completion": True},
        "lifecycle_status": "generally-available",
        "deprecation": {"inference": ends} if tuned else {"fine_tune": ends, "inference": ends},
        **({"model": base_name(shown["id"])} if tuned else {}),
    }


def error_response(error: ApiError) -> tuple[Any, Mapping[str, str]]:
    """Azure's error body; invalid requests have an `innererror`."""
    if error.status == 401:
        return {"error": {"code": "401", "message": _DENIED}}, {}
    code = _CODES.get(error.status, error.code or str(error.status))
    body: dict[str, Any] = {"code": code, "message": error.message}
    if error.status == 400:
        body |= {"param": error.param, "type": error.type, "innererror": {"code": error.code or "InvalidRequest"}}
    return {"error": body}, {"apim-request-id": derived(32, error.message)}


def authenticate(orgs: Sequence[Org], sent: Sent, _admin: bool) -> Caller:
    """Authenticate by `api-key`, by an Entra token, or at v1 also by the key as a bearer token. Raises ApiError 401."""
    keys = keyring(orgs)
    if "/openai/v1/" in sent.path or "api-key" in sent.headers:
        entra = {_token(org): org.caller for org in orgs}
        return bearer(keys | entra, sent, also="api-key")
    return bearer({_token(org): org.caller for org in orgs}, sent)


def entra(org: Org) -> dict[str, str]:
    """The credentials of the application that may get tokens for `org`."""
    tenant, client = (derived(32, org.key, what) for what in ("tenant", "client"))
    return {"tenant_id": tenant, "client_id": client, "client_secret": derived(40, org.key, "secret")}


def _token(org: Org) -> str:
    return f"eyJ0eXAiOiJKV1QifQ.{derived(60, org.key, 'entra')}.{derived(40, org.key, 'signature')}"


def _issue(form: Mapping[str, str], orgs: Sequence[Org]) -> Any:
    """Entra's client credentials grant."""
    for org in orgs:
        known = entra(org)
        if all(form.get(name) == known[name] for name in ("client_id", "client_secret")):
            return {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": _token(org)}
    raise ApiError(401, "AADSTS7000215: Invalid client secret provided.", code="invalid_client")


def _deployments(call: ApiCall) -> Any:
    """Azure Resource Manager's list of deployments: each tuned model is deployed under its job's number."""
    if "api-version" not in call.query:
        raise ApiError(400, "The api-version query parameter (?api-version=) is required for all requests.")
    kinds = ("Standard", "GlobalStandard", "DeveloperTier", "ProvisionedManaged")
    return {"value": [_deployment(job, kinds[int(noise(job.id, "sku") * len(kinds))]) for job in _tuned(call)]}


def _tuned(call: ApiCall) -> list[Job]:
    return call.simulation.tuned_models(call.org)


def _deployment(job: Job, kind: str) -> dict[str, Any]:
    at = datetime.fromtimestamp(job.plan.marks[-1].at, UTC).isoformat()
    name = f"tuned-{derived(8, job.id, 'deployment')}"
    return {
        "id": f"/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/deployments/{name}",
        "type": "Microsoft.CognitiveServices/accounts/deployments",
        "name": name,
        "sku": {"name": kind, "capacity": 50},
        "systemData": {"createdAt": at, "createdByType": "User", "lastModifiedAt": at},
        "properties": {
            "model": {"format": "OpenAI", "name": job.fine_tuned_model, "version": "1"},
            "provisioningState": "Succeeded",
            "versionUpgradeOption": "NoAutoUpgrade",
        },
    }


def _translated(answer: Answer, dated: bool, call: ApiCall) -> Any:
    if dated and "api-version" not in call.query:
        raise ApiError(404, "Resource not found")
    if "after" in call.query:
        query = MultiDict(call.query)
        query["after"] = query["after"].replace(_CHECKPOINT, "ftckpt_")
        call = replace(call, query=query)
    found = answer(call)
    if found["object"] != "list":
        return _one(found, call, dated)
    listed = [_one(each, call, dated) for each in found["data"]]
    ends = {name: listed[at]["id"] for name, at in (("first_id", 0), ("last_id", -1)) if found.get(name)}
    return {**found, "data": listed, **ends}


def _one(shown: dict[str, Any], call: ApiCall, dated: bool) -> dict[str, Any]:
    match shown["object"]:
        case "fine_tuning.job":
            return job_json(shown, call.simulation.job(call.org, shown["id"]), call.now, dated=dated)
        case "fine_tuning.job.event":
            return event_json(shown)
        case "fine_tuning.job.checkpoint":
            return {**shown, "id": shown["id"].replace("ftckpt_", _CHECKPOINT)}
        case "batch":
            return {name: value for name, value in shown.items() if name not in ("model", "usage")}
        case "model" if dated:
            return model_json(shown)
    return shown


def _routes(base: str, *, dated: bool) -> list[Route | Stream]:
    return [
        Route(each.method, base + each.path, partial(_translated, each.answer, dated))
        if isinstance(each, Route)
        else Stream(each.method, base + each.path, each.answer)
        for each in (*JOBS, *FILES, *MODELS, *BATCHES)
    ]


def _configuration(org: Org, address: str, _folder: Path) -> dict[str, Any]:
    if org.number % 2:
        return {"endpoint": f"{address}/azure", "api_version": API_VERSION, "api_key": org.key}
    return {"base_url": f"{address}/azure/openai/v1", "api_key": org.key}


AZURE = Dialect(
    provider="azure",
    prefix="/azure",
    routes=(
        *_routes("/openai/v1", dated=False),
        *_routes("/api/projects/{foundry}/openai/v1", dated=False),
        *_routes("/openai", dated=True),
        *(replace(each, path=f"/openai/v1/dashboard{each.path}") for each in WEBHOOKS),
        Route("GET", _DEPLOYMENTS, _deployments),
    ),
    authenticate=authenticate,
    error_response=error_response,
    configuration=_configuration,
    tokens=(("/{tenant}/oauth2/v2.0/token", _issue),),
)
