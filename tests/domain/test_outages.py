"""What is told of an organisation that cannot be watched: to whom, in turn, and in which words."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from monitor.domain.flow import Reason, Trouble
from monitor.domain.model import Status
from monitor.domain.news import News, Severity
from monitor.domain.outages import OrgHealthChange, outage_news, outage_subject
from monitor.domain.routing import Match, OrgRef, Rule
from tests.builders import MINUTE, NOON, on

RESEARCH = OrgRef(org="research", provider="openai", labels={"team": "search"})
REFUSED = Trouble(reason=Reason.AUTH, text="401: the key is refused")
BOTH = Rule(on=on("org_down", "org_up"), notify=("ops", "chat"))
ON_DOWN = Rule(on=on("org_down"), notify=("ops",))
ON_UP = Rule(on=on("org_up"), notify=("chat",))
ENDS = Rule(on=on("failed"), notify=("ops",))


def notice(up: bool, told: Collection[str] = (), *rules: Rule, **over: Any) -> News | None:
    fields: dict[str, Any] = {"last_success": NOON - 20 * MINUTE, "trouble": REFUSED, **over}
    notified = told if isinstance(told, Mapping) else dict.fromkeys(told)
    return outage_news(OrgHealthChange(org=RESEARCH, up=up, **fields), rules or (BOTH,), notified, NOON)


@pytest.mark.parametrize(
    ("up", "told", "expected"),
    [
        pytest.param(True, [], None, id="nothing was wrong, and nothing is"),
        pytest.param(False, [], "research/outage/1", id="the first outage"),
        pytest.param(False, ["research/outage/1"], None, id="it goes on"),
        pytest.param(True, ["research/outage/1"], "research/outage/2", id="its end"),
        pytest.param(True, ["research/outage/1", "research/outage/2"], None, id="the end is told once"),
        pytest.param(False, ["research/outage/2", "research/outage/1"], "research/outage/3", id="the second outage"),
        pytest.param(False, ["research/outage/10", "research/outage/9"], "research/outage/11", id="numbers, not text"),
        pytest.param(False, ["search/outage/1"], "research/outage/1", id="another organisation's"),
    ],
)
def test_outages_and_their_ends_are_told_in_turn(up: bool, told: list[str], expected: str | None) -> None:
    found = notice(up, told)
    assert (found.id if found else None) == expected
    assert found is None or found.subject.topic == "research"


@pytest.mark.parametrize(
    ("up", "told", "rules", "expected"),
    [
        pytest.param(False, [], [BOTH, ON_DOWN], ["ops", "chat"], id="each once, however many rules name it"),
        pytest.param(False, [], [ON_DOWN], ["ops"], id="who wants to hear of outages"),
        pytest.param(False, [], [ON_UP], [], id="numbered, though who wants the end alone hears nothing"),
        pytest.param(True, ["research/outage/1"], [ON_UP], ["chat"], id="the end, to who wants it"),
        pytest.param(True, ["research/outage/1"], [ON_DOWN], [], id="the end is numbered too"),
        pytest.param(False, [], [ENDS], None, id="nobody asked for outages"),
        pytest.param(
            False,
            [],
            [Rule(on=BOTH.on, notify=("ops",), match=Match(orgs=frozenset({"legal"})))],
            None,
            id="of another one",
        ),
        pytest.param(
            False,
            [],
            [Rule(on=BOTH.on, notify=("ops",), match=Match(labels={"team": "search"}))],
            ["ops"],
            id="by label",
        ),
    ],
)
def test_it_goes_to_the_rules_that_fit(
    up: bool, told: list[str], rules: list[Rule], expected: list[str] | None
) -> None:
    found = notice(up, told, *rules)
    assert (None if found is None else [one.notifier for one in found.deliveries]) == expected


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (Reason.AUTH, "its key is refused"),
        (Reason.NOT_ELIGIBLE, "it is not eligible for fine-tuning"),
        (Reason.RATE_LIMITED, "its requests are rate limited"),
        (Reason.UNAVAILABLE, "the API is down"),
        (Reason.MALFORMED, "the API gives invalid responses"),
        (Reason.TIMEOUT, "the API does not answer in time"),
    ],
)
def test_every_reason_has_its_words(reason: Reason, why: str) -> None:
    found = notice(False, trouble=Trouble(reason=reason, text="as it was said"))
    assert found is not None
    message = found.deliveries[0].message
    assert message.title == f"research cannot be watched: {why}"
    assert message.error == "as it was said"
    assert json.loads(message.data or "")["reason"] == reason.value


def test_an_outage_says_since_when_and_what_was_said() -> None:
    found = notice(False)
    assert found is not None
    (first, second) = found.deliveries
    assert (first.subject, first.seq, first.key) == (outage_subject("research"), 1, "research/outage/1@ops")
    assert second.message == first.message
    message = first.message
    assert (message.type, message.event_type, message.severity) == ("finetune.org.down", "org_down", Severity.BAD)
    assert (message.at, message.subject) == (NOON, outage_subject("research"))
    assert message.facts == (
        ("Organisation", "research"), ("Provider", "openai"), ("Last seen", "11:40 UTC, 20m ago"),
    )  # fmt: skip
    assert json.loads(message.data or "") == {
        "org": "research", "provider": "openai", "labels": {"team": "search"}, "last_success": "2026-11-22T11:40:00Z",
        "reason": "auth", "error": "401: the key is refused",
    }  # fmt: skip


def test_its_end_says_nothing_of_the_trouble() -> None:
    found = notice(True, ["research/outage/1"])
    assert found is not None
    message = found.deliveries[0].message
    assert (message.type, message.event_type, message.severity) == ("finetune.org.up", "org_up", Severity.GOOD)
    assert (message.title, message.error) == ("research is watched again", None)
    assert message.facts == (("Organisation", "research"), ("Provider", "openai"))
    said = json.loads(message.data or "")
    assert (said["reason"], said["error"]) == (None, None)


@pytest.mark.parametrize(
    ("ended", "meanwhile"),
    [
        ({}, "no job ended"),
        ({Status.SUCCEEDED: 1200, Status.FAILED: 1}, "1,201 jobs ended: 1,200 succeeded, 1 failed"),
    ],
)
def test_its_end_says_how_long_it_was_and_what_was_missed(ended: dict[Status, int], meanwhile: str) -> None:
    down = notice(False)
    assert down is not None
    assert down.judged_by == "2026-11-22T11:40:00Z"
    found = notice(True, {down.id: down.judged_by}, up_since=NOON - MINUTE, ended=ended)
    assert found is not None
    assert found.judged_by is None
    message = found.deliveries[0].message
    assert message.facts[2:] == (("Down for", "19m, since 11:40 UTC"), ("Meanwhile", meanwhile))
    said = json.loads(message.data)
    assert (said["down_since"], said["down_seconds"]) == ("2026-11-22T11:40:00Z", 1140)
    assert said["jobs_ended"] == ended


def test_the_end_of_an_outage_before_which_nothing_was_seen_says_nothing_of_its_length() -> None:
    found = notice(True, {"research/outage/1": None})
    assert found is not None
    said = json.loads(found.deliveries[0].message.data)
    assert (said["down_since"], said["down_seconds"], said["jobs_ended"]) == (None, None, None)


def test_an_organisation_that_never_answered_says_so() -> None:
    found = notice(False, last_success=None, trouble=None)
    assert found is not None
    message = found.deliveries[0].message
    assert message.title == "research cannot be watched"
    assert message.facts[-1] == ("Last seen", "never")
    assert json.loads(message.data or "")["last_success"] is None


def test_texts_that_are_not_ascii_stay_readable() -> None:
    found = notice(False, trouble=Trouble(reason=Reason.AUTH, text="clé refusée"))
    assert found is not None
    assert "clé refusée" in (found.deliveries[0].message.data or "")


def test_a_notice_leads_to_its_section_of_the_page() -> None:
    news = outage_news(
        OrgHealthChange(org=RESEARCH, up=False, trouble=REFUSED, last_success=NOON),
        (BOTH,),
        {},
        NOON,
        page="https://m.co",
    )
    assert news is not None
    assert {one.message.monitor_url for one in news.deliveries} == {"https://m.co/#orgs"}
    assert {json.loads(one.message.data)["monitor_url"] for one in news.deliveries} == {"https://m.co/#orgs"}
