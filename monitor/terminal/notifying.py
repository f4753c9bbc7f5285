"""The `notify` commands on the command line. Each imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.terminal.configured import config_option, or_exit
from monitor.terminal.options import one_job, server_options, shown_options

if TYPE_CHECKING:
    from monitor.terminal.server import Access


@click.group()
def notify() -> None:
    """Try, explain and repeat notifications."""


@notify.command("test")
@click.argument("name")
@config_option
def notify_test(name: str, file: Path) -> None:
    """Send a real test message by the notifier NAME. Exit 0 accepted, 1 not accepted, 2 no such notifier."""
    from monitor import config  # noqa: PLC0415 - see the module's first line
    from monitor.terminal import notify  # noqa: PLC0415 - see the module's first line

    sys.exit(notify.test(or_exit(file, lambda: config.load(file, config.environ())), name))


@notify.command("explain")
@one_job
@config_option
@shown_options
@server_options
def notify_explain(access: Access, org: str, job_id: str, file: Path, as_json: bool, plain: bool) -> None:
    """Say which routes of the configuration fit a job of the running daemon, and who hears of what."""
    from monitor import config  # noqa: PLC0415 - see the module's first line
    from monitor.terminal import notify  # noqa: PLC0415 - see the module's first line

    settings = or_exit(file, lambda: config.load(file, config.environ()))
    sys.exit(notify.explain(settings, access, org, job_id, as_json=as_json, plain=plain))


@notify.command("replay")
@click.option("--since", metavar="DURATION", required=True, help="How far back: 30m, 24h, 7d; at most store.retention.")
@click.option("--notifier", metavar="NAME", help="To this notifier only.")
@click.option("--dry-run", is_flag=True, help="Only list what would be sent.")
@shown_options
@server_options
def notify_replay(access: Access, since: str, notifier: str | None, dry_run: bool, as_json: bool, plain: bool) -> None:
    """Send again what changed since then, to whom the daemon's present routes name.

    What was sent or given up goes out with the same key and content, what waits is left alone, and what a route or
    notifier missed that was added since is told for the first time. The daemon allows it with server.enable_lifecycle.
    """
    from monitor.terminal import notify  # noqa: PLC0415 - see the module's first line

    sys.exit(notify.replay(access, since=since, notifier=notifier, dry_run=dry_run, as_json=as_json, plain=plain))


@notify.command("dead")
@click.option(
    "--requeue", is_flag=True, help="Let them all wait again; the daemon allows it with server.enable_lifecycle."
)
@shown_options
@server_options
def notify_dead(access: Access, requeue: bool, as_json: bool, plain: bool) -> None:
    """List the notifications that were given up, newest first."""
    from monitor.terminal import notify  # noqa: PLC0415 - see the module's first line

    sys.exit(notify.dead(access, requeue=requeue, as_json=as_json, plain=plain))
