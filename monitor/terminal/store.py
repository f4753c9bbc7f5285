"""The commands on the database itself: `backup`, `store copy` and `store check`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from monitor.terminal.options import config_option, or_exit

T = TypeVar("T")


@click.command()
@config_option
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
def backup(file: Path, target: Path) -> None:
    """Write a consistent copy of the SQLite database to FILE.

    The daemon may run meanwhile. Exit 0 if done, else 1.
    """
    from monitor.store import maintenance  # noqa: PLC0415 - imported here so that --help is fast

    size = _or_fail(lambda: maintenance.backup(_url(file), target))
    click.echo(f"{target}: {size:,} bytes")


@click.group()
def store() -> None:
    """Copy or check the database."""


@store.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy(source: str, target: str) -> None:
    """Copy a whole database to another, empty one.

    FROM and TO are sqlite:///FILE or postgresql://USER@HOST/DATABASE. The daemon must not run meanwhile. A daemon that
    continues with the copy repeats no notification. Exit 0 if done, else 1.
    """
    from monitor.store import maintenance  # noqa: PLC0415 - as above

    counts = _or_fail(lambda: maintenance.copy(source, target))
    _show(counts)
    click.echo(f"Copied and compared: {sum(counts.values()):,} rows.", err=True)


@store.command()
@config_option
def check(file: Path) -> None:
    """Check the whole database, also while the daemon runs. Exit 0 if it is intact, 1 if damaged or unreadable."""
    from monitor.store import maintenance  # noqa: PLC0415 - as above

    counts, damaged = _or_fail(lambda: maintenance.check(_url(file)))
    _show(counts)
    for line in damaged:
        click.echo(f"Error: {line}", err=True)
    if damaged:
        sys.exit(1)
    click.echo(f"Intact: {sum(counts.values()):,} rows, all of which can be read.", err=True)


def accept(url: str) -> None:
    """Accept a restored, older database and continue with it; exit 1 where that fails."""
    from monitor.clock import SystemClock  # noqa: PLC0415 - as above
    from monitor.store import maintenance  # noqa: PLC0415 - as above

    _or_fail(lambda: maintenance.accept_older(url, SystemClock().now()))
    click.echo("The restored database is accepted. The keys of notifications carry a mark from now on.", err=True)


def _url(file: Path) -> str:
    from monitor import config  # noqa: PLC0415 - as above

    settings, _ = or_exit(file, lambda: config.examine(file, config.environ()))
    return settings.store.address()


def _show(counts: Mapping[str, int]) -> None:
    for table, count in counts.items():
        click.echo(f"{count:>10,} {table}")


def _or_fail(act: Callable[[], T]) -> T:
    from monitor.store import StoreError  # noqa: PLC0415 - as above

    try:
        return act()
    except (StoreError, OSError, ValueError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
