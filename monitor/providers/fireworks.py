"""Fireworks' tuning jobs: one list per training method, paged as in Google's AIPs, and no events.

Users choose the ids, which are unique in a list only. Our ids begin with the method, except on the supervised list.

Shapes and states are those of the `fireworks-ai` package. `wandbConfig` is never read, since it holds the user's
Weights & Biases key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Final, Literal
from urllib.parse import quote

from pydantic import Field

from monitor.domain.model import PREFIXES, FineTuning, Job, Method, Status
from monitor.providers._answers import google_list
from monitor.providers._grpc import job_error
from monitor.providers._json import Object, Parsed, Skip
from monitor.providers._settings import BaseUrl, KeyedOrganization
from monitor.providers._values import hyperparameters, job_identifier, moment, number, sub, text, unreadable, whole
from monitor.providers.base import JobList, KeyAuth, Provider

_HYPERPARAMETERS: Final = ("epochs", "batchSize", "learningRate", "loraRank", "maxContextLength")
_PAGE_URL: Final = "https://app.fireworks.ai/dashboard/fine-tuning/"
_STATE: Final = "JOB_STATE_"
_NANO: Final = Decimal(10) ** -9
LISTS: Final[Mapping[str, Method]] = {
    "supervisedFineTuningJobs": Method.SUPERVISED,
    "dpoJobs": Method.DPO,
    "reinforcementFineTuningJobs": Method.REINFORCEMENT,
}
STATUSES: Final[Mapping[str, Status]] = {
    "CREATING": Status.VALIDATING,
    "CREATING_INPUT_DATASET": Status.VALIDATING,
    "VALIDATING": Status.VALIDATING,
    "PENDING": Status.QUEUED,
    "RE_QUEUEING": Status.QUEUED,
    "RUNNING": Status.RUNNING,
    "WRITING_RESULTS": Status.RUNNING,
    "IDLE": Status.RUNNING,
    "ROLLOUT": Status.RUNNING,  # this and `EVALUATION` are in older documentation
    "EVALUATION": Status.RUNNING,
    "PAUSED": Status.PAUSED,  # "typically due to account suspension or manual intervention"
    "CANCELLING": Status.CANCELLING,
    "DELETING": Status.CANCELLING,
    "DELETING_CLEANING_UP": Status.CANCELLING,
    "COMPLETED": Status.SUCCEEDED,
    "EARLY_STOPPED": Status.SUCCEEDED,
    "FAILED": Status.FAILED,
    "EXPIRED": Status.FAILED,
    "CANCELLED": Status.CANCELLED,
}


class FireworksSettings(KeyedOrganization):
    """An account at Fireworks."""

    provider: Literal["fireworks"]
    """Fireworks."""
    base_url: BaseUrl = "https://api.fireworks.ai/v1"
    """The address of the API. The key is sent nowhere else."""
    account: str = Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")
    """The account id, as in the names of its models: `accounts/ACCOUNT/models/…`."""

    def vendor(self) -> Provider:
        """Build the provider for this account."""
        account = quote(self.account, safe="")
        return Provider(
            name="fireworks",
            base_url=self.base_url,
            auth=KeyAuth(),
            jobs=tuple(_list(_Collection(self.name, name, account)) for name in LISTS),
            seller="fireworks",
        )


@dataclass(frozen=True, slots=True)
class _Collection:
    """One list of jobs in an account."""

    org: str
    name: str
    account: str

    @property
    def prefix(self) -> str:
        """The prefix of our ids of its jobs."""
        method = LISTS[self.name]
        return "" if method is Method.SUPERVISED else f"{method}:"

    @property
    def path(self) -> str:
        """The path of the list."""
        return f"/accounts/{self.account}/{self.name}"


def _list(collection: _Collection) -> JobList:
    # The default order is by name, where the newest jobs could be on any page.
    params = (("pageSize", "200"), ("orderBy", "create_time desc"))
    parse = partial(_parse_job, collection)
    return google_list(collection.name, collection.path, params, parse, prefix=collection.prefix)


def _parse_job(collection: _Collection, item: Object) -> Parsed[Job] | Skip:
    name = text(item.get("name"), 512) or ""
    job_id = job_identifier(name.rpartition("/")[2])
    if job_id is None or job_id.startswith(PREFIXES):
        return "bad_id"
    word = (text(item.get("state"), 64) or "").removeprefix(_STATE)
    status = STATUSES.get(word, Status.UNKNOWN)
    # Supervised jobs have their settings at the top level, other jobs in `trainingConfig`.
    config = item if "baseModel" in item else item.get("trainingConfig")
    created = moment(item.get("createTime"))
    job = Job(
        org=collection.org,
        id=collection.prefix + job_id,
        provider="fireworks",
        model=text(sub(config, "baseModel"), 256) or "unknown",
        method=LISTS[collection.name],
        status=status,
        raw_status=word,
        name=text(item.get("displayName"), 128),
        created_at=created,
        finished_at=moment(item.get("completedTime")) if status.final else None,
        error=job_error(item.get("status")),
        reported_usd=None if status in (Status.FAILED, Status.CANCELLED) else _money(item.get("estimatedCost")),
        reported_progress=_progress(item),
        url=_PAGE_URL + quote(job_id, safe=""),
        tuning=FineTuning(
            fine_tuned_model=text(sub(config, "outputModel"), 256),
            trained_tokens=whole(sub(item, "jobProgress", "inputTokens")) if status is Status.SUCCEEDED else None,
            epochs=whole(sub(config, "epochs")),
            hyperparameters=hyperparameters({name: sub(config, name) for name in _HYPERPARAMETERS}),
            training_file=text(item.get("dataset"), 256),
            validation_file=text(item.get("evaluationDataset"), 256),
        ),
    )
    return Parsed(job, int(unreadable(item.get("createTime"), created)))


def _money(amount: object) -> Decimal | None:
    """A `google.type.Money` in US dollars: `units` are whole dollars as text, absent when 0; `nanos` are billionths."""
    if sub(amount, "currencyCode") != "USD":
        return None
    units, nanos = number(sub(amount, "units") or 0), number(sub(amount, "nanos") or 0)
    if units is None or nanos is None or not (units.is_integer() and nanos.is_integer()):
        return None
    usd = Decimal(int(units)) + int(nanos) * _NANO
    return usd if usd >= 0 else None


def _progress(item: Object) -> float | None:
    """The progress from 0 to 1, which supervised and reinforcement jobs report.

    A percentage of 0 is left out of the JSON.
    """
    if not isinstance(item.get("jobProgress"), dict):
        return None
    percent = number(sub(item, "jobProgress", "percent") or 0)
    return min(max(percent / 100, 0.0), 1.0) if percent is not None else None
