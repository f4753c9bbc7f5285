"""What OpenAI's fine-tuning job objects mean, and those of the servers that copy them.

The official examples break the official schema, so that every field is optional and may have any type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from monitor.domain.model import Job, JobError, Method, Status
from monitor.providers._json import Object, Partial, Skip
from monitor.providers._values import (
    hyperparameters,
    job_identifier,
    moment,
    odd,
    pairs,
    sub,
    text,
    texts,
    whole,
)
from monitor.providers.openai.naming import AZURE_TUNED, NAMING, blamed

# OpenAI's words, then those of Azure OpenAI, LiteLLM and LLMariner, which speak the same language.
STATUSES: Final[Mapping[str, Status]] = {
    "validating_files": Status.VALIDATING,
    "queued": Status.QUEUED,
    "running": Status.RUNNING,
    "paused": Status.PAUSED,
    "succeeded": Status.SUCCEEDED,
    "failed": Status.FAILED,
    "cancelled": Status.CANCELLED,
    "created": Status.QUEUED,
    "creating": Status.QUEUED,  # LLMariner's word for a job that waits
    "pending": Status.QUEUED,
    "notRunning": Status.QUEUED,
    "pausing": Status.RUNNING,  # still running; PAUSED follows
    "resuming": Status.QUEUED,  # a resumed job queues again
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
_ERROR_TEXT: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Teller:
    """Who lists the jobs."""

    org: str
    """As the configuration names it."""
    provider: str
    page_url: str | None = None
    """Where the vendor shows a job, without its id."""
    batch_url: str | None = None
    """The same of a batch."""
    organization: str | None = None
    """As the vendor names it: jobs of another one are not ours."""
    failed_is_free: bool = False
    """By the vendor's rules, jobs that fail cost nothing."""


def understand(teller: Teller, item: Object) -> Partial[Job] | Skip:
    """One job, or why it is none: it has no usable id, or belongs to another organisation."""
    job_id = job_identifier(item.get("id"))
    if job_id is None:
        return "bad_id"
    if foreign(teller, item):
        return "foreign"
    figures: dict[str, Any] = {name: parse(item.get(name)) for name, parse in _FIGURES.items()}
    raw, model = item.get("status"), text(item.get("model"), 256) or "unknown"
    fine_tuned_model = text(item.get("fine_tuned_model"), 256)
    job = Job(
        org=teller.org,
        id=job_id,
        provider=teller.provider,
        model=model,
        base_model=NAMING.base_model(model) if NAMING.is_tuned(model) else "",
        method=_method(item.get("method")),
        status=STATUSES.get(raw, Status.UNKNOWN) if isinstance(raw, str) else Status.UNKNOWN,
        raw_status=text(raw, 64) or "",
        name=text(item.get("user_provided_suffix") or item.get("suffix"), 128) or _suffix(fine_tuned_model),
        fine_tuned_model=fine_tuned_model,
        epochs=_epochs(item),
        hyperparameters=hyperparameters(item.get("hyperparameters"), _of_method(item)),
        seed=whole(item.get("seed"), least=0),
        training_file=text(item.get("training_file"), 256),
        validation_file=text(item.get("validation_file"), 256),
        result_files=texts(item.get("result_files"), 256, 100),
        error=_error(item.get("error")),
        metadata=pairs(item.get("metadata")),
        shared=item.get("shared_with_openai") is True,
        tier=_TIERS.get((text(item.get("trainingType"), 64) or "").lower()),
        reported_usd=Decimal(0) if teller.failed_is_free and raw == "failed" else None,
        reported_progress=_progress(item),
        url=None if teller.page_url is None else teller.page_url + quote(job_id, safe=""),
        **figures,
    )
    return Partial(job, sum(odd(item.get(name), found) for name, found in figures.items()))


def foreign(teller: Teller, item: Object) -> bool:
    """Whether a job says that it belongs to another organisation than the configured one."""
    ours, theirs = teller.organization or "", item.get("organization_id")
    said = isinstance(theirs, str) and theirs.startswith("org-") and ours.startswith("org-")
    return said and theirs != ours


_FIGURES: Final[Mapping[str, Callable[[object], Any]]] = {
    "created_at": moment,
    "finished_at": moment,
    "estimated_finish": moment,
    "trained_tokens": whole,
}


def _progress(item: Object) -> float | None:
    """Nebius gives the steps in the job itself."""
    done, steps = whole(item.get("trained_steps"), least=0), whole(item.get("total_steps"))
    return min(done / steps, 1.0) if done is not None and steps else None


def _method(method: object) -> Method:
    """Absent on jobs from before 2025, when there was one method."""
    kind = sub(method, "type")
    if kind is None:
        return Method.SUPERVISED
    return _METHODS.get(kind, Method.UNKNOWN) if isinstance(kind, str) else Method.UNKNOWN


def _suffix(model: str | None) -> str | None:
    """The fourth part of `ft:<base>:<org>:<suffix>:<id>`, or what follows Azure's `<base>.ft-<id>-`."""
    parts = (model or "").split(":")
    if len(parts) >= 5 and parts[0] == "ft":
        return text(parts[3], 128)
    found = AZURE_TUNED.fullmatch(model or "")
    return text(found["name"], 128) if found else None


def _epochs(item: Object) -> int | None:
    """The number of epochs; None as long as it is "auto"."""
    epochs = whole(sub(item.get("hyperparameters"), "n_epochs"))
    return epochs if epochs is not None else whole(sub(_of_method(item), "n_epochs"))


def _of_method(item: Object) -> object:
    """The hyperparameters that the method of training has for itself."""
    kind = sub(item.get("method"), "type")
    return sub(item.get("method"), kind, "hyperparameters") if isinstance(kind, str) else None


def _error(error: object) -> JobError | None:
    """Healthy jobs carry `{}` or an error of nulls."""
    if isinstance(error, str):
        message = text(error, _ERROR_TEXT)
        return None if message is None else JobError(message=message)
    found = JobError(
        code=text(sub(error, "code"), 128),
        message=text(sub(error, "message"), _ERROR_TEXT),
        param=text(sub(error, "param"), 256),
    )
    return None if found == JobError() else blamed(found)
