"""The real web server on a real store, with access control."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt

from monitor.app.build import access
from monitor.web import AccessControl, Web, application, serve
from tests.faults.certificates import SERVER
from tests.web.site import Site, site

PASSWORD = "korrekt-pferd-ß-batterie"


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@dataclass
class ProtectedServer:
    """A site with access control."""

    site: Site
    access: AccessControl
    url: str
    file: Path

    def write(self, **config: Any) -> None:
        """Write the web configuration; JSON is valid YAML."""
        self.file.write_text(json.dumps(config), encoding="utf-8")

    async def get(self, path: str = "/-/healthy", *, tls: ssl.SSLContext | bool = True, **over: Any) -> int:
        """The status of a request on a new connection."""
        connector = aiohttp.TCPConnector(ssl=tls, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as client:
            async with client.get(self.url + path, **over) as answer:
                await answer.read()
                return answer.status


@asynccontextmanager
async def protected_server(folder: Path, **config: Any) -> AsyncIterator[ProtectedServer]:
    file = folder / "web.yml"
    file.write_text(json.dumps(config), encoding="utf-8")
    async with site(folder) as shown:
        control = AccessControl(partial(access, file))
        of = Web(
            reader=shown.store.reader, costs=shown.store.costs,
            health=shown.health, process=shown.process, clock=_clock(), alive=lambda: True, access=control
        )  # fmt: skip
        async with serve(application(of), "127.0.0.1", 0, control.context) as (host, port):
            yield ProtectedServer(shown, control, f"{control.scheme}://{host}:{port}", file)


def _clock() -> Any:
    from tests.web.site import Noon  # noqa: PLC0415 - beside its only use

    return Noon()


def files(folder: Path, **over: Any) -> dict[str, Any]:
    """The TLS settings, with copies of the certificate that a test may replace."""
    shutil.copy(SERVER.cert, folder / "tls.crt")
    shutil.copy(SERVER.key, folder / "tls.key")
    return {"cert_file": "tls.crt", "key_file": "tls.key", **over}


def peer(url: str, context: ssl.SSLContext, name: str = "localhost") -> tuple[str, str]:
    """The common name of the server's certificate, and the negotiated TLS version."""
    port = int(url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        with context.wrap_socket(plain, server_hostname=name) as secure:
            subject: Any = secure.getpeercert()
            return dict(pair[0] for pair in subject["subject"])["commonName"], str(secure.version())
