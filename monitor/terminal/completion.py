"""Shell completion of organisations and job ids from the running daemon, if it answers within a second."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import click

from monitor.environ import environ
from monitor.terminal.access import Access
from monitor.terminal.answers import Job, Org
from monitor.terminal.client import Daemon, connect
from monitor.terminal.output import inert

Offer = tuple[str, str]
"""A completion and its description."""

_TIMEOUT: Final = 1.0  # seconds
_OFFERED: Final = 100
# Values that a shell would interpret or split are not offered.
_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


def organisations(access: Access) -> list[Offer]:
    """The names of the daemon's organisations; empty if it does not answer."""
    return _offers(access, lambda daemon: [(one.org, "") for one, _ in daemon.list("/api/v1/orgs", Org)])


def job_ids(access: Access, org: str | None) -> list[Offer]:
    """The newest jobs of an organisation with their status and name; empty if the daemon does not answer."""

    def ask(daemon: Daemon) -> list[Offer]:
        jobs = daemon.pages("/api/v1/jobs", Job, {"org": org}, most=_OFFERED)
        return [(job.id, inert(" ".join(filter(None, (job.status, job.name))), 80)) for job, _ in jobs]

    return _offers(access, ask)


def _offers(access: Access, ask: Callable[[Daemon], list[Offer]]) -> list[Offer]:
    try:
        offers = ask(connect(access, environ(), timeout=_TIMEOUT))
    except click.ClickException:
        return []
    return [(word, meaning) for word, meaning in offers if _SAFE.fullmatch(word)]
