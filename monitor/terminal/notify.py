"""The `notify` commands, each as a whole: try a notifier, explain the routes of a job, list dead letters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import anyio
import click

from monitor.clock import SystemClock
from monitor.config import Settings
from monitor.domain.routing import Rule
from monitor.notifiers import SendError
from monitor.terminal import words
from monitor.terminal.answers import Delivery
from monitor.terminal.asking import Daemon
from monitor.terminal.command import CANNOT_ASK, GOOD, INTERRUPTED, asking
from monitor.terminal.explaining import explained
from monitor.terminal.look import inert
from monitor.terminal.screen import Screen, screen
from monitor.terminal.server import Access
from monitor.terminal.table import Cell, Column, table
from monitor.terminal.trying import NoSuchNotifier, send

NOT_ACCEPTED: Final = 1
_LETTERS: Final = (
    Column(title="KEY"),
    Column(title="TRIES", right=True, spare=2),
    Column(title="GIVEN UP", spare=1),
    Column(title="REASON", least=12),
    Column(title="WHAT", least=8, spare=3),
)


def test(settings: Settings, name: str) -> int:
    """Send a test message. The exit code: 0 accepted, 1 not, 2 no such notifier."""
    try:
        anyio.run(send, settings, name, SystemClock().now())
    except NoSuchNotifier as error:
        click.echo(f"{inert(name)}: {error}", err=True)
        return CANNOT_ASK
    except SendError as error:
        click.echo(f"{name}: not accepted ({error.failure}: {error.reason}): {error}", err=True)
        return NOT_ACCEPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    click.echo(f"{name}: accepted")
    return GOOD


def explain(settings: Settings, access: Access, org: str, job_id: str, *, plain: bool) -> int:
    """Say which routes of a configuration fit a job of the daemon. The exit code."""
    labels = {one.name: one.labels for one in settings.organizations}.get(org, {})
    rules = [route.rule for route in settings.routes]
    return asking(access, partial(_explain, screen(plain=plain), org, job_id, labels=labels, rules=rules))


def dead(access: Access, *, as_json: bool, plain: bool) -> int:
    """List what was given up. The exit code."""
    return asking(access, partial(_dead, None if as_json else screen(plain=plain)))


async def _explain(
    shown: Screen, org: str, job_id: str, of: Daemon, *, labels: Mapping[str, str], rules: Sequence[Rule]
) -> int:
    job, _ = await of.job(org, job_id)
    shown.tell(explained(job, labels, rules, shown.look))
    return GOOD


async def _dead(shown: Screen | None, of: Daemon) -> int:
    found: list[Delivery] = []
    async for letter, said in of.deliveries(state="dead"):
        if shown is None:
            click.echo(json.dumps(said))
        else:
            found.append(letter)
    if shown is not None:
        shown.tell(table(_LETTERS, [_row(one) for one in found], shown.look) if found else ["There are none."])
    return GOOD


def _row(of: Delivery) -> tuple[Cell, ...]:
    return (
        Cell(inert(of.key, 500)),
        Cell(str(of.attempts)),
        Cell(words.clock_time(of.settled_at) if of.settled_at is not None else ""),
        Cell(inert(of.reason), "bad"),
        Cell(inert(of.title)),
    )
