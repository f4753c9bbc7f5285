"""Sends webhooks as OpenAI and Azure do: one signed event per ended job or batch, retried until it is accepted.

Signed as in Standard Webhooks (https://www.standardwebhooks.com); the event contains only the id of what ended.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from aiohttp import ClientError, ClientSession, ClientTimeout

from monitor.simulator.clock import sleep, unix_now
from monitor.simulator.draws import derived, noise
from monitor.simulator.orgs import Org
from monitor.simulator.plan import TERMINAL

if TYPE_CHECKING:
    from monitor.simulator.simulation import Simulation

JOB_EVENTS = ("fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled")
BATCH_EVENTS = ("batch.completed", "batch.failed", "batch.expired", "batch.cancelled")
EVENT_TYPES = (*BATCH_EVENTS, *JOB_EVENTS)
SENDERS = ("openai", "azure")
"""The providers that send webhooks."""
_EVERY = 0.25
"""Real seconds between two searches for what has ended."""
_TIMEOUT = ClientTimeout(total=5)
_RETRY_BASE, _RETRY_MAX = 0.5, 3600.0
_ATTEMPTS = 80
"""With these delays, attempts end after about three days."""
_TWICE = 0.05
"""The share of events that are sent twice with the same id."""


@dataclass(frozen=True)
class Endpoint:
    """A registered webhook endpoint. The first secret is the newest."""

    id: str
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    name: str = "monitor"
    event_types: tuple[str, ...] = EVENT_TYPES
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True)
class Event:
    """The end of a job or batch; `id` is computed from it."""

    type: str
    at: float
    subject: str

    @property
    def id(self) -> str:
        """The id in the body. Retries share another id, the header `webhook-id`."""
        return f"evt_{derived(32, self.type, self.subject, self.at)}"

    def body(self) -> bytes:
        """The body: only `data.id` says what ended, and nothing says whose it is."""
        event = {"object": "event", "id": self.id, "type": self.type, "created_at": int(self.at)}
        return json.dumps({**event, "data": {"id": self.subject}}).encode()


def ends(simulation: Simulation, org: Org, since: float, until: float) -> Iterator[Event]:
    """The ends of jobs and batches in the interval (`since`, `until`]."""
    for job in simulation.jobs(org):
        last = job.plan.marks[-1]
        if last.status in TERMINAL and since < last.at <= until:
            yield Event(f"fine_tuning.job.{last.status}", last.at, job.id)
    for batch in simulation.batches(org.caller):
        if since < batch.ended_at <= until:
            yield Event(f"batch.{batch.marks[-1][1]}", batch.ended_at, batch.id)


def new_secret(*facts: object) -> str:
    """A signing secret computed from `facts`."""
    return f"whsec_{base64.b64encode(bytes.fromhex(derived(48, *facts))).decode()}"


def signed(message: str, body: bytes, secrets: tuple[str, ...], timestamp: int) -> dict[str, str]:
    """The headers of one attempt, with a signature for each valid secret."""
    content = f"{message}.{timestamp}.".encode() + body
    bare = (secret.removeprefix("whsec_").rstrip("=") for secret in secrets)
    keys = [base64.b64decode(each + "=" * (-len(each) % 4)) for each in bare]
    marks = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "content-type": "application/json",
        "user-agent": "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)",
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{mark}" for mark in marks),
    }


async def send(session: ClientSession, endpoint: Endpoint, event: Event) -> int | None:
    """Send once. Returns the status code of the answer, or None without an answer."""
    message, body = f"wh_{derived(32, event.id, endpoint.id)}", event.body()
    headers = signed(message, body, endpoint.secrets, int(unix_now()))
    try:
        async with session.post(
            endpoint.url, data=body, headers=headers, timeout=_TIMEOUT, allow_redirects=False
        ) as answer:
            return answer.status
    except (ClientError, TimeoutError):
        return None


async def deliver(session: ClientSession, endpoint: Endpoint, event: Event) -> None:
    """Send until it is accepted: any answer but 2xx, including redirects, is retried with exponential backoff."""
    for attempt in range(_ATTEMPTS):
        status = await send(session, endpoint, event)
        if status is not None and 200 <= status < 300:
            break
        await sleep(min(_RETRY_MAX, _RETRY_BASE * 2**attempt))
    if noise(event.id, "twice") < _TWICE:
        await send(session, endpoint, event)


async def dispatch(simulation: Simulation) -> None:
    """Send events of everything that ends from now on, until cancelled."""
    since = simulation.now()
    async with ClientSession() as session, anyio.create_task_group() as deliveries:
        while True:
            await sleep(_EVERY)
            until = simulation.now()
            for endpoint, event in _due(simulation, since, until):
                deliveries.start_soon(deliver, session, endpoint, event)
            since = until


def _due(simulation: Simulation, since: float, until: float) -> Iterator[tuple[Endpoint, Event]]:
    for org in simulation.orgs:
        endpoints: Mapping[str, Endpoint] = simulation.webhooks.get(org.id, {})
        if endpoints:
            for event in ends(simulation, org, since, until):
                yield from ((each, event) for each in endpoints.values() if event.type in each.event_types)


def register(simulation: Simulation, org: Org, url: str, secret: str | None = None) -> Endpoint:
    """Register `url` for all ends at `org`, signed with `secret` or a new one."""
    name = derived(24, org.key, "endpoint", url)
    endpoint = Endpoint(id=f"whe_{name}", url=url, secrets=(secret or new_secret(org.key, url),))
    return simulation.keep_endpoint(org, endpoint)


async def dispatcher(simulation: Simulation) -> AsyncIterator[None]:
    """Dispatch webhooks while the server runs."""
    # Not in a task group, which the task that entered it must leave: fixtures of tests are torn down in another task.
    task = asyncio.create_task(dispatch(simulation))  # noqa: TID251 - see above
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
