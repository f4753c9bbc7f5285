"""The option that names the configuration, and what becomes of a command that cannot read it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

T = TypeVar("T")

_FILE: Final = click.Path(path_type=Path, dir_okay=True)  # what cannot be read is told by load, with exit code 2

config_option = click.option("--config", "file", type=_FILE, required=True, help="The configuration, YAML.")


def or_exit(file: Path, read: Callable[[], T]) -> T:
    """What was read, or its problems on the terminal and the end."""
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
