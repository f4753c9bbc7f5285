"""Why a job failed, in classes that say who can mend it, with the next step to take."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from monitor.domain.model import JobError


class FailureClass(StrEnum):
    """Who can mend a failure; the `reason` label of `finetune_job_failures_total`."""

    FILE = "data"
    MODERATION = "moderation"
    PROVIDER = "provider"
    QUOTA = "quota"
    PERMISSION = "permission"
    SETTINGS = "settings"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A failure understood: its class, what to do next, and whether the same job may work if created again."""

    cls: FailureClass
    hint: str
    retryable: bool


_HINTS: Final = {
    FailureClass.FILE: "Correct the training or validation file, upload it again and create a new job.",
    FailureClass.MODERATION: (
        "Too many training examples were flagged as unsafe: look at the moderation events and remove them."
    ),
    FailureClass.PROVIDER: (
        "The provider failed, not your data: create the job again, and ask the provider if it keeps failing."
    ),
    FailureClass.QUOTA: (
        "The organisation's quota or credit is used up: raise the limit or balance, then create the job again."
    ),
    FailureClass.PERMISSION: (
        "This organisation or key may not train this model: check its access, or choose another model."
    ),
    FailureClass.SETTINGS: "The model or the hyperparameters were refused: correct them and create a new job.",
    FailureClass.UNKNOWN: "The provider gave no known reason: read the job's events.",
}
# OpenAI's deprecations page, "Update to OpenAI's self-serve fine-tuning".
_CODE_HINTS: Final = {
    "training_not_available": (
        "OpenAI is closing fine-tuning: this organisation may not create new jobs any more, and from 2027-01-06 on "
        "nobody may. Its jobs and tuned models can still be read."
    ),
}
_RETRYABLE: Final = frozenset({FailureClass.PROVIDER, FailureClass.QUOTA})

_CODES: Final = {
    "server_error": FailureClass.PROVIDER,
    "internal_error": FailureClass.PROVIDER,
    "internal_server_error": FailureClass.PROVIDER,
    "timeout": FailureClass.PROVIDER,
    "unsafe_file": FailureClass.MODERATION,
    "content_policy_violation": FailureClass.MODERATION,
    "content_filter": FailureClass.MODERATION,
    "insufficient_quota": FailureClass.QUOTA,
    "exceeded_quota": FailureClass.QUOTA,
    "credit_balance_exhausted": FailureClass.QUOTA,
    "billing_hard_limit_reached": FailureClass.QUOTA,
    "training_not_available": FailureClass.PERMISSION,
    "permission_denied": FailureClass.PERMISSION,
    "model_not_found": FailureClass.SETTINGS,
    "model_not_available": FailureClass.SETTINGS,
    "invalid_hyperparameters": FailureClass.SETTINGS,
}

# Codes are not all documented, so words decide where the code is unknown. The first that occurs wins.
_WORDS: Final = (
    ("moderation", FailureClass.MODERATION),
    ("unsafe", FailureClass.MODERATION),
    ("usage polic", FailureClass.MODERATION),
    ("quota", FailureClass.QUOTA),
    ("billing", FailureClass.QUOTA),
    ("training_file", FailureClass.FILE),
    ("training file", FailureClass.FILE),
    ("validation_file", FailureClass.FILE),
    ("validation file", FailureClass.FILE),
    ("invalid_file", FailureClass.FILE),
    ("example", FailureClass.FILE),
    ("hyperparameter", FailureClass.SETTINGS),
    ("internal error", FailureClass.PROVIDER),
    ("server", FailureClass.PROVIDER),
)


def triage(error: JobError | None) -> Diagnosis:
    """The class of a failed job's error, by its code, else by its words."""
    error = error or JobError()
    cls, code = _class(error), _code(error)
    return Diagnosis(cls=cls, hint=_CODE_HINTS.get(code, _HINTS[cls]), retryable=cls in _RETRYABLE)


def _code(error: JobError) -> str:
    return (error.code or "").lower()


def _class(error: JobError) -> FailureClass:
    code = _code(error)
    if code in _CODES:
        return _CODES[code]
    text = " ".join(filter(None, (code, error.param, error.message))).lower()
    return next((cls for word, cls in _WORDS if word in text), FailureClass.UNKNOWN)
