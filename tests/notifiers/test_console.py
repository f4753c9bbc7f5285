import io
import os
import pty
import re
import select

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import notifiers
from monitor.notifiers import ConsoleSettings
from monitor.notifiers.base import FailureKind, Notifier, SendError
from monitor.notifiers.console import ConsoleNotifier, card
from monitor.secret import Redactor
from tests.notifiers.receivers import attempt, message


async def console(stream: io.TextIOBase | io.TextIOWrapper, timeout: float = 0.1) -> Notifier:
    async with notifiers.session() as client:
        settings = ConsoleSettings(name="out", type="console")
        return notifiers.build(settings, session=client, redactor=Redactor(), timeout=timeout, stream=stream)  # type: ignore[arg-type]  # a text stream by duck


async def test_a_message_is_printed_as_a_card() -> None:
    stream = io.StringIO()
    await (await console(stream)).send(message(), attempt())
    assert stream.getvalue() == (
        f"✖ support-bot failed{'':40}2026-11-22 10:15:02Z\n"
        "  Model           gpt-4o-mini\n"
        "  Duration        31m\n"
        "  Trained tokens  100,000\n"
        "  Cost            $2.40\n"
        "  Error           server_error: it broke\n"
        "  Hint            Create the job again.\n"
        "  Link            https://platform.openai.com/finetune/ftjob-abc\n"
        "\n"
    )


async def test_colours_are_for_terminals() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        await (await console(terminal)).send(message(), attempt())
        assert "\x1b[1;31m" in os.read(ours, 10000).decode()
    os.close(ours)


async def test_nobody_reading_is_an_error_and_holds_nothing_up() -> None:
    reading, writing = os.pipe()
    while select.select([], [writing], [], 0)[1]:
        os.write(writing, b"x" * 4096)
    with os.fdopen(writing, "w", encoding="utf-8") as pipe:
        printer = await console(pipe)
        with pytest.raises(SendError) as caught:
            await printer.send(message(), attempt())
        assert (caught.value.kind, caught.value.reason) == (FailureKind.TRANSIENT, "blocked")
        while len(os.read(reading, 4096)) == 4096 and len(os.read(reading, 65536)) == 65536:
            pass
        await printer.send(message(), attempt())
        assert "support-bot" in os.read(reading, 65536).decode()
    os.close(reading)


async def test_a_reader_that_left_is_an_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as pipe, pytest.raises(SendError) as caught:
        await (await console(pipe)).send(message(), attempt())
    assert (caught.value.kind, caught.value.reason) == (FailureKind.TRANSIENT, "closed")


async def test_a_closed_stream_is_an_error_and_fails_the_check() -> None:
    stream = io.StringIO()
    printer = await console(stream)
    await printer.check()
    stream.close()
    with pytest.raises(SendError) as caught:
        await printer.send(message(), attempt())
    assert caught.value.reason == "closed"
    with pytest.raises(SendError):
        await printer.check()


@given(st.text(), st.text(), st.text(), st.integers(40, 100))
def test_no_text_can_steer_a_terminal_or_leave_the_card(title: str, value: str, error: str, width: int) -> None:
    hostile = message(title=f"\x1b[2J{title}", facts=(("a\x9b1m", f"\x07{value}"),), error=f"\u202e{error}", link=value)
    text = card(hostile, attempt(repeated=True), width=width)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]", text)
    assert max(map(len, text.split("\n"))) <= width


def test_the_longest_of_our_own_labels_is_not_cut() -> None:
    one = message(facts=(("Final validation loss", "0.7021"),))
    assert "  Final validation loss  0.7021\n" in card(one, attempt(), width=60)


def test_links_stay_whole_and_both_pages_are_named() -> None:
    page = f"http://127.0.0.1:10877/jobs/research/{'a' * 80}"
    lines = card(message(monitor_url=page), attempt(), width=60).split("\n")
    assert f"  Page            {page}" in lines
    assert "  Link            https://platform.openai.com/finetune/ftjob-abc" in lines


async def test_cards_that_are_printed_at_once_stay_whole() -> None:
    stream = io.StringIO()
    printer = ConsoleNotifier(name="out", stream=stream, timeout=1.0, lane="console:out")
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(printer.send, message(title=f"job {number} failed"), attempt())
    assert len(stream.getvalue().split("\n\n")) == 21
