"""Restricted environments: read-only, user nobody, no terminal, closed output, a port in use."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import gettempdir

import pytest

from monitor.simulator import Simulation, Traffic, organisations, serve
from tests.e2e.daemon import Daemon, until
from tests.e2e.receivers import webhook
from tests.e2e.test_story import configuration, rounds
from tests.faults.machine import NOBODY, allowed, for_everybody, needs, stopwatch
from tests.faults.scenario import PATIENT, QUICK, Scenario, running_scenario

pytestmark = pytest.mark.timeout(180)


BARE = """
mount -o remount,bind,ro /
mount -t tmpfs -o size=16m,mode=0700,uid=65534,gid=65534 tmpfs "$1"
shift
exec setsid "$@" </dev/null
"""


def open_to_all(folder: Path) -> None:
    """Give everybody access to pytest's folder."""
    while folder != Path(gettempdir()):
        folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent


@pytest.mark.fault("X05")
@pytest.mark.slow
async def test_works_read_only_as_nobody_without_home_terminal_or_capabilities(tmp_path: Path) -> None:
    needs("unshare", "setsid")
    allowed("unshare", "--mount", "mount", "-o", "remount,bind,ro", "/")
    python = for_everybody()
    volume = tmp_path / "volume"
    volume.mkdir()
    open_to_all(tmp_path)
    before = ("unshare", "--mount", "sh", "-c", BARE, "sh", str(volume), *NOBODY, *python[:-1])
    store = {"url": f"sqlite:///{volume}/monitor.db"}
    async with running_scenario(tmp_path, before=before, python=python[-1], store=store) as scenario:
        status = process_status(scenario)
        assert "Uid:\t65534\t65534" in status
        assert "CapEff:\t0000000000000000" in status
        await scenario.all_told()
        scenario.assert_sound()
        assert await scenario.daemon.stop() == 0


def process_status(scenario: Scenario) -> str:
    assert scenario.daemon.process is not None
    return Path(f"/proc/{scenario.daemon.process.pid}/status").read_text()


STREAMS = {
    "X07 nobody reads the pipes": 'exec "$@"',
    "X07 stdout and stderr are closed": 'exec "$@" >&- 2>&-',
    "X07 the disk of the log is full": 'exec "$@" >/dev/full 2>/dev/full',
    "X07 the readers are gone": 'exec "$@"',
}


@pytest.mark.fault("X07")
@pytest.mark.slow
@pytest.mark.parametrize("how", [pytest.param(how, id=how) for how in STREAMS])
async def test_output_that_goes_nowhere_holds_up_nothing(tmp_path: Path, how: str) -> None:
    simulation = Simulation(organisations(2), pace=QUICK, traffic=Traffic(history=5, gap=(0.2, 0.4)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with serve(simulation) as base_url, webhook() as hook:
        settings = configuration(simulation.orgs, base_url, hook, server={"listen": f"127.0.0.1:{port}"})
        settings["notifiers"].append({"name": "out", "type": "console"})
        settings["routes"].append({"on": ["started", "succeeded", "failed"], "notify": ["out"]})
        daemon = Daemon(tmp_path, settings, url=f"http://127.0.0.1:{port}")
        daemon.write()
        command = [
            "sh",
            "-c",
            STREAMS[how],
            "sh",
            sys.executable,
            "-m",
            "monitor",
            "run",
            "--config",
            str(daemon.config),
        ]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: ASYNC220 - asyncio's would read the pipes
        try:
            await until(lambda: listens(port), PATIENT)
            if "readers" in how:
                close(process)
            await rounds(daemon, 1)
            await until(lambda: len(hook.ends()) > 30, PATIENT)
            took = stopwatch(process.pid)
            assert (await daemon.get("/-/healthy"))[0] == 200
            assert took() < 1
            process.terminate()
            await until(lambda: process.poll() is not None)
            assert process.returncode == 0
        finally:
            process.kill()
            process.wait()
            close(process)
    assert len(hook.ids) == len(set(hook.ids))


def close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.fault("X08")
@pytest.mark.parametrize(
    ("listen", "nobody", "why"),
    [
        pytest.param("192.0.2.1:10877", False, "cannot assign requested address", id="X08 an address of somebody else"),
        pytest.param("127.0.0.1:80", True, "permission denied", id="X08 a privileged port"),
    ],
)
async def test_a_port_that_cannot_be_had_is_a_clear_error(tmp_path: Path, listen: str, nobody: bool, why: str) -> None:
    python = (*NOBODY, *for_everybody()) if nobody else (sys.executable,)
    if nobody and unprivileged_from() <= 80:
        pytest.skip("every port may be had here")
    open_to_all(tmp_path)
    os.chmod(tmp_path, 0o777)  # noqa: PTH101, S103 - the database goes there
    file = tmp_path / "monitor.yaml"
    file.write_text("organizations: [{name: a, provider: openai, api_key: sk-0123456789}]")
    process = await asyncio.create_subprocess_exec(
        *python, "-m", "monitor", "run", "--config", str(file), "--listen", listen, cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said = (await asyncio.wait_for(process.communicate(), PATIENT))[0].decode()
    assert process.returncode == 1
    assert why in said.lower()
    assert "Traceback" not in said


def unprivileged_from() -> int:
    return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
