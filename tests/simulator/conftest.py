"""A simulation over real HTTP on a clock that only the test advances."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from monitor.simulator import Org, Pace, Simulation, organisations, serve, training_file

NOON = 1_790_000_000.0

STEADY = Pace(
    validation=(5, 5),
    queue=(10, 10),
    step=(1, 1),
    reinforcement_step=(60, 60),
    evaluation=(20, 20),
    announcement=(8, 8),
    request=(1, 1),
    finalizing=(10, 10),
    cancellation=(20, 20),
    silence=(6000, 6000),
    steps=30,
)
"""A job of this pace starts 15 s after its creation, trains for 30 s and is evaluated for 20 s: it ends after 65 s, and
its last event follows after 73 s.

A batch starts after 5 s, answers one request per second, and has its files 10 s after the last answer.
"""


@dataclass
class HandClock:
    """Simulated time that stands still until the test advances it."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class Client:
    """The client of one organisation."""

    session: aiohttp.ClientSession
    base_url: str
    org: Org

    async def call(self, method: str, path: str, json: object = None, data: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.org.key}"}
        url = self.base_url + path
        async with self.session.request(method, url, headers=headers, json=json, data=data) as response:
            return response.status, await response.json()

    async def upload(self, content: bytes, purpose: str = "fine-tune", **fields: str) -> tuple[int, Any]:
        form = aiohttp.FormData({"purpose": purpose, **fields})
        form.add_field("file", BytesIO(content), filename="examples.jsonl")
        return await self.call("POST", "/files", data=form)

    async def create(self, **asked: object) -> Any:
        """Create a job, by default with a file of 40 examples and 4000 tokens."""
        if "training_file" not in asked:
            _, file = await self.upload(training_file(examples=40, tokens=4000))
            asked["training_file"] = file["id"]
        status, job = await self.call("POST", "/fine_tuning/jobs", {"model": "gpt-4o-mini", **asked})
        assert status == 200, job
        return job

    async def job(self, job_id: str) -> Any:
        return (await self.call("GET", f"/fine_tuning/jobs/{job_id}"))[1]

    async def events(self, job_id: str) -> Any:
        """All events, newest first."""
        return (await self.call("GET", f"/fine_tuning/jobs/{job_id}/events?limit=1000"))[1]["data"]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def simulation(clock: HandClock) -> Simulation:
    return Simulation(organisations(2, seed=1), clock=clock, pace=STEADY)


@pytest.fixture
async def base_url(simulation: Simulation) -> AsyncIterator[str]:
    async with serve(simulation) as url:
        yield url


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def client(session: aiohttp.ClientSession, base_url: str, simulation: Simulation) -> Client:
    return Client(session, base_url, simulation.orgs[0])


@pytest.fixture
def stranger(session: aiohttp.ClientSession, base_url: str, simulation: Simulation) -> Client:
    return Client(session, base_url, simulation.orgs[1])


@dataclass(frozen=True)
class Api:
    """One organisation at any provider: requests JSON below its base URL with the given key."""

    simulation: Simulation
    base_url: str
    session: aiohttp.ClientSession
    headers: dict[str, str]

    @property
    def org(self) -> Org:
        return self.simulation.orgs[0]

    async def call(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
        async with self.session.request(method, self.base_url + path, headers={**self.headers, **headers}) as response:
            return response.status, await response.json()

    async def get(self, path: str) -> Any:
        status, body = await self.call(path)
        assert status == 200, body
        return body

    def start(self, **asked: Any) -> str:
        """Start a job of 40 examples. Returns its id."""
        return self.simulation.start_job(self.org, **asked).id


@asynccontextmanager
async def provided(provider: str, clock: HandClock, prefix: str, **asked: Any) -> AsyncIterator[Api]:
    """A server with one organisation at `provider`, whose routes are below `prefix`."""
    simulation = Simulation(organisations(1, seed=1, providers=(provider,)), clock=clock, pace=STEADY, **asked)
    async with serve(simulation) as base_url, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {simulation.orgs[0].key}"}
        yield Api(simulation, base_url.removesuffix("/v1") + prefix, session, headers)
