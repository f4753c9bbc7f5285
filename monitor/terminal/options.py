"""Options and arguments that several commands share.

Slow modules are imported inside functions, so that `--help` is fast.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from monitor.terminal.access import DEFAULT, PASSWORD, URL, Access

Command = Callable[..., None]
T = TypeVar("T")

CANNOT_ASK: Final = 2
INTERRUPTED: Final = 130
_FILE: Final = click.Path(path_type=Path, dir_okay=False)

config_option = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    required=True,
    envvar="FINETUNE_MONITOR_CONFIG",
    show_envvar=True,
    help="The configuration file (YAML).",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of every command that asks the daemon: where it is, and how to print its answer."""

    access: Access
    as_json: bool = False
    ascii: bool = False


def daemon_options(command: Command) -> Command:
    """Add the options for the daemon and the output; the command receives them as one `options`."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
    @click.option("--ascii", "plain", is_flag=True, help="Print ASCII characters only.")
    @click.option(
        "--server",
        "url",
        metavar="URL",
        default=DEFAULT,
        envvar=URL,
        show_default=True,
        show_envvar=True,
        help="The daemon's address.",
    )
    @click.option("--user", help=f"The user name for basic authentication; its password is in ${PASSWORD}.")
    @click.option("--password-file", type=_FILE, help="A file with the password, instead of the variable.")
    @click.option("--ca-file", type=_FILE, help="Trust the authorities in this PEM file instead of the system's.")
    @wraps(command)
    def with_options(*, as_json: bool, plain: bool, **others: Any) -> None:
        options = Options(access=_access(others), as_json=as_json, ascii=plain)
        try:
            command(options=options, **others)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            raise  # the reader has closed the pipe: click exits quietly
        except OSError as error:
            click.echo(f"Error: cannot print: {error.strerror or error}", err=True)
            sys.exit(CANNOT_ASK)

    return with_options  # fmt: skip


def job_arguments(command: Command) -> Command:
    """Add the two arguments that identify a job."""
    command = click.argument("job_id", shell_complete=_complete_job)(command)
    return click.argument("org", shell_complete=_complete_org)(command)


def org_option(command: Command) -> Command:
    """Add the option that selects one organisation."""
    return click.option("--org", shell_complete=_complete_org, help="Only this organisation.")(command)


def or_exit(file: Path, read: Callable[[], T]) -> T:
    """The value of `read`; otherwise print the configuration's problems and exit 1, or 2 if it is unreadable."""
    from monitor import config  # noqa: PLC0415 - `--help` is quick without it

    try:
        return read()
    except config.ConfigError as error:
        for problem in error.problems:
            click.echo(problem)
        sys.exit(1)
    except OSError as error:
        click.echo(f"{file}: cannot be read: {error.strerror or error}", err=True)
        sys.exit(2)


def _access(given: dict[str, Any]) -> Access:
    """Remove the options for the daemon from `given` and return them."""
    return Access(**{name: given.pop(name) for name in ("url", "user", "password_file", "ca_file")})


def _complete_org(context: click.Context, _parameter: click.Parameter, prefix: str) -> list[CompletionItem]:
    from monitor.terminal import completion  # noqa: PLC0415 - see the module's first line

    return _items(completion.organisations(_access(dict(context.params))), prefix)


def _complete_job(context: click.Context, _parameter: click.Parameter, prefix: str) -> list[CompletionItem]:
    from monitor.terminal import completion  # noqa: PLC0415 - see the module's first line

    return _items(completion.job_ids(_access(dict(context.params)), context.params.get("org")), prefix)


def _items(offers: list[tuple[str, str]], prefix: str) -> list[CompletionItem]:
    return [CompletionItem(word, help=meaning or None) for word, meaning in offers if word.startswith(prefix)]
