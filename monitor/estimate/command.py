"""The command as a whole: read the file with a progress bar, print what was found, and say it by the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date

import click

from monitor.config.prices import price_table
from monitor.domain.pricing import auto_epochs
from monitor.estimate.blocks import opened
from monitor.estimate.crew import WorkerLost
from monitor.estimate.document import document
from monitor.estimate.findings import Findings, read
from monitor.estimate.quote import Quote, Wish, quote
from monitor.estimate.telling import told

GOOD, BAD_LINES, CANNOT_READ, INTERRUPTED = 0, 1, 2, 130


def run(name: str, wish: Wish, *, as_json: bool, today: date) -> int:
    """Estimate a file, `-` for standard input. The exit code: 0 good, 1 bad lines, 2 unreadable, 130 after Ctrl-C."""
    try:
        with ExitStack() as files:
            with opened(name) as (file, size), _progress(name, size) as progress:
                findings = read(file, wish, files, progress)
            _print(name, findings, _quoted(findings, wish, today), as_json=as_json, today=today)
            return GOOD if not findings.bad.count and findings.refusal is None else BAD_LINES
    except BrokenPipeError:
        raise  # nobody reads what we print any more: click knows what to do
    except OSError as error:
        click.echo(f"{name}: cannot be read: {error.strerror or error}", err=True)
        return CANNOT_READ
    except WorkerLost as error:
        click.echo(f"{name}: cannot be counted: {error}", err=True)
        return CANNOT_READ
    except KeyboardInterrupt:
        return INTERRUPTED


def _quoted(findings: Findings, wish: Wish, today: date) -> Quote:
    epochs = wish.epochs or auto_epochs(findings.examples)
    return quote(wish, findings.method, findings.size, epochs, table=price_table(), today=today)


def _print(name: str, findings: Findings, quoted: Quote, *, as_json: bool, today: date) -> None:
    if as_json:
        for piece in document(name, findings, quoted):
            click.echo(piece, nl=False)
        click.echo()
        return
    for line in told(name, findings, quoted, today):
        click.echo(line)


@contextmanager
def _progress(name: str, size: int | None) -> Iterator[Callable[[int], object]]:
    """A bar while a file is read, on a terminal only; without a size, as from a pipe, the megabytes so far."""
    if not sys.stderr.isatty():
        yield lambda _: None
    elif size:
        with click.progressbar(length=size, label=f"reading {name}", file=sys.stderr) as bar:
            yield bar.update
    else:
        with _counted(name) as count:
            yield count


@contextmanager
def _counted(name: str) -> Iterator[Callable[[int], object]]:
    total = shown = 0

    def count(size: int) -> None:
        nonlocal total, shown
        total += size
        if total >> 20 > shown:
            shown = total >> 20
            click.echo(f"\rreading {name}: {shown:,} MiB", nl=False, err=True)

    try:
        yield count
    finally:
        if shown:
            click.echo(err=True)
