"""The settings that organisations of all providers have in common."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator

from monitor.domain.model import JobKind
from monitor.domain.text import NAME
from monitor.providers.base import Provider

_NEVER: Final = " \\"
"""Printable characters that no URL has."""
_PORTS: Final = {"http": 80, "https": 443}
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
# Headers that the HTTP library sets, and headers that would change the meaning of a request.
_NOT_OURS: Final = frozenset(
    {
        "accept-encoding", "connection", "content-length", "content-type", "cookie", "expect", "host", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
SELECTING: Final = ("organization", "project", "account", "region")
"""The settings that select a part of what a key may see."""
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# Labels of our own metrics, and labels with a meaning in Prometheus. A second value under the same name would hide the
# first.
_TAKEN: Final = frozenset(
    {
        "base_model", "budget", "code", "endpoint", "fine_tuned_model", "job_id", "kind", "le", "line_item",
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
    """Normalise an http or https URL. Error messages omit the value, which may contain a password."""
    try:
        parts = urlsplit(url)
        named = bool((parts.hostname or "").rstrip("."))
        known = parts.scheme in ("http", "https") and named and parts.port != 0
    except ValueError:
        known = False
    if not known or not url.isascii() or not url.isprintable() or not set(url).isdisjoint(_NEVER):
        raise ValueError("not an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong in a URL")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError("a base URL has no query and no fragment; parameters go into `query`")
    return canonical(url)


def canonical(url: str) -> str:
    """Normalise a URL: host in lower case without a trailing dot, no default port, no empty path segments."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _PORTS[parts.scheme]) else f":{parts.port}"
    path = re.sub("/{2,}", "/", parts.path).rstrip("/")
    return f"{parts.scheme}://{host}{port}{path}"


def _header_names(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _NOT_OURS:
            raise ValueError("a name is not one of a header that may be set")
        if not value.get_secret_value().isascii() or not value.get_secret_value().isprintable():
            raise ValueError("a header's value has characters that none may have")
    return headers


BaseUrl = Annotated[str, AfterValidator(_address), Field(json_schema_extra={"format": "uri"})]
Labels = Annotated[
    dict[str, Annotated[str, Field(max_length=256)]],
    AfterValidator(_label_names),
    Field(max_length=32),
]


Headers = Annotated[dict[str, SecretStr], AfterValidator(_header_names), Field(max_length=32)]
Query = Annotated[dict[Annotated[str, Field(min_length=1, max_length=128)], SecretStr], Field(max_length=32)]


def _listed(value: object) -> object:
    """Accept a single name in place of a list."""
    return [value] if isinstance(value, str) else value


OrgName = Annotated[str, Field(pattern=NAME)]
FormerNames = Annotated[
    tuple[OrgName, ...], BeforeValidator(_listed, json_schema_input_type=OrgName | tuple[OrgName, ...])
]


class Organization(BaseModel):
    """One organisation (or project) whose jobs are watched."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, hide_input_in_errors=True)

    required_secrets: ClassVar[tuple[str, ...]] = ()
    """The names of the secrets that must be set, each as text or as a file."""
    families: ClassVar[frozenset[JobKind]] = frozenset({JobKind.FINE_TUNING})
    """The kinds of jobs that can be watched at this provider."""

    name: OrgName
    """The `org` label of metrics and notifications; unique."""
    was: FormerNames = ()
    """Former names. What was announced under them is not announced again, and their costs still count."""
    labels: Labels = Field(default_factory=dict)
    """Labels for aggregates, notifications and routes, such as the team."""
    headers: Headers = Field(default_factory=dict)
    """Headers that are sent with every request, for example for a gateway. Their values may be secrets."""
    headers_file: Path | None = None
    """A file with more headers, one `Name: value` per line. It is re-read when it changes."""
    query: Query = Field(default_factory=dict)
    """Parameters that are sent with every request; their values may be secrets."""
    watch: tuple[JobKind, ...] = Field(default=(JobKind.FINE_TUNING,), min_length=1)
    """What is watched: fine-tuning jobs, batches, or both."""

    @field_validator("watch")
    @classmethod
    def _watchable(cls, watch: tuple[JobKind, ...]) -> tuple[JobKind, ...]:
        if not cls.families.issuperset(watch):
            raise ValueError("this provider has no list of batches")
        return watch

    @property
    def place(self) -> str:
        """Identifies the list of jobs: provider, address, account, project; neither a key nor a name.

        It is stored. Where it has changed and no listed job is known, the jobs are a new baseline.
        """
        named = ((name, getattr(self, name, None)) for name in ("base_url", "endpoint", *SELECTING))
        given = (f"{name}={value}" for name, value in named if value is not None)
        return " ".join((str(getattr(self, "provider", "")), *given))

    @abstractmethod
    def vendor(self) -> Provider:
        """Build the provider: the requests that this organisation's server answers, and how they are parsed."""

    def hidden(self) -> Iterator[str]:
        """Yield every secret in the settings as text, including those that are only received (webhook secrets)."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, SecretStr):
                    yield each.get_secret_value()

    def credentials(self) -> Mapping[str, tuple[str | None, Path | None]]:
        """The configured secrets by setting name, each as `(text, None)` or `(None, path of its file)`."""
        found: dict[str, tuple[str | None, Path | None]] = {}
        for name in type(self).model_fields:
            text, path = getattr(self, name), getattr(self, f"{name}_file", None)
            if isinstance(text, SecretStr):
                found[name] = (text.get_secret_value(), None)
            elif isinstance(path, Path) and name != "headers":
                found[name] = (None, path)
            elif isinstance(text, Path) and name.removesuffix("_file") not in type(self).model_fields:
                found[name.removesuffix("_file")] = (None, text)
        return found


class KeyedOrganization(Organization):
    """An organisation that authenticates with an API key."""

    required_secrets: ClassVar[tuple[str, ...]] = ("api_key",)

    api_key: SecretStr | None = None
    """The API key. It needs to read fine-tuning jobs, and files where costs are to be estimated; nothing else."""
    api_key_file: Path | None = None
    """A file with the API key, re-read when it changes."""
