"""The daemon's address and credentials, from the command line and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import click

URL: Final = "FINETUNE_MONITOR_SERVER"
DEFAULT: Final = "http://127.0.0.1:10877"
PASSWORD: Final = "FINETUNE_MONITOR_PASSWORD"  # noqa: S105 - the name of the variable, not what is in it
_LARGEST: Final = 4096


class BadServer(click.ClickException):
    """The daemon's address or the credentials are unusable. The text says why, without a password."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user name and a password for basic authentication."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The address of a daemon and how to authenticate there."""

    host: str
    port: int
    secure: bool
    prefix: str = ""
    """The path before `/api`, percent-encoded, without a trailing slash."""
    credentials: Credentials | None = None
    ca_file: Path | None = None
    """A PEM file with the certificate authorities to trust, in place of the system's."""

    @property
    def address(self) -> str:
        """The URL, without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{self.prefix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The options that say where the daemon is and how to authenticate."""

    url: str = DEFAULT
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None


def server(access: Access, environ: Mapping[str, str]) -> Server:
    """Check the options. Credentials come from them, from the URL or from the environment. Raises BadServer."""
    try:
        parts = urlsplit(access.url.rstrip("/"))
        port = parts.port
    except ValueError:
        raise BadServer("the server's URL is malformed") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadServer("the server's URL must begin with http:// or https:// and a host")
    if not access.url.isascii() or parts.query or parts.fragment:
        raise BadServer("the server's URL must be scheme, host, port and path in ASCII, and nothing else")
    secure = parts.scheme == "https"
    user = access.user if access.user is not None else _decoded(parts.username)
    return Server(
        host=parts.hostname,
        port=port if port is not None else (443 if secure else 80),
        secure=secure,
        prefix=quote(parts.path, safe="/%~"),
        credentials=_credentials(user, _decoded(parts.password), access.password_file, environ),
        ca_file=access.ca_file,
    )


def _credentials(
    user: str | None, password: str | None, file: Path | None, environ: Mapping[str, str]
) -> Credentials | None:
    if user is None:
        if file is not None:
            raise BadServer("a password needs a user name: --user")
        return None
    if file is not None:
        password = _read(file)
    elif password is None:
        password = environ.get(PASSWORD)
    if password is None:
        raise BadServer(f"a user name needs a password: set {PASSWORD} or give --password-file")
    if ":" in user:
        raise BadServer("a user name for basic authentication must not contain a colon")
    return Credentials(user=user, password=password)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(_LARGEST).decode().strip()
    except UnicodeDecodeError:
        raise BadServer(f"{file}: is not UTF-8") from None
    except OSError as error:
        raise BadServer(f"{file}: cannot be read: {error.strerror}") from None


def _decoded(part: str | None) -> str | None:
    return unquote(part) if part is not None else None
