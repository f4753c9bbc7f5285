"""Projects that nobody watches: which they are, and that each is named once. Real requests to the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from monitor.app.build import source
from monitor.app.secondary_watchers import project_source
from monitor.config import ConfigError, settings_from
from monitor.providers.base import Project
from monitor.secret import Redactor
from monitor.simulator import Org, Simulation, organisations, serve
from monitor.source import transport
from monitor.watchers.projects import ProjectWatcher
from tests.simulator.conftest import STEADY, HandClock
from tests.watchers.test_jobs import Enough, Time


@dataclass
class Found:
    """A watcher of an organisation with three projects, of which these have a key in the configuration."""

    watcher: ProjectWatcher
    org: Org
    time: Time

    async def steps(self, count: int) -> list[tuple[str, str]]:
        """What is logged in so many steps."""
        self.time.stop_after = len(self.time.naps) + count + 1
        with capture_logs() as logs, pytest.raises(Enough):
            await self.watcher.run()
        return [(line["event"], line.get("name") or line["org"]) for line in logs]


@asynccontextmanager
async def found(keys: Sequence[int], *, named: bool = False) -> AsyncIterator[Found]:
    hand = HandClock()
    [org] = organisations(1, projects=3, seed=1)
    simulation, time = Simulation((org,), clock=hand, pace=STEADY), Time(hand)
    async with serve(simulation) as base_url, transport() as way:
        entries: list[dict[str, Any]] = [
            {"name": f"key-{number}", "provider": "openai", "base_url": base_url, "api_key": org.projects[number].key,
             **({"project": org.projects[number].id} if named else {})}
            for number in keys
        ]  # fmt: skip
        entries[0] |= {"admin_key": org.admin_key, "discover": {"projects": "*"}}
        settings = settings_from({"organizations": entries})
        sources = {
            each.name: source(settings, each, transport=way, clock=time, redactor=Redactor())
            for each in settings.organizations
        }
        first = sources["key-0"]
        assert first.provider.discovery is not None
        projects = project_source(first.provider.discovery, first, sources=sources)
        watcher = ProjectWatcher(org="key-0", projects=projects, clock=time, jitter=lambda: 0.5)
        yield Found(watcher, org, time)


@pytest.mark.parametrize("named", [True, False], ids=["by the configuration", "by the answers"])
async def test_projects_without_a_key_are_named_once(*, named: bool) -> None:
    async with found([0, 2], named=named) as of:
        missing = of.org.projects[1]
        assert (await of.watcher.projects.find()).unwatched == (Project(id=missing.id, name=missing.name),)
        assert await of.steps(3) == [("project.not_watched", missing.name)]
        assert of.time.naps[-1] == pytest.approx(21_600, rel=0.3)


async def test_where_all_have_a_key_nothing_is_said() -> None:
    async with found([0, 1, 2]) as of:
        assert await of.steps(2) == []


async def test_a_key_that_is_refused_belongs_to_no_known_project() -> None:
    async with found([0, 1, 2]) as of:
        broken = of.watcher.projects.watching["key-1"].client.secrets["api_key"]
        broken._value = "sk-wrong-0123456789"
        assert (await of.watcher.projects.find()).unsure == ("key-1",)


def test_without_an_admin_key_nothing_can_be_discovered() -> None:
    entry = {"name": "a", "provider": "openai", "api_key": "sk-1", "discover": {"projects": "*"}}
    with pytest.raises((ConfigError, ValidationError), match="discover needs an admin_key"):
        settings_from({"organizations": [entry]})
