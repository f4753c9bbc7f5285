"""Starts the daemon and determines its exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import anyio

from monitor import __version__, log
from monitor.app import descriptors, memory
from monitor.app.program import Read, warn
from monitor.app.run import run
from monitor.config import LocatedIssue, Settings
from monitor.secret import Redactor
from monitor.store import StoreError

__all__ = ["OTHER_ADDRESS", "exit_code", "run", "start"]

OTHER_ADDRESS: Final = "choose another address with --listen HOST:PORT"
"""The advice where the address is in use."""


def start(settings: Settings, warnings: tuple[LocatedIssue, ...], read_again: Read) -> int:
    """Run the daemon. Returns 0 after SIGTERM or SIGINT, and 1 if it could not start or has lost its database."""
    memory.configure_malloc()
    descriptors.raise_limit()
    redactor = Redactor()

    def adopt(settings: Settings) -> None:
        log.configure(level=settings.log.level, format=settings.log.format, redactor=redactor, stream=sys.stderr)

    adopt(settings)
    logger = log.get_logger()
    logger.info("starting", version=__version__, organizations=len(settings.organizations))
    warn(warnings)
    code = exit_code(
        partial(run, settings, read_again=read_again, redactor=redactor, adopt=adopt),
        lambda errors: logger.error("failed", error=errors),
    )
    logger.info("stopped", exit_code=code)
    return code


def exit_code(main: Callable[[], Awaitable[None]], report: Callable[[str], None]) -> int:
    """Run `main`. Returns 0, or 1 after reporting a StoreError or OSError. Other exceptions, which are bugs, pass."""
    try:
        anyio.run(main)
    except (StoreError, OSError, BaseExceptionGroup) as error:
        leaves = _leaves(error)
        if not all(isinstance(leaf, StoreError | OSError) for leaf in leaves):
            raise
        report("; ".join(dict.fromkeys(map(_reason, leaves))))
        return 1
    return 0


def _reason(error: BaseException) -> str:
    """The text of an error, with advice if there is any."""
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"{error.strerror}; {OTHER_ADDRESS}"
    return str(error)


def _leaves(error: BaseException) -> list[BaseException]:
    """The single errors in nested exception groups."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
