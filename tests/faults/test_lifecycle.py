"""HTTP requests that change the real process: all or nothing, and only for the operator."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest

from tests.e2e.daemon import FAST, Daemon, running, until
from tests.faults.certificates import SERVER, client_side
from tests.faults.hostile import Hostile, served

pytestmark = pytest.mark.fault("G26")

CHANGING = ("/-/reload", "/-/requeue", "/-/replay?since=1h")
KEY = "sk-proj-a-new-key-9fJ2kLm3Qw7Zx"


def settings(*apis: Hostile, **server: Any) -> dict[str, Any]:
    return {
        "organizations": [{"name": api.name, "provider": "openai", "base_url": api.url, "api_key": api.key}
                          for api in apis],
        "poll": FAST,
        "server": {"listen": "127.0.0.1:0", **server},
    }  # fmt: skip


async def post(
    daemon: Daemon,
    headers: dict[str, str] | None = None,
    tls: ssl.SSLContext | bool = True,
    path: str = "/-/reload",
) -> tuple[int, str]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as client:
        async with client.post(f"{daemon.url}{path}", headers=headers) as answer:
            return answer.status, await answer.text()


@pytest.mark.fault("H08")
async def test_nothing_changes_over_http_unless_it_is_asked_for(tmp_path: Path) -> None:
    api = Hostile("solo")
    async with served(api), running(tmp_path, settings(api)) as daemon:
        paths = ["/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/jobs", "/api/v1/orgs", "/api/v1/deliveries"]
        async with aiohttp.ClientSession() as client:
            for path in paths:
                for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
                    async with client.request(method, daemon.url + path) as answer:
                        assert answer.status == 405, (method, path)
                        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        for path in CHANGING:
            assert (await post(daemon, path=path))[0] == 403
            assert (await daemon.get(path))[0] == 405
        assert '"event":"config.reloaded"' not in daemon.log


@pytest.mark.fault("H07")
async def test_a_reload_is_all_or_nothing_and_refuses_pages_of_other_sites(tmp_path: Path) -> None:
    first, second = Hostile("first"), Hostile("second")
    async with served(first, second), running(tmp_path, settings(first, enable_lifecycle=True)) as daemon:
        daemon.settings = settings(first, second, enable_lifecycle=True)
        daemon.write()
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Host": "evil.example"},
        ):
            status, said = await post(daemon, headers)
            assert status == 403
            assert "evil" not in said
        assert '"event":"config.reloaded"' not in daemon.log
        assert await post(daemon, {"Origin": daemon.url, "Sec-Fetch-Site": "same-origin"}) == (200, "reloaded\n")
        await until(lambda: bool(second.asked))
        daemon.settings["organizations"][0]["api_key"] = KEY
        daemon.settings["organizations"][0]["base_urll"] = f"https://user:{KEY}@x/"
        daemon.write()
        status, said = await post(daemon)
        assert status == 500
        assert f"{daemon.config}:" in said
        assert "organizations.0.base_urll: unknown key" in said
        assert KEY not in said + daemon.log
        metrics = await daemon.metrics()
        assert metrics["finetune_config_last_reload_successful"] == 0
        polled = metrics['finetune_org_polls_total{org="first"}']
        await until(lambda: _polled(daemon, polled + 2))
        assert {call.headers["authorization"] for call in first.asked} == {f"Bearer {first.key}"}


async def _polled(daemon: Daemon, times: float) -> bool:
    return (await daemon.metrics())['finetune_org_polls_total{org="first"}'] >= times


@pytest.mark.fault("G34")
async def test_the_process_speaks_tls_and_asks_for_a_password_for_the_reload_too(tmp_path: Path) -> None:
    api, password = Hostile("solo"), "correct-horse-battery-staple"
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(
        f"tls_server_config: {{cert_file: {SERVER.cert}, key_file: {SERVER.key}}}\nbasic_auth_users: {{ops: {hashed}}}",
        encoding="utf-8",
    )
    server = {"enable_lifecycle": True, "web_config_file": "web.yml"}
    async with served(api), running(tmp_path, settings(api, **server)) as daemon:
        assert daemon.url.startswith("https://")
        authorization = "Basic " + base64.b64encode(f"ops:{password}".encode()).decode()
        for path in CHANGING:
            assert (await post(daemon, tls=client_side(), path=path))[0] == 401
            assert (await post(daemon, {"Authorization": authorization}, client_side(), path))[0] == 200
        assert (await post(daemon, {"Authorization": authorization}, client_side())) == (200, "reloaded\n")
        # A user is added while it runs.
        with (tmp_path / "web.yml").open("a", encoding="utf-8") as file:
            file.write("\n")
        text = (tmp_path / "web.yml").read_text("utf-8").replace("{ops:", "{someone: " + hashed + ", ops:")
        (tmp_path / "web.yml").write_text(text, encoding="utf-8")
        other = "Basic " + base64.b64encode(f"someone:{password}".encode()).decode()

        async def known() -> bool:
            return (await post(daemon, {"Authorization": other}, client_side()))[0] == 200

        await until(known)
        assert await daemon.stop() == 0
    assert password not in daemon.log
    assert hashed not in daemon.log
    assert authorization.split()[1] not in daemon.log


@pytest.mark.fault("G23", "G24", "F01")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("basic_auth_users: {a: b}", "basic_auth_users.a: should be a bcrypt hash", id="a bad hash"),
        pytest.param("tls_server_config: {cert_file: x, key_file: y}", "cert_file: cannot be read", id="no file"),
        pytest.param("tls: {}", "tls: unknown key", id="an unknown key"),
    ],
)
async def test_a_broken_web_configuration_ends_the_start_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "web.yml").write_text(text, encoding="utf-8")
    api = Hostile("solo")
    async with served(api):
        daemon = Daemon(tmp_path, settings(api, web_config_file="web.yml"))
        with pytest.raises(AssertionError, match=r"web\.yml:1:"):
            await daemon.start()
        assert daemon.process is not None
        assert await daemon.process.wait() == 1
    assert problem in daemon.log
