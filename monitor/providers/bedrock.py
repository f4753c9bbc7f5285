"""Amazon Bedrock's customization jobs: one list, three phases with times, and no events.

Shapes and words are those of botocore's service model `bedrock` (1.44). The copy of OpenAI's API that Bedrock has too
(`bedrock-mantle`) is asked with `provider: openai`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from pydantic import Field, SecretStr, model_validator

from monitor.domain.model import Job, JobError, Method, Metrics, Status, Training
from monitor.providers._answers import TokenPages, single
from monitor.providers._json import Object, Partial, Skip
from monitor.providers._refusals import RefusalRule
from monitor.providers._settings import BaseUrl, Organization
from monitor.providers._sigv4 import SigV4
from monitor.providers._values import hyperparameters, identifier, moment, number, odd, sub, text, whole
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
    RefusalRule(re.compile(r"ResourceNotFound"), NotFound, "no such job", frozenset({400})),  # as moto answers
)
_JOBS: Final = "/model-customization-jobs"


class BedrockSettings(Organization):
    """An account of AWS that customizes models in one region."""

    provider: Literal["bedrock"]
    """Amazon Bedrock."""
    region: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    """The region whose jobs are watched."""
    base_url: BaseUrl | None = None
    """Where the API is, instead of the region's own host."""
    api_key: SecretStr | None = None
    """A Bedrock API key; it needs bedrock:ListModelCustomizationJobs and bedrock:GetModelCustomizationJob."""
    api_key_file: Path | None = None
    """A file with the key, read again whenever it changes."""
    access_key_id: SecretStr | None = None
    """Instead, an access key of IAM, whose requests are signed."""
    access_key_id_file: Path | None = None
    """A file with its id."""
    secret_access_key: SecretStr | None = None
    """Its secret."""
    secret_access_key_file: Path | None = None
    """A file with its secret."""
    session_token: SecretStr | None = None
    """The session token of temporary credentials."""
    session_token_file: Path | None = None
    """A file with the session token, read again whenever it changes."""

    @model_validator(mode="after")
    def _one_way(self) -> BedrockSettings:
        given = {name for name in ("api_key", "access_key_id", "secret_access_key", "session_token") if self._has(name)}
        if given not in ({"api_key"}, {"access_key_id", "secret_access_key"}, _TEMPORARY):
            raise ValueError("give api_key, or access_key_id with secret_access_key (and session_token)")
        return self

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None or getattr(self, f"{name}_file") is not None

    def vendor(self) -> Provider:
        """What can be asked of the account."""
        of = _Account(self.name, self.region)
        return Provider(
            name="bedrock",
            base_url=self.base_url or f"https://bedrock.{self.region}.amazonaws.com",
            auth=self._auth(),
            jobs=(JobList(pages=Listing(first=_FIRST, read=partial(_read_jobs, of)), one=partial(_job, of)),),
            seller="bedrock" if self.base_url is None else None,
        )

    def _auth(self) -> Auth:
        if self._has("api_key"):
            return KeyAuth()
        names = ("access_key_id", "secret_access_key", *(("session_token",) if self._has("session_token") else ()))
        return SigV4(region=self.region, service="bedrock", secrets=names)


_TEMPORARY: Final = {"access_key_id", "secret_access_key", "session_token"}
_FIRST: Final = Request(
    operation="list_jobs",
    path=_JOBS,
    params=(("maxResults", "100"), ("sortBy", "CreationTime"), ("sortOrder", "Descending")),
)


@dataclass(frozen=True, slots=True)
class _Account:
    org: str
    region: str

    @property
    def page_url(self) -> str:
        """Where people look at the custom models of the region."""
        return f"https://{self.region}.console.aws.amazon.com/bedrock/home?region={self.region}#/custom-models"


_PAGES: Final = TokenPages(key="modelCustomizationJobSummaries", told="nextToken", asked="nextToken", rules=_RULES)


def _read_jobs(of: _Account, request: Request, response: Response) -> Page[Job]:
    return _PAGES.read(request, response, partial(_understand, of, listed=True))


def _job(of: _Account, job_id: str) -> Call[Job]:
    request = Request(operation="get_job", path=f"{_JOBS}/{quote(job_id, safe='')}")
    return Call(request=request, read=partial(_read_job, of))


def _read_job(of: _Account, response: Response) -> Job:
    return single(response, partial(_understand, of), named_by="ARN", rules=_RULES)


def _understand(of: _Account, item: Object, *, listed: bool = False) -> Partial[Job] | Skip:
    """A job as the list shows it, or as it is shown alone, which has more: error, epochs and losses.

    What belongs to the end is not believed of jobs that are not over: some servers give them an end and an error.
    """
    job_id = identifier(item.get("jobArn"), limit=1024)
    if job_id is None:
        return "bad_id"
    word = text(item.get("status"), 64) or ""
    status = STATUSES.get(word, Status.UNKNOWN)
    created, succeeded = moment(item.get("creationTime")), status is Status.SUCCEEDED
    training = sub(item, "statusDetails", "trainingDetails")
    job = Job(
        org=of.org,
        id=job_id,
        provider="bedrock",
        model=_base(item.get("baseModelArn")),
        method=_METHODS.get(text(item.get("customizationType"), 64) or "FINE_TUNING", Method.UNKNOWN),
        status=_phase(item) if status is Status.RUNNING else status,
        raw_status=word,
        name=text(item.get("jobName"), 128),
        fine_tuned_model=(text(item.get("customModelName") or item.get("outputModelName"), 256) if succeeded else None),
        created_at=created,
        started_at=moment(sub(training, "creationTime")) if sub(training, "status") != "NotStarted" else None,
        finished_at=moment(item.get("endTime")) if status.final else None,
        epochs=whole(sub(item, "hyperParameters", "epochCount")),
        hyperparameters=hyperparameters(item.get("hyperParameters")),
        training_file=text(sub(item, "trainingDataConfig", "s3Uri"), 256),
        error=_error(item) if status is Status.FAILED else None,
        training=Training(latest=_losses(item) if succeeded else Metrics()),
        summary_only=listed and status.final,
        url=of.page_url,
    )
    return Partial(job, int(odd(item.get("creationTime"), created)))


def _base(arn: object) -> str:
    """`amazon.nova-micro-v1:0` of `arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-micro-v1:0`."""
    return (text(arn, 512) or "").rpartition("foundation-model/")[2][:256] or "unknown"


def _phase(item: Object) -> Status:
    """There is no word for waiting: until the training has a beginning, a job is validated or in the queue."""
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
