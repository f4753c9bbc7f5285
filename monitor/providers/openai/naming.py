"""How OpenAI and Azure OpenAI name models, how "auto" epochs are chosen, and what class of failure an error code is."""

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

# Documented codes, and codes seen in captured answers. Others are classified by their words (`domain/triage.py`).
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
# From OpenAI's deprecations page, "Update to OpenAI's self-serve fine-tuning".
_HINTS: Final[Mapping[str, str]] = {
    "training_not_available": (
        "OpenAI is closing fine-tuning: this organisation may not create new jobs any more, and from 2027-01-06 on "
        "nobody may. Its jobs and fine-tuned models can still be read."
    ),
}


def auto_epochs(examples: int) -> int:
    """The epochs that "auto" becomes: 3, unless that is fewer than 100 or more than 25 000 examples in all.

    From OpenAI's cookbook, "Data preparation and analysis for chat model fine-tuning".
    """
    examples = max(examples, 1)
    if examples * _TARGET_EPOCHS < _LEAST_EXAMPLES:
        return min(_MOST_EPOCHS, _LEAST_EXAMPLES // examples)
    if examples * _TARGET_EPOCHS > _MOST_EXAMPLES:
        return max(1, _MOST_EXAMPLES // examples)
    return _TARGET_EPOCHS


# Azure: `BASE.ft-ID[-NAME]`. The ID is hexadecimal, also as a UUID with hyphens; gateways have shorter ones.
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
    # Bills and deprecation notices write `ft-gpt-4o-2024-08-06`.
    mentioned=(re.compile(r"ft:(?P<base>[^:]*).*", re.DOTALL), re.compile(r"ft-(?P<base>.*)", re.DOTALL)),
    snapshot=re.compile(r"(?P<family>ft:[^:]*:[^:]*:[^:]*):.*:ckpt-step-.*", re.DOTALL),
    family=re.compile(r"(?P<family>ft:[^:]*:[^:]*:[^:]*):.*", re.DOTALL),
    auto_epochs=auto_epochs,
)


def base_model(model: str) -> str:
    """The base model of a fine-tuned model's name; any other name is returned as it is."""
    return NAMING.base_model(model)


def classified(error: JobError) -> JobError:
    """The error with the class and the hint that OpenAI's code stands for."""
    code = (error.code or "").lower()
    return replace(error, failure=FAILURES.get(code), hint=_HINTS.get(code))
