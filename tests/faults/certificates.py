"""Certificates for tests, created in each run: an authority, certificates it signed, and one of another."""

from __future__ import annotations

import atexit
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

_FOLDER = Path(mkdtemp(prefix="certificates-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
AUTHORITY = _FOLDER / "authority.crt"


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key."""

    name: str

    @property
    def cert(self) -> Path:
        """The path of the certificate (PEM)."""
        return _FOLDER / f"{self.name}.crt"

    @property
    def key(self) -> Path:
        """The path of the private key (PEM)."""
        return _FOLDER / f"{self.name}.key"


SERVER = Certificate("server")
RENEWED = Certificate("renewed")
CLIENT = Certificate("client")
IMPOSTOR = Certificate("impostor")


def client_side(of: Certificate | None = None, *, highest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A client's TLS context, by default without a client certificate."""
    context = ssl.create_default_context(cafile=str(AUTHORITY))
    if of is not None:
        context.load_cert_chain(of.cert, of.key)
    if highest is not None:
        context.maximum_version = highest
    return context


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=_FOLDER)


def _key(name: str) -> None:
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key")


def _authority(name: str, subject: str) -> None:
    _key(name)
    signs = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    _openssl(
        "req",
        "-x509",
        "-new",
        "-key",
        f"{name}.key",
        "-out",
        f"{name}.crt",
        "-subj",
        f"/CN={subject}",
        "-days",
        "2",
        *signs,
    )


def _signed(name: str, subject: str, names: str, *, by: str = "authority") -> None:
    _key(name)
    _openssl("req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
    (_FOLDER / f"{name}.ext").write_text(f"basicConstraints=CA:FALSE\nsubjectAltName={names}\n")
    signer = ("-CA", f"{by}.crt", "-CAkey", f"{by}.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
    _openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signer)


_HOSTS = "IP:127.0.0.1,DNS:localhost,DNS:monitor.example.com"
_authority("authority", "Test authority")
_authority("stranger", "Another authority")
_signed("server", "first", _HOSTS)
_signed("renewed", "second", _HOSTS)
_signed("client", "scraper", "DNS:scraper")
_signed("impostor", "scraper", "DNS:scraper", by="stranger")
