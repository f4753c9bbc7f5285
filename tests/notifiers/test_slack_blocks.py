import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from slack_sdk.models.attachments import BlockAttachment
from slack_sdk.models.blocks import Block

from monitor.domain.news import Severity, job_subject
from monitor.notifiers.slack import payload
from monitor.notifiers.text import REPEAT, cut, safe_link
from tests.notifiers.receivers import attempt, message

MARKUP = st.sampled_from("<>&@#|!*_~`:\n\t \u202e\u2066\u200b\x00\x1b\ud83d🎉é")
HOSTILE = st.text(st.one_of(MARKUP, st.characters()), max_size=60) | st.builds(
    lambda text, times: text * times,
    st.text(st.one_of(MARKUP, st.characters()), min_size=1, max_size=9),
    st.integers(1, 900),
)
MESSAGES = st.builds(
    message,
    title=HOSTILE,
    subject=st.builds(job_subject, HOSTILE, HOSTILE),
    severity=st.sampled_from(Severity),
    facts=st.lists(st.tuples(HOSTILE, HOSTILE), max_size=30).map(tuple),
    error=st.none() | HOSTILE,
    hint=st.none() | HOSTILE,
    link=st.none() | HOSTILE | HOSTILE.map("https://example.com/{}".format),
    monitor_url=st.none() | HOSTILE | HOSTILE.map("http://monitor.internal/{}".format),
)


def blocks(shown: dict[str, Any]) -> list[dict[str, Any]]:
    return [*shown["blocks"], *(block for part in shown["attachments"] for block in part["blocks"])]


def texts(part: Any) -> Iterator[dict[str, Any]]:
    """All text objects of a payload."""
    if isinstance(part, dict):
        if part.get("type") in {"plain_text", "mrkdwn"}:
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from texts(inner)


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@given(MESSAGES, st.booleans())
def test_whatever_the_text_slack_takes_it(sealed: Any, repeated: bool) -> None:
    shown = payload(sealed, attempt(repeated=repeated))
    for block in blocks(shown):
        parsed = Block.parse(block)
        assert parsed is not None
        assert parsed.to_dict() == block
    for part in shown["attachments"]:
        BlockAttachment(blocks=Block.parse_all(part["blocks"]), color=part["color"]).to_dict()
    assert len(blocks(shown)) <= 50
    assert units(shown["text"]) <= 40_000
    assert sum(units(one["text"]) for one in texts(shown)) < 12_000
    for block in blocks(shown):
        fields = block.get("fields", [])
        assert len(fields) <= 10
        assert all(0 < units(one["text"]) <= 2000 for one in fields)
        if "text" in block:
            assert 0 < units(block["text"]["text"]) <= 3000
        assert len(block.get("elements", [])) <= 10
    json.dumps(shown).encode()


def assert_inert(markup: str) -> None:
    """Nothing in Slack's markup links, mentions or formats but our own links, our bold title and labels, and code."""
    if markup.startswith("```"):
        assert re.fullmatch(r"```(?:[^`<>&]|&(?:amp|lt|gt);)+```", markup, re.DOTALL)
        return
    link = r"<https?://[^<>|\s]+\|"
    title = re.fullmatch(rf"\*(?:{link}(.*)>|(.*))\*", markup, re.IGNORECASE)
    bare = title[1] or title[2] if title else re.sub(rf"{link}At the provider>", "", markup, flags=re.IGNORECASE)
    bare = re.sub(r"`(?!\u200b)[^`]+`", "", bare)  # not of escaped backticks
    bare = re.sub(r"(^|\n| · )\*(?!\u200b)(?:[^*\n]|\*\u200b)+\*(?= )", r"\1", bare)
    assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", bare)
    assert not re.search(r"[*_~`](?!\u200b)|:[\w+-]+:", bare)


@given(MESSAGES)
@example(message(facts=(("``", ""),)))  # a label of nothing but backticks
def test_whatever_the_text_it_is_inert(sealed: Any) -> None:
    shown = payload(sealed, attempt())
    for one in texts(shown):
        if one["type"] == "mrkdwn":
            assert one["verbatim"] is True
            assert_inert(one["text"])
        else:
            assert one["emoji"] is False
            assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", one["text"])
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", one["text"])
    lines = re.sub(r"\n<https?://[^<>\s]+>\Z", "", shown["text"], flags=re.IGNORECASE)
    assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", lines)
    assert not re.search(r"@(?!\u200b)|://(?!\u200b)", lines)
    assert (shown["parse"], shown["link_names"], shown["mrkdwn"]) == ("none", False, False)
    assert (shown["unfurl_links"], shown["unfurl_media"]) == (False, False)


@pytest.mark.parametrize(
    "trick",
    [
        "<!channel>",
        "<!here|x>",
        "<@U012AB3CD>",
        "<#C012AB3CD>",
        "<https://evil.example|click>",
        "<!date^1^{date}|x>",
        "<!subteam^S1>",
    ],
)
@pytest.mark.parametrize("place", ["title", "error", "hint", "subject", "link", "facts"])
def test_a_trick_in_any_field_is_text(trick: str, place: str) -> None:
    shapes = {"facts": ((trick, trick),), "subject": job_subject(trick, trick)}
    value: Any = shapes.get(place, trick)
    assert trick not in json.dumps(payload(message(**{place: value}), attempt()))


