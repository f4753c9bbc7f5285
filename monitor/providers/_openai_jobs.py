"""What OpenAI's fine-tuning job objects mean, and those of the servers that copy them.

The official examples break the official schema, so that every field is optional and may have any type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from monitor.domain.model import Job, JobError, Method, Status
from monitor.providers._json import Object
from monitor.providers._values import identifier, moment, pairs, sub, text, texts, whole

# OpenAI's words, then those of Azure OpenAI and of LiteLLM, which speak the same language.
STATUSES: Final[Mapping[str, Status]] = {
    "validating_files": Status.VALIDATING,
    "queued": Status.QUEUED,
    "running": Status.RUNNING,
    "paused": Status.PAUSED,
    "succeeded": Status.SUCCEEDED,
    "failed": Status.FAILED,
    "cancelled": Status.CANCELLED,
    "created": Status.QUEUED,
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
_ERROR_TEXT: Final = 2_000


def understand(org: str, item: Object, *, provider: str, page_url: str | None) -> Job | None:
    """One job; None where it has no usable id. `page_url` is where the vendor shows a job, without its id."""
    job_id = identifier(item.get("id"))
    if job_id is None:
        return None
    raw = item.get("status")
    fine_tuned_model = text(item.get("fine_tuned_model"), 256)
    return Job(
        org=org,
        id=job_id,
        provider=provider,
        model=text(item.get("model"), 256) or "unknown",
        method=_method(item.get("method")),
        status=STATUSES.get(raw, Status.UNKNOWN) if isinstance(raw, str) else Status.UNKNOWN,
        raw_status=text(raw, 64) or "",
        name=text(item.get("user_provided_suffix"), 128) or _suffix(fine_tuned_model),
        fine_tuned_model=fine_tuned_model,
        created_at=moment(item.get("created_at")),
        finished_at=moment(item.get("finished_at")),
        estimated_finish=moment(item.get("estimated_finish")),
        trained_tokens=whole(item.get("trained_tokens")),
        epochs=_epochs(item),
        training_file=text(item.get("training_file"), 256),
        validation_file=text(item.get("validation_file"), 256),
        result_files=texts(item.get("result_files"), 256, 100),
        error=_error(item.get("error")),
        metadata=pairs(item.get("metadata")),
        shared=item.get("shared_with_openai") is True,
        url=None if page_url is None else page_url + quote(job_id, safe=""),
    )


def _method(method: object) -> Method:
    """Absent on jobs from before 2025, when there was one method."""
    kind = sub(method, "type")
    if kind is None:
        return Method.SUPERVISED
    return _METHODS.get(kind, Method.UNKNOWN) if isinstance(kind, str) else Method.UNKNOWN


def _suffix(model: str | None) -> str | None:
    """The fourth part of `ft:<base>:<org>:<suffix>:<id>`."""
    parts = (model or "").split(":")
    return text(parts[3], 128) if len(parts) >= 5 and parts[0] == "ft" else None


def _epochs(item: Object) -> int | None:
    """The number of epochs; None as long as it is "auto"."""
    epochs = whole(sub(item.get("hyperparameters"), "n_epochs"))
    kind = sub(item.get("method"), "type")
    if epochs is not None or not isinstance(kind, str):
        return epochs
    return whole(sub(item.get("method"), kind, "hyperparameters", "n_epochs"))


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
    return None if found == JobError() else found
