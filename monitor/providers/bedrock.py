"""Amazon Bedrock's model customization jobs, which have three timed phases and no events, and its batches.

Shapes and statuses are those of botocore's service model `bedrock` (1.44). Bedrock's copy of OpenAI's API
(`bedrock-mantle`) is configured with `provider: openai`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Literal
from urllib.parse import quote

from pydantic import Field, SecretStr, model_validator

from monitor.domain.model import (
    BATCH_PREFIX,
    Batch,
    FineTuning,
    Job,
    JobError,
    JobKind,
    Method,
    Metrics,
    Status,
    Training,
)
from monitor.providers._answers import TokenPages, single
from monitor.providers._batches import EXPIRED
from monitor.providers._json import Object, Parsed, Skip
from monitor.providers._refusals import RefusalRule
from monitor.providers._settings import BaseUrl, Organization
from monitor.providers._sigv4 import SigV4
from monitor.providers._values import (
    hyperparameters,
    identifier,
    job_identifier,
    moment,
    number,
    sub,
    text,
    unreadable,
    whole,
)
from monitor.providers.base import (
    Auth,
    AuthFailed,
    Call,
    JobList,
    KeyAuth,
    Listing,
    NotFound,
    Page,
    Provider,
    RateLimited,
    Request,
    Response,
)

STATUSES: Final[Mapping[str, Status]] = {
    "InProgress": Status.RUNNING,
    "Stopping": Status.CANCELLING,
    "Completed": Status.SUCCEEDED,
    "Failed": Status.FAILED,
    "Stopped": Status.CANCELLED,
}
_METHODS: Final[Mapping[str, Method]] = {
    "FINE_TUNING": Method.SUPERVISED,
    "REINFORCEMENT_FINE_TUNING": Method.REINFORCEMENT,
}
_RULES: Final = (
    RefusalRule(re.compile(r"Throttling|TooManyRequests"), RateLimited, "too many requests"),
    RefusalRule(
        re.compile(r"AccessDenied|ExpiredToken|UnrecognizedClient|InvalidSignature|MissingAuthenticationToken"),
        AuthFailed,
        "the credentials are refused",
    ),
    RefusalRule(re.compile(r"ResourceNotFound"), NotFound, "no such job", frozenset({400})),  # moto answers like this
)
# Batches are called model invocation jobs. In a `PartiallyCompleted` one some requests failed.
BATCH_STATUSES: Final[Mapping[str, Status]] = {
    "Submitted": Status.QUEUED,
    "Validating": Status.VALIDATING,
    "Scheduled": Status.QUEUED,
    "InProgress": Status.RUNNING,
    "Stopping": Status.CANCELLING,
    "Completed": Status.SUCCEEDED,
    "PartiallyCompleted": Status.SUCCEEDED,
    "Failed": Status.FAILED,
    "Expired": Status.FAILED,
    "Stopped": Status.CANCELLED,
}
_JOBS: Final = "/model-customization-jobs"
_BATCHES: Final = "/model-invocation-jobs"
_BATCH: Final = "/model-invocation-job"


class BedrockSettings(Organization):
    """An AWS account that customizes models in one region."""

    families: ClassVar[frozenset[JobKind]] = frozenset(JobKind)

    provider: Literal["bedrock"]
    """Amazon Bedrock."""
    region: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    """The region whose jobs are watched."""
    base_url: BaseUrl | None = None
    """The address of the API, instead of the region's own host."""
    api_key: SecretStr | None = None
    """A Bedrock API key; it needs bedrock:ListModelCustomizationJobs and bedrock:GetModelCustomizationJob, for batches
    bedrock:ListModelInvocationJobs and bedrock:GetModelInvocationJob."""
    api_key_file: Path | None = None
    """A file with the key, re-read when it changes."""
    access_key_id: SecretStr | None = None
    """Instead of an API key: an IAM access key, with which requests are signed (Signature Version 4)."""
    access_key_id_file: Path | None = None
    """A file with the access key id."""
    secret_access_key: SecretStr | None = None
    """The secret access key."""
    secret_access_key_file: Path | None = None
    """A file with the secret access key."""
    session_token: SecretStr | None = None
    """The session token, for temporary credentials."""
    session_token_file: Path | None = None
    """A file with the session token, re-read when it changes."""

    @model_validator(mode="after")
    def _check_alternatives(self) -> BedrockSettings:
        given = {name for name in ("api_key", "access_key_id", "secret_access_key", "session_token") if self._has(name)}
        if given not in ({"api_key"}, {"access_key_id", "secret_access_key"}, _TEMPORARY):
            raise ValueError("give api_key, or access_key_id with secret_access_key (and session_token)")
        return self

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None or getattr(self, f"{name}_file") is not None

    def vendor(self) -> Provider:
        """Build the provider for this account and region."""
        account = _Account(self.name, self.region)
        return Provider(
            name="bedrock",
            base_url=self.base_url or f"https://bedrock.{self.region}.amazonaws.com",
            auth=self._auth(),
            jobs=tuple(each for each in _lists(account) if each.kind in self.watch),
            seller="bedrock" if self.base_url is None else None,
        )

    def _auth(self) -> Auth:
        if self._has("api_key"):
            return KeyAuth()
        names = ("access_key_id", "secret_access_key", *(("session_token",) if self._has("session_token") else ()))
        return SigV4(region=self.region, service="bedrock", secrets=names)


