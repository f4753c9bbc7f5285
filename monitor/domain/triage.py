"""Classifies why a job or a batch failed, by who can fix it, with a hint what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from monitor.domain.model import FailureClass, JobError, JobKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The class of a failure with a hint what to do next."""

    cls: FailureClass
    hint: str
    retryable: bool
    """Whether the same job may succeed if it is created again."""


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
_BATCH_HINTS: Final = {
    FailureClass.FILE: "Correct the input file, upload it again and create a new batch.",
    FailureClass.MODERATION: "Requests were flagged as unsafe: look at the batch's errors and remove them.",
    FailureClass.PROVIDER: (
        "The provider failed, not your data: create the batch again, and ask the provider if it keeps failing."
    ),
    FailureClass.QUOTA: (
        "The organisation's quota or credit is used up: raise the limit or balance, then create the batch again."
    ),
    FailureClass.PERMISSION: (
        "This organisation or key may not use this model: check its access, or choose another model."
    ),
    FailureClass.SETTINGS: "The model or the settings were refused: correct them and create a new batch.",
    FailureClass.UNKNOWN: "The provider gave no known reason: look at the batch in the provider's console.",
}
_RETRYABLE: Final = frozenset({FailureClass.PROVIDER, FailureClass.QUOTA})

# Documented codes are classified by the vendors' tables (`JobError.failure`). For others, the first of these words that
# occurs in the error decides.
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


def triage(error: JobError | None, kind: JobKind = JobKind.FINE_TUNING) -> Diagnosis:
    """The diagnosis of a failed job's error, by its documented code or else by the words of its message."""
    error = error or JobError()
    cls = error.failure or _by_words(error)
    hints = _BATCH_HINTS if kind is JobKind.BATCH else _HINTS
    return Diagnosis(cls=cls, hint=error.hint or hints[cls], retryable=cls in _RETRYABLE)


def _by_words(error: JobError) -> FailureClass:
    text = " ".join(filter(None, (error.code, error.param, error.message))).lower()
    return next((cls for word, cls in _WORDS if word in text), FailureClass.UNKNOWN)
