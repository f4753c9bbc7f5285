"""A card across restarts of the real process: after a kill it continues with the same message."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from monitor.simulator import Pace, Simulation, organisations, serve, training_file
from tests.e2e.daemon import FAST, Daemon, organization, running, until
from tests.e2e.test_story import create, upload
from tests.slack import TOKEN, Workspace, workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PACE = Pace(
    validation=(0.3, 0.5), queue=(1.0, 1.5), step=(1.9, 2.1), evaluation=(0.2, 0.4), announcement=(0.3, 0.5), steps=110
)
"""A run of a little less than four minutes, which has four edits."""


async def test_killed_in_the_middle_the_same_message_is_edited_to_the_end(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1), pace=PACE)
    org = simulation.orgs[0]
    killed: list[str] = []
    daemons: list[Daemon] = []

    def kill(method: str, content: dict[str, Any]) -> None:
        """Kill the process once, when an edit arrives and before it is answered."""
        if method == "chat.update" and not killed and "%" in str(content):
            killed.append(method)
            with suppress(ProcessLookupError, AttributeError):
                daemons[0].process.send_signal(signal.SIGKILL)  # type: ignore[union-attr]  # suppressed

    async with serve(simulation) as base_url, workspace(Workspace(now=time.monotonic, lost=kill)) as slack:
        settings = {
            "organizations": [organization(org, base_url)],
            "poll": FAST,
            "notifiers": [
                {"name": "ml", "type": "slack", "token": TOKEN, "channel": "#fine-tuning", "api_url": slack.url}
            ],
            "routes": [{"on": ["started", "progress", "succeeded"], "notify": ["ml"]}],
        }
        async with running(tmp_path, settings) as daemon:
            daemons.append(daemon)
            await until(lambda: '"event":"org.first_seen"' in daemon.log)
            file = await upload(base_url, org.key, training_file(examples=10, tokens=1_000))
            await create(base_url, org.key, training_file=file, model="gpt-4o-mini", suffix="support-bot")
            await until(lambda: len(slack.cards) == 1, 60)
            await until(lambda: daemon.process_ended, 180)
            await daemon.start()
            [card] = slack.cards
            await until(lambda: len(card.edits) >= 3, 240)
            await daemon.stop(signal.SIGKILL)
            await asyncio.sleep(2.0)
            await daemon.start()
            await until(lambda: any(post.broadcast for post in slack.posts), 300)
            await until(lambda: "succeeded" in card.title, 120)
            assert await daemon.stop() == 0
        assert slack.cards == [card]
        assert [post.broadcast for post in slack.thread(card)] == [True]
        assert min(slack.edit_gaps()) >= 59.5, slack.edit_gaps()
        assert min(slack.gaps("C0MAIN")) >= 1.0
        assert slack.errors() == []
