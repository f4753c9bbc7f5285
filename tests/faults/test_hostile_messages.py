"""Text from outside in messages of every channel and in the log stays text."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from monitor import log
from monitor.notifiers.console import card
from monitor.notifiers.slack import payload
from monitor.notifiers.webhook import body, signed
from monitor.web import status_page
from tests.faults.delivery import SIGNING
from tests.faults.hostile_words import ANY, ITEMS, assert_inert, health, many, raw, seen, told
from tests.metrics.scrapes import snapshot, text
from tests.notifiers.receivers import attempt
from tests.test_log import Lines, Style, lines

pytestmark = pytest.mark.fault("G16", "G32")

__all__ = ["lines"]  # a fixture


def texts(node: Any) -> Iterator[tuple[str, str]]:
    """The type and text of every text object in a payload."""
    if isinstance(node, dict):
        if node.get("type") in {"plain_text", "mrkdwn"}:
            yield node["type"], node["text"]
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def assert_slack(shown: dict[str, Any]) -> None:
    """Assert that Slack accepts the payload, and that the only mention, link or format in it is our own link."""
    json.dumps(shown).encode()
    assert (shown["parse"], shown["link_names"], shown["mrkdwn"]) == ("none", False, False)
    assert not shown["unfurl_links"]
    assert not shown["unfurl_media"]
    parts = [("mrkdwn", shown["text"]), *texts(shown.get("blocks", [])), *texts(shown.get("attachments", []))]
    for kind, said in parts:
        bare = re.sub(r"<https://platform\.openai\.com/[!-;=?-~]*>", "", said)
        if kind == "mrkdwn" and said is not shown["text"]:
            bare = re.sub(r"<https://platform\.openai\.com/[!-;=?-{}~]*\|([^<>]*)>", r"\1", said)
        assert "<" not in bare
        assert ">" not in bare
        assert re.fullmatch(r"(?:[^&]|&amp;|&lt;|&gt;)*", bare, re.DOTALL), "an escape was cut"
        assert_inert(bare, breaks="\n")
    assert not re.search(r"@\w|https?://[\w]|www\.\w|\]\(\w", re.sub(r"<https://platform[^>]*>", "", shown["text"]))
    assert units(shown["text"]) <= 40_000
    blocks = [*shown.get("blocks", []), *(block for one in shown.get("attachments", []) for block in one["blocks"])]
    assert len(blocks) <= 50
    for block in blocks:
        assert units(block.get("text", {}).get("text", "")) <= (150 if block["type"] == "header" else 3000)
        fields = block.get("fields", [])
        assert len(fields) <= 10
        assert all(0 < units(one["text"]) <= 2000 for one in fields)
    assert sum(units(said) for _, said in parts[1:]) < 12_000


@pytest.mark.fault("D13")
@many
@given(item=ITEMS, repeated=st.booleans(), plain=st.booleans())
def test_slack_mentions_nobody_and_links_nowhere(item: dict[str, Any], repeated: bool, plain: bool) -> None:
    one = seen(item)
    if one is not None:
        assert_slack(payload(told(one), attempt(repeated=repeated, plain=plain)))


@pytest.mark.fault("D13")
@many
@given(nasty=ANY)
def test_slack_is_safe_by_itself_whatever_the_border_let_through(nasty: str) -> None:
    assert_slack(payload(replace(raw(nasty), link=None), attempt(repeated=True)))
    shown = json.dumps(payload(raw(nasty), attempt()))
    assert '"<javascript' not in shown


@pytest.mark.fault("D20")
@many
@given(item=ITEMS)
def test_what_is_signed_is_what_is_sent(item: dict[str, Any]) -> None:
    one = seen(item)
    if one is None:
        return
    message = told(one)
    content = body(message)
    headers = signed(content, attempt(key=f"research/{one.job.id}/2@hook"), [SIGNING])
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    headers["webhook-timestamp"] = str(int(time.time()))
    fresh = signed(content, attempt(key=f"research/{one.job.id}/2@hook", at=_now()), [SIGNING])
    said = Webhook(SIGNING).verify(content.decode(), fresh)
    assert said["data"] == json.loads(message.data)
    assert said["data"]["job"]["id"] == one.job.id
    assert b"NaN" not in content or "NaN" in repr(item)


def _now() -> Any:
    from monitor.clock import SystemClock  # noqa: PLC0415 - the library looks at the wall clock

    return SystemClock().now()


@pytest.mark.fault("D20")
@many
@given(nasty=ANY)
def test_a_body_past_the_border_is_json_and_verifies_too(nasty: str) -> None:
    content = body(raw(nasty))
    fresh = signed(content, attempt(key=f"research/{nasty}/2@hook", at=_now()), [SIGNING])
    assert set(Webhook(SIGNING).verify(content.decode(), fresh)) == {"type", "timestamp", "data"}


@pytest.mark.fault("D13")
@many
@given(item=ITEMS, width=st.integers(40, 100), colour=st.booleans())
def test_a_card_steers_no_terminal(item: dict[str, Any], width: int, colour: bool) -> None:
    one = seen(item)
    for message in [raw(item["id"]), *([told(one)] if one is not None else [])]:
        shown = card(message, attempt(), width=width, colour=colour)
        bare = re.sub(r"\x1b\[(0|2|1;3[1-6])m", "", shown) if colour else shown
        assert_inert(bare, breaks="\n")
        assert bare.isprintable() or "\n" in bare


@pytest.mark.fault("D13")
@settings(many, suppress_health_check=list(HealthCheck))
@given(nasty=ANY, style=st.sampled_from(["json", "console"]))
def test_a_log_line_stays_one_line(lines: Lines, nasty: str, style: Style) -> None:
    lines.stream = io.StringIO()
    lines.start(style=style)
    log.get_logger().info("delivery.sent", key=nasty, more=[nasty, {nasty: nasty}])
    line = lines.stream.getvalue()
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert_inert(line, breaks="\n")
    if style == "json":
        assert json.loads(line)["event"] == "delivery.sent"


@pytest.mark.fault("D12")
@pytest.mark.parametrize("char", ["x", "<", "&", "🦊", "\u202e", "\n", "\x00"], ids=ascii)
def test_a_megabyte_costs_little_and_is_cut(char: str) -> None:
    huge = char * 1_000_000
    began = time.process_time()
    message = raw(huge)
    shown = payload(replace(message, link=None), attempt())
    assert_slack(shown)
    assert len(card(message, attempt())) < 50_000
    item = {"id": "ftjob-1", "status": "failed", "model": huge, "user_provided_suffix": huge,
            "error": {"code": huge, "message": huge}, "metadata": {f"{n}{huge}": huge for n in range(3)}}  # fmt: skip
    one = seen(item)
    assert one is not None
    assert len(status_page.render(snapshot(one), health())) < 60_000
    assert len(text(snapshot(one))) < 60_000
    assert len(body(told(one))) < 64_000
    assert time.process_time() - began < 4


@pytest.mark.fault("D12")
def test_a_hundred_keys_of_metadata_stay_bounded() -> None:
    item = {"id": "ftjob-1", "status": "failed", "metadata": {f"{n:03}" + "k" * 60: "ﷺ" * 512 for n in range(100)}}
    one = seen(item)
    assert one is not None
    assert len(body(told(one))) < 256_000
    assert_slack(payload(told(one), attempt()))
