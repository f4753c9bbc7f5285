"""Two keys that see the same jobs: each job is watched, told and counted by one organisation, and that is said once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from monitor.domain.decide import Policy
from monitor.domain.pace import Pace
from monitor.metrics.process import ProcessMetrics
from monitor.secret import Secret
from monitor.simulator import Org, Simulation, organisations, serve
from monitor.source import transport
from monitor.store import Stores, opened
from monitor.watchers.accounts import Accounts
from monitor.watchers.jobs import JobWatcher
from tests.simulator.conftest import STEADY, HandClock
from tests.source.servers import source as asking
from tests.watchers.test_jobs import Time

NAMES = ("east", "west")


class Keys:
    """The watchers of two keys. They are of one account, or of two."""

    def __init__(self, simulation: Simulation, stores: Stores, time: Time, watchers: list[JobWatcher]) -> None:
        self.simulation, self.stores, self.time, self.watchers = simulation, stores, time, watchers

    async def poll(self, *numbers: int) -> None:
        for number in numbers:
            await self.watchers[number].poll_once(self.time.now())

    async def held(self) -> list[set[str]]:
        """The jobs of each, in the store."""
        known = [await self.stores.jobs.known(name) for name in NAMES]
        return [known.jobs.keys() | known.final.keys() for known in known]


@asynccontextmanager
async def keys(tmp_path: Path, *, accounts: int = 1) -> AsyncIterator[Keys]:
    hand = HandClock()
    orgs = organisations(accounts, projects=2, seed=1)
    used: list[tuple[Org, str]] = [(orgs[at % accounts], orgs[at % accounts].projects[at].key) for at in range(2)]
    simulation, time = Simulation(orgs, clock=hand, pace=STEADY), Time(hand)
    async with (
        serve(simulation) as base_url,
        transport() as way,
        opened(f"sqlite:///{tmp_path}/m.db", clock=time) as st,
    ):
        shared = Accounts(dict.fromkeys(NAMES, base_url), patience=0.2)
        watchers = [
            JobWatcher(
                source=asking(base_url, transport=way, org=name, secret=Secret(key), clock=time).source,
                store=st.jobs, policy=Policy(lookback=timedelta(days=30)), pace=Pace(interval=30, idle_interval=300),
                events_interval=60, clock=time, reader_clock=time, process=ProcessMetrics(),
                jitter=lambda: 0.5, accounts=shared,
            )
            for name, (_, key) in zip(NAMES, used, strict=True)
        ]  # fmt: skip
        yield Keys(simulation, st, time, watchers)


async def test_a_job_that_two_keys_see_belongs_to_the_one_that_saw_it_first(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with keys(tmp_path) as of:
            [org] = of.simulation.orgs
            first, second = of.simulation.start_job(org).id, of.simulation.start_job(org).id
            await of.poll(0, 1)
            assert await of.held() == [{first, second}, set()]
            third = of.simulation.start_job(org).id
            await of.poll(1, 0, 1)
            assert await of.held() == [{first, second}, {third}]
    said = [line for line in logs if line["event"] == "org.sees_jobs_of_another"]
    assert [(line["org"], line["other"], line["jobs"]) for line in said] == [("west", "east", 2), ("east", "west", 1)]


async def test_of_two_polls_at_once_one_takes_the_jobs(tmp_path: Path) -> None:
    async with keys(tmp_path) as of:
        jobs = {of.simulation.start_job(of.simulation.orgs[0]).id for _ in range(20)}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(of.poll, 0)
            tasks.start_soon(of.poll, 1)
        east, west = await of.held()
        assert (east | west, east & west) == (jobs, set())


async def test_organisations_of_two_accounts_keep_their_own(tmp_path: Path) -> None:
    async with keys(tmp_path, accounts=2) as of:
        jobs = [of.simulation.start_job(org).id for org in of.simulation.orgs]
        await of.poll(0, 1)
        assert await of.held() == [{job} for job in jobs]


@pytest.mark.parametrize("account", [None, "org-1"])
async def test_who_is_the_same_is_known_once_all_were_asked_or_some_time_has_passed(account: str | None) -> None:
    accounts = Accounts({"a": "here", "b": "here", "c": "there"}, patience=0.05)
    accounts.asked("a", account)
    accounts.asked("c", account)
    await accounts.known("a")
    assert accounts.others("a") == ()
    accounts.asked("b", account)
    accounts.asked("b")
    await accounts.known("a")
    assert accounts.others("a") == (() if account is None else ("b",))
    assert (accounts.turn("a") is accounts.turn("b")) == (account is not None)
