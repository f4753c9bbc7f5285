"""Google's Vertex AI: the tuning jobs of a project, one list per location, and no events.

Shapes and states are those of the `google-genai` package (3.6). Proto3's JSON leaves zero and empty values out, and
writes 64-bit integers as text.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from pydantic import Field, model_validator

from monitor.domain.model import FineTuning, Job, Method, Metrics, Status, Training
from monitor.providers._answers import google_list
from monitor.providers._grpc import job_error
from monitor.providers._json import Object, Parsed, Skip
from monitor.providers._oauth import read_token, token_call
from monitor.providers._settings import BaseUrl, Organization
from monitor.providers._values import hyperparameters, job_identifier, moment, pairs, sub, text, unreadable, whole
from monitor.providers.base import (
    Auth,
    AuthFailed,
    Call,
    JobList,
    KeyAuth,
    Provider,
    Request,
    Token,
    TokenAuth,
)

_STATE: Final = "JOB_STATE_"
_DETAIL: Final = "TUNING_JOB_STATE_"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME: Final = 3600  # seconds; the maximum that Google allows
_METADATA: Final = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
STATUSES: Final[Mapping[str, Status]] = {
    "QUEUED": Status.QUEUED,
    "PENDING": Status.QUEUED,
    "RUNNING": Status.RUNNING,
    "UPDATING": Status.RUNNING,
    "PAUSED": Status.PAUSED,
    "CANCELLING": Status.CANCELLING,
    "SUCCEEDED": Status.SUCCEEDED,
    "PARTIALLY_SUCCEEDED": Status.SUCCEEDED,  # final, although the SDK's `has_ended` does not include it
    "FAILED": Status.FAILED,
    "EXPIRED": Status.FAILED,
    "CANCELLED": Status.CANCELLED,
}
DETAILS: Final[Mapping[str, Status]] = {
    "WAITING_FOR_QUOTA": Status.QUEUED,
    "WAITING_FOR_CAPACITY": Status.QUEUED,
    "PROCESSING_DATASET": Status.VALIDATING,
    "TUNING": Status.RUNNING,
    "POST_PROCESSING": Status.RUNNING,
}
"""The status of a job in state `RUNNING` by its `tuningJobState`, where it has one."""
_SPECS: Final[Mapping[str, Method]] = {
    "supervisedTuningSpec": Method.SUPERVISED,
    "fullFineTuningSpec": Method.SUPERVISED,
    "preferenceOptimizationSpec": Method.DPO,
    "reinforcementTuningSpec": Method.REINFORCEMENT,
}
_STATISTICS: Final = ("supervisedTuningDataStats", "preferenceOptimizationDataStats", "reinforcementTuningDataStats")
_PLACE: Final = r"^[a-z0-9.:-]{1,128}$"


class VertexSettings(Organization):
    """A Google Cloud project that tunes models in Vertex AI."""

    provider: Literal["vertex"]
    """Vertex AI."""
    base_url: BaseUrl | None = None
    """The address of the API, instead of each location's own host."""
    project: str = Field(pattern=_PLACE)
    """The project's id or number."""
    locations: tuple[str, ...] = Field(min_length=1, max_length=64)
    """The locations whose jobs are watched, such as `us-central1`."""
    credentials_file: Path | None = None
    """The JSON key of a service account that may list tuning jobs (roles/aiplatform.viewer)."""
    token_file: Path | None = None
    """Instead: a file with an access token that another program keeps fresh."""
    metadata: bool = False
    """Instead: the service account of the machine or pod, from the metadata server."""

    @model_validator(mode="after")
    def _check_alternatives(self) -> VertexSettings:
        ways = (self.credentials_file is not None, self.token_file is not None, self.metadata)
        if sum(ways) != 1:
            raise ValueError("give one of credentials_file, token_file and metadata: true")
        for location in self.locations:
            if not location or not location.replace("-", "").isalnum() or not location.isascii():
                raise ValueError("a location is a name such as us-central1 or global")
        return self

    def vendor(self) -> Provider:
        """Build the provider for this project."""
        locations = tuple(_Location(self.name, self.project, location, self.base_url) for location in self.locations)
        return Provider(
            name="vertex",
            base_url=self.base_url or locations[0].host,
            auth=self._auth(),
            jobs=tuple(_list(location) for location in locations),
            seller="vertex" if self.base_url is None else None,
        )

    def _auth(self) -> Auth:
        if self.token_file is not None:
            return KeyAuth(secret="token")  # noqa: S106 - the name of a setting
        if self.metadata:
            return TokenAuth(secrets=(), exchange=_from_metadata)
        return TokenAuth(secrets=("credentials",), exchange=_from_service_account)


def _from_metadata(_secrets: Mapping[str, str], _now: datetime) -> Call[Token]:
    headers = (("Metadata-Flavor", "Google"),)
    return Call(request=Request(operation="get_token", path=_METADATA, headers=headers), read=read_token)


