"""Why a job failed, in classes that say who can fix it, with the next step to take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from monitor.domain.model import FailureClass, JobError


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
_RETRYABLE: Final = frozenset({FailureClass.PROVIDER, FailureClass.QUOTA})

# Vendors' tables know the documented codes (`JobError.failure`); of others, words decide. The first that occurs wins.
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
    """The class of a failed job's error, by what its vendor says of the code, else by its words."""
    error = error or JobError()
    cls = error.failure or _by_words(error)
    return Diagnosis(cls=cls, hint=error.hint or _HINTS[cls], retryable=cls in _RETRYABLE)


def _by_words(error: JobError) -> FailureClass:
    text = " ".join(filter(None, (error.code, error.param, error.message))).lower()
    return next((cls for word, cls in _WORDS if word in text), FailureClass.UNKNOWN)
