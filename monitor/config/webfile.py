"""The web configuration file with TLS and passwords, in the format of Prometheus' exporter-toolkit.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from monitor.config.problems import ConfigError, Issue
from monitor.config.reading import first_per_location, problems, validate_tree
from monitor.config.sections import Section, path_names, sections
from monitor.config.yaml import LARGEST, parse
from monitor.secret import Redactor

if TYPE_CHECKING:
    from monitor.web.tls import Tls

_HASH: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_COSTS: Final = range(4, 17)  # each step doubles the time of a check, which is seconds at 16

Auth = Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"]
Version = Literal["TLS12", "TLS13"]
Header = Literal[
    "Strict-Transport-Security",
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
]


def _hashed(value: str) -> str:
    found = _HASH.fullmatch(value)
    if found is None:
        raise ValueError("should be a bcrypt hash, as `htpasswd -nBC 10 NAME` prints after the colon")
    if int(found[1]) not in _COSTS:
        raise ValueError("should have a cost from 4 to 16: more takes seconds for every check")
    return value


def _named(value: str) -> str:
    if ":" in value or not value.isprintable():
        raise ValueError("the name of a user should be printable and have no colon")
    return value


def _one_line(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ValueError("should be plain ASCII on one line")
    return value


class WebPart(BaseModel):
    """The base class of the web configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class TlsServerConfig(WebPart):
    """The TLS settings. Files are relative to the web configuration file and are read again when they change."""

    cert_file: Path
    """The certificate chain in PEM format."""
    key_file: Path
    """The private key in PEM format, without a passphrase."""
    client_auth_type: Auth = "NoClientCert"
    """Whether clients must present a certificate."""
    client_ca_file: Path | None = None
    """The CA certificates that client certificates are verified with, in PEM format."""
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"

    @model_validator(mode="after")
    def _agree(self) -> TlsServerConfig:
        if (self.client_ca_file is None) != (self.client_auth_type == "NoClientCert"):
            raise ValueError("client_ca_file goes with a client_auth_type that verifies")
        if self.min_version > self.max_version:
            raise ValueError("min_version should not be above max_version")
        return self

    @property
    def tls(self) -> Tls:
        """The settings as the server needs them."""
        from monitor.web.tls import Tls  # noqa: PLC0415 - brings the whole server along, which most files do not need

        return Tls(
            cert=self.cert_file,
            key=self.key_file,
            client_ca=self.client_ca_file,
            client_required=self.client_auth_type == "RequireAndVerifyClientCert",
            lowest=self.min_version,
            highest=self.max_version,
        )


class HttpServerConfig(WebPart):
    """The settings of HTTP responses."""

    http2: bool = True
    """Accepted for compatibility with the toolkit, and ignored: the server uses HTTP/1.1."""
    headers: Mapping[Header, Annotated[str, AfterValidator(_one_line)]] = Field(default_factory=dict)
    """Response headers that replace the built-in ones."""


class WebConfig(WebPart):
    """A web configuration file."""

    tls_server_config: TlsServerConfig | None = None
    http_server_config: HttpServerConfig = HttpServerConfig()
    basic_auth_users: Mapping[
        Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_named)],
        Annotated[str, AfterValidator(_hashed)],
    ] = Field(default_factory=dict)
    """Bcrypt hashes of passwords by user name."""


def web_config(path: Path) -> WebConfig:
    """The web configuration in a file. Raises ConfigError with all problems, or OSError if it cannot be read."""
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    read = parse(content, lambda text: text)  # without variables, because bcrypt hashes contain dollar signs
    if read.tree is None and not read.issues:  # an empty file is valid
        return WebConfig()
    parts = list(sections(WebConfig, read.tree))
    for part in parts:
        _anchor(part, path.parent.absolute())
    found, wrong = validate_tree(WebConfig, read.tree, parts)
    issues = list(first_per_location(read.issues, wrong))
    if found is not None and not issues and found.tls_server_config is not None:
        issues = list(_tls_issues(found.tls_server_config))
    if found is None or issues:
        raise ConfigError(problems(issues, read, str(path), Redactor()))
    return found


def _tls_issues(config: TlsServerConfig) -> Iterator[Issue]:
    """The problems with certificate and key files, found by loading them."""
    from monitor.web.tls import TlsRefused, server_context  # noqa: PLC0415 - as above

    try:
        server_context(config.tls)
    except TlsRefused as error:
        yield Issue(("tls_server_config", f"{error.which}_file"), str(error))


def _anchor(part: Section, folder: Path) -> None:
    for name in path_names(part.model):
        value = part.node.get(name)
        if isinstance(value, str):
            part.node[name] = str(folder / value)
