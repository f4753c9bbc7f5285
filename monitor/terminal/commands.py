"""The commands that ask a running daemon. Each imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from monitor.domain.durations import duration
from monitor.domain.model import JobKind, Status
from monitor.domain.news import EventType
from monitor.terminal.options import Options, config_option, daemon_options, job_arguments, or_exit, org_option


def _duration(_context: click.Context, _option: click.Parameter, text: str | None) -> timedelta | None:
    try:
        return duration(text) if text is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


_limit_option = click.option(
    "--limit", type=click.IntRange(0), default=50, show_default=True, help="Show at most this many; 0 for all."
)


@click.command()
@org_option
@click.option("--status", type=click.Choice([*map(str, Status)]), help="Only jobs in this status.")
@click.option("--kind", type=click.Choice([*map(str, JobKind)]), help="Only fine-tuning jobs, or only batches.")
@click.option("--active", is_flag=True, help="Only jobs that have not ended.")
@click.option("--model", metavar="GLOB", help="Only jobs whose model, base or fine-tuned model matches: `gpt-4o*`.")
@click.option("--since", metavar="DURATION", callback=_duration, help="Only jobs created within: 30m, 24h, 7d.")
@_limit_option
@daemon_options
def jobs(options: Options, limit: int, **wanted: Any) -> None:
    """List jobs and batches, newest first."""
    from monitor.terminal import listings  # noqa: PLC0415 - see the module's first line

    if wanted["active"] and wanted["status"] is not None:
        raise click.UsageError("--active and --status exclude each other.")
    listings.jobs(options, listings.JobFilter(**wanted), limit or None)


@click.command()
@job_arguments
@daemon_options
def job(options: Options, org: str, job_id: str) -> None:
    """Show a job: details, error, loss curves, notifications."""
    from monitor.terminal import job  # noqa: PLC0415 - see the module's first line

    job.show(options, org, job_id)


@click.command()
@job_arguments
@daemon_options
def watch(options: Options, org: str, job_id: str) -> None:
    """Follow a job until it ends. Exit 0 succeeded, 1 failed or cancelled, 2 no answer, 130 after Ctrl-C."""
    from monitor.terminal import watch  # noqa: PLC0415 - see the module's first line

    sys.exit(watch.watch(options, org, job_id))


@click.command()
@daemon_options
def orgs(options: Options) -> None:
    """List the organisations and their health."""
    from monitor.terminal import listings  # noqa: PLC0415 - see the module's first line

    listings.orgs(options)


@click.command()
@daemon_options
def budgets(options: Options) -> None:
    """List the budgets, and how much of them is spent."""
    from monitor.terminal import listings  # noqa: PLC0415 - see the module's first line

    listings.budgets(options)


@click.command()
@org_option
@_limit_option
@daemon_options
def models(options: Options, org: str | None, limit: int) -> None:
    """List the fine-tuned models by shutdown date, the earliest first."""
    from monitor.terminal import listings  # noqa: PLC0415 - see the module's first line

    listings.models(options, org, limit or None)


@click.command()
@org_option
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="How far back.")
@daemon_options
def costs(options: Options, org: str | None, days: int) -> None:
    """List the costs of each day, computed and billed.

    Computed costs come from prices, billed ones from the provider, where it publishes its bill.
    """
    from monitor.terminal import listings  # noqa: PLC0415 - see the module's first line

    listings.costs(options, org, days)


@click.command()
@daemon_options
def reload(options: Options) -> None:
    """Make the daemon reload its configuration.

    Needs server.enable_lifecycle in its configuration; SIGHUP always works. Exit 0 reloaded, 1 the configuration has
    problems and nothing was changed, 2 no answer.
    """
    from monitor.terminal import listings  # noqa: PLC0415 - see the module's first line

    sys.exit(0 if listings.reload(options) else 1)


@click.group()
def notify() -> None:
    """Test, explain, render and replay notifications."""


@notify.command("test")
@click.argument("name")
@config_option
def notify_test(name: str, file: Path) -> None:
    """Send a real test message through the notifier NAME. Exit 0 accepted, 1 not accepted, 2 no such notifier."""
    from monitor import config  # noqa: PLC0415 - see the module's first line
    from monitor.terminal import notifications  # noqa: PLC0415 - see the module's first line

    settings = or_exit(file, lambda: config.load(file, config.environ()))
    sys.exit(0 if notifications.test(settings, name) else 1)


@notify.command("explain")
@job_arguments
@config_option
@daemon_options
def notify_explain(options: Options, org: str, job_id: str, file: Path) -> None:
    """Show which routes match a job, and who is notified of what.

    The routes are those of the configuration file. Of one that does not match, the reason is given.
    """
    from monitor import config  # noqa: PLC0415 - see the module's first line
    from monitor.terminal import notifications  # noqa: PLC0415 - see the module's first line

    settings = or_exit(file, lambda: config.load(file, config.environ()))
    notifications.explain(options, settings, org, job_id)


@notify.command("render")
@click.argument("name")
@click.option(
    "--event",
    type=click.Choice([*map(str, EventType)]),
    default="failed",
    show_default=True,
    help="The event to render.",
)
@click.option("--job", nargs=2, metavar="ORG JOB", help="A job that the daemon knows; by default an example.")
@click.option(
    "--together",
    type=click.IntRange(1, 50),
    default=1,
    help="How many to combine in one message, as `group_wait` does.",
)
@config_option
@daemon_options
def notify_render(
    options: Options, name: str, event: str, job: tuple[str, str] | None, together: int, file: Path
) -> None:
    """Print what the notifier NAME would send for an event.

    The routes are those of the configuration file. Nothing is sent. Standard error says how it would be sent: in the
    thread of a card, held back, combined with others, by a template.
    """
    from monitor import config  # noqa: PLC0415 - see the module's first line
    from monitor.terminal import notifications  # noqa: PLC0415 - see the module's first line

    settings = or_exit(file, lambda: config.load(file, config.environ()))
    request = notifications.RenderRequest(name=name, event=EventType(event), job=job, together=together)
    notifications.render(options, settings, request)


@notify.command("replay")
@click.option("--since", metavar="DURATION", required=True, help="How far back: 30m, 24h, 7d; at most store.retention.")
@click.option("--notifier", metavar="NAME", help="Only to this notifier.")
@click.option("--dry-run", is_flag=True, help="Only list what would be sent.")
@daemon_options
def notify_replay(options: Options, since: str, notifier: str | None, dry_run: bool) -> None:
    """Send stored transitions again, by the daemon's current routes.

    Deliveries that were sent or are dead letters are sent again with the same key and content; pending ones are left
    alone. Routes and notifiers that were added since receive theirs for the first time. Needs server.enable_lifecycle
    in the daemon's configuration.
    """
    from monitor.terminal import notifications  # noqa: PLC0415 - see the module's first line

    notifications.replay(options, since=since, notifier=notifier, dry_run=dry_run)


@notify.command("dead")
@click.option("--requeue", is_flag=True, help="Requeue them all; needs server.enable_lifecycle of the daemon.")
@daemon_options
def notify_dead(options: Options, requeue: bool) -> None:
    """List the dead letters, newest first.

    A dead letter is a notification that is not retried any more.
    """
    from monitor.terminal import notifications  # noqa: PLC0415 - see the module's first line

    notifications.dead(options, requeue=requeue)


ALL: Final[tuple[click.Command, ...]] = (jobs, job, watch, orgs, budgets, models, costs, reload, notify)
