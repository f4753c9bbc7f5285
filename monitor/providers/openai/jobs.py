"""Parses fine-tuning job objects of OpenAI and of servers that copy its API.

The official examples violate the official schema, so every field is optional and may have any type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from monitor.domain.model import FineTuning, Job, JobError, Method, Status
from monitor.providers._json import Object, Parsed, Skip
from monitor.providers._values import (
    hyperparameters,
    job_identifier,
    moment,
    pairs,
    sub,
    text,
    texts,
    unreadable,
    whole,
)
from monitor.providers.openai.naming import AZURE_TUNED, NAMING, classified

# OpenAI's statuses, then those of Azure OpenAI, LiteLLM and LLMariner, which use the same API.
STATUSES: Final[Mapping[str, Status]] = {
    "validating_files": Status.VALIDATING,
    "queued": Status.QUEUED,
    "running": Status.RUNNING,
    "paused": Status.PAUSED,
    "succeeded": Status.SUCCEEDED,
    "failed": Status.FAILED,
    "cancelled": Status.CANCELLED,
    "created": Status.QUEUED,
    "creating": Status.QUEUED,  # a queued job at LLMariner
    "pending": Status.QUEUED,
    "notRunning": Status.QUEUED,
    "pausing": Status.RUNNING,  # the job still runs until it is `paused`
    "resuming": Status.QUEUED,  # a resumed job is queued again
    "cancelling": Status.CANCELLING,
    "canceling": Status.CANCELLING,
    "cancel_requested": Status.CANCELLING,
    "canceled": Status.CANCELLED,
}
_METHODS: Final[Mapping[str, Method]] = {
    "supervised": Method.SUPERVISED,
    "dpo": Method.DPO,
    "reinforcement": Method.REINFORCEMENT,
}
# Azure's `trainingType`.
_TIERS: Final[Mapping[str, str]] = {
    "standard": "standard",
    "globalstandard": "global",
    "datazonestandard": "datazone",
    "developertier": "developer",
    "developer": "developer",
}
_TIMES: Final = ("created_at", "finished_at", "estimated_finish")
_ERROR_TEXT: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The organisation whose answers are parsed, and what its provider adds to them."""

    org: str
    """The organisation's name in the configuration."""
    provider: str
    page_url: str | None = None
    """The vendor's page of a job, up to the job's id."""
    batch_url: str | None = None
    """The vendor's page of a batch, up to the batch's id."""
    organization: str | None = None
    """The vendor's id of the organisation. Jobs that name another one are skipped."""
    failed_is_free: bool = False
    """Whether the vendor charges nothing for failed jobs."""


def parse_job(origin: Origin, item: Object) -> Parsed[Job] | Skip:
    """Parse one job. `bad_id` where it has no usable id, `foreign` where it belongs to another organisation."""
    job_id = job_identifier(item.get("id"))
    if job_id is None:
        return "bad_id"
    if foreign(origin, item):
        return "foreign"
    times: dict[str, Any] = {name: moment(item.get(name)) for name in _TIMES}
    tuning = _tuning(item)
    raw, model = item.get("status"), text(item.get("model"), 256) or "unknown"
    job = Job(
        org=origin.org,
        id=job_id,
        provider=origin.provider,
        model=model,
        base_model=NAMING.base_model(model) if NAMING.is_tuned(model) else "",
        method=_method(item.get("method")),
        status=STATUSES.get(raw, Status.UNKNOWN) if isinstance(raw, str) else Status.UNKNOWN,
        raw_status=text(raw, 64) or "",
        name=text(item.get("user_provided_suffix") or item.get("suffix"), 128) or _suffix(tuning.fine_tuned_model),
        error=_error(item.get("error")),
        metadata=pairs(item.get("metadata")),
        reported_usd=Decimal(0) if origin.failed_is_free and raw == "failed" else None,
        reported_progress=_progress(item),
        url=None if origin.page_url is None else origin.page_url + quote(job_id, safe=""),
        tuning=tuning,
        **times,
    )
    figures = {**times, "trained_tokens": tuning.trained_tokens}
    return Parsed(job, sum(unreadable(item.get(name), found) for name, found in figures.items()))


def _tuning(item: Object) -> FineTuning:
    return FineTuning(
        fine_tuned_model=text(item.get("fine_tuned_model"), 256),
        trained_tokens=whole(item.get("trained_tokens")),
        epochs=_epochs(item),
        hyperparameters=hyperparameters(item.get("hyperparameters"), _of_method(item)),
        seed=whole(item.get("seed"), least=0),
        training_file=text(item.get("training_file"), 256),
        validation_file=text(item.get("validation_file"), 256),
        result_files=texts(item.get("result_files"), 256, 100),
        shared=item.get("shared_with_openai") is True,
        tier=_TIERS.get((text(item.get("trainingType"), 64) or "").lower()),
    )


def foreign(origin: Origin, item: Object) -> bool:
    """Whether a job names another organisation than the configured one."""
    ours, theirs = origin.organization or "", item.get("organization_id")
    named = isinstance(theirs, str) and theirs.startswith("org-") and ours.startswith("org-")
    return named and theirs != ours


def _progress(item: Object) -> float | None:
    """Nebius has the steps in the job itself."""
    done, steps = whole(item.get("trained_steps"), least=0), whole(item.get("total_steps"))
    return min(done / steps, 1.0) if done is not None and steps else None


def _method(method: object) -> Method:
    """The training method. Jobs from before 2025 have none: all of them were supervised."""
    kind = sub(method, "type")
    if kind is None:
        return Method.SUPERVISED
    return _METHODS.get(kind, Method.UNKNOWN) if isinstance(kind, str) else Method.UNKNOWN


def _suffix(model: str | None) -> str | None:
    """The fourth part of `ft:<base>:<org>:<suffix>:<id>`, or the end of Azure's `<base>.ft-<id>-<suffix>`."""
    parts = (model or "").split(":")
    if len(parts) >= 5 and parts[0] == "ft":
        return text(parts[3], 128)
    found = AZURE_TUNED.fullmatch(model or "")
    return text(found["name"], 128) if found else None


def _epochs(item: Object) -> int | None:
    """The number of epochs; None while it is "auto"."""
    epochs = whole(sub(item.get("hyperparameters"), "n_epochs"))
    return epochs if epochs is not None else whole(sub(_of_method(item), "n_epochs"))


def _of_method(item: Object) -> object:
    """The hyperparameters under the training method's own key."""
    kind = sub(item.get("method"), "type")
    return sub(item.get("method"), kind, "hyperparameters") if isinstance(kind, str) else None


def _error(error: object) -> JobError | None:
    """The error of a job. Healthy jobs have `{}` or an error whose fields are null."""
    if isinstance(error, str):
        message = text(error, _ERROR_TEXT)
        return None if message is None else JobError(message=message)
    found = JobError(
        code=text(sub(error, "code"), 128),
        message=text(sub(error, "message"), _ERROR_TEXT),
        param=text(sub(error, "param"), 256),
    )
    return None if found == JobError() else classified(found)
