"""What each channel sends is valid by its vendor's own schema, and inert, whatever the text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # the checks of payloads are all it does here
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.news import Card, EventType, Message
from monitor.notifiers.alertmanager import AlertmanagerChannel
from monitor.notifiers.base import Attempt, HttpRequest
from monitor.notifiers.discord import DiscordChannel
from monitor.notifiers.pagerduty import PagerDutyChannel
from monitor.notifiers.slack import SlackChannel
from monitor.notifiers.teams import TeamsChannel
from monitor.notifiers.webhook import WebhookChannel
from tests.notifiers.messages import HUGE, MESSAGES, few, huge
from tests.notifiers.receivers import attempt, message

SCHEMAS = Path(__file__).parent / "schemas"
URL = "https://hooks.example.com/a/b"
TEAMS, DISCORD = TeamsChannel(url=URL), DiscordChannel(url=URL)
PAGERDUTY = PagerDutyChannel(routing_key="R0123456789", api_url="https://events.pagerduty.com")
ALERTMANAGER = AlertmanagerChannel(url="http://alertmanager:9093")
EVENTS = WebhookChannel(url=URL, keys=(), headers={}, cloudevents=True)
SLACK = SlackChannel(webhook_url=URL, token=None, channel=None, api_url="")


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    return loaded


def discord_schema(request: str) -> dict[str, Any]:
    return {**schema("discord.json"), "$ref": f"#/components/schemas/{request}"}


CARD = jsonschema.Draft6Validator(schema("adaptive-card.json"))
EMBED = jsonschema.Draft202012Validator(discord_schema("IncomingWebhookRequestPartial"))
EDITED_EMBED = jsonschema.Draft202012Validator(discord_schema("IncomingWebhookUpdateRequestPartial"))
CLOUDEVENT = jsonschema.Draft7Validator(schema("cloudevents.json"))
# https://developer.pagerduty.com/docs/send-alert-event, which publishes no schema with its limits
PAGERDUTY_EVENT = jsonschema.Draft7Validator({
    "type": "object", "required": ["routing_key", "event_action"],
    "properties": {
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "payload": {
            "type": "object", "required": ["summary", "source", "severity"],
            "properties": {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$"},
            },
        },
        "links": {"type": "array", "items": {"type": "object", "required": ["href"]}},
    },
    "if": {"properties": {"event_action": {"const": "trigger"}}}, "then": {"required": ["payload"]},
})  # fmt: skip


def content(outgoing: HttpRequest | None) -> Any:
    assert outgoing is not None
    return json.loads(outgoing.body)


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def texts(part: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a payload with the name it stands under."""
    if isinstance(part, str):
        yield key, part
    elif isinstance(part, dict):
        for name, inner in part.items():
            yield from texts(inner, name)
    elif isinstance(part, list):
        for inner in part:
            yield from texts(inner, key)


def assert_teams(sealed: Message, of: Attempt) -> None:
    sent = TEAMS.post(sealed, of)
    assert len(sent.body) < 21_000
    (attachment,) = content(sent)["attachments"]
    CARD.validate(attachment["content"])
    shown = list(texts(attachment["content"]))
    assert {block["type"] for block in attachment["content"]["body"]} <= {"RichTextBlock", "Container"}
    assert not any("{{" in text for _, text in shown)


def assert_discord(sealed: Message, of: Attempt) -> None:
    posted = content(DISCORD.post(sealed, of))
    EMBED.validate(posted)
    EDITED_EMBED.validate(content(DISCORD.edit(Card(place="1", reference="2"), sealed, of)))
    assert posted["allowed_mentions"] == {"parse": []}
    if of.plain:
        assert units(posted["content"]) <= 2000
        return
    (embed,) = posted["embeds"]
    counted = [embed["title"], embed["description"], embed.get("footer", {}).get("text", "")]
    counted += [text for one in embed["fields"] for text in (one["name"], one["value"])]
    assert sum(map(units, counted)) <= 6000
    assert units(embed["title"]) <= 256
    assert units(embed["description"]) <= 4096
    assert all(0 < units(one["name"].strip()) <= 256 and 0 < units(one["value"].strip()) <= 1024
               for one in embed["fields"])  # fmt: skip
    outside = [embed["title"], re.sub(r"\A```\n.*?\n```", "", embed["description"], flags=re.DOTALL)]
    for text in (*outside, *(one["value"] for one in embed["fields"])):
        assert not re.search(r"(?<!\\)(?:\\\\)*[*_~`|<>\[\]()#@]", text), text
        assert "://" not in text


def assert_pagerduty(sealed: Message, of: Attempt) -> None:
    sent = PAGERDUTY.post(sealed, of)
    assert len(sent.body) < 512_000
    PAGERDUTY_EVENT.validate(content(sent))


