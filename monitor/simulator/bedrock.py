"""Amazon Bedrock: customization jobs, which are in progress from the start and detail it in phases; and batches.

Shapes and statuses are those of botocore's service model `bedrock`. Clients use an API key (bearer) or sign with SigV4,
which is verified: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from monitor.simulator import errors
from monitor.simulator.batch import BATCH_ENDS, Batch, BatchStatus
from monitor.simulator.dialect import ApiCall, Dialect, Route, Sent, rfc3339, token_page
from monitor.simulator.draws import derived, noise
from monitor.simulator.errors import ApiError
from monitor.simulator.job import Job
from monitor.simulator.orgs import Caller, Org, keyring
from monitor.simulator.plan import TERMINAL, Status
from monitor.simulator.training import step_metrics

REGION = "us-east-1"
_STATUSES = {
    Status.SUCCEEDED: "Completed",
    Status.FAILED: "Failed",
    Status.CANCELLING: "Stopping",
    Status.CANCELLED: "Stopped",
}
_INVOCATIONS = {
    BatchStatus.VALIDATING: "Validating",
    BatchStatus.IN_PROGRESS: "InProgress",
    BatchStatus.FINALIZING: "InProgress",
    BatchStatus.CANCELLING: "Stopping",
    BatchStatus.COMPLETED: "Completed",
    BatchStatus.FAILED: "Failed",
    BatchStatus.EXPIRED: "Expired",
    BatchStatus.CANCELLED: "Stopped",
}
_TYPES = {"reinforcement": "REINFORCEMENT_FINE_TUNING"}
_ERRORS = {400: "ValidationException", 404: "ResourceNotFoundException", 429: "ThrottlingException"}
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<scope>(?P<date>\d{8})/(?P<region>[\w-]+)/bedrock/aws4_request), ?"
    r"SignedHeaders=(?P<headers>[\w;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_NOTHING = hashlib.sha256(b"").hexdigest()
_time = partial(rfc3339, digits=3)


def access_key(org: Org) -> tuple[str, str]:
    """The id and the secret of the organisation's access key."""
    return f"AKIA{derived(16, org.key, 'id').upper()}", derived(40, org.key, "secret")


def job_arn(job: Job) -> str:
    """The job's ARN, which contains colons and slashes."""
    return f"{_prefix(job)}:model-customization-job/{job.spec.model}/{job.id}"


def job_name(job: Job) -> str:
    """The job's name, by which it can be requested too."""
    return f"{job.spec.suffix or 'tune'}-{job.id}"


def summary(job: Job, now: float) -> dict[str, Any]:
    """The job as the list has it."""
    last = [mark for mark in job.plan.marks if mark.at <= now][-1]
    shown = {
        "jobArn": job_arn(job),
        "baseModelArn": f"arn:aws:bedrock:{REGION}::foundation-model/{job.spec.model}",
        "jobName": job_name(job),
        "status": _STATUSES.get(last.status, "InProgress"),
        "statusDetails": phases(job, now),
        "lastModifiedTime": _time(last.at),
        "creationTime": _time(job.created_at),
        "customizationType": _TYPES.get(job.spec.method, "FINE_TUNING"),
    }
    if last.status in TERMINAL:
        shown["endTime"] = _time(last.at)
    elif _premature(job):
        shown["endTime"] = _time(job.created_at)
    if last.status is Status.SUCCEEDED:
        shown |= {"customModelArn": _model_arn(job), "customModelName": job.fine_tuned_model}
    return shown


