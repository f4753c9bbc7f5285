"""The options that several commands share. Nothing is imported here that would make `--help` slow."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from monitor.domain.model import Status
from monitor.terminal.server import DEFAULT, PASSWORD, URL, Access

Command = Callable[..., None]

_FILE = click.Path(path_type=Path, dir_okay=False)


def server_options(command: Command) -> Command:
    """Options on where the daemon is; the command gets them as one `access`."""

    @click.option("--server", "url", metavar="URL", help=f"The daemon; by default ${URL} or {DEFAULT}.")
    @click.option("--user", help=f"The name for basic authentication; its password is in ${PASSWORD}.")
    @click.option("--password-file", type=_FILE, help="A file with the password instead.")
    @click.option("--ca-file", type=_FILE, help="Trust the authorities in this PEM file instead of the system's.")
    @wraps(command)
    def asked(
        url: str | None, user: str | None, password_file: Path | None, ca_file: Path | None, **others: Any
    ) -> None:
        command(access=Access(url=url, user=user, password_file=password_file, ca_file=ca_file), **others)

    return asked


def shown_options(command: Command) -> Command:
    """Options on how the answer looks."""
    command = ascii_option(command)
    return click.option("--json", "as_json", is_flag=True, help="JSON, one object a line, for programs.")(command)


def ascii_option(command: Command) -> Command:
    """For terminals without Unicode."""
    return click.option("--ascii", "plain", is_flag=True, help="No character beyond ASCII.")(command)


def one_job(command: Command) -> Command:
    """The two words that name a job."""
    command = click.argument("job_id", shell_complete=_complete_job)(command)
    return click.argument("org", shell_complete=_complete_org)(command)


def org_option(command: Command) -> Command:
    """One organisation."""
    return click.option("--org", shell_complete=_complete_org, help="Only jobs of this organisation.")(command)


def status_option(command: Command) -> Command:
    """One status."""
    return click.option("--status", type=click.Choice(list(map(str, Status))), help="Only jobs in this status.")(
        command
    )


def _complete_org(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    from monitor.terminal import completion  # noqa: PLC0415 - see the module's first line

    return _items(completion.organisations(context.params), begun)


def _complete_job(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    from monitor.terminal import completion  # noqa: PLC0415 - see the module's first line

    return _items(completion.job_ids(context.params), begun)


def _items(offers: list[tuple[str, str]], begun: str) -> list[CompletionItem]:
    return [CompletionItem(word, help=meaning or None) for word, meaning in offers if word.startswith(begun)]
