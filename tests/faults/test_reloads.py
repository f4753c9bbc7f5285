"""Reloads while the process works: all or nothing, nothing lost, nothing repeated, nothing leaked."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from ruamel.yaml import YAML

from monitor.simulator import Traffic
from tests.e2e.daemon import organization, until
from tests.e2e.test_story import rounds
from tests.faults.scenario import PATIENT, Scenario, running_scenario
from tests.soak import Measure, measured

pytestmark = pytest.mark.timeout(180)

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"


async def reloaded(scenario: Scenario, good: bool = True) -> None:
    """Reload the configuration file, and wait for the result."""
    word = '"event":"config.reloaded"' if good else '"event":"config.reload_failed"'
    before = scenario.daemon.log.count(word)
    scenario.signal(signal.SIGHUP)
    await until(lambda: scenario.daemon.log.count(word) > before, PATIENT)
    metrics = await scenario.daemon.metrics()
    assert metrics["finetune_config_last_reload_successful"] == float(good)


def written(scenario: Scenario, text: str) -> None:
    scenario.daemon.config.write_text(text, encoding="utf-8")


def cut_in_half(scenario: Scenario) -> None:
    text = scenario.daemon.config.read_text(encoding="utf-8")
    written(scenario, text[: len(text) // 2])


def nameless_secret(scenario: Scenario) -> None:
    (scenario.daemon.folder / "empty").write_text("\r\n")
    organizations = [{"name": "new", "provider": "openai", "api_key_file": "empty"}]
    with scenario.daemon.config.open("w") as file:
        YAML().dump({**scenario.daemon.settings, "organizations": organizations}, file)


@pytest.mark.fault("G23", "G24", "F01", "F02", "F07")
@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda scenario: written(scenario, f"a: [1\nkey: {KEY}"), id="F01 no YAML"),
        pytest.param(
            lambda scenario: written(scenario, f"polll: 5\norganizations: {KEY}"), id="F01 unknown keys, wrong types"
        ),
        pytest.param(cut_in_half, id="F02 a half-written file"),
        pytest.param(lambda scenario: written(scenario, ""), id="F02 an empty file"),
        pytest.param(lambda scenario: scenario.daemon.config.unlink(), id="F02 no file"),
        pytest.param(nameless_secret, id="F03 an empty secret file"),
        pytest.param(
            lambda scenario: written(scenario, "organizations: !!python/object:os.system {}"), id="F06 a Python object"
        ),
        pytest.param(
            lambda scenario: written(
                scenario, "organizations: [{name: a, provider: openai, api_key: '${NOT_SET_AT_ALL}'}]"
            ),
            id="F07 a variable that is not set",
        ),
    ],
)
async def test_what_is_not_good_changes_nothing(tmp_path: Path, spoil: Callable[[Scenario], Any]) -> None:
    async with running_scenario(tmp_path) as scenario:
        spoil(scenario)
        await reloaded(scenario, good=False)
        polled = await scenario.daemon.metrics()
        await rounds(scenario.daemon, 3)
        assert KEY not in scenario.daemon.log
        assert {name for name in polled if name.startswith("finetune_org_up")} == {
            f'finetune_org_up{{org="{org.name}"}}' for org in scenario.simulation.orgs
        }
        await scenario.all_told()
        scenario.daemon.write()
        await reloaded(scenario)
        await scenario.all_told()
        scenario.assert_sound()


@pytest.mark.fault("G23", "F02")
@pytest.mark.slow
async def test_a_swapped_symlink_is_read_as_one_file(tmp_path: Path) -> None:
    async with running_scenario(tmp_path) as scenario:
        config, text = scenario.daemon.config, scenario.daemon.config.read_text(encoding="utf-8")
        for number in range(4):  # as in Kubernetes: `..data` is a link to the current folder
            folder = tmp_path / f"..{number}"
            folder.mkdir()
            (folder / "monitor.yaml").write_text(text)
            fresh = tmp_path / "..fresh"
            fresh.symlink_to(folder)
            fresh.rename(tmp_path / "..data")
            if not config.is_symlink():
                config.unlink()
                config.symlink_to(Path("..data") / "monitor.yaml")
            await reloaded(scenario)
        await scenario.all_told()
        scenario.assert_sound()


@pytest.mark.fault("G5", "F03", "F05")
@pytest.mark.slow
async def test_a_rotated_key_is_used_from_its_file_without_a_word(tmp_path: Path) -> None:
    keys: list[str] = []

    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        keys.append(request.headers.get("Authorization", ""))
        if keys[-1].endswith("-old"):
            request = request.clone(headers={**request.headers, "Authorization": keys[-1].removesuffix("-old")})
            return web.json_response({"error": {"message": "no", "code": "invalid_api_key"}}, status=401)
        answer: web.StreamResponse = await handler(request)
        return answer

    async with running_scenario(tmp_path, middlewares=[note], orgs=1) as scenario:
        org, file = scenario.simulation.orgs[0], tmp_path / "key"
        entry = scenario.daemon.settings["organizations"][0]
        entry["api_key_file"] = str(file)
        del entry["api_key"]
        file.write_text(f"\ufeff{org.key}\r\n", encoding="utf-8")
        scenario.daemon.write()
        await reloaded(scenario)
        await scenario.all_told()
        file.write_text(f"{org.key}-old")
        await until(lambda: keys[-1].endswith("-old"), PATIENT)
        fresh = tmp_path / "fresh"
        fresh.write_text(f"{org.key}\n")
        fresh.rename(file)
        await reloaded(scenario)
        await scenario.all_told()
        scenario.assert_sound()
        assert org.key not in scenario.daemon.log


@pytest.mark.fault("G5", "G6", "F05")
@pytest.mark.slow
async def test_orgs_and_routes_that_come_go_and_are_renamed_announce_nothing(tmp_path: Path) -> None:
    async with running_scenario(tmp_path, orgs=3, traffic=Traffic(history=60)) as scenario:
        whole = list(scenario.daemon.settings["organizations"])
        base_url = whole[0]["base_url"]
        renamed = organization(scenario.simulation.orgs[0], base_url, name="renamed")
        for organizations in (whole[:1], whole, [renamed, *whole[1:]], whole[2:], whole):
            scenario.daemon.settings["organizations"] = organizations
            scenario.daemon.settings["routes"].append({"match": {"model": "nothing*"}, "notify": ["hook"]})
            scenario.daemon.write()
            await reloaded(scenario)
            await rounds(scenario.daemon, 3)
            shown = {name for name in await scenario.daemon.metrics() if name.startswith("finetune_org_up{")}
            assert len(shown) == len(organizations)
        assert scenario.arrivals == []


@pytest.mark.fault("G5", "G23", "F05")
@pytest.mark.slow
async def test_what_waits_for_a_notifier_that_is_gone_goes_out_when_it_is_back(tmp_path: Path) -> None:
    async with running_scenario(tmp_path) as scenario:
        refuse = [True]
        scenario.on_arrival = lambda body: web.Response(status=503) if refuse else None
        await until(lambda: scenario.hook.refused > 3, PATIENT)
        notifiers, routes = scenario.daemon.settings["notifiers"], scenario.daemon.settings["routes"]
        scenario.daemon.settings |= {"notifiers": [], "routes": []}
        scenario.daemon.write()
        await reloaded(scenario)
        assert "routes: all of them were removed" in scenario.daemon.log
        refused = scenario.hook.refused
        refuse.clear()
        await asyncio.sleep(2)
        assert scenario.hook.refused <= refused + 8
        letters = (await scenario.daemon.json("/api/v1/deliveries?state=pending&limit=500"))["data"]
        waiting = {f"{letter['org']}/{letter['job']}" for letter in letters}
        assert waiting
        assert not waiting & set(scenario.hook.ends())
        scenario.daemon.settings |= {"notifiers": notifiers, "routes": routes}
        scenario.daemon.write()
        await reloaded(scenario)
        scenario.born = time.time()
        await scenario.all_told()
        await until(lambda: waiting <= set(scenario.hook.ends()), PATIENT)
        assert scenario.false() == set()
        assert scenario.bodies() == 0


@pytest.mark.fault("P24", "F05")
@pytest.mark.slow
async def test_what_waits_for_a_notifier_goes_out_under_its_new_name(tmp_path: Path) -> None:
    async with running_scenario(tmp_path) as scenario:
        refuse = [True]
        scenario.on_arrival = lambda body: web.Response(status=503) if refuse else None
        await until(lambda: scenario.hook.refused > 3, PATIENT)
        (before,) = scenario.daemon.settings["notifiers"]
        scenario.daemon.settings["notifiers"] = [{**before, "name": "renamed", "was": before["name"]}]
        for route in scenario.daemon.settings["routes"]:
            route["notify"] = ["renamed"]
        scenario.daemon.write()
        await reloaded(scenario)
        refuse.clear()
        await until(lambda: '"event":"deliveries.adopted"' in scenario.daemon.log, PATIENT)
        await scenario.all_told()
        scenario.assert_sound()
        assert '"event":"deliveries.orphaned"' not in scenario.daemon.log


@pytest.mark.fault("G23", "F04")
@pytest.mark.slow
async def test_100_reloads_under_load_leak_lose_and_double_nothing(tmp_path: Path) -> None:
    async with running_scenario(tmp_path, orgs=4) as scenario:
        for _ in range(20):
            await reloaded(scenario)
        first = await _after_reloads(scenario, 100)  # what a process needs once is not what it leaks
        last = await _after_reloads(scenario, 100)
        print(f"before: {first}\nafter:  {last}\nreloads: {scenario.daemon.log.count('config.reloaded')}")
        scenario.assert_sound()
        assert scenario.daemon.log.count('"event":"config.reloaded"') >= 120
        assert last.fds <= first.fds + 4
        assert last.threads <= first.threads + 8, "workers that have nothing to do stay for a while"
        assert last.rss <= first.rss * 1.10 + 4096
        assert "task.failed" not in scenario.daemon.log
        assert await scenario.alive() < 1.0


async def _after_reloads(scenario: Scenario, count: int) -> Measure:
    for _ in range(count):
        scenario.signal(signal.SIGHUP)
        await asyncio.sleep(0.1)
    await rounds(scenario.daemon, 3)
    await scenario.all_told()
    await asyncio.sleep(2)
    return await measured(scenario)


@pytest.mark.fault("G23", "F04")
@pytest.mark.slow
async def test_a_reload_amid_a_slow_delivery_repeats_nothing_and_holds_up_no_poll(tmp_path: Path) -> None:
    """The receiver takes longer than the program would wait for it when it ends."""
    async with running_scenario(tmp_path, delivery={"timeout": "20s"}) as scenario:
        arrived = asyncio.Event()
        slow, ids = web.Application(), []

        async def take(request: web.Request) -> web.Response:
            arrived.set()
            ids.append(request.headers["webhook-id"])
            await asyncio.sleep(10)
            return web.Response()

        slow.router.add_post("/slow", take)
        runner = web.AppRunner(slow)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/slow"
        scenario.daemon.settings["notifiers"].append({"name": "slow", "type": "webhook", "url": url})
        scenario.daemon.settings["routes"].append({"notify": ["slow"]})
        scenario.daemon.write()
        await reloaded(scenario)
        await asyncio.wait_for(arrived.wait(), PATIENT)
        for _ in range(3):
            await reloaded(scenario)
            await asyncio.sleep(0.5)
        polls = min(await poll_counts(scenario))
        await asyncio.sleep(3)
        assert min(await poll_counts(scenario)) >= polls + 3
        await scenario.all_told()
        await asyncio.sleep(12)
        await runner.cleanup()
        assert len(ids) == len(set(ids))
        scenario.assert_sound()


async def poll_counts(scenario: Scenario) -> list[float]:
    metrics = await scenario.daemon.metrics()
    return [value for name, value in metrics.items() if name.startswith("finetune_org_polls_total")]