def details(job: Job, now: float) -> dict[str, Any]:
    """The job as GET has it. Some have an end time and an error long before their end, like on some servers."""
    shown = summary(job, now)
    name, arn = shown.pop("customModelName", None), shown.pop("customModelArn", None)
    bucket = f"s3://{job.owner.org.name}-tuning"
    validation = [{"s3Uri": f"{bucket}/{job.spec.validation_file}.jsonl"}] if job.spec.validation_file else []
    shown |= {
        "outputModelName": name or job.fine_tuned_model,
        "roleArn": f"arn:aws:iam::{job.owner.org.id}:role/tuning",
        "hyperParameters": {
            "epochCount": str(job.epochs),
            "batchSize": str(job.resolved["batch_size"]),
            "learningRate": "0.00001",
        },
        "trainingDataConfig": {"s3Uri": f"{bucket}/{job.spec.training_file}.jsonl"},
        "validationDataConfig": {"validators": validation},
        "outputDataConfig": {"s3Uri": f"{bucket}/out/"},
    }
    if arn:
        shown |= {"outputModelArn": arn, **_metrics(job)}
    elif job.plan.status(now) is Status.FAILED:
        shown["failureMessage"] = job.plan.fault.message if job.plan.fault else "Internal error."
    elif job.plan.status(now) not in TERMINAL and _premature(job):
        shown |= {"failureMessage": "Failure Message", "trainingMetrics": {"trainingLoss": 0.0}}
    return shown


def phases(job: Job, now: float) -> dict[str, Any]:
    """`statusDetails`. There is no queued status: the time until the training phase starts is the queue."""
    starts = [job.created_at, None, job.plan.started_at]
    starts[1] = next((mark.at for mark in job.plan.marks if mark.status is Status.QUEUED), None)
    ends = [*starts[1:], job.plan.trained_at]
    names = ("validationDetails", "dataProcessingDetails", "trainingDetails")
    return {name: _phase(job, now, *span) for name, span in zip(names, zip(starts, ends, strict=True), strict=True)}


def _phase(job: Job, now: float, start: float | None, end: float | None) -> dict[str, str]:
    if start is None or now < start:
        return {"status": "NotStarted"}
    moment, status = start, "InProgress"
    if end is not None and now >= end:
        moment, status = end, "Completed"
    elif (last := job.plan.marks[-1]).at <= now or job.plan.status(now) is Status.CANCELLING:
        moment, status = min(last.at, now), _STATUSES.get(job.plan.status(now), "InProgress")
    return {"status": status, "creationTime": _time(start), "lastModifiedTime": _time(moment)}


def _premature(job: Job) -> bool:
    return noise(job.id, "premature") < 0.3


def _metrics(job: Job) -> dict[str, Any]:
    last = step_metrics(job, job.plan.total_steps)
    found: dict[str, Any] = {"trainingMetrics": {"trainingLoss": last.get("train_loss", 0.0)}}
    if "full_valid_loss" in last:
        found["validationMetrics"] = [{"validationLoss": last["full_valid_loss"]}]
    return found


def _prefix(job: Job) -> str:
    return f"arn:aws:bedrock:{REGION}:{job.owner.org.id}"


def _model_arn(job: Job) -> str:
    return f"{_prefix(job)}:custom-model/{job.spec.model}/{derived(12, job.id, 'model')}"


def list_jobs(call: ApiCall) -> dict[str, Any]:
    jobs, wanted = call.simulation.jobs(call.org), _filter(call.query, "creationTime")
    listed = [(job, summary(job, call.now)) for job in jobs]
    found = [shown for job, shown in listed if wanted(shown["status"], shown["jobName"], job.created_at)]
    return _page("modelCustomizationJobSummaries", found, call)


def _page(name: str, items: Sequence[Mapping[str, Any]], call: ApiCall) -> dict[str, Any]:
    """A page of a list, newest first unless ascending order is requested."""
    if call.query.get("sortOrder") == "Ascending":
        items = items[::-1]
    size = call.query.get("maxResults", "100")
    if not size.isdecimal() or not 1 <= int(size) <= 1000:
        raise errors.bad("maxResults", "Value at 'maxResults' failed to satisfy constraint: between 1 and 1000")
    shown, following = token_page(items, call, size="maxResults", after="nextToken", most=1000, default=100)
    return {name: list(shown), **({"nextToken": following} if following else {})}