def test_a_mark_that_is_cut_keeps_what_takes_its_meaning() -> None:
    for one in texts(payload(message(facts=(("_" * 46, "x"),)), attempt())):
        if one["type"] == "mrkdwn":
            assert_inert(one["text"])


def test_it_tells_what_happened_at_a_glance() -> None:
    shown = payload(message(monitor_url="http://10.0.0.1:10877/jobs/research/ftjob-abc"), attempt())
    head, facts, error, hint, context = blocks(shown)
    assert head["text"]["text"] == (
        "*<http://10.0.0.1:10877/jobs/research/ftjob-abc|❌ support-bot failed · research>*"
    )
    assert facts["text"]["text"] == "`gpt-4o-mini` · *Duration* 31m · *Trained tokens* 100,000 · *Cost* $2.40"
    assert error["text"]["text"] == "```server_error: it broke```"
    assert hint["text"]["text"] == "Create the job again."
    assert [one["text"] for one in context["elements"]] == [
        "`ftjob-abc`",
        "<https://platform.openai.com/finetune/ftjob-abc|At the provider>",
    ]
    assert shown["attachments"][0]["color"] == "#e01e5a"


def test_nothing_is_said_twice() -> None:
    facts = (("Organisation", "research"), ("Model", "gpt-4o-mini"), ("Job", "ftjob-abc"))
    said = " ".join(one["text"] for one in texts(payload(message(facts=facts, link=None), attempt())))
    assert [said.count(word) for word in ("research", "gpt-4o-mini", "ftjob-abc", "support-bot")] == [1, 1, 1, 1]
    named = payload(message(title="research cannot be watched", facts=facts), attempt())
    assert named["blocks"][0]["text"]["text"].count("research") == 1


def test_each_line_of_a_list_begins_with_its_label_once() -> None:
    facts = (("Failed", "a · 31m"), ("Failed", "b · 5m"), ("Model", "ft:a"), ("Model", "ft:b"))
    lines = "\n".join(one["text"] for one in texts(payload(message(facts=facts), attempt()))).split("\n")
    assert {"*Failed* a · 31m", "*Failed* b · 5m", "*Model* `ft:a`", "*Model* `ft:b`"} <= set(lines)


def test_without_a_page_of_ours_the_title_leads_to_the_provider() -> None:
    head, *_, context = blocks(payload(message(), attempt()))
    assert head["text"]["text"].startswith("*<https://platform.openai.com/finetune/ftjob-abc|")
    assert len(context["elements"]) == 1


def test_each_severity_has_its_own_colour_and_sign() -> None:
    looks = [payload(message(severity=one), attempt()) for one in Severity]
    assert len({one["attachments"][0]["color"] for one in looks}) == len(Severity)
    assert len({one["text"][0] for one in looks}) == len(Severity)


def test_without_blocks_all_of_it_is_in_the_text() -> None:
    shown = payload(message(), attempt(plain=True))
    assert "blocks" not in shown
    assert "attachments" not in shown
    for part in (
        "support-bot failed",
        "Model: gpt-4o-mini",
        "Cost: $2.40",
        "server_error: it broke",
        "Create the job again.",
    ):
        assert part in shown["text"]


@pytest.mark.parametrize("plain", [True, False])
def test_a_repeated_attempt_says_so(*, plain: bool) -> None:
    assert REPEAT in json.dumps(payload(message(), attempt(repeated=True, plain=plain)))
    assert REPEAT not in json.dumps(payload(message(), attempt(plain=plain)))


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        pytest.param("abc", 3, "abc", id="it fits"),
        pytest.param("abcd", 3, "ab…", id="it is cut"),
        pytest.param("a<b", 6, "a&lt;b", id="an escape that fits"),
        pytest.param("a<b", 5, "a…", id="never inside an escape"),
        pytest.param("a🎉b", 4, "a🎉b", id="an emoji counts twice"),
        pytest.param("a🎉b", 3, "a…", id="never inside an emoji"),
        pytest.param("<<<<", 12, "&lt;&lt;…", id="only whole escapes"),
    ],
)
def test_text_is_cut_between_characters(text: str, limit: int, shown: str) -> None:
    assert cut(text, limit, {"&": "&amp;", "<": "&lt;"}) == shown


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        pytest.param("https://a.example/x?y=1", "https://a.example/x?y=1", id="https"),
        pytest.param("https://a.example/?a=1&b=2", "https://a.example/?a=1&b=2", id="an ampersand"),
        pytest.param("https://a.example/a|b>c", "https://a.example/a%7Cb%3Ec", id="what would end the link"),
        pytest.param("http://a.example/", None, id="http"),
        pytest.param("javascript:alert(1)", None, id="a script"),
        pytest.param("https://good.example@evil.example/", None, id="a host that looks like another"),
        pytest.param("https://ex\u202eample/", None, id="a host that is not ASCII"),
        pytest.param("https://a.example/\n<!channel>", None, id="a line break"),
        pytest.param("https://a.example/" + "x" * 2000, None, id="too long"),
        pytest.param("https://[broken/", None, id="no URL"),
        pytest.param(None, None, id="none"),
    ],
)
def test_only_a_plain_https_link_is_a_link(link: str | None, shown: str | None) -> None:
    assert safe_link(link) == shown
