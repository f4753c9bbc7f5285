"""Receivers: a webhook and a Slack, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook

SIGNING = "whsec_" + "c2VjcmV0LW9mLXRoZS1lbmQtdG8tZW5kLXRlc3Rz"


@dataclass
class Inbox:
    """What arrived, in order; `answer` decides the response (200 without it)."""

    answer: Callable[[dict[str, Any]], web.Response | None] = lambda body: None
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """The raw bodies of a webhook."""
    ids: list[str] = field(default_factory=list)
    refused: int = 0
    signed: bool = True
    """Whether signatures are checked; not if the sender's clock is wrong."""

    def ends(self) -> list[str]:
        """`org/job` of every end that a webhook announced, in the order of arrival."""
        said = (body for body in self.bodies if body["data"]["job"]["status"] in ("succeeded", "failed", "cancelled"))
        return [f"{body['data']['org']}/{body['data']['job']['id']}" for body in said]


@asynccontextmanager
async def webhook(inbox: Inbox | None = None) -> AsyncIterator[Inbox]:
    """A receiver that verifies signatures and records what it accepted."""
    box = inbox or Inbox()

    async def take(request: web.Request) -> web.Response:
        body = await request.text()
        if box.signed:
            Webhook(SIGNING).verify(body, dict(request.headers))
        said = json.loads(body)
        given = box.answer(said)
        if given is not None:
            box.refused += 1
            return given
        box.ids.append(request.headers["webhook-id"])
        box.texts.append(body)
        box.bodies.append(said)
        return web.Response(text="thanks")

    async with _served("/hook", take) as url:
        box.url = url
        yield box


@asynccontextmanager
async def slack(inbox: Inbox | None = None) -> AsyncIterator[Inbox]:
    """An incoming webhook that answers like Slack's."""
    box = inbox or Inbox()

    async def take(request: web.Request) -> web.Response:
        said = await request.json()
        given = box.answer(said)
        if given is not None:
            box.refused += 1
            return given
        box.bodies.append(said)
        return web.Response(text="ok")

    async with _served("/services/T0000/B0000/abcdefghijklmnopqrstuvwx", take) as url:
        box.url = url
        yield box


@asynccontextmanager
async def _served(path: str, take: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post(path, take)
    async with TestServer(app) as server:
        yield str(server.make_url(path))
