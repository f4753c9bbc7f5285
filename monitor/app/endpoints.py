"""Where the provider sends an organisation's webhooks: `finetune-monitor webhooks`, the one command that changes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import anyio

from monitor import source as sources
from monitor.app.build import source
from monitor.clock import SystemClock
from monitor.config import Settings
from monitor.providers.base import Page, Request, WebhookEndpoint, WebhookEndpoints
from monitor.secret import Redactor
from monitor.source import Client
from monitor.source.walk import pages

T = TypeVar("T")

_MOST_PAGES = 20


class CannotAsk(Exception):
    """There is nothing that could be done; the text says why."""


def listed(settings: Settings, org: str) -> list[WebhookEndpoint]:
    """Every endpoint of the organisation. Raises CannotAsk and SourceError, as do the others."""
    return _with_client(settings, org, _all)


def register(settings: Settings, org: str, url: str | None) -> WebhookEndpoint:
    """A new endpoint for the ends of jobs, with its secret."""
    return _with_client(settings, org, partial(_register, url or _own_url(settings, org)))


def rotate(settings: Settings, org: str, url: str | None) -> WebhookEndpoint:
    """The endpoint with a new secret; at OpenAI the old one stays good for a day."""
    return _with_client(settings, org, partial(_rotate, url or _own_url(settings, org)))


def _own_url(settings: Settings, org: str) -> str:
    if settings.server.external_url is None:
        raise CannotAsk("give --url, or set server.external_url: where does the provider reach this monitor?")
    return f"{settings.server.external_url}/webhooks/{org}"


def _with_client(settings: Settings, name: str, ask: Callable[[Client, WebhookEndpoints], Awaitable[T]]) -> T:
    """Ask the organisation's provider."""
    org = next((each for each in settings.organizations if each.name == name), None)
    if org is None:
        raise CannotAsk(f"no organisation is named {name}")
    push = org.vendor().push
    endpoints = push.endpoints if push is not None else None
    if endpoints is None:
        raise CannotAsk(f"{org.provider} has no API for webhooks here")

    async def with_client() -> T:
        async with sources.transport() as transport:
            redactor = Redactor()
            asked = source(settings, org, transport=transport, clock=SystemClock(), redactor=redactor)
            return await ask(asked.client, endpoints)

    return anyio.run(with_client)


async def _all(client: Client, endpoints: WebhookEndpoints) -> list[WebhookEndpoint]:
    async def fetch(request: Request) -> Page[WebhookEndpoint]:
        return await client.page(request, endpoints.all.read)

    walk = pages(fetch, endpoints.all.first, most=_MOST_PAGES)
    return [endpoint async for _, page in walk for endpoint in page.items]


async def _register(url: str, client: Client, endpoints: WebhookEndpoints) -> WebhookEndpoint:
    known = next((each for each in await _all(client, endpoints) if each.url == url), None)
    if known is not None:
        raise CannotAsk(f"{url} is registered already, as {known.id}; rotate gives it a new secret")
    return await client.call(endpoints.register(url))


async def _rotate(url: str, client: Client, endpoints: WebhookEndpoints) -> WebhookEndpoint:
    if endpoints.rotate is None:
        raise CannotAsk("this provider gives no new secret for an endpoint: register another one")
    known = next((each for each in await _all(client, endpoints) if each.url == url), None)
    if known is None:
        raise CannotAsk(f"{url} is not registered")
    return await client.call(endpoints.rotate(known.id))
