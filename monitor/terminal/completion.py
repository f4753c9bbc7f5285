"""Completes organisations and job ids from the running daemon: at once, or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import anyio

from monitor.environ import environ
from monitor.terminal.answers import Org, Page
from monitor.terminal.asking import AskError, Daemon, daemon
from monitor.terminal.look import inert
from monitor.terminal.server import Access, BadServer, server

_PATIENCE: Final = 1.0
_OFFERED: Final = 100
# What a shell would run or take apart is never put on a command line.
_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")

Offer = tuple[str, str]
"""A word and what it stands for."""


def organisations(parameters: Mapping[str, Any]) -> list[Offer]:
    """The organisations of the daemon that the command line names; none where it does not answer."""

    async def ask(of: Daemon) -> list[Offer]:
        answer, _ = await of.ask("/api/v1/orgs", {}, Page[Org])
        return [(one.org, "") for one in answer.data]

    return _offers(parameters, ask)


def job_ids(parameters: Mapping[str, Any]) -> list[Offer]:
    """The newest jobs of the organisation on the command line."""

    async def ask(of: Daemon) -> list[Offer]:
        found = of.jobs(org=parameters.get("org"), status=None, most=_OFFERED)
        return [(one.id, inert(" ".join(filter(None, (one.status, one.name))), 80)) async for one, _ in found]

    return _offers(parameters, ask)


def _offers(parameters: Mapping[str, Any], ask: Any) -> list[Offer]:
    named = {name: parameters.get(name) for name in ("url", "user", "password_file", "ca_file")}
    try:
        asked = daemon(server(Access(**named), environ()), timeout=_PATIENCE)
        offers: list[Offer] = anyio.run(ask, asked)
    except (AskError, BadServer):
        return []
    return [(word, meaning) for word, meaning in offers if _SAFE.fullmatch(word)]
