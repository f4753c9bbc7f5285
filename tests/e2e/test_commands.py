"""The commands, run from a shell."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from monitor.simulator import Simulation, Traffic, organisations, serve
from monitor.simulator import configuration as simulated
from monitor.simulator.azure import entra
from tests.e2e.daemon import running, until
from tests.e2e.receivers import webhook
from tests.e2e.test_story import BRISK, configuration, rounds

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"


async def command(*arguments: str, **environ: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "monitor", *arguments, env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.fault("G23", "G24", "F01")
async def test_check_tells_five_mistakes_in_five_lines_and_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text(f"""organizations:
  - name: Research Team
    provider: openai
    api_key: {KEY}
  - name: search
    provider: openai
    api_key: ${{NOT_SET}}
poll:
  interval: soon
  intervall: 5s
notifiers:
  - {{name: hook, type: webhook, url: "https://example.com/x", secret: whsec_}}
routes:
  - notify: [hook]
""")
    code, out, _ = await command("check", "--config", str(file))
    lines = out.splitlines()
    assert code == 1
    assert [re.match(rf"{re.escape(str(file))}:(\d+):\d+ ", line)[1] for line in lines] == ["2", "7", "9", "10", "12"]  # type: ignore[index]  # a line without a place fails here
    assert KEY not in out
    assert "whsec_" not in out.replace("whsec_…", "")


async def test_check_of_a_good_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text(f"organizations: [{{name: a, provider: openai, api_key: {KEY}}}]\n")
    assert (await command("check", "--config", str(file)))[0] == 0


@pytest.mark.parametrize("name", ["missing.yaml", "."])
async def test_check_of_what_cannot_be_read_is_2(tmp_path: Path, name: str) -> None:
    code, out, err = await command("check", "--config", str(tmp_path / name))
    assert (code, out) == (2, "")
    assert "cannot be read" in err


async def test_check_online_asks_providers_and_notifiers_without_a_message(tmp_path: Path) -> None:
    simulation = Simulation(organisations(2))
    good, bad = simulation.orgs
    async with serve(simulation) as base_url, webhook() as hook:
        file = tmp_path / "monitor.yaml"
        file.write_text(f"""organizations:
  - {{name: good, provider: openai, base_url: {base_url}, api_key: {good.key}, admin_key: {good.admin_key},
     discover: {{projects: "*"}}}}
  - {{name: bad, provider: openai, base_url: {base_url}, api_key: {KEY}, organization: {bad.id}}}
notifiers:
  - {{name: hook, type: webhook, url: {hook.url}}}
  - {{name: gone, type: webhook, url: "http://127.0.0.1:1/hook"}}