_TEMPORARY: Final = {"access_key_id", "secret_access_key", "session_token"}
_NEWEST_FIRST: Final = (("maxResults", "100"), ("sortBy", "CreationTime"), ("sortOrder", "Descending"))
_FIRST: Final = Request(operation="list_jobs", path=_JOBS, params=_NEWEST_FIRST)
_FIRST_BATCHES: Final = Request(operation="list_batches", path=_BATCHES, params=_NEWEST_FIRST)


@dataclass(frozen=True, slots=True)
class _Account:
    org: str
    region: str

    @property
    def console_url(self) -> str:
        """The region's page in the AWS console; a page name is appended."""
        return f"https://{self.region}.console.aws.amazon.com/bedrock/home?region={self.region}#/"


_PAGES: Final = TokenPages(
    key="modelCustomizationJobSummaries", next_key="nextToken", next_parameter="nextToken", rules=_RULES
)


_BATCH_PAGES: Final = TokenPages(
    key="invocationJobSummaries", next_key="nextToken", next_parameter="nextToken", rules=_RULES
)


def _lists(account: _Account) -> tuple[JobList, ...]:
    return (
        JobList(pages=Listing(first=_FIRST, read=partial(_read_jobs, account)), one=partial(_job, account)),
        JobList(
            pages=Listing(first=_FIRST_BATCHES, read=partial(_read_batches, account)),
            one=partial(_batch, account),
            kind=JobKind.BATCH,
        ),
    )


def _read_jobs(account: _Account, request: Request, response: Response) -> Page[Job]:
    return _of_account(_PAGES.read(request, response, partial(_parse_job, account, listed=True)))


def _job(account: _Account, job_id: str) -> Call[Job]:
    request = Request(operation="get_job", path=f"{_JOBS}/{quote(job_id, safe='')}")
    return Call(request=request, read=partial(_read_job, account))


def _read_job(account: _Account, response: Response) -> Job:
    return single(response, partial(_parse_job, account), named_by="ARN", rules=_RULES)


def _parse_job(account: _Account, item: Object, *, listed: bool = False) -> Parsed[Job] | Skip:
    """Parse a job from the list, or from its own answer, which also has error, epochs and losses.

    End time, error and result are ignored while a job is not in a final status: some servers give them early.
    """
    job_id = job_identifier(item.get("jobArn"), limit=1024)
    if job_id is None:
        return "bad_id"
    word = text(item.get("status"), 64) or ""
    status = STATUSES.get(word, Status.UNKNOWN)
    created, succeeded = moment(item.get("creationTime")), status is Status.SUCCEEDED
    training = sub(item, "statusDetails", "trainingDetails")
    job = Job(
        org=account.org,
        id=job_id,
        provider="bedrock",
        model=_base(item.get("baseModelArn")),
        method=_METHODS.get(text(item.get("customizationType"), 64) or "FINE_TUNING", Method.UNKNOWN),
        status=_phase(item) if status is Status.RUNNING else status,
        raw_status=word,
        name=text(item.get("jobName"), 128),
        created_at=created,
        started_at=moment(sub(training, "creationTime")) if sub(training, "status") != "NotStarted" else None,
        finished_at=moment(item.get("endTime")) if status.final else None,
        error=_error(item) if status is Status.FAILED else None,
        training=Training(latest=_losses(item) if succeeded else Metrics()),
        summary_only=listed and status.final,
        url=f"{account.console_url}custom-models",
        tuning=_tuning(item, succeeded=succeeded),
    )
    return Parsed(job, int(unreadable(item.get("creationTime"), created)))


