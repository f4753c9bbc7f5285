"""Replays and requeues by command: the real process, real receivers, real commands."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.simulator import Org, Simulation, organisations, serve, training_file
from tests.e2e.daemon import Daemon, running, until
from tests.e2e.receivers import SIGNING, Inbox, webhook
from tests.e2e.test_commands import command
from tests.e2e.test_story import BRISK, configuration, create, rounds, upload

pytestmark = pytest.mark.fault("G3")


@dataclass
class Place:
    """A daemon that accepts replays, and its organisation."""

    daemon: Daemon
    base_url: str
    org: Org

    async def create(self, *names: str) -> None:
        """Create jobs with these names."""
        file = await upload(self.base_url, self.org.key, training_file(examples=10, tokens=1_000))
        for name in names:
            await create(self.base_url, self.org.key, training_file=file, model="gpt-4o-mini", suffix=name)

    async def notify(self, *arguments: str) -> tuple[int, str]:
        """The exit code and output of a `notify` command."""
        code, out, err = await command("notify", *arguments, "--server", self.daemon.url)
        return code, out + err

    async def settled(self, state: str, count: int) -> None:
        """Wait until exactly this many deliveries are in this state."""

        async def there() -> bool:
            states = [one["state"] for one in (await self.daemon.json("/api/v1/deliveries"))["data"]]
            return states == [state] * count

        await until(there, 30)


@asynccontextmanager
async def place(folder: Path, hook: Inbox, **over: Any) -> AsyncIterator[Place]:
    """A daemon that watches one simulated organisation and announces ends to a receiver."""
    simulation = Simulation(organisations(1), pace=BRISK)
    async with serve(simulation) as base_url:
        server = {"listen": "127.0.0.1:0", "enable_lifecycle": True}
        settings = configuration(simulation.orgs, base_url, hook, **{"server": server, **over})
        async with running(folder, settings) as daemon:
            await until(lambda: '"event":"org.first_seen"' in daemon.log)
            yield Place(daemon, base_url, simulation.orgs[0])


async def test_an_end_is_told_again_with_the_same_id_and_the_same_content_once(tmp_path: Path) -> None:
    async with webhook() as hook, place(tmp_path, hook) as here:
        await here.create("tone")
        await here.settled("sent", 1)
        code, said = await here.notify("replay", "--since", "1h", "--dry-run")
        assert (code, said.splitlines()[-1]) == (
            0,
            "Would be sent: 1 again, 0 for the first time; 0 are pending anyway.",
        )
        assert len(hook.ids) == 1
        code, said = await here.notify("replay", "--since", "1h")
        assert (code, said.splitlines()[-1]) == (
            0,
            "Queued: 1 again, 0 for the first time; 0 are pending anyway.",
        )
        assert said.splitlines()[1].split() == [hook.ids[0], "yes", "tone", "succeeded"]
        await until(lambda: len(hook.ids) > 1)
        await here.settled("sent", 1)
        await rounds(here.daemon, 3)
        assert await here.daemon.stop() == 0
        await here.daemon.start()
        await rounds(here.daemon, 3)
    assert len(hook.ids) == len(hook.texts) == 2
    assert len(set(hook.ids)) == len(set(hook.texts)) == 1


@pytest.mark.fault("G10")
@pytest.mark.slow
async def test_a_receiver_that_was_mended_gets_what_it_had_refused(tmp_path: Path) -> None:
    hook = Inbox(answer=lambda body: web.Response(status=413))
    async with webhook(hook), place(tmp_path, hook) as here:
        await here.create("one", "two")
        await here.settled("dead", 2)
        refused = hook.refused
        hook.answer = lambda body: None
        code, said = await here.notify("dead", "--requeue")
        assert (code, said.splitlines()[-1]) == (0, "Requeued: 2.")
        assert said.count("too_large") == 2
        await here.settled("sent", 2)
        assert await here.notify("dead") == (0, "There are no dead letters.\n")
    assert (refused, hook.refused) == (2, 2)
    assert sorted(body["data"]["job"]["name"] for body in hook.bodies) == ["one", "two"]


@pytest.mark.slow
async def test_a_route_that_was_added_gets_the_ends_of_the_past_day_once(tmp_path: Path) -> None:
    async with webhook() as hook, webhook() as late, place(tmp_path, hook) as here:
        await here.create("one", "two", "three")
        await here.settled("sent", 3)
        daemon, process = here.daemon, here.daemon.process
        added = {"name": "late", "type": "webhook", "url": late.url, "secret": SIGNING}
        daemon.settings["notifiers"] = [*daemon.settings["notifiers"], added]
        daemon.settings["routes"] = [*daemon.settings["routes"], {"notify": ["late"]}]
        daemon.write()
        assert process is not None
        process.send_signal(signal.SIGHUP)
        await until(lambda: '"event":"config.reloaded"' in daemon.log)
        await rounds(daemon, 3)
        assert late.bodies == []
        for expected in ({"again": 0, "new": 3, "waiting": 0}, {"again": 3, "new": 0, "waiting": 0}):
            code, said = await here.notify("replay", "--since", "24h", "--notifier", "late", "--json")
            told = json.loads(said)
            assert (code, {name: told[name] for name in expected}) == (0, expected)
            await here.settled("sent", 6)
        await until(lambda: len(late.ids) == 6)
    assert sorted(late.texts[:3]) == sorted(late.texts[3:])
    assert len(set(late.ids)) == 3
    assert [one["data"]["job"]["cost"]["basis"] for one in late.bodies] == ["computed"] * 6
    facts = {body["data"]["job"]["id"]: body["data"]["job"]["trained_tokens"] for body in late.bodies}
    assert facts == {body["data"]["job"]["id"]: body["data"]["job"]["trained_tokens"] for body in hook.bodies}
    assert len(hook.bodies) == 3


async def test_without_the_setting_both_commands_are_refused(tmp_path: Path) -> None:
    async with webhook() as hook, place(tmp_path, hook, server={"listen": "127.0.0.1:0"}) as here:
        for command_ in (("replay", "--since", "1h"), ("dead", "--requeue")):
            assert await here.notify(*command_) == (
                2,
                f"Error: {here.daemon.url}: this needs server.enable_lifecycle: true in the daemon's configuration\n",
            )
