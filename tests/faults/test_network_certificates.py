"""Certificates of providers: only a valid one is trusted, and no key is sent to any other server."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from tests.e2e.daemon import until
from tests.faults.daemon import watched
from tests.faults.hostile import Hostile, served


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def authority(folder: Path) -> None:
    """Create the authority that signs the certificates."""
    key, made = str(folder / "ca.key"), str(folder / "ca.crt")
    _openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", made, "-subj", "/CN=a", "-days", "2"
    )


def certificate(folder: Path, name: str, *more: str, host: str = "IP:127.0.0.1") -> Path:
    """A certificate of our own authority with its key, in one file."""
    key, asked, made = folder / f"{name}.key", folder / f"{name}.csr", folder / f"{name}.crt"
    (folder / f"{name}.ext").write_text(f"subjectAltName={host}\n")
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(asked), "-subj", f"/CN={name}")
    signer = ("-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key"), "-CAcreateserial")
    limits = ("-extfile", str(folder / f"{name}.ext"), *(more or ("-days", "2")))
    _openssl("x509", "-req", "-in", str(asked), *signer, "-out", str(made), *limits)
    both = folder / f"{name}.pem"
    both.write_text(made.read_text() + key.read_text())
    return both


@pytest.mark.fault("N10")
@pytest.mark.slow
async def test_only_a_good_certificate_is_trusted(tmp_path: Path) -> None:
    authority(tmp_path)
    files = {
        "sound": certificate(tmp_path, "sound"),
        "expired": certificate(tmp_path, "expired", "-days", "-1"),
        "other-host": certificate(tmp_path, "other-host", host="DNS:example.com"),
    }
    apis, contexts = {name: Hostile(name) for name in files}, {}
    for name, file in files.items():
        apis[name].begin("ftjob-1")
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[name].load_cert_chain(file)
    async with (
        served(apis["sound"], tls=contexts["sound"]),
        served(apis["expired"], tls=contexts["expired"]),
        served(apis["other-host"], tls=contexts["other-host"]),
    ):
        urls = {name: api.url for name, api in apis.items()}
        ports = {name: url.rsplit(":", 1)[1] for name, url in urls.items()}
        assert len(set(ports.values())) == 3
        environ = {"SSL_CERT_FILE": str(tmp_path / "ca.crt")}
        async with watched(tmp_path, *apis.values(), urls=urls, environ=environ) as seen:
            await until(lambda: seen.up("sound"))
            await seen.polled("expired", 2)
            await seen.polled("other-host", 2)
            text = {name: (org["trouble"] or {}).get("text", "") for name, org in (await seen.orgs()).items()}
            await seen.ends("sound", "ftjob-1")
    assert (text["sound"], apis["expired"].asked, apis["other-host"].asked) == ("", [], [])
    assert "certificate is refused" in text["expired"]
    assert "expired" in text["expired"]
    assert "certificate is refused" in text["other-host"]