def _from_service_account(secrets: Mapping[str, str], now: datetime) -> Call[Token]:
    """Exchange a signed assertion for a token (developers.google.com/identity/protocols/oauth2/service-account).

    Raises AuthFailed for a file that is not the key of a service account.
    """
    try:
        key = json.loads(secrets["credentials"])
        url, email, private = key["token_uri"], key["client_email"], key["private_key"]
        header = {"alg": "RS256", "typ": "JWT", "kid": str(key.get("private_key_id", ""))}
        issued = int(now.timestamp())
        claims = {"iss": email, "scope": _SCOPE, "aud": url, "iat": issued, "exp": issued + _LIFETIME}
        assertion = signed(header, claims, private)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise AuthFailed("credentials_file is not the JSON key of a service account") from None
    if not str(url).startswith(("https://", "http://")):
        raise AuthFailed("token_uri in credentials_file is not an http or https URL")
    return token_call(url, {"grant_type": _GRANT, "assertion": assertion})


def signed(header: Mapping[str, Any], claims: Mapping[str, Any], private_key: str) -> str:
    """A JSON Web Token signed with RS256 (RFC 7515). Raises ValueError or TypeError for an unusable key."""
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - 40 ms, for Vertex alone
    from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415 - as above

    key = serialization.load_pem_private_key(private_key.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("not an RSA key")
    body = ".".join(_base64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return f"{body}.{_base64(key.sign(body.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class _Location:
    """A project in one location."""

    org: str
    project: str
    location: str
    base_url: str | None

    @property
    def host(self) -> str:
        """The host of the location's API."""
        prefix = "" if self.location == "global" else f"{self.location}-"
        return f"https://{prefix}aiplatform.googleapis.com"

    @property
    def path(self) -> str:
        """The path of the job list; a whole URL where each location has a host of its own."""
        place = f"/v1beta1/projects/{quote(self.project, safe='')}/locations/{self.location}/tuningJobs"
        return place if self.base_url is not None else self.host + place

    @property
    def page_url(self) -> str:
        """The page of the fine-tuned models in Google's console."""
        return f"https://console.cloud.google.com/vertex-ai/studio/tuning?project={quote(self.project, safe='')}"


def _list(location: _Location) -> JobList:
    return google_list("tuningJobs", location.path, (("pageSize", "100"),), partial(_parse_job, location))


def _parse_job(location: _Location, item: Object) -> Parsed[Job] | Skip:
    job_id = job_identifier((text(item.get("name"), 1024) or "").rpartition("/")[2])
    if job_id is None:
        return "bad_id"
    state, word = _status(item)
    spec = next((name for name in item if name.endswith("Spec")), "")
    figures: dict[str, Any] = {"created_at": moment(item.get("createTime"))}
    job = Job(
        org=location.org,
        id=job_id,
        provider="vertex",
        model=text(item.get("baseModel"), 256) or "unknown",
        method=_SPECS.get(spec, Method.UNKNOWN),
        status=state,
        raw_status=word,
        name=text(item.get("tunedModelDisplayName"), 128),
        taken_up_at=moment(item.get("startTime")),
        finished_at=moment(item.get("endTime")) if state.final else None,
        error=job_error(item.get("error")),
        metadata=pairs(item.get("labels")),
        training=Training(latest=_steps(item)),
        url=location.page_url,
        tuning=_tuning(item, spec, succeeded=state is Status.SUCCEEDED),
        **figures,
    )
    return Parsed(job, int(unreadable(item.get("createTime"), job.created_at)))


def _tuning(item: Object, spec: str, *, succeeded: bool) -> FineTuning:
    model, chosen = item.get("tunedModel"), sub(item.get(spec), "hyperParameters")
    epochs = whole(sub(chosen, "epochCount"))
    return FineTuning(
        fine_tuned_model=text(sub(model, "model"), 256) or text(sub(model, "endpoint"), 256),
        trained_tokens=_tokens(item, epochs) if succeeded else None,
        epochs=epochs,
        hyperparameters=hyperparameters(chosen),
        training_file=text(sub(item.get(spec), "trainingDatasetUri"), 256),
        validation_file=text(sub(item.get(spec), "validationDatasetUri"), 256),
    )


def _status(item: Object) -> tuple[Status, str]:
    """The status, and the vendor's word for it.

    Jobs that wait for quota or capacity are `RUNNING` at Google; here they are queued.
    """
    word = (text(item.get("state"), 64) or "").removeprefix(_STATE)
    detail = (text(item.get("tuningJobState"), 64) or "").removeprefix(_DETAIL)
    state = STATUSES.get(word, Status.UNKNOWN)
    if state is Status.RUNNING and detail in DETAILS:
        return DETAILS[detail], detail
    return state, word


def _tokens(item: Object, epochs: int | None) -> int | None:
    """The trained tokens: billable tokens of the dataset × epochs."""
    stats = item.get("tuningDataStats")
    found = (whole(sub(stats, name, "totalBillableTokenCount")) for name in _STATISTICS)
    tokens = next((each for each in found if each is not None), None)
    return whole(tokens * epochs) if tokens is not None and epochs is not None else None


def _steps(item: Object) -> Metrics:
    """The completed and the total steps."""
    stats, done = item.get("tuningDataStats"), item.get("tuningJobMetadata")
    found = (whole(sub(stats, name, "tuningStepCount")) for name in _STATISTICS)
    steps = next((each for each in found if each is not None), None)
    return Metrics(step=whole(sub(done, "completedStepCount")), steps=steps)
