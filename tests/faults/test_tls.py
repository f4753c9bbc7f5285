"""TLS of the real server: which clients are accepted, and changes of files."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import time
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from tests.faults.certificates import AUTHORITY, CLIENT, IMPOSTOR, RENEWED, client_side
from tests.faults.server import files, peer, protected_server

pytestmark = pytest.mark.fault("G34")


@pytest.mark.fault("G34")
async def test_tls_speaks_only_the_versions_that_are_asked_for(tmp_path: Path) -> None:
    async with protected_server(tmp_path, tls_server_config=files(tmp_path, min_version="TLS13")) as here:
        assert here.url.startswith("https://")
        assert await here.get(tls=client_side()) == 200
        assert await asyncio.to_thread(peer, here.url, client_side()) == ("first", "TLSv1.3")
        with pytest.raises(ssl.SSLError):
            await asyncio.to_thread(peer, here.url, client_side(highest=ssl.TLSVersion.TLSv1_2))
        with pytest.raises(aiohttp.ClientError):
            await here.get(tls=True)  # a client that does not trust our authority
        plain = here.url.replace("https:", "http:")
        with pytest.raises(aiohttp.ClientError):
            async with aiohttp.ClientSession() as client, client.get(plain):
                pass


@pytest.mark.fault("G34")
async def test_half_and_strange_handshakes_hold_up_nobody_and_leave_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with protected_server(tmp_path, tls_server_config=files(tmp_path)) as here:
        port = int(here.url.rsplit(":", 1)[1])
        writers = []
        for greeting in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\xff" * 500):
            for _ in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(greeting)
                writers.append(writer)
        began = time.perf_counter()
        assert await here.get(tls=client_side()) == 200
        assert time.perf_counter() - began < 1
        for writer in writers:
            writer.close()
    assert [record.getMessage() for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}] == []


@pytest.mark.fault("G34")
async def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    async with protected_server(tmp_path, tls_server_config=files(tmp_path)) as here:
        assert (await asyncio.to_thread(peer, here.url, client_side()))[0] == "first"
        shutil.copy(RENEWED.cert, tmp_path / "tls.crt")  # and the key a moment later, as in renewals
        await here.access.refresh()
        assert (await asyncio.to_thread(peer, here.url, client_side()))[0] == "first"
        shutil.copy(RENEWED.key, tmp_path / "tls.key")
        await here.access.refresh()
        assert (await asyncio.to_thread(peer, here.url, client_side()))[0] == "second"
        assert (await asyncio.to_thread(peer, here.url, client_side(), "monitor.example.com"))[0] == "second"
        (tmp_path / "tls.key").write_text("nonsense", encoding="utf-8")
        await here.access.refresh()
        assert (await asyncio.to_thread(peer, here.url, client_side()))[0] == "second"


@pytest.mark.fault("G34")
@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda one: one.name)
async def test_clients_must_be_signed_by_the_authority_that_is_configured_now(
    tmp_path: Path, highest: ssl.TLSVersion
) -> None:
    shutil.copy(AUTHORITY, tmp_path / "ca.pem")
    tls = files(tmp_path, client_ca_file="ca.pem", client_auth_type="RequireAndVerifyClientCert")
    async with protected_server(tmp_path, tls_server_config=tls) as here:

        async def outcome(context: ssl.SSLContext) -> int:
            try:
                return await here.get(tls=context)
            except (aiohttp.ClientError, OSError):
                return 0

        assert await outcome(client_side(CLIENT, highest=highest)) == 200
        assert await outcome(client_side(highest=highest)) == 0
        assert await outcome(client_side(IMPOSTOR, highest=highest)) == 0
        kept = client_side(CLIENT, highest=highest)
        assert await outcome(kept) == 200
        shutil.copy(AUTHORITY.with_name("stranger.crt"), tmp_path / "ca.pem")
        await here.access.refresh()
        assert await outcome(kept) == 0
        assert await outcome(client_side(IMPOSTOR, highest=highest)) == 200


@pytest.mark.fault("G34")
async def test_what_an_open_listener_cannot_change_is_refused_aloud(tmp_path: Path) -> None:
    async with protected_server(tmp_path, tls_server_config=files(tmp_path)) as here:
        with capture_logs() as logs:
            here.write()
            await here.access.refresh()
        assert [line["event"] for line in logs] == ["web_config.refused"]
        assert await here.get(tls=client_side()) == 200


@pytest.mark.fault("G34")
async def test_the_operators_headers_stand_instead_of_ours(tmp_path: Path) -> None:
    headers = {"Strict-Transport-Security": "max-age=60", "X-Frame-Options": "SAMEORIGIN"}
    async with protected_server(tmp_path, http_server_config={"headers": headers}) as here:
        for path in ("/", "/nowhere"):
            async with aiohttp.ClientSession() as client, client.get(here.url + path) as answer:
                assert {name: answer.headers[name] for name in headers} == headers
                assert answer.headers.getall("X-Frame-Options") == ["SAMEORIGIN"]
