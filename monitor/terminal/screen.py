"""The stream that is written to: lines, and on a terminal a last line that is written anew."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import click

from monitor.environ import environ
from monitor.terminal.look import Look, look


@dataclass(slots=True)
class Screen:
    """Standard output. Text from outside must be inert before it comes here."""

    ask: Callable[[], Look]
    """How to write now: a terminal's width changes."""
    drawn: bool = False
    """There is a last line to be written anew."""

    @property
    def look(self) -> Look:
        """How to write now."""
        return self.ask()

    def say(self, text: str = "") -> None:
        """A line that stays."""
        look = self.look
        click.echo(("\r\x1b[K" if self.drawn else "") + look.written(text), color=self.drawn or look.colour)
        self.drawn = False

    def tell(self, lines: Iterable[str]) -> None:
        """Lines that stay."""
        for line in lines:
            self.say(line)

    def show(self, text: str) -> None:
        """The last line, in place of what it was; nowhere but on a terminal."""
        look = self.look
        if look.live:
            click.echo(f"\r{look.written(text)}\x1b[K", nl=False, color=True)
            self.drawn = True

    def close(self) -> None:
        """Leave the last line as it is, and go below it."""
        if self.drawn:
            click.echo()
            self.drawn = False


def screen(*, plain: bool) -> Screen:
    """Standard output, `plain` in ASCII whatever it can show."""
    return Screen(partial(look, sys.stdout, environ(), plain=plain))
