"""Classifies failures by Google's canonical error codes (google.rpc.Code)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from monitor.domain.model import FailureClass, JobError
from monitor.providers._values import sub, text

_NAMES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
# INVALID_ARGUMENT is left out: it may be the file or the settings, so the message is classified instead.
_FAILURES: Final[Mapping[str, FailureClass]] = {
    "DEADLINE_EXCEEDED": FailureClass.PROVIDER,
    "NOT_FOUND": FailureClass.FILE,
    "PERMISSION_DENIED": FailureClass.PERMISSION,
    "UNAUTHENTICATED": FailureClass.PERMISSION,
    "RESOURCE_EXHAUSTED": FailureClass.QUOTA,
    "ABORTED": FailureClass.PROVIDER,
    "OUT_OF_RANGE": FailureClass.SETTINGS,
    "UNIMPLEMENTED": FailureClass.SETTINGS,
    "INTERNAL": FailureClass.PROVIDER,
    "UNAVAILABLE": FailureClass.PROVIDER,
    "DATA_LOSS": FailureClass.PROVIDER,
}


def job_error(status: object) -> JobError | None:
    """Convert a `google.rpc.Status`, whose code is a number or a name; None for OK, which healthy jobs carry."""
    code = sub(status, "code")
    name = _NAMES[code] if isinstance(code, int) and 0 <= code < len(_NAMES) else text(code, 64)
    message = text(sub(status, "message"), 2_000)
    if name == "OK" or (name is None and message is None):
        return None
    return JobError(code=name, message=message, failure=_FAILURES.get(name or ""))
