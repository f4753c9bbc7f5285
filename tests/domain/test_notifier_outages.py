"""What is told of a notifier that accepts nothing: when, to whom, and in which words."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitor.domain.news import News, Severity, parse_subject
from monitor.domain.notifier_outages import NotifierBacklog, OutagePolicy, down_since, notifier_news, notifier_subject
from monitor.domain.routing import Match, Rule
from tests.builders import HOUR, MINUTE, NOON, SECOND, on

QUARTER = 15 * MINUTE
BOTH = Rule(on=on("notifier_down", "notifier_up"), notify=("ops", "mail", "chat"))
DOWN = "notifier:ops/outage/1"
SINCE = {DOWN: "2026-11-22T11:40:00.000+00:00"}


def backlog(**over: Any) -> NotifierBacklog:
    fields: dict[str, Any] = {"waiting": 2, "failing_since": NOON - 20 * MINUTE, "reason": "unauthorized"}
    return NotifierBacklog(name="ops", at=NOON, **fields | over)


def news(
    of: NotifierBacklog, *rules: Rule, notified: dict[str, str | None] | None = None, down: Collection[str] = ("ops",)
) -> News | None:
    return notifier_news(
        of, rules or (BOTH,), notified or {}, policy=OutagePolicy(monitor_url="https://m"), down=down, now=NOON
    )


@pytest.mark.parametrize(
    ("failing", "delivered", "expected"),
    [
        pytest.param(None, None, None, id="nothing fails"),
        pytest.param(15 * MINUTE, None, 15 * MINUTE, id="for long enough"),
        pytest.param(15 * MINUTE - SECOND, None, None, id="not yet"),
        pytest.param(2 * HOUR, 20 * MINUTE, 20 * MINUTE, id="since it accepted something last"),
        pytest.param(2 * HOUR, MINUTE, None, id="one fails for itself, the others go out"),
        pytest.param(20 * MINUTE, 5 * HOUR, 20 * MINUTE, id="since the first that failed"),
    ],
)
def test_a_notifier_is_down_that_accepts_nothing_while_something_fails(
    failing: timedelta | None, delivered: timedelta | None, expected: timedelta | None
) -> None:
    def ago(span: timedelta | None) -> datetime | None:
        return NOON - span if span is not None else None

    of = backlog(failing_since=ago(failing), last_delivered=ago(delivered))
    assert of.down_since(QUARTER) == ago(expected)


@pytest.mark.parametrize(
    ("of", "notified", "expected"),
    [
        pytest.param(backlog(), {}, DOWN, id="the first outage"),
        pytest.param(backlog(), SINCE, None, id="it goes on"),
        pytest.param(backlog(failing_since=None), SINCE, None, id="it is given up, and nothing was accepted since"),
        pytest.param(backlog(last_delivered=NOON - 20 * MINUTE), SINCE, None, id="what was accepted before it"),
        pytest.param(backlog(last_delivered=NOON), SINCE, "notifier:ops/outage/2", id="its end"),
        pytest.param(backlog(last_delivered=NOON), SINCE | {"notifier:ops/outage/2": None}, None, id="told once"),
        pytest.param(
            backlog(), SINCE | {"notifier:ops/outage/2": None}, "notifier:ops/outage/3", id="the second outage"
        ),
        pytest.param(backlog(), {"notifier:mail/outage/1": None}, DOWN, id="another one's"),
    ],
)
def test_outages_and_their_ends_are_told_in_turn(
    of: NotifierBacklog, notified: dict[str, str | None], expected: str | None
) -> None:
    found = news(of, notified=notified)
    assert (found.id if found else None) == expected


@pytest.mark.parametrize(
    ("rules", "down", "expected"),
    [
        pytest.param([BOTH], ["ops"], ["mail", "chat"], id="never by itself"),
        pytest.param([BOTH], ["ops", "chat"], ["mail"], id="nor by one that is down as well"),
        pytest.param([Rule(on=BOTH.on, notify=("ops",))], ["ops"], [], id="numbered, though nobody is left"),
        pytest.param([Rule(on=on("notifier_up"), notify=("mail",))], ["ops"], [], id="who wants the end alone"),
        pytest.param([Rule(on=on("failed"), notify=("mail",))], ["ops"], None, id="nobody asked for it"),
        pytest.param(
            [Rule(on=BOTH.on, notify=("mail",), match=Match(orgs=frozenset({"research"})))],
            ["ops"],
            None,
            id="a rule of an organisation, to which no notifier belongs",
        ),
    ],
)
def test_the_others_tell_of_it(rules: list[Rule], down: list[str], expected: list[str] | None) -> None:
    found = news(backlog(), *rules, down=down)
    assert ([one.notifier for one in found.deliveries] if found else None) == expected


def test_the_beginning_is_remembered_to_the_millisecond() -> None:
    since = NOON - 20 * MINUTE + timedelta(milliseconds=123)
    found = news(backlog(failing_since=since))
    assert found is not None
    assert down_since("ops", {found.id: found.judged_by}) == since


def test_its_key_is_nobody_else_s() -> None:
    subject = notifier_subject("ops")
    assert (subject.key, subject.topic, parse_subject(subject.key)) == ("notifier:ops/outage", "notifier:ops", subject)


def test_the_words_of_an_outage_and_of_its_end() -> None:
    told = news(backlog(answer="403 invalid_token", last_delivered=NOON - HOUR))
    assert told is not None
    down = told.deliveries[0].message
    assert (down.type, down.event_type, down.severity) == ("finetune.notifier.down", "notifier_down", Severity.BAD)
    assert (down.title, down.error) == (
        "Notifications to ops are not getting through",
        "unauthorized: 403 invalid_token",
    )
    assert dict(down.facts)["Waiting"] == "2 notifications"
    assert "notify test ops" in (down.hint or "")
    assert down.monitor_url == "https://m/#notifiers"
    assert json.loads(down.data)["monitor_url"] == down.monitor_url
    assert json.loads(down.data)["notifier"] == {
        "name": "ops",
        "down_since": "2026-11-22T11:40:00Z",
        "down_seconds": 1200,
        "last_delivered": "2026-11-22T11:00:00Z",
        "waiting": 2,
        "reason": "unauthorized",
        "answer": "403 invalid_token",
    }
    told = news(backlog(waiting=0, failing_since=None, last_delivered=NOON - MINUTE), notified={**SINCE}, down=())
    assert told is not None
    up = told.deliveries[0].message
    assert (up.type, up.event_type, up.severity) == ("finetune.notifier.up", "notifier_up", Severity.GOOD)
    assert (up.title, up.error, up.hint) == ("Notifications to ops are getting through again", None, None)
    assert dict(up.facts)["Down for"].startswith("19m")
    assert dict(up.facts)["Still waiting"] == "none"
    assert json.loads(up.data)["notifier"]["reason"] is None
