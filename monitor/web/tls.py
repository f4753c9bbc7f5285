"""Creates the server's TLS context from files, with errors that name the wrong file."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_NO_PASSPHRASE: Final = b""  # keeps OpenSSL from asking for the passphrase of an encrypted key on the terminal

Version = Literal["TLS12", "TLS13"]
Which = Literal["cert", "key", "client_ca"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The server's certificate, and the verification of client certificates."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    """The authority that client certificates are verified against; None: they are not requested."""
    client_required: bool = False
    lowest: Version = "TLS12"
    highest: Version = "TLS13"

    @property
    def files(self) -> tuple[Path, ...]:
        """All files it is made of."""
        return tuple(filter(None, (self.cert, self.key, self.client_ca)))


class TlsRefused(ValueError):
    """A file that cannot be used. The text is safe to show."""

    def __init__(self, which: Which, text: str) -> None:
        super().__init__(text)
        self.which = which


def server_context(tls: Tls) -> ssl.SSLContext:
    """Create the server's context from the files. Raises TlsRefused."""
    _readable("cert", tls.cert)
    _readable("key", tls.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[tls.lowest], _VERSIONS[tls.highest]
    context.set_alpn_protocols(["http/1.1"])
    # No session resumption: an old session would bypass a changed client_ca.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        context.load_cert_chain(tls.cert, tls.key, password=lambda: _NO_PASSPHRASE)
    except (ssl.SSLError, ValueError, OSError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise TlsRefused("cert", f"is no certificate with its key in key_file ({reason})") from None
    if tls.client_ca is not None:
        _ask_clients(context, tls.client_ca, required=tls.client_required)
    return context


def _ask_clients(context: ssl.SSLContext, authority: Path, *, required: bool) -> None:
    _readable("client_ca", authority)
    try:
        context.load_verify_locations(cafile=authority)
    except (ssl.SSLError, ValueError, OSError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise TlsRefused("client_ca", f"has no certificates ({reason})") from None
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL


def _readable(which: Which, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:  # a path with a NUL raises ValueError
        reason = (isinstance(error, OSError) and error.strerror) or "it has no such name"
        raise TlsRefused(which, f"cannot be read ({reason})") from None