def _filter(query: Mapping[str, str], moment: str) -> Callable[[str, str, float], bool]:
    """A predicate for status, name and time by `statusEquals`, `nameContains`, `{moment}After` and `{moment}Before`.

    Raises ApiError 400 for an invalid time.
    """
    try:
        after, before = (
            datetime.fromisoformat(query[each]).timestamp() if each in query else None
            for each in (f"{moment}After", f"{moment}Before")
        )
    except ValueError:
        raise errors.bad(moment, "A timestamp cannot be read.") from None

    def wanted(status: str, name: str, at: float) -> bool:
        if (after is not None and at <= after) or (before is not None and at >= before):
            return False
        return query.get("statusEquals", status) == status and query.get("nameContains", "") in name

    return wanted


def list_invocations(call: ApiCall) -> dict[str, Any]:
    """The list of model invocation jobs, which is Bedrock's name for batches."""
    batches, wanted = call.simulation.batches(call.caller), _filter(call.query, "submitTime")
    listed = [(batch, invocation(batch, call.now)) for batch in batches]
    found = [shown for batch, shown in listed if wanted(shown["status"], shown["jobName"], batch.created_at)]
    return _page("invocationJobSummaries", found, call)


def get_invocation(call: ApiCall) -> dict[str, Any]:
    return invocation(_batch(call), call.now)


def stop_invocation(call: ApiCall) -> dict[str, Any]:
    call.simulation.cancel_batch(call.caller, _batch(call).id)
    return {}


def _batch(call: ApiCall) -> Batch:
    wanted = call.params["job"]
    for batch in call.simulation.batches(call.caller):
        if wanted in (batch.id, batch_arn(batch)):
            return batch
    raise ApiError(404, f"Could not find invocation job {wanted}")


def batch_arn(batch: Batch) -> str:
    """The batch's ARN. A batch can be requested by it or by its last part."""
    return f"arn:aws:bedrock:{REGION}:{batch.owner.org.id}:model-invocation-job/{batch.id}"


def invocation(batch: Batch, now: float) -> dict[str, Any]:
    """A batch as both the list and GET have it. With failed records it is only `PartiallyCompleted`."""
    status, (success, refused) = batch.status(now), batch.counts(now)
    [at, *_] = [at for at, _ in reversed(batch.marks) if at <= now]
    word = _INVOCATIONS[status]
    if status is BatchStatus.VALIDATING:
        validated = batch.marks[1][0]
        part = (now - batch.created_at) / (validated - batch.created_at)
        word = "Submitted" if part < 0.2 else "Validating" if part < 0.7 else "Scheduled"
    elif status is BatchStatus.COMPLETED and refused:
        word = "PartiallyCompleted"
    bucket = f"s3://{batch.owner.org.name}-batches"
    shown: dict[str, Any] = {
        "jobArn": batch_arn(batch),
        "jobName": f"batch-{batch.id}",
        "modelId": batch.model,
        "roleArn": f"arn:aws:iam::{batch.owner.org.id}:role/batches",
        "status": word,
        "submitTime": _time(batch.created_at),
        "lastModifiedTime": _time(at),
        "inputDataConfig": {"s3InputDataConfig": {"s3InputFormat": "JSONL", "s3Uri": f"{bucket}/in.jsonl"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"{bucket}/out/"}},
        "timeoutDurationInHours": 24,
        "jobExpirationTime": _time(batch.expires_at),
    }
    if batch.reached(BatchStatus.IN_PROGRESS, now) is not None:
        counts = (batch.total, success + refused, success, refused)
        names = ("totalRecordCount", "processedRecordCount", "successRecordCount", "errorRecordCount")
        shown |= dict(zip(names, counts, strict=True))
    if status in BATCH_ENDS:
        shown["endTime"] = _time(at)
    if status is BatchStatus.FAILED:
        shown["message"] = "Input validation failed: the records are not in the format of the model."
    return shown


