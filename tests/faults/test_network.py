"""Bad networks: refused, slow and cut connections, missing names and descriptors, wrong certificates."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.e2e.daemon import until
from tests.faults.daemon import INTERVAL, SLACK, watched
from tests.faults.hostile import Call, Hostile, served
from tests.faults.proxy import Proxy, proxied


def port(url: str) -> int:
    return int(url.rsplit(":", 1)[1].removesuffix("/v1"))


def pair() -> tuple[Hostile, Hostile]:
    good, bad = Hostile("good"), Hostile("bad")
    for api in (good, bad):
        api.begin("ftjob-1")
    return good, bad


@pytest.mark.fault("N01")
@pytest.mark.slow
async def test_nobody_listens_and_then_somebody_does(tmp_path: Path) -> None:
    good, bad = pair()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    url = f"http://127.0.0.1:{free}/v1"
    async with watched(tmp_path, good, bad, urls={"bad": url}) as seen:
        await seen.polled("bad", 2)
        began = time.monotonic()
        assert (await seen.troubles())["bad"] == "unavailable"
        delay = await seen.ends("good", "ftjob-1")
        assert max(delay, seen.gap("good", began)) < INTERVAL + SLACK
        behind = await asyncio.start_server(bad.serve, "127.0.0.1", free)
        try:
            await until(seen.up)
            await seen.ends("bad", "ftjob-1")
            assert len(seen.told) == 2
            await seen.daemon.stop()
        finally:
            behind.close()


@pytest.mark.fault("N05")
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_slow_line_works_and_cycles_do_not_overlap(tmp_path: Path) -> None:
    good, bad = pair()
    for number in range(20):
        bad.begin(f"ftjob-old{number}", "succeeded")
    line = Proxy()
    async with served(bad), proxied(port(bad.url), line) as proxy:
        at_once = most = 0

        async def count(api: Hostile, call: Call) -> bool:
            nonlocal at_once, most
            if call.path != "jobs":
                return True
            at_once += 1
            most = max(most, at_once)
            await api.true(call)
            await asyncio.sleep(0.5)
            at_once -= 1
            return False

        async with watched(tmp_path, good, bad, urls={"bad": proxy.url}, poll={"timeout": "30s"}) as seen:
            await until(seen.up)
            line.latency, line.rate = (1.0, 3.0), 8_000  # an answer comes in several pieces, each of which may take 3 s
            # The organisation behind the proxy is the one of `served`: its port was chosen before.
            bad.fault = count
            began = time.monotonic()
            await seen.ends("bad", "ftjob-1", "failed", within=80)
            delay = await seen.ends("good", "ftjob-1")
            assert most == 1
            assert max(delay, seen.gap("good", began)) < INTERVAL + SLACK


@pytest.mark.fault("N04", "N06")
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_cut_and_stalled_connections_pass(tmp_path: Path) -> None:
    good, bad = pair()
    line = Proxy()
    async with served(bad), proxied(port(bad.url), line) as proxy:
        async with watched(tmp_path, good, bad, urls={"bad": proxy.url}) as seen:
            await until(seen.up)
            line.resets, began = 0.3, time.monotonic()
            bad.begin("ftjob-2")
            await seen.ends("bad", "ftjob-1")
            await asyncio.sleep(3)
            line.resets, line.stalled = 0.0, True  # every pooled connection is dead without having been closed
            await until(lambda: _trouble(seen.troubles, "timeout"))
            delay = await seen.ends("good", "ftjob-1")
            bad.move("ftjob-2", "cancelled")
            line.stalled = False
            await until(lambda: seen.of("bad") == [("ftjob-1", "succeeded"), ("ftjob-2", "cancelled")])
            await until(seen.up)
            assert max(delay, seen.gap("good", began)) < INTERVAL + SLACK


async def _trouble(troubles: object, reason: str) -> bool:
    return (await troubles())["bad"] == reason  # type: ignore[operator,no-any-return]  # a method of WatchedDaemon


NAMES = """
import os, socket, time
real = socket.getaddrinfo
def slow(host, *rest, **more):
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name.startswith("hangs"):
        time.sleep(120)
    if name.startswith("fails"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if name == "moves.test":
        host = open(os.environ["NAMES"]).read().strip()
    return real("127.0.0.1" if name == "good.test" else host, *rest, **more)
socket.getaddrinfo = slow
"""


@pytest.mark.fault("N07")
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_names_that_fail_hang_and_move(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NAMES)
    places = tmp_path / "names"
    places.write_text("127.0.0.1")
    good, moves = Hostile("good"), Hostile("moves")
    bad = [Hostile(f"hangs{number:02}") for number in range(40)] + [Hostile("fails")]
    for api in (good, moves, *bad):
        api.begin("ftjob-1")

    async with served(good, moves):
        urls = {api.name: f"http://{api.name}.test:1/v1" for api in bad}
        urls |= {api.name: api.url.replace("127.0.0.1", f"{api.name}.test") for api in (good, moves)}
        other = Hostile("moves", key=moves.key, jobs=moves.jobs)
        server = await asyncio.start_server(other.serve, "127.0.0.2", port(moves.url))
        environ = {"PYTHONPATH": _path(tmp_path), "NAMES": str(places)}
        async with watched(tmp_path, good, moves, *bad, urls=urls, environ=environ) as seen:
            await until(lambda: seen.up("good", "moves"))
            await seen.polled("fails", 1)
            assert (await seen.troubles())["fails"] == "unavailable"
            await until(lambda: _all_late(seen.troubles))
            began = time.monotonic()
            places.write_text("127.0.0.2")

            async def moved(api: Hostile, call: Call) -> bool:
                call.reset()
                return False

            moves.fault = moved
            delay = await seen.ends("good", "ftjob-1")
            await seen.ends("moves", "ftjob-1", within=30)
            assert other.asked
            assert max(delay, seen.gap("good", began)) < INTERVAL + SLACK
            ending = time.monotonic()
            assert await seen.daemon.stop() == 0
            assert time.monotonic() - ending < 10
        server.close()


async def _all_late(troubles: object) -> bool:
    found = await troubles()  # type: ignore[operator]  # a method of WatchedDaemon
    return all(reason == "timeout" for name, reason in found.items() if name.startswith("hangs"))


def _path(first: Path) -> str:
    return os.pathsep.join([str(first), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.mark.fault("N08")
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_64_file_descriptors_are_borne_and_passed(tmp_path: Path) -> None:
    good = Hostile("good")
    bad = [Hostile(f"bad{number:02}") for number in range(70)]
    for api in (good, *bad):
        api.begin("ftjob-1")

    async def silence(api: Hostile, call: Call) -> bool:
        await call.silence()
        return False

    (tmp_path / "sitecustomize.py").write_text(
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
    )
    async with watched(tmp_path, good, *bad, environ={"PYTHONPATH": _path(tmp_path)}) as seen:
        await until(seen.up, 40)
        for api in bad:
            api.fault = silence
        await asyncio.sleep(6)
        assert not seen.daemon.process_ended
        for api in bad:
            api.fault = None
        good.move("ftjob-1", "failed")
        for api in bad:
            api.move("ftjob-1", "succeeded")
        await until(lambda: len(seen.told) == 71, 60)
        assert await seen.daemon.stop(signal.SIGTERM) == 0
        assert len(seen.told) == 71


@pytest.mark.fault("G27", "N09")
@pytest.mark.slow
async def test_the_environment_sends_no_key_anywhere(tmp_path: Path) -> None:
    trap = Hostile("trap")
    good = Hostile("good")
    good.begin("ftjob-1")
    async with served(trap):
        there = trap.url.removesuffix("/v1")
        environ = {
            name: there for proxy in ("http_proxy", "https_proxy", "all_proxy") for name in (proxy, proxy.upper())
        }
        environ |= {"OPENAI_BASE_URL": trap.url, "OPENAI_API_KEY": "sk-env", "OPENAI_ORG_ID": "org-env",
                    "OPENAI_PROJECT_ID": "proj-env", "OPENAI_CUSTOM_HEADERS": "X-Env: 1", "NO_PROXY": ""}  # fmt: skip
        netrc = tmp_path / ".netrc"
        netrc.write_text("machine 127.0.0.1 login x password stolen\n")
        netrc.chmod(0o600)
        async with watched(tmp_path, good, environ={**environ, "NETRC": str(netrc), "HOME": str(tmp_path)}) as seen:
            await until(seen.up)
            await seen.ends("good", "ftjob-1")
        assert trap.asked == []
        assert trap.connections == 0
        assert not [
            name for call in good.asked for name in call.headers if name.startswith(("openai-", "x-env", "cookie"))
        ]
