"""What the hosting of deployed models costs, from the simulated Resource Manager to the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.app.build import source
from monitor.app.secondary_watchers import deployment_source
from monitor.config import settings_from
from monitor.domain.hosting import Hosting
from monitor.providers.base import AuthFailed
from monitor.secret import Redactor
from monitor.simulator import Simulation, Traffic, configuration, organisations, serve
from monitor.simulator.azure import entra
from monitor.source import transport
from monitor.store import Stores, opened
from monitor.watchers.hosting import HostingWatcher
from tests.simulator.conftest import STEADY, HandClock
from tests.watchers.books import Enough, Time


@dataclass
class Hosted:
    """A watcher of the deployments of one simulated organisation."""

    watcher: HostingWatcher
    store: Stores
    time: Time
    simulation: Simulation
    org: str = field(init=False)

    def __post_init__(self) -> None:
        self.org = self.watcher.org

    async def kept(self) -> tuple[Hosting, ...]:
        return await self.store.costs.hostings([self.org], None)


@asynccontextmanager
async def hosted(folder: Path, **over: Any) -> AsyncIterator[Hosted]:
    hand = HandClock(datetime.now(UTC).timestamp())
    time = Time(datetime.fromtimestamp(hand.now, UTC))
    (org,) = orgs = organisations(1, seed=3, providers=("azure",))
    simulation = Simulation(orgs, clock=hand, pace=STEADY, traffic=Traffic(history=40), seed=3)
    async with (
        serve(simulation) as base_url,
        transport() as way,
        opened(f"sqlite:///{folder}/m.db", clock=time) as store,
    ):
        entry, root = configuration(org, base_url, folder), base_url.removesuffix("/v1")
        hosting = {"subscription_id": "s", "resource_group": "g", "account": "a", "base_url": f"{root}/azure"}
        known = {**entra(org), "authority": f"{root}/azure"}
        entry = {name: value for name, value in entry.items() if name != "api_key"}
        wanted = {**entry, "entra": known, "hosting": {**hosting, **over}}
        settings = settings_from({"organizations": [wanted]})
        jobs = source(settings, settings.organizations[0], transport=way, clock=time, redactor=Redactor())
        assert jobs.provider.deployments is not None
        watcher = HostingWatcher(
            org=org.name,
            deployments=deployment_source(jobs.provider.deployments, jobs),
            costs=store.costs,
            leases=store.leases,
            clock=time,
            jitter=lambda: 0.0,
        )
        yield Hosted(watcher, store, time, simulation)


async def test_deployments_cost_from_their_creation_until_they_were_seen_last(tmp_path: Path) -> None:
    async with hosted(tmp_path) as of:
        await of.watcher.read_once(of.time.now())
        first = await of.kept()
        tuned = {str(job.fine_tuned_model) for job in of.simulation.tuned_models(of.simulation.orgs[0])}
        assert first
        assert {one.model for one in first} < tuned, "free ones and those sold by capacity are left out"
        of.time.move(3600)
        await of.watcher.read_once(of.time.now())
        later = await of.kept()
        assert [(one.deployment, one.since) for one in later] == [(one.deployment, one.since) for one in first]
        assert all(one.until - was.until == timedelta(hours=1) for one, was in zip(later, first, strict=True))
        seen = await of.store.reader.snapshot(of.time.now(), orgs=[of.org], job_retention=timedelta(1), max_jobs=1)
        month = of.time.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        assert seen.hosted == {(one.org, one.model): one.usd(month, of.time.now()) for one in later}


async def test_a_list_that_cannot_be_read_changes_nothing_and_is_logged_once(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("not-a-token")
    async with hosted(tmp_path, token_file=str(token)) as of:
        with pytest.raises(AuthFailed):
            await of.watcher.read_once(of.time.now())
        of.time.most = 4
        with pytest.raises(Enough):
            await of.watcher.run()
        assert await of.kept() == ()


async def test_it_is_listed_again_and_again(tmp_path: Path) -> None:
    async with hosted(tmp_path) as of:
        of.time.most = 3
        with pytest.raises(Enough):
            await of.watcher.run(5.0)
        assert of.time.naps[0] == 5.0
        assert all(500 < nap <= 600 for nap in of.time.naps[1:])
        assert await of.kept()
