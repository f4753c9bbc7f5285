"""Logging of this program and of all libraries: one line per event, with times in UTC and without secrets."""

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

from monitor.imports import without

with without("rich", "colorama", "greenlet"):  # structlog would load them if they are installed, for terminals
    import structlog
    from structlog.stdlib import ProcessorFormatter
    from structlog.typing import EventDict, FilteringBoundLogger, Processor

Logger = FilteringBoundLogger

_LONGEST: Final = 2_000  # characters of one text
_LONGEST_TRACE: Final = (2_000, 6_000)  # characters of the beginning and of the end of a traceback
_MOST_ITEMS: Final = 50  # items of a list or mapping
_DEEPEST: Final = 4  # levels of nesting
_WAITING: Final = 10_000  # lines that are queued for a slow reader before lines are dropped
_GRACE: Final = 1.0  # seconds to write the queued lines at the end
_FIRST: Final = ("timestamp", "level", "event", "logger")
_BARE: Final = re.compile(r"[^\s\"'=\\]+")

# Logged from WARNING on: slack_sdk logs the URLs of incoming webhooks, which are secrets, and alembic each migration.
_QUIET: Final = ("slack_sdk", "alembic")
# Not logged: requests are counted in metrics, and their paths are private. A broken connection to PostgreSQL is logged
# by its user; the pool would add a traceback.
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
    """A logger for events with fields, as in `log.info("poll.failed", org=…)`."""
    return cast("Logger", structlog.get_logger(name))


def configure(
    *,
    level: str,
    format: Literal["json", "console"],  # noqa: A002 - the key's name in the configuration
    redactor: Callable[[str], str],
    stream: TextIO | None,
) -> None:
    """Write log events, warnings and unhandled exceptions to a stream (None: nowhere).

    It may be called again to change the level, the format or the stream.
    """
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
    """The root logger's handler for this stream. Handlers for other streams are closed."""
    for handler in [handler for handler in root.handlers if isinstance(handler, LineHandler)]:
        if handler.stream is stream:
            return handler
        root.removeHandler(handler)
        handler.close()
    fresh = LineHandler(stream)
    root.addHandler(fresh)
    return fresh


class LineHandler(logging.Handler):
    """Writes lines to a stream without ever raising or blocking.

    Lines that cannot be written, for example to a closed pipe or a full disk, are dropped. A stream with a file
    descriptor is written by a thread, so that a reader that does not read blocks only that thread.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self.stream = stream
        self.dropped = 0
        self._lines: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._writer: threading.Thread | None = None
        try:
            descriptor = os.dup(stream.fileno()) if stream is not None else None  # stays open if the stream is closed
        except (OSError, ValueError):  # the stream has no file descriptor, or is closed already
            descriptor = None
        if descriptor is not None:
            self._writer = threading.Thread(target=self._write, args=(descriptor,), name="log", daemon=True)
            self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or drop it if that fails."""
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
        except Exception:  # noqa: BLE001 - a bad log call, such as a wrong number of arguments, must not raise
            return json.dumps({"event": "log.unprintable", "logger": record.name})

    def close(self) -> None:
        """Wait up to a second for queued lines to be written, then stop the thread."""
        if self._writer is not None:
            with suppress(queue.Full):
                self._lines.put(None, timeout=_GRACE)
                self._writer.join(_GRACE)
            self._writer = None
        super().close()

    def _write(self, descriptor: int) -> None:
        while (line := self._lines.get()) is not None:
            try:
                while line:  # unbuffered: a blocked thread would hold the lock of Python's buffer for ever
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
    """Makes an event safe to write: bounded, redacted, and with only plain JSON values."""

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
        # Cut before redacting, which is faster: the redactor also finds the part of a secret that a cut leaves.
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
    """The text of a value, or its type's name if its `__str__` fails. A Secret has a masked text."""
    try:
        return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else str(value)
    except Exception:  # noqa: BLE001 - a faulty __str__ of a library must not lose the event
        return f"<{type(value).__name__}>"


def _middle_cut(text: str, begin: int, end: int) -> str:
    left_out = len(text) - begin - end
    if left_out <= 0:
        return text
    return f"{text[:begin]} […{left_out} characters…] {text[len(text) - end :]}".rstrip()


def _json_line(_logger: object, _method: str, event: EventDict) -> str:
    # ASCII only, so that it is valid in every encoding. Newlines are escaped.
    return json.dumps(event, ensure_ascii=True, separators=(",", ":"))


def _console_line(_logger: object, _method: str, event: EventDict) -> str:
    trace = event.pop("exception", "")
    moment, level, name = (event.pop(key, "") for key in ("timestamp", "level", "event"))
    fields = [f"{_printable(key)}={_quoted(value)}" for key, value in event.items()]
    line = " ".join((_printable(str(moment)), f"{level!s:8}", _printable(str(name)), *fields))
    return "\n".join((line, *(f"    {_printable(part)}" for part in str(trace).splitlines())))


def _quoted(value: object) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        return _printable(value)
    return _printable(json.dumps(value, ensure_ascii=False))


def _printable(text: str) -> str:
    """The text with control characters escaped, including those for cursor, line breaks and writing direction."""
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
