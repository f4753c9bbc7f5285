"""Passwords of the real server: who is admitted, what checks cost, and changes of users."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path

import aiohttp
import bcrypt
import pytest
from structlog.testing import capture_logs

from monitor.web.access import Passwords, TooManyChecks
from tests.faults.server import PASSWORD, basic, hashed, protected_server

pytestmark = pytest.mark.fault("G34", "H08")


@pytest.mark.fault("H08")
async def test_a_password_is_needed_for_every_address_health_too(tmp_path: Path) -> None:
    paths = ["/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/jobs", "/nowhere"]
    async with protected_server(tmp_path, basic_auth_users={"prometheus": hashed(PASSWORD)}) as here:
        for path in paths:
            assert await here.get(path) == 401
            assert await here.get(path, headers=basic("prometheus", PASSWORD)) in {200, 404, 503}
        async with aiohttp.ClientSession() as client, client.get(here.url) as answer:
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert "research" not in await answer.text()


@pytest.mark.fault("H08")
@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param("Basic", id="no credentials"),
        pytest.param("Basic !!!", id="no base64"),
        pytest.param("Basic " + base64.b64encode(b"prometheus").decode(), id="no colon"),
        pytest.param("Basic " + base64.b64encode(b"prometheus:").decode(), id="an empty password"),
        pytest.param("Basic " + base64.b64encode(b":" + PASSWORD.encode()).decode(), id="no name"),
        pytest.param("Basic " + base64.b64encode(b"prometheus:\x00").decode(), id="a NUL"),
        pytest.param("Basic " + base64.b64encode(b"prometheus:\xff\xfe").decode(), id="no text"),
        pytest.param("Basic " + base64.b64encode(b"prometheus:" + b"x" * 5000).decode(), id="a long password"),
        pytest.param("Basic " + base64.b64encode(b"nobody:" + PASSWORD.encode()).decode(), id="an unknown name"),
        pytest.param("Bearer " + PASSWORD, id="another scheme"),
        pytest.param("\u00e4\u00f6", id="not ASCII"),
    ],
)
async def test_what_is_not_the_password_is_refused(tmp_path: Path, authorization: str) -> None:
    async with protected_server(tmp_path, basic_auth_users={"prometheus": hashed(PASSWORD)}) as here:
        assert await here.get(headers={"Authorization": authorization}) == 401
        assert await here.get(headers=basic("prometheus", PASSWORD)) == 200


@pytest.mark.fault("H08", "P11")
@pytest.mark.parametrize("left", ["", "{}", "http_server_config: {http2: false}", "basic_auth_users:"])
async def test_a_file_that_is_cut_or_emptied_lets_nobody_in(tmp_path: Path, left: str) -> None:
    async with protected_server(tmp_path, basic_auth_users={"prometheus": hashed("first")}) as here:
        with capture_logs() as logs:
            here.file.write_text(left, encoding="utf-8")
            await here.access.refresh()
        assert await here.get() == 401
        assert await here.get(headers=basic("prometheus", "first")) == 200
    assert [line["event"] for line in logs] == ["web_config.refused"]


@pytest.mark.fault("H08")
async def test_a_flood_from_one_address_leaves_the_others_their_turn() -> None:
    passwords = Passwords({"prometheus": hashed(PASSWORD, 8)})

    def header(password: str) -> str:
        return basic("prometheus", password)["Authorization"]

    async def attempt(number: int) -> bool | None:
        try:
            return await passwords.admit(header(f"wrong{number}"), "192.0.2.1")
        except TooManyChecks:
            return None

    flood = [asyncio.create_task(attempt(number)) for number in range(100)]
    await asyncio.sleep(0)
    assert await passwords.admit(header(PASSWORD), "192.0.2.2")
    outcomes = await asyncio.gather(*flood)
    assert (outcomes.count(False), outcomes.count(None)) == (8, 92)
    assert await attempt(100) is False, "the address has its turn again"


@pytest.mark.fault("H08")
def test_an_unknown_name_costs_what_some_known_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    users = {f"user-{cost}": hashed(PASSWORD, cost) for cost in (4, 5, 6)}
    checked: list[bytes] = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda _password, hashed_password: checked.append(hashed_password))
    passwords = Passwords(users)

    async def ask(name: str) -> bytes:
        await passwords.admit(basic(name, "x")["Authorization"], None)
        return checked[-1]

    async def unknown() -> list[bytes]:
        return [await ask(f"nobody-{number % 40}") for number in range(80)]

    found = asyncio.run(unknown())
    assert found[:40] == found[40:], "a name costs the same each time"
    assert {hash_.decode() for hash_ in found} == set(users.values())


@pytest.mark.fault("H06")
async def test_many_who_ask_with_one_password_cost_one_check_and_the_loop_turns(tmp_path: Path) -> None:
    async with protected_server(tmp_path, basic_auth_users={"prometheus": hashed(PASSWORD, 14)}) as here:
        gaps, last = [0.0], time.perf_counter()

        async def tick() -> None:
            nonlocal last
            while True:
                await asyncio.sleep(0.01)
                gaps.append(time.perf_counter() - last)
                last = time.perf_counter()

        ticking = asyncio.create_task(tick())
        began = time.perf_counter()
        statuses = await asyncio.gather(
            *(here.get(headers=basic("prometheus", PASSWORD)) for _ in range(100)),
            *(here.get(headers=basic("nobody", f"wrong{number}")) for number in range(2)),
        )
        took = time.perf_counter() - began
        ticking.cancel()
    assert statuses == [200] * 100 + [401] * 2
    assert took < 30, "a hundred checks of a second each would take longer"
    assert max(gaps) < 0.7, "one check in the loop would take longer"


@pytest.mark.fault("H08")
async def test_a_flood_of_wrong_passwords_is_bounded_and_the_right_one_still_works(tmp_path: Path) -> None:
    async with protected_server(tmp_path, basic_auth_users={"prometheus": hashed(PASSWORD, 8)}) as here:
        assert await here.get(headers=basic("prometheus", PASSWORD)) == 200
        began = time.perf_counter()
        assert await here.get(headers=basic("prometheus", "wrong")) == 401
        one = time.perf_counter() - began
        flood = [asyncio.create_task(here.get(headers=basic("prometheus", f"wrong{n}"))) for n in range(300)]
        await asyncio.sleep(0.1)
        began = time.perf_counter()
        assert await here.get(headers=basic("prometheus", PASSWORD)) == 200
        assert time.perf_counter() - began < 50 * one, "behind the flood it would be the 301st"
        statuses = await asyncio.gather(*flood)
    assert set(statuses) == {401, 503}


@pytest.mark.fault("H08")
async def test_changed_users_hold_at_once_and_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    async with protected_server(tmp_path, basic_auth_users={"prometheus": hashed("first")}) as here:
        assert await here.get(headers=basic("prometheus", "first")) == 200
        here.write(basic_auth_users={"prometheus": hashed("second")})
        await here.access.refresh()
        assert await here.get(headers=basic("prometheus", "first")) == 401
        assert await here.get(headers=basic("prometheus", "second")) == 200
        with capture_logs() as logs:
            here.file.write_text("basic_auth_users: {prometheus: hunter2-in-the-open}", encoding="utf-8")
            await here.access.refresh()
            await here.access.refresh()
            assert await here.get(headers=basic("prometheus", "second")) == 200
            here.file.unlink()
            await here.access.refresh()
        assert await here.get(headers=basic("prometheus", "second")) == 200
    assert [line["event"] for line in logs] == ["web_config.refused"] * 2
    assert "hunter2" not in str(logs)
