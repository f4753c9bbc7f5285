"""Log lines, ours and every library's: one line each, in UTC, and without secrets."""

from __future__ import annotations

import json
import logging
import math
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Literal, TextIO, cast

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, FilteringBoundLogger, Processor

Logger = FilteringBoundLogger

_LONGEST: Final = 2_000  # characters of one text
_LONGEST_TRACE: Final = (2_000, 6_000)  # of a traceback's beginning and end
_MOST_ITEMS: Final = 50
_DEEPEST: Final = 4
_WAITING: Final = 10_000  # lines for a reader that does not read, before lines are dropped
_GRACE: Final = 1.0  # seconds for the last of them, at the end
_FIRST: Final = ("timestamp", "level", "event", "logger")
_BARE: Final = re.compile(r"[^\s\"'=\\]+")

# slack_sdk prints an incoming webhook's URL, a secret, at INFO and DEBUG; alembic tells of each step of a migration.
_QUIET: Final = ("slack_sdk", "alembic")
# Requests are counted in metrics; their paths are nobody's business. Whoever used a connection to PostgreSQL that broke
# reports it; the pool writes a traceback as well.
_SILENT: Final = ("aiohttp.access", "sqlalchemy.pool.impl.QueuePool")

_SHARED: Final[list[Processor]] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_OURS: Final[list[Processor]] = [
    structlog.stdlib.filter_by_level,
    *_SHARED,
    ProcessorFormatter.wrap_for_formatter,
]


def get_logger(name: str = "monitor") -> Logger:
    """A logger of events with fields: `log.info("poll.failed", org=…)`."""
    return cast("Logger", structlog.get_logger(name))


def configure(
    *,
    level: str,
    format: Literal["json", "console"],  # noqa: A002 - the key's name in the configuration
    redactor: Callable[[str], str],
    stream: TextIO | None,
) -> None:
    """Send every log line, warning and crash to a stream (None: nowhere). May be called again, to change how."""
    logging.raiseExceptions = False
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_crash
    root = logging.getLogger()
    root.setLevel(level.upper())
    _handler(root, stream).setFormatter(_formatter(_json_line if format == "json" else _console_line, redactor))
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in _SILENT:
        logging.getLogger(name).disabled = True
    structlog.configure(
        processors=_OURS,
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def _handler(root: logging.Logger, stream: TextIO | None) -> LineHandler:
    """The root's handler for this stream; one for another stream is let go."""
    for handler in [handler for handler in root.handlers if isinstance(handler, LineHandler)]:
        if handler.stream is stream:
            return handler
        root.removeHandler(handler)
        handler.close()
    fresh = LineHandler(stream)
    root.addHandler(fresh)
    return fresh


class LineHandler(logging.Handler):
    """Writes lines to a stream, and never raises and never waits: what a closed pipe or a full disk does not take is
    lost. To a stream with a file descriptor a thread writes, which a reader that does not read may block."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self.stream = stream
        self.dropped = 0
        self._lines: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._writer: threading.Thread | None = None
        try:
            descriptor = os.dup(stream.fileno()) if stream is not None else None  # ours, whoever closes the stream
        except (OSError, ValueError):  # no file behind it, or closed already
            descriptor = None
        if descriptor is not None:
            self._writer = threading.Thread(target=self._write, args=(descriptor,), name="log", daemon=True)
            self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or leave it."""
        try:
            line = self._line(record) + "\n"
            if self._writer is not None:
                self._lines.put_nowait(line.encode(errors="backslashreplace"))
            elif self.stream is not None:
                self.stream.write(line)
                self.stream.flush()
        except (OSError, ValueError, queue.Full):
            self.dropped += 1

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception:  # noqa: BLE001 - such as a wrong number of arguments: must not stop what it tells of
            return json.dumps({"event": "log.unprintable", "logger": record.name})

    def close(self) -> None:
        """Give the last lines a moment, then let go."""
        if self._writer is not None:
            with suppress(queue.Full):
                self._lines.put(None, timeout=_GRACE)
                self._writer.join(_GRACE)
            self._writer = None
        super().close()

    def _write(self, descriptor: int) -> None:
        while (line := self._lines.get()) is not None:
            try:
                while line:  # past Python's own buffer, whose lock a blocked thread would hold for ever
                    line = line[os.write(descriptor, line) :]
            except OSError:
                self.dropped += 1
        os.close(descriptor)


def _formatter(render: Processor, redactor: Callable[[str], str]) -> logging.Formatter:
    return ProcessorFormatter(
        processors=[
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _Inert(redactor),
            render,
        ],
        foreign_pre_chain=_SHARED,
    )


class _Inert:
    """Makes an event safe to write: bounded, without secrets, and nothing in it but texts, numbers and their lists."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        trace = event.pop("exception", None)
        inert = {self._text(str(key)): self._value(event[key], 0) for key in _ordered(event)}
        if trace is not None:
            begin, end = _LONGEST_TRACE
            inert["exception"] = self._redact(_middle_cut(str(trace), begin, end))
        return inert

    def _text(self, text: str) -> str:
        # Cut first: a part that the cut leaves of a secret is found as well as the whole.
        return self._redact(_middle_cut(text, _LONGEST, 0))

    def _value(self, value: object, depth: int) -> Any:
        match value:
            case None | bool():
                return value
            case int() if value.bit_length() < 64:
                return value
            case float() if math.isfinite(value):
                return value
            case str():
                return self._text(value)
            case Mapping() if depth < _DEEPEST:
                items = list(value.items())[:_MOST_ITEMS]
                return {self._text(_plain(key)): self._value(item, depth + 1) for key, item in items}
            case list() | tuple() | set() | frozenset() if depth < _DEEPEST:
                return [self._value(item, depth + 1) for item in list(value)[:_MOST_ITEMS]]
            case _:
                return self._text(_plain(value))


def _ordered(keys: Mapping[str, Any]) -> Sequence[str]:
    return [*(key for key in _FIRST if key in keys), *(key for key in keys if key not in _FIRST)]


def _plain(value: object) -> str:
    """What a value says of itself; secrets say that they are secret."""
    try:
        return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else str(value)
    except Exception:  # noqa: BLE001 - somebody else's __str__ must not cost the line
        return f"<{type(value).__name__}>"


def _middle_cut(text: str, begin: int, end: int) -> str:
    left_out = len(text) - begin - end
    if left_out <= 0:
        return text
    return f"{text[:begin]} […{left_out} characters…] {text[len(text) - end :]}".rstrip()


def _json_line(_logger: object, _method: str, event: EventDict) -> str:
    # Pure ASCII: no terminal, pipe or encoding can be upset by it, and every newline is escaped.
    return json.dumps(event, ensure_ascii=True, separators=(",", ":"))


def _console_line(_logger: object, _method: str, event: EventDict) -> str:
    trace = event.pop("exception", "")
    moment, level, name = (event.pop(key, "") for key in ("timestamp", "level", "event"))
    fields = [f"{_printable(key)}={_written(value)}" for key, value in event.items()]
    line = " ".join((_printable(str(moment)), f"{level!s:8}", _printable(str(name)), *fields))
    return "\n".join((line, *(f"    {_printable(part)}" for part in str(trace).splitlines())))


def _written(value: object) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        return _printable(value)
    return _printable(json.dumps(value, ensure_ascii=False))


def _printable(text: str) -> str:
    """The text with everything escaped that moves a cursor, breaks a line or turns the writing direction."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    get_logger().critical("program.crashed", exc_info=(kind, error, trace))