def assert_cloudevent(sealed: Message, of: Attempt) -> None:
    sent = EVENTS.post(sealed, of)
    CLOUDEVENT.validate(content(sent))
    assert sent.headers["content-type"] == "application/cloudevents+json"
    assert content(sent)["id"] == sent.headers["webhook-id"]
    assert content(sent)["data"] == json.loads(sealed.data)


def assert_alertmanager(sealed: Message, of: Attempt) -> None:
    (alert,) = content(ALERTMANAGER.post(sealed, of))
    assert all(re.fullmatch(r"[a-z_]+", name) and value for name, value in alert["labels"].items())
    assert alert["startsAt"] < alert["endsAt"]
    assert len(ALERTMANAGER.post(sealed, of).body) < 64_000


def assert_slack(sealed: Message, of: Attempt) -> None:
    shown = content(SLACK.post(sealed, of))
    blocks = [*shown.get("blocks", []), *(block for one in shown.get("attachments", []) for block in one["blocks"])]
    assert sum(units(text) for key, text in texts(blocks) if key == "text") < 12_000


CHECKS: dict[str, Callable[[Message, Attempt], None]] = {
    "teams": assert_teams,
    "discord": assert_discord,
    "pagerduty": assert_pagerduty,
    "cloudevents": assert_cloudevent,
    "alertmanager": assert_alertmanager,
    "slack": assert_slack,
}


@pytest.mark.parametrize("channel", CHECKS)
@few
@given(sealed=MESSAGES, repeated=st.booleans(), plain=st.booleans())
def test_whatever_the_text_the_vendor_takes_it(channel: str, sealed: Message, repeated: bool, plain: bool) -> None:
    CHECKS[channel](sealed, attempt(repeated=repeated, plain=plain))


@pytest.mark.parametrize("channel", CHECKS)
@pytest.mark.parametrize("char", HUGE, ids=ascii)
def test_a_megabyte_in_every_field_is_cut_to_what_the_vendor_takes(channel: str, char: str) -> None:
    CHECKS[channel](huge(char), attempt(repeated=True))


def test_a_card_of_teams_tells_what_happened() -> None:
    (attachment,) = content(TEAMS.post(message(monitor_url="http://10.0.0.1/jobs/x"), attempt()))["attachments"]
    said = [text for key, text in texts(attachment["content"]["body"]) if key == "text"]
    assert (said[0], said[-3:]) == (
        "❌ support-bot failed · research",
        ["server_error: it broke", "Create the job again.", "ftjob-abc"],
    )
    assert "".join(said[1:-3]) == "Model gpt-4o-mini · Duration 31m · Trained tokens 100,000 · Cost $2.40"
    assert [action["url"] for action in attachment["content"]["actions"]] == [
        "http://10.0.0.1/jobs/x",
        "https://platform.openai.com/finetune/ftjob-abc",
    ]


def test_an_embed_of_discord_tells_what_happened() -> None:
    sent = DiscordChannel(url=f"{URL}?thread_id=7").post(message(title="my_bot failed"), attempt())
    assert sent.url == f"{URL}?thread_id=7&wait=true"
    (embed,) = content(sent)["embeds"]
    assert embed["title"] == "❌ my\\_bot failed · research"
    assert embed["description"] == "```\nserver_error: it broke\n```\nCreate the job again."
    assert [(one["name"], one["value"]) for one in embed["fields"]][:2] == [
        ("Model", "gpt-4o-mini"),
        ("Duration", "31m"),
    ]
    assert embed["footer"] == {"text": "ftjob-abc"}


def test_an_edit_of_discord_is_of_the_message_that_was_posted() -> None:
    edited = DISCORD.edit(Card(place="1", reference="23"), message(), attempt(plain=True))
    assert (edited.method, edited.url) == ("PATCH", f"{URL}/messages/23?wait=true")
    assert content(edited)["embeds"] == [], "what is left out would stay"


@pytest.mark.parametrize(
    ("event", "action"),
    [
        *(
            (event, "trigger")
            for event in ("failed", "stalled", "gone", "paused", "budget", "shutdown", "org_down", "notifier_down")
        ),
        *(
            (event, "resolve")
            for event in ("succeeded", "moving", "started", "resumed", "cancelled", "org_up", "notifier_up")
        ),
    ],
)
def test_an_incident_begins_with_trouble_and_ends_with_its_end(event: str, action: str) -> None:
    sent = content(PAGERDUTY.post(message(event_type=EventType(event)), attempt()))
    assert (sent["event_action"], sent["dedup_key"]) == (action, "research/ftjob-abc")


def test_an_alert_that_resolves_has_the_labels_of_the_one_it_ends() -> None:
    fired = content(ALERTMANAGER.post(message(event_type=EventType.STALLED, severity="warning"), attempt()))[0]
    ended = content(ALERTMANAGER.post(message(event_type=EventType.MOVING, severity="info"), attempt()))[0]
    assert fired["labels"] == ended["labels"]
    assert fired["labels"]["alertname"] == "FinetuneJobStalled"
    assert ended["endsAt"] == "2026-11-22T10:14:32.000Z"