def _tuning(item: Object, *, succeeded: bool) -> FineTuning:
    model, chosen = item.get("customModelName") or item.get("outputModelName"), item.get("hyperParameters")
    return FineTuning(
        fine_tuned_model=text(model, 256) if succeeded else None,
        epochs=whole(sub(chosen, "epochCount")),
        hyperparameters=hyperparameters(chosen),
        training_file=text(sub(item, "trainingDataConfig", "s3Uri"), 256),
    )


def _read_batches(account: _Account, request: Request, response: Response) -> Page[Job]:
    return _of_account(_BATCH_PAGES.read(request, response, partial(_parse_batch, account)))


def _of_account(page: Page[Job]) -> Page[Job]:
    """The page with the AWS account that the ARNs of its jobs name: other credentials may be of the same account."""
    parts = (job.id.removeprefix(BATCH_PREFIX).split(":") for job in page.items)
    return replace(page, account=next((part[4] for part in parts if len(part) > 5 and part[4]), None))


def _batch(account: _Account, batch_id: str) -> Call[Job]:
    request = Request(operation="get_batch", path=f"{_BATCH}/{quote(batch_id, safe='')}")
    return Call(request=request, read=partial(_read_batch, account))


def _read_batch(account: _Account, response: Response) -> Job:
    return single(response, partial(_parse_batch, account), what="batch", named_by="ARN", rules=_RULES)


def _parse_batch(account: _Account, item: Object) -> Parsed[Job] | Skip:
    """Parse a batch. The list is as complete as a single answer; neither has tokens or the start time."""
    batch_id = identifier(item.get("jobArn"), limit=1024)
    if batch_id is None:
        return "bad_id"
    word = text(item.get("status"), 64) or ""
    status, created = BATCH_STATUSES.get(word, Status.UNKNOWN), moment(item.get("submitTime"))
    job = Job(
        org=account.org,
        id=BATCH_PREFIX + batch_id,
        provider="bedrock",
        model=_base(item.get("modelId")),
        method=Method.UNKNOWN,
        status=status,
        raw_status=word,
        name=text(item.get("jobName"), 128),
        created_at=created,
        finished_at=moment(item.get("endTime")) if status.final else None,
        error=_batch_error(word, item),
        url=f"{account.console_url}batch-inference",
        batch=Batch(
            endpoint=text(item.get("modelInvocationType"), 64),
            total=whole(item.get("totalRecordCount")),
            completed=whole(item.get("successRecordCount"), least=0),
            failed=whole(item.get("errorRecordCount"), least=0),
            input_file=text(sub(item, "inputDataConfig", "s3InputDataConfig", "s3Uri"), 256),
            output_file=text(sub(item, "outputDataConfig", "s3OutputDataConfig", "s3Uri"), 256),
            expires_at=moment(item.get("jobExpirationTime")),
        ),
    )
    return Parsed(job, int(unreadable(item.get("submitTime"), created)))


def _batch_error(word: str, item: Object) -> JobError | None:
    if word == "Expired":
        return EXPIRED
    message = text(item.get("message"), 2_000) if word == "Failed" else None
    return None if message is None else JobError(message=message)


def _base(arn: object) -> str:
    """The model id: `amazon.nova-micro-v1:0` from `arn:aws:bedrock:…::foundation-model/amazon.nova-micro-v1:0`."""
    return (text(arn, 512) or "").rpartition("foundation-model/")[2][:256] or "unknown"


def _phase(item: Object) -> Status:
    """The status of a job that is `InProgress`: validating or queued until its training phase has started.

    Bedrock has no status of its own for jobs that wait.
    """
    details = item.get("statusDetails")
    if not isinstance(details, dict) or _begun(details.get("trainingDetails")):
        return Status.RUNNING
    validating = sub(details, "validationDetails", "status") == "InProgress"
    return Status.VALIDATING if validating and not _begun(details.get("dataProcessingDetails")) else Status.QUEUED


def _begun(phase: object) -> bool:
    return sub(phase, "status") not in (None, "NotStarted")


def _error(item: Object) -> JobError | None:
    message = text(item.get("failureMessage"), 2_000)
    return None if message is None else JobError(message=message)


def _losses(item: Object) -> Metrics:
    validations = item.get("validationMetrics")
    first = validations[0] if isinstance(validations, list) and validations else None
    return Metrics(
        train_loss=number(sub(item, "trainingMetrics", "trainingLoss")),
        valid_loss=number(sub(first, "validationLoss")),
    )