routes: [{{notify: [hook, gone]}}]
""")
        code, out, _ = await command("check", "--config", str(file), "--online")
    assert code == 1
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "notifier gone", "notifier hook", "organisation bad", "organisation good", "projects of good",
    ]  # fmt: skip
    assert lines[1] == "notifier hook: good (it answers; no message was sent)"
    assert lines[3] == "organisation good: good (its jobs can be listed)"
    assert lines[4] == "projects of good: it is not known to which project bad belongs: set its `project`"
    assert KEY not in out
    assert hook.bodies == []


async def test_check_online_lists_deployments_where_hosting_is_configured(tmp_path: Path) -> None:
    (org,) = orgs = organisations(1, providers=("azure",))
    async with serve(Simulation(orgs)) as base_url:
        azure = f"{base_url.removesuffix('/v1')}/azure"
        hosting = {"subscription_id": "s", "resource_group": "g", "account": "a", "base_url": azure}
        entry = {**simulated(org, base_url, tmp_path), "entra": {**entra(org), "authority": azure}}
        del entry["api_key"]
        file = tmp_path / "monitor.yaml"
        file.write_text(json.dumps({"organizations": [{**entry, "hosting": hosting}]}))
        code, out, _ = await command("check", "--config", str(file), "--online")
    assert f"hosting of {org.name}: good (its deployments can be listed)" in out.splitlines()
    assert code == 0


async def test_schema_is_a_json_schema() -> None:
    code, out, _ = await command("schema")
    assert code == 0
    assert json.loads(out)["additionalProperties"] is False


async def test_simulate_prints_what_a_client_needs() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "monitor", "simulate", "--listen", "127.0.0.1:0", "--orgs", "2", "--jobs", "3",
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().split()
    name, provider, base_url, key, admin_key, organization = line
    assert (name, provider, admin_key[:19], organization[:17]) == (
        "research", "openai", "admin_key=sk-admin-", "organization=org-",
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{base_url}/fine_tuning/jobs") as answer:
        assert len((await answer.json())["data"]) == 4
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_the_demo_tells_of_three_organisations_and_ends_by_itself() -> None:
    code, out, err = await command("demo", "--seconds", "12", "--listen", "127.0.0.1:0", "--speed", "3")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert re.search(r"http://127\.0\.0\.1:\d+/$", lines[0])
    assert lines[1].endswith("/metrics")
    assert {"research", "search", "support"} <= set(re.findall(r"Organisation +(\w+)", out))
    assert " started " in out
    assert " succeeded " in out
    assert "fine-tuned model" not in next(line for line in lines if line[:2] in ("✔ ", "● ", "▲ ", "✖ ")), (
        "jobs come first"
    )
    assert re.search(r"Cost +(about )?\$\d", out), "published prices hold for what is simulated"


@pytest.mark.fault("G21", "X03")
async def test_sigterm_ends_in_order_even_with_hanging_peers(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1), pace=BRISK)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        async with webhook() as hook:
            base_url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
            async with running(tmp_path, configuration(simulation.orgs, base_url, hook)) as daemon:
                asking, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(server), 10)
                with asking:
                    began = time.monotonic()
                    assert await daemon.stop() == 0
                    assert time.monotonic() - began < 10


async def test_sighup_reloads_all_or_nothing_and_announces_nothing(tmp_path: Path) -> None:
    simulation = Simulation(organisations(3), pace=BRISK, traffic=Traffic(history=20))
    async with serve(simulation) as base_url, webhook() as hook:
        settings = configuration(simulation.orgs[:2], base_url, hook)
        async with running(tmp_path, settings) as daemon:
            assert daemon.process is not None
            await rounds(daemon, 2)
            whole = configuration(simulation.orgs, base_url, hook)

            daemon.settings = {**whole, "poll": {"interval": "never"}}
            daemon.write()
            daemon.process.send_signal(signal.SIGHUP)
            await until(lambda: '"event":"config.reload_failed"' in daemon.log)
            failed = await daemon.metrics()
            assert failed["finetune_config_last_reload_successful"] == 0
            assert 'finetune_org_up{org="support"}' not in failed

            daemon.settings = whole
            daemon.write()
            daemon.process.send_signal(signal.SIGHUP)

            async def three() -> bool:
                return (await daemon.metrics()).get('finetune_org_up{org="support"}') == 1

            await until(three)
            await rounds(daemon, 4)
            assert (await daemon.metrics())["finetune_config_last_reload_successful"] == 1
            assert await daemon.stop() == 0
    assert hook.bodies == []


@pytest.mark.fault("S08")
async def test_a_second_process_on_the_same_database_refuses_to_start(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1))
    async with serve(simulation) as base_url, webhook() as hook:
        async with running(tmp_path, configuration(simulation.orgs, base_url, hook)) as daemon:
            second = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "monitor", "run", "--config", str(daemon.config),
                cwd=tmp_path, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, said = await asyncio.wait_for(second.communicate(), 20)
            assert second.returncode == 1
            assert b"in use by another finetune-monitor" in said


@pytest.mark.fault("X08")
async def test_a_port_in_use_is_a_clear_error(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1))
    async with serve(simulation) as base_url, webhook() as hook:
        settings = configuration(simulation.orgs, base_url, hook)
        port = hook.url.split(":")[2].split("/")[0]
        file = tmp_path / "monitor.yaml"
        file.write_text(json.dumps({**settings, "store": {"url": f"sqlite:///{tmp_path}/x.db"}}))
        code, _, err = await command("run", "--config", str(file), "--listen", f"127.0.0.1:{port}")
    assert code == 1
    advice = "choose another address with --listen HOST:PORT"
    assert f"cannot listen on 127.0.0.1:{port}: address already in use; {advice}" in err


async def test_simulate_prints_every_provider_as_it_goes_into_the_configuration() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "monitor", "simulate", "--listen", "127.0.0.1:0", "--orgs", "1", "--jobs", "0", "--json",
        "--provider", "openai,azure,together,fireworks,vertex,bedrock", "--webhook-url", "http://127.0.0.1:9/{org}",
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    entries = [json.loads(await asyncio.wait_for(process.stdout.readline(), 40)) for _ in range(6)]
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    common = {"name", "provider", "base_url"}
    assert {entry["provider"]: entry.keys() - common for entry in entries} == {
        "openai": {"api_key", "admin_key", "organization", "webhook_secret"},
        "azure": {"api_key", "webhook_secret"},
        "together": {"api_key"},
        "fireworks": {"account", "api_key"},
        "vertex": {"project", "locations", "token_file"},
        "bedrock": {"region", "api_key"},
    }
    assert len({entry["name"] for entry in entries}) == 6


@pytest.mark.parametrize("option", [("--provider", "openai,nobody"), ("--webhook-secret", "whsec_short")])
async def test_simulate_refuses_what_it_cannot_serve(option: tuple[str, str]) -> None:
    code, _, err = await command("simulate", *option)
    assert (code, option[0] in err) == (2, True)
