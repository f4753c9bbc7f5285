"""The commands that ask the daemon, each as a whole: ask, print, and say by the exit code how it went."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import click

from monitor.clock import SystemClock
from monitor.environ import environ
from monitor.terminal.answers import Job
from monitor.terminal.asking import AskError, Daemon, daemon
from monitor.terminal.details import detailed
from monitor.terminal.listing import listed
from monitor.terminal.screen import Screen, screen
from monitor.terminal.server import Access, BadServer, server
from monitor.terminal.watching import JsonLines, Lines, follow

GOOD, CANNOT_ASK, INTERRUPTED = 0, 2, 130


def jobs(access: Access, *, org: str | None, status: str | None, most: int | None, as_json: bool, plain: bool) -> int:
    """List jobs, newest first, at most so many, or all: a table, or one JSON object a line. The exit code."""
    show = _jobs_as_json if as_json else partial(_jobs_as_table, screen(plain=plain))
    return asking(access, partial(show, org=org, status=status, most=most))


def job(access: Access, org: str, job_id: str, *, as_json: bool, plain: bool) -> int:
    """Show everything about one job: text, or one JSON object with its events. The exit code."""
    show = _job_as_json if as_json else partial(_job_as_text, screen(plain=plain))
    return asking(access, partial(show, org=org, job_id=job_id))


def watch(access: Access, org: str, job_id: str, *, as_json: bool, plain: bool) -> int:
    """Follow a job to its end. The exit code: 0 succeeded, 1 ended otherwise, 2 cannot ask, 130 after Ctrl-C."""
    shown = screen(plain=plain)
    teller = JsonLines() if as_json else Lines(shown)
    try:
        return asking(access, lambda of: follow(of, org, job_id, teller=teller, clock=SystemClock()), shown)
    finally:
        shown.close()


def asking(access: Access, question: Callable[[Daemon], Awaitable[int]], shown: Screen | None = None) -> int:
    """Ask a daemon something, or say why that cannot be. The exit code."""
    asked = None
    try:
        asked = daemon(server(access, environ()))
        return anyio.run(question, asked)
    except (AskError, BadServer) as error:
        if shown is not None:
            shown.close()
        click.echo(f"{asked.server.address}: {error}" if asked is not None else f"{error}", err=True)
        return CANNOT_ASK
    except BrokenPipeError:
        raise  # nobody reads what we print any more: click knows what to do
    except OSError as error:
        click.echo(f"cannot print: {error.strerror or error}", err=True)
        return CANNOT_ASK
    except KeyboardInterrupt:
        return INTERRUPTED


async def _jobs_as_table(shown: Screen, of: Daemon, *, org: str | None, status: str | None, most: int | None) -> int:
    found: list[Job] = []
    async for one, _ in of.jobs(org=org, status=status, most=_and_one(most)):
        found.append(one)
    shown.tell(listed(found[:most], shown.look, SystemClock().now()))
    _tell_of_more(len(found), most)
    return GOOD


async def _jobs_as_json(of: Daemon, *, org: str | None, status: str | None, most: int | None) -> int:
    count = 0
    async for _, said in of.jobs(org=org, status=status, most=_and_one(most)):
        count += 1
        if most is None or count <= most:
            click.echo(json.dumps(said))
    _tell_of_more(count, most)
    return GOOD


async def _job_as_text(shown: Screen, of: Daemon, *, org: str, job_id: str) -> int:
    found, _ = await of.job(org, job_id)
    events, _ = await of.events(org, job_id)
    shown.tell(detailed(found, events, shown.look, SystemClock().now()))
    return GOOD


async def _job_as_json(of: Daemon, *, org: str, job_id: str) -> int:
    _, said = await of.job(org, job_id)
    _, events = await of.events(org, job_id)
    click.echo(json.dumps({**said, "events": events}))
    return GOOD


def _and_one(most: int | None) -> int | None:
    """One more than is shown tells whether there are more."""
    return most + 1 if most is not None else None


def _tell_of_more(found: int, most: int | None) -> None:
    if most is not None and found > most:
        click.echo(f"There are older jobs: --limit 0 shows all, --limit {2 * most} twice as many.", err=True)
