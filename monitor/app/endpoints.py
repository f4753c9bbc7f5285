"""Lists, registers and rotates webhook endpoints at a provider, for the command `finetune-monitor webhooks`."""

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
    """The request is not possible. The text gives the reason."""


def listed(settings: Settings, org: str) -> list[WebhookEndpoint]:
    """All webhook endpoints of the organisation. Raises CannotAsk or SourceError."""
    return _with_client(settings, org, _all)


def register(settings: Settings, org: str, url: str | None) -> WebhookEndpoint:
    """Register an endpoint for the ends of jobs. Returns it with its secret. Raises CannotAsk or SourceError."""
    return _with_client(settings, org, partial(_register, url or _own_url(settings, org)))


def rotate(settings: Settings, org: str, url: str | None) -> WebhookEndpoint:
    """Give an endpoint a new secret, and return both. Raises CannotAsk or SourceError.

    OpenAI accepts the old secret for another day.
    """
    return _with_client(settings, org, partial(_rotate, url or _own_url(settings, org)))


def _own_url(settings: Settings, org: str) -> str:
    if settings.server.external_url is None:
        raise CannotAsk("give --url, or set server.external_url, so that the provider can reach this monitor")
    return f"{settings.server.external_url}/webhooks/{org}"


def _with_client(settings: Settings, name: str, call: Callable[[Client, WebhookEndpoints], Awaitable[T]]) -> T:
    """Run `call` with a client for the organisation's provider. Raises CannotAsk or SourceError."""
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
            client = source(settings, org, transport=transport, clock=SystemClock(), redactor=redactor).client
            return await call(client, endpoints)

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
