"""Every log line is one line, in UTC, without secrets, and never in the way of the program."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from monitor import log
from monitor.secret import MASK, Redactor, Secret

pytestmark = pytest.mark.fault("G17")

KEY = "sk-proj-AbCdEf0123456789ghijKLMN"
Style = Literal["json", "console"]
LEVELS = ["debug", "info", "warning", "error"]
NASTY = "two\nlines\r\x1b[31mred\x00\x9b\u2028\u202eevil\x7f"


def redactor() -> Redactor:
    one = Redactor()
    one.add([KEY])
    return one


class Lines:
    """The log, written to memory."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def start(self, *, style: Style = "json", level: str = "debug") -> None:
        log.configure(level=level, format=style, redactor=redactor(), stream=self.stream)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Leaves logging, and everything else that is one per process, as it was."""
    root, hook, raising = logging.getLogger(), sys.excepthook, logging.raiseExceptions
    level, names = root.level, ("slack_sdk", "aiohttp.access", "sqlalchemy.pool.impl.QueuePool")
    before = {name: (logging.getLogger(name).level, logging.getLogger(name).disabled) for name in names}
    yield Lines()
    for handler in [handler for handler in root.handlers if isinstance(handler, log.LineHandler)]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    sys.excepthook, logging.raiseExceptions = hook, raising
    for name, (its_level, disabled) in before.items():
        logging.getLogger(name).setLevel(its_level)
        logging.getLogger(name).disabled = disabled
    structlog.reset_defaults()


def test_an_event_is_a_json_line_with_a_utc_time(lines: Lines) -> None:
    fields = {"org": "research", "seconds": 1.5, "jobs": 3, "paused": False, "labels": {"team": "search"}}
    lines.start()
    log.get_logger().warning("poll.failed", **fields)
    (event,) = lines.events
    assert datetime.fromisoformat(event.pop("timestamp")).utcoffset() == timedelta(0)
    assert event == {"level": "warning", "event": "poll.failed", "logger": "monitor", **fields}


def test_an_event_is_a_plain_line_in_the_terminal(lines: Lines) -> None:
    lines.start(style="console")
    log.get_logger().info("poll.failed", org="research", error="no route", labels={"team": "é"})
    assert lines.text.split(" ", 1)[1] == (
        'info     poll.failed logger=monitor org=research error="no route" labels={"team": "é"}\n'
    )


def fail(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


def everywhere(text: str) -> None:
    """Say a text in every way a program has."""
    ours, theirs = log.get_logger(), logging.getLogger("some.library")
    ours.info(text)
    ours.info("poll.failed", error=text, deep={"a": [{"b": (text, {text})}]}, problem=ValueError(text), **{text: 1})
    ours.debug("poll.asked", url=text.encode())
    theirs.debug("%s and %r", text, text)
    theirs.info(text)
    warnings.warn(text, stacklevel=1)
    try:
        fail(ValueError(text))
    except ValueError:
        ours.exception("loop.crashed")
        theirs.exception("oh no")
    sys.excepthook(ValueError, ValueError(text), None)


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.filterwarnings("default")
def test_no_secret_is_in_any_line_of_anybody(lines: Lines, style: Style) -> None:
    lines.start(style=style)
    everywhere(f"the key {KEY} is wrong")
    assert lines.text.count(MASK) >= 14
    assert not any(KEY[at : at + 12] in lines.text for at in range(len(KEY) - 11))


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.filterwarnings("default")
def test_nothing_in_a_line_moves_the_cursor_or_starts_a_new_line(lines: Lines, style: Style) -> None:
    lines.start(style=style)
    everywhere(NASTY)
    assert all(line.isprintable() for line in lines.text.split("\n"))
    if style == "json":
        assert len(lines.events) == 9
    else:  # what is not an event's first line is indented
        assert sum(not line.startswith("    ") for line in lines.text.splitlines()) == 9


@given(text=st.text(), number=st.integers() | st.floats())
@settings(deadline=None)
def test_any_field_gives_one_line(text: str, number: float) -> None:
    lines = Lines()
    handler = log.LineHandler(lines.stream)
    handler.setFormatter(log._formatter(log._json_line, redactor()))
    handler.emit(logging.LogRecord("x", logging.INFO, "f.py", 1, "%s", (text,), None))
    handler.emit(logging.LogRecord("x", logging.INFO, "f.py", 1, text, (number,), None))
    handler.close()
    assert len(lines.events) == 2


def test_an_exception_is_told_with_its_traceback_and_its_cause(lines: Lines) -> None:
    lines.start()
    try:
        fail(ValueError("outer"), KeyError("inner"))
    except ValueError:
        log.get_logger().exception("loop.crashed", org="research")
    (event,) = lines.events
    assert event["event"] == "loop.crashed"
    assert "KeyError: 'inner'" in event["exception"]
    assert event["exception"].endswith("ValueError: outer")


def test_a_crash_of_the_program_is_an_event_too(lines: Lines) -> None:
    lines.start()
    try:
        fail(RuntimeError(KEY))
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)
    (event,) = lines.events
    assert (event["level"], event["event"]) == ("critical", "program.crashed")
    assert event["exception"].endswith(f"RuntimeError: {MASK}")


def test_a_line_is_bounded_and_a_traceback_keeps_its_end(lines: Lines) -> None:
    lines.start()
    try:
        fail(ValueError("x" * 1_000_000))
    except ValueError:
        log.get_logger().exception(
            "y" * 1_000_000, many=list(range(100_000)), deep=[[[[[["z"]]]]]], key={"k" * 9999: 1}
        )
    assert len(lines.text) < 20_000
    (event,) = lines.events
    assert event["exception"].startswith("Traceback (most recent call last):")
    assert event["exception"].endswith("xxx")
    assert len(event["many"]) == 50


def test_a_cut_does_not_save_a_secret_from_the_mask(lines: Lines) -> None:
    lines.start()
    log.get_logger().info("x" * (2_000 - 20) + KEY)
    assert KEY[:12] not in lines.text
    assert MASK in lines.text


def test_values_that_are_secrets_say_so(lines: Lines) -> None:
    lines.start()
    log.get_logger().info("key.read", a=Secret("abc"), b=SecretStr("abcdefghijklmnop"))
    (event,) = lines.events
    assert (event["a"], event["b"]) == (f"Secret({MASK})", "**********")


class Stubborn:
    def __str__(self) -> str:
        raise RuntimeError


def test_what_cannot_be_printed_does_not_cost_the_line(lines: Lines) -> None:
    lines.start()
    log.get_logger().info("job.seen", job=Stubborn(), huge=10**5000, ratio=float("nan"))
    logging.getLogger("some.library").info("%s %s", *["one argument too few"])
    first, second = lines.events
    assert (first["job"], first["huge"], first["ratio"]) == ("<Stubborn>", "<int>", "nan")
    assert second == {"event": "log.unprintable", "logger": "some.library"}


@pytest.mark.parametrize("level", LEVELS)
def test_the_level_holds_for_us_and_for_libraries(lines: Lines, level: str) -> None:
    lines.start(level=level)
    for logger in (log.get_logger(), logging.getLogger("some.library")):
        for said in LEVELS:
            getattr(logger, said)("x")
    assert [event["level"] for event in lines.events] == LEVELS[LEVELS.index(level) :] * 2


def test_the_log_can_be_changed_while_it_runs(lines: Lines) -> None:
    lines.start(level="info")
    logger = log.get_logger()
    logger.info("first")
    lines.start(level="warning", style="console")
    logger.info("second")
    logger.warning("third")
    assert [line.split()[-2] for line in lines.text.splitlines()[1:]] == ["third"]
    assert len(lines.text.splitlines()) == 2


def test_the_libraries_that_print_urls_are_kept_quiet_even_at_debug(lines: Lines) -> None:
    lines.start(level="debug")
    for name in ("slack_sdk", "slack_sdk.webhook.async_client"):
        logging.getLogger(name).debug("https://hooks.slack.com/services/T0/B0/secret")
        logging.getLogger(name).info("https://hooks.slack.com/services/T0/B0/secret")
    logging.getLogger("aiohttp.access").error("GET /webhooks/research?secret")
    logging.getLogger("sqlalchemy.pool.impl.QueuePool").error("Error closing cursor")
    assert lines.text == ""
    logging.getLogger("slack_sdk").warning("a real problem")
    assert [event["event"] for event in lines.events] == ["a real problem"]


def test_a_closed_stream_does_not_reach_the_program(lines: Lines) -> None:
    lines.start()
    lines.stream.close()
    log.get_logger().info("poll.failed")
    log.configure(level="info", format="json", redactor=redactor(), stream=None)
    log.get_logger().info("poll.failed")
