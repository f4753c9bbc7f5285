"""Messages as cards in the terminal."""

from __future__ import annotations

import io
import os
import select
import textwrap
from dataclasses import dataclass, field
from datetime import UTC
from typing import Final, Literal, TextIO

import anyio
import anyio.to_thread

from monitor.domain.news import Message, Severity
from monitor.domain.text import clean, line
from monitor.notifiers.base import Attempt, FailureKind, Receipt, SendError
from monitor.notifiers.settings import ChannelSettings, Connections
from monitor.notifiers.text import labelled_once, safe_link

_STYLE: Final = {
    Severity.GOOD: ("✔", "32"),
    Severity.INFO: ("●", "36"),
    Severity.WARNING: ("▲", "33"),
    Severity.BAD: ("✖", "31"),
}
_LINKS: Final = ("Page", "Link")
"""The labels of the links to the monitor's page and to the provider's."""
_WIDTHS: Final = (40, 100)
_LONGEST: Final = 2000
_LABEL: Final = 24  # columns; the longest built-in label has 21
_PIPE_BYTES: Final = 4096  # as many bytes as a pipe that polls as writable takes without blocking (PIPE_BUF)


class ConsoleSettings(ChannelSettings):
    """Prints messages to the terminal."""

    type: Literal["console"]

    def notifier(self, connections: Connections) -> ConsoleNotifier:
        """A notifier that prints to the console's stream."""
        return ConsoleNotifier(
            name=self.name,
            stream=connections.stream,
            timeout=min(connections.timeout, 2.0),
            lane=f"console:{self.name}",
        )


@dataclass(slots=True, kw_only=True)
class ConsoleNotifier:
    """A text stream, to which each message is printed as a card."""

    name: str
    stream: TextIO
    timeout: float
    """Seconds to wait while the reader of the stream does not read."""
    lane: str
    min_gap: float = 0.0
    idempotent: bool = True
    one_at_a_time: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))
    """Keeps cards whole, and limits a blocked reader to one thread."""

    def preview(self, message: Message, attempt: Attempt) -> str:
        """The text of the card, without colours."""
        return card(message, attempt, width=_width(self.stream), colour=False)

    async def send(self, message: Message, attempt: Attempt) -> Receipt:
        """Print the message. Raises SendError if the stream is closed or nobody reads it."""
        text = card(message, attempt, width=_width(self.stream), colour=_is_terminal(self.stream))
        with anyio.move_on_after(2 * self.timeout) as waiting:
            await anyio.to_thread.run_sync(self._print, text, limiter=self.one_at_a_time, abandon_on_cancel=True)
        if waiting.cancelled_caught:
            raise SendError(FailureKind.TRANSIENT, "blocked", "the terminal accepts no output")
        return Receipt()

    async def check(self) -> None:
        """Check whether the stream is open. Raises SendError."""
        if self.stream.closed:
            raise SendError(FailureKind.TARGET, "closed", "the output is closed")

    def _print(self, text: str) -> None:
        try:
            descriptor = self.stream.fileno()
        except (OSError, ValueError, io.UnsupportedOperation):
            self._write(text)
            return
        self._write_descriptor(descriptor, text.encode(self.stream.encoding or "utf-8", "replace"))

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError) as error:
            raise SendError(FailureKind.TRANSIENT, "closed", f"cannot print: {type(error).__name__}") from None

    def _write_descriptor(self, descriptor: int, text: bytes) -> None:
        """Write only as much as fits. A thread that blocks in a write could not be stopped, nor could the program."""
        poll, begun = select.poll(), False
        try:
            poll.register(descriptor, select.POLLOUT)
            while text:
                if not poll.poll(self.timeout * 1000):
                    kind = FailureKind.AMBIGUOUS if begun else FailureKind.TRANSIENT
                    raise SendError(kind, "blocked", "the terminal accepts no output")
                text, begun = text[os.write(descriptor, text[:_PIPE_BYTES]) :], True
        except (OSError, ValueError) as error:
            raise SendError(FailureKind.TRANSIENT, "closed", f"cannot print: {type(error).__name__}") from None


def card(message: Message, attempt: Attempt, *, width: int = 80, colour: bool = False) -> str:
    """The message as lines of at most `width` characters (except for links), without terminal control characters."""
    sign, code = _STYLE[message.severity]
    at = message.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    room = width - len(at) - 5
    title, *more = textwrap.wrap(line(message.title, 3 * room), room) or [""]
    head = f"{sign} {title:<{room + 2}} "
    lines = [f"\x1b[1;{code}m{head}\x1b[0m\x1b[2m{at}\x1b[0m" if colour else f"{head}{at}"]
    lines += [f"\x1b[1;{code}m  {rest}\x1b[0m" if colour else f"  {rest}" for rest in more]
    rows = [(line(label, _LABEL), line(value, _LONGEST)) for label, value in message.facts]
    rows += [
        (label, clean(text, _LONGEST))
        for label, text in (("Error", message.error), ("Hint" if message.facts else "Text", message.hint))
        if text
    ]
    links = (safe_link(message.monitor_url, "http"), safe_link(message.link))
    rows += [(label, link) for label, link in zip(_LINKS, links, strict=True) if link is not None]
    rows += [("Note", "may be a repeat")] if attempt.repeated else []
    margin = max((len(label) for label, _ in rows), default=0)
    for label, text in labelled_once(rows):
        lines += _row(label, text, margin=margin, width=width, colour=colour)
    return "\n".join(lines) + "\n\n"


def _row(label: str, text: str, *, margin: int, width: int, colour: bool) -> list[str]:
    room = max(width - margin - 4, 10)
    cut = label not in _LINKS  # a broken link could not be followed
    wrapped = [
        part
        for piece in text.split("\n")
        for part in textwrap.wrap(piece, room, break_on_hyphens=False, break_long_words=cut)
    ] or [""]
    start = f"{label:<{margin}}"
    first = f"  \x1b[2m{start}\x1b[0m  {wrapped[0]}" if colour else f"  {start}  {wrapped[0]}"
    return [first, *(f"{'':{margin + 4}}{part}" for part in wrapped[1:])]


def _width(stream: TextIO) -> int:
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 80
    return max(_WIDTHS[0], min(columns, _WIDTHS[1]))


def _is_terminal(stream: TextIO) -> bool:
    return not stream.closed and stream.isatty()
