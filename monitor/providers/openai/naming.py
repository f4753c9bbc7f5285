"""How OpenAI and Azure OpenAI name models, what "auto" epochs become, and whose fault an error code is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from monitor.domain.model import FailureClass, JobError
from monitor.domain.naming import Naming

_TARGET_EPOCHS: Final = 3
_LEAST_EXAMPLES: Final = 100
_MOST_EXAMPLES: Final = 25_000
_MOST_EPOCHS: Final = 25

# Documented, or seen in captured replies; what else comes is judged by its words (`domain/triage.py`).
FAILURES: Final[Mapping[str, FailureClass]] = {
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
# OpenAI's deprecations page, "Update to OpenAI's self-serve fine-tuning".
_HINTS: Final[Mapping[str, str]] = {
    "training_not_available": (
        "OpenAI is closing fine-tuning: this organisation may not create new jobs any more, and from 2027-01-06 on "
        "nobody may. Its jobs and tuned models can still be read."
    ),
}


def auto_epochs(examples: int) -> int:
    """What "auto" becomes: three epochs, but 100 to 25 000 examples in all (OpenAI's cookbook, "Data preparation")."""
    examples = max(examples, 1)
    if examples * _TARGET_EPOCHS < _LEAST_EXAMPLES:
        return min(_MOST_EPOCHS, _LEAST_EXAMPLES // examples)
    if examples * _TARGET_EPOCHS > _MOST_EXAMPLES:
        return max(1, _MOST_EXAMPLES // examples)
    return _TARGET_EPOCHS


# At Azure `BASE.ft-ID[-NAME]`, the ID in hexadecimal, also as a UUID with its hyphens; gateways have shorter ones.
AZURE_TUNED: Final = re.compile(
    r"(?P<base>[^:]+)\.ft-([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=[a-z]*[0-9])[0-9a-z]{4,64})"
    r"(-(?P<name>[^:]+))?(:.+)?",
    re.DOTALL | re.IGNORECASE,
)

NAMING: Final = Naming(
    # `ft:BASE:ORG:NAME:ID[:ckpt-step-N]`; before 2023 `curie:ft-org-2021-…`.
    tuned=(
        re.compile(r"ft:(?P<base>[^:]+):.+", re.DOTALL),
        re.compile(r"(ft-)?(?P<base>[^:]+?):ft-.+", re.DOTALL),
        AZURE_TUNED,
    ),
    # Bills and deprecations write `ft-gpt-4o-2024-08-06`.
    mentioned=(re.compile(r"ft:(?P<base>[^:]*).*", re.DOTALL), re.compile(r"ft-(?P<base>.*)", re.DOTALL)),
    snapshot=re.compile(r"(?P<family>ft:[^:]*:[^:]*:[^:]*):.*:ckpt-step-.*", re.DOTALL),
    family=re.compile(r"(?P<family>ft:[^:]*:[^:]*:[^:]*):.*", re.DOTALL),
    auto_epochs=auto_epochs,
)


def base_model(model: str) -> str:
    """The base of a model's name, which is the name itself where it is none of a tuned model."""
    return NAMING.base_model(model)


def blamed(error: JobError) -> JobError:
    """The error, with what OpenAI says of its code."""
    code = (error.code or "").lower()
    return replace(error, failure=FAILURES.get(code), hint=_HINTS.get(code))
