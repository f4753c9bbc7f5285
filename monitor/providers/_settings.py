"""What every organisation has in the configuration, whoever its provider is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from monitor.providers.base import Accounts

_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# Ours, and those with a meaning in Prometheus: a second value under one of these names would hide the first.
_TAKEN: Final = frozenset(
    {
        "base_model", "budget", "code", "fine_tuned_model", "job_id", "kind", "le", "line_item",
        "method", "model", "name", "notifier", "operation", "org", "phase", "provider",
        "python", "quantile", "reason", "result", "revision", "source", "status", "version",
    }
)  # fmt: skip


def _label_names(labels: dict[str, str]) -> dict[str, str]:
    for name in labels:
        if not _LABEL.fullmatch(name) or name.startswith("__"):
            raise ValueError(f"{name!r} is not a Prometheus label name: letters, digits and _, not starting with __")
        if name in _TAKEN:
            raise ValueError(f"{name!r} is taken by the monitor's own metrics")
    return labels


def _address(url: str) -> str:
    """An http or https URL without a trailing slash. Complaints leave the value out: it may hold a password."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("not an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong in a URL")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError("a base URL has no query and no fragment")
    return url.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_address), Field(json_schema_extra={"format": "uri"})]
Labels = Annotated[
    dict[str, Annotated[str, Field(max_length=256)]],
    AfterValidator(_label_names),
    Field(max_length=32),
]


class Organization(BaseModel):
    """One organisation (or project) whose jobs are watched."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    required_secrets: ClassVar[tuple[str, ...]] = ("api_key",)
    """Each of these is given as itself or as a file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    """The `org` label of metrics and notifications; unique."""
    api_key: SecretStr | None = None
    """The API key. It needs to read fine-tuning jobs, and files where costs are to be estimated; nothing else."""
    api_key_file: Path | None = None
    """A file with the API key, read again whenever it changes."""
    webhook_secret: SecretStr | tuple[SecretStr, ...] | None = None
    """The signing secret of the provider's webhooks to `/webhooks/{name}`; several while it is being rotated."""
    webhook_secret_file: Path | None = None
    """A file with the signing secret."""
    labels: Labels = Field(default_factory=dict)
    """Labels for aggregates, notifications and routes, such as the team."""

    def accounts(self) -> Accounts | None:
        """How to read the organisation's books; None where its provider has none, or where there is no key for them."""
        return None
