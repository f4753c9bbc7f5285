"""The command `estimate`: reads the file with a progress bar, prints the report and returns the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date

import click

from monitor.config.prices import price_table
from monitor.dataset import applicable
from monitor.estimate.findings import Findings, read
from monitor.estimate.quote import EstimateRequest, Quote, quote
from monitor.estimate.reading import WorkerLost, opened
from monitor.estimate.report import GOOD, UNUSABLE, as_json, as_text, verdict
from monitor.providers.openai.naming import auto_epochs

_INTERRUPTED = 130
_BROKEN_PIPE = 141


def run(name: str, request: EstimateRequest, *, json: bool, today: date) -> int:
    """Estimate a file, or standard input for `-`. Returns the exit code of `verdict`, or 130 after Ctrl-C.

    If the reader of the output closes it early, a good file still gives 0, and any other 141 instead of 1.
    """
    if not applicable(request.provider, request.model, request.method):
        click.echo(f"{request.provider} publishes no format for {request.method} fine-tuning", err=True)
        return UNUSABLE
    shown = click.format_filename(name)
    try:
        with ExitStack() as files:
            with opened(name) as (file, size), _progress(shown, size) as progress:
                findings = read(file, request, files, progress)
            quoted = _quoted(findings, request, today)
            code, _ = verdict(findings, quoted, today)
            return _printed((as_json if json else _lines)(shown, findings, quoted, today), code)
    except OSError as error:
        click.echo(f"{shown}: cannot be read: {error.strerror or error}", err=True)
        return UNUSABLE
    except WorkerLost as error:
        click.echo(f"{shown}: cannot be counted: {error}", err=True)
        return UNUSABLE
    except KeyboardInterrupt:
        return _INTERRUPTED


def _quoted(findings: Findings, request: EstimateRequest, today: date) -> Quote:
    automatic = auto_epochs(findings.examples) if request.provider in {"openai", "azure"} else 1
    epochs = request.epochs or automatic
    return quote(request, findings.method, findings.size, epochs, table=price_table(), today=today)


def _lines(name: str, findings: Findings, quoted: Quote, today: date) -> Iterator[str]:
    return (f"{line}\n" for line in as_text(name, findings, quoted, today))


def _printed(pieces: Iterable[str], code: int) -> int:
    """Print the pieces. Returns `code`, or another exit code if printing fails."""
    try:
        for piece in pieces:
            sys.stdout.write(piece)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise Python reports an error at exit
        return GOOD if code == GOOD else _BROKEN_PIPE
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"cannot print: {error.strerror or error}", err=True)
        return UNUSABLE
    return code


@contextmanager
def _progress(name: str, size: int | None) -> Iterator[Callable[[int], object]]:
    """A progress bar on a terminal; without a known size, as from a pipe, the megabytes so far."""
    if not sys.stderr.isatty():
        yield lambda _: None
    elif size:
        with click.progressbar(length=size, label=f"reading {name}", file=sys.stderr) as bar:
            yield bar.update
    else:
        with _megabytes(name) as count:
            yield count


@contextmanager
def _megabytes(name: str) -> Iterator[Callable[[int], object]]:
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
