"""The `notify` commands, each as a whole: try a notifier, explain routes, send again what was told or given up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import anyio
import click

from monitor.clock import SystemClock
from monitor.config import Settings
from monitor.domain.routing import Rule
from monitor.notifiers import SendError
from monitor.terminal import words
from monitor.terminal.answers import Delivery, Replayed
from monitor.terminal.asking import Daemon
from monitor.terminal.command import CANNOT_ASK, GOOD, INTERRUPTED, asking
from monitor.terminal.explaining import explained, explained_to_programs
from monitor.terminal.look import Look, inert
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
_REPLAYED: Final = (Column(title="KEY"), Column(title="HOW"), Column(title="WHAT", least=8, spare=1))


def test(settings: Settings, name: str) -> int:
    """Send a test message. The exit code: 0 accepted, 1 not, 2 no such notifier."""
    try:
        anyio.run(send, settings, name, SystemClock().now())
    except NoSuchNotifier as error:
        click.echo(f"{inert(name)}: {error}", err=True)
        return CANNOT_ASK
    except SendError as error:
        said = f": {inert(error.answer, 300)}" if error.answer else ""
        click.echo(f"{name}: not accepted ({error.kind}: {error.reason}): {error}{said}", err=True)
        return NOT_ACCEPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    click.echo(f"{name}: accepted")
    return GOOD


def explain(settings: Settings, access: Access, org: str, job_id: str, *, as_json: bool, plain: bool) -> int:
    """Say which routes of a configuration fit a job of the daemon. The exit code."""
    labels = {one.name: one.labels for one in settings.organizations}.get(org, {})
    rules = [route.rule for route in settings.routes]
    shown = None if as_json else screen(plain=plain)
    return asking(access, partial(_explain, shown, org, job_id, labels=labels, rules=rules))


def dead(access: Access, *, requeue: bool, as_json: bool, plain: bool) -> int:
    """List what was given up, and with `requeue` let it wait again. The exit code."""
    return asking(access, partial(_dead, None if as_json else screen(plain=plain), requeue=requeue))


def replay(access: Access, *, since: str, notifier: str | None, dry_run: bool, as_json: bool, plain: bool) -> int:
    """Send again what was told within that duration, or say what that would be. The exit code."""
    shown = None if as_json else screen(plain=plain)
    return asking(access, partial(_replay, shown, since=since, notifier=notifier, dry_run=dry_run))


async def _explain(
    shown: Screen | None, org: str, job_id: str, of: Daemon, *, labels: Mapping[str, str], rules: Sequence[Rule]
) -> int:
    job, _ = await of.job(org, job_id)
    if shown is None:
        click.echo(json.dumps(explained_to_programs(job, labels, rules)))
    else:
        shown.tell(explained(job, labels, rules, shown.look))
    return GOOD


async def _dead(shown: Screen | None, of: Daemon, *, requeue: bool) -> int:
    found = [(letter, said) async for letter, said in of.deliveries(state="dead")]
    count = (await of.requeue()).requeued if requeue else None  # before anything is printed: it may be refused
    if shown is None:
        for said in [*(said for _, said in found), *([{"requeued": count}] if count is not None else [])]:
            click.echo(json.dumps(said))
        return GOOD
    rows = [_row(letter) for letter, _ in found]
    shown.tell(table(_LETTERS, rows, shown.look) if rows else ["There are none."])
    if count is not None:
        shown.say(f"{count:,} wait again." if count != 1 else "1 waits again.")
    return GOOD


async def _replay(shown: Screen | None, of: Daemon, *, since: str, notifier: str | None, dry_run: bool) -> int:
    replayed, said = await of.replay(since=since, notifier=notifier, dry_run=dry_run)
    if shown is None:
        click.echo(json.dumps(said))
    else:
        shown.tell(_told(replayed, shown.look, dry_run=dry_run))
    return GOOD


def _told(replayed: Replayed, look: Look, *, dry_run: bool) -> Iterator[str]:
    """The lines on a replay: every envelope, and how many they are."""
    letters = replayed.deliveries
    if letters:
        rows = [
            (Cell(inert(one.key, 500)), Cell("new" if one.new else "again"), Cell(inert(one.title))) for one in letters
        ]
        yield from table(_REPLAYED, rows, look)
    if more := replayed.again + replayed.new - len(letters):
        yield f"and {more:,} more"
    verb = "Would wait" if dry_run else "Wait"
    yield f"{verb} again: {replayed.again:,}; for the first time: {replayed.new:,}; still wait: {replayed.waiting:,}."


def _row(of: Delivery) -> tuple[Cell, ...]:
    return (
        Cell(inert(of.key, 500)),
        Cell(str(of.attempts)),
        Cell(words.clock_time(of.settled_at) if of.settled_at is not None else ""),
        Cell(inert(of.why), "bad"),
        Cell(inert(of.title)),
    )