def get(call: ApiCall) -> dict[str, Any]:
    return details(_job(call), call.now)


def stop(call: ApiCall) -> dict[str, Any]:
    call.simulation.cancel(call.org, _job(call).id)
    return {}


def _job(call: ApiCall) -> Job:
    """The job with this ARN or name. Raises ApiError 404."""
    wanted = call.params["job"]
    for job in call.simulation.jobs(call.org):
        if wanted in (job_arn(job), job_name(job)):
            return job
    raise ApiError(404, f"Could not find customization job {wanted}")


def error_response(error: ApiError) -> tuple[Any, Mapping[str, str]]:
    """AWS's error body, with the error type in a header."""
    kind = error.code if error.status == 403 else _ERRORS.get(error.status, "InternalServerException")
    return {"message": error.message}, {"x-amzn-ErrorType": str(kind)}


def authenticate(orgs: Sequence[Org], sent: Sent, _admin: bool) -> Caller:
    """Authenticate by API key or by signature. Raises ApiError 403, since AWS does not use 401."""
    authorization = sent.headers.get("Authorization", "")
    if not authorization:
        raise ApiError(403, "Missing Authentication Token", code="MissingAuthenticationTokenException")
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() == "bearer":
        caller = keyring(orgs).get(key.strip())
        if caller is None:
            raise ApiError(403, "The security token included in the request is invalid.", code="AccessDeniedException")
        return caller
    found = _SIGNED.fullmatch(authorization)
    if found is None:
        raise ApiError(403, "Authorization header is malformed.", code="IncompleteSignatureException")
    for org in orgs:
        key_id, secret = access_key(org)
        if found["key"] == key_id:
            if hmac.compare_digest(signature(secret, sent, found), found["signature"]):
                return org.caller
            raise ApiError(403, "The request signature we calculated does not match.", code="InvalidSignatureException")
    raise ApiError(403, "The security token included in the request is invalid.", code="UnrecognizedClientException")


def signature(secret: str, sent: Sent, found: Mapping[str, str] | re.Match[str]) -> str:
    """The SigV4 signature of a request without a body.

    The path is encoded a second time, as for all services but S3.
    """
    headers = [(name, " ".join(sent.headers.get(name, "").split())) for name in found["headers"].split(";")]
    query = "&".join(sorted(pair if "=" in pair else f"{pair}=" for pair in sent.query.split("&") if pair))
    canonical = "\n".join(
        [
            sent.method,
            quote(sent.path, safe="/~"),
            query,
            *(f"{name}:{value}" for name, value in headers),
            "",
            found["headers"],
            sent.headers.get("x-amz-content-sha256", _NOTHING),
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", sent.headers.get("x-amz-date", ""), found["scope"], digest])
    key = f"AWS4{secret}".encode()
    for part in (*found["scope"].split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


def _configuration(org: Org, address: str, _folder: Path) -> dict[str, Any]:
    entry = {"base_url": f"{address}/bedrock", "region": REGION}
    if org.number % 2:
        key_id, secret = access_key(org)
        return {**entry, "access_key_id": key_id, "secret_access_key": secret}
    return {**entry, "api_key": org.key}


BEDROCK = Dialect(
    provider="bedrock",
    prefix="/bedrock",
    routes=(
        Route("GET", "/model-customization-jobs", list_jobs),
        Route("POST", "/model-customization-jobs/{job:.+}/stop", stop),
        Route("GET", "/model-customization-jobs/{job:.+}", get),
        Route("GET", "/model-invocation-jobs", list_invocations),
        Route("POST", "/model-invocation-job/{job:.+}/stop", stop_invocation),
        Route("GET", "/model-invocation-job/{job:.+}", get_invocation),
    ),
    authenticate=authenticate,
    error_response=error_response,
    configuration=_configuration,
)
