"""Microsoft Teams by a Workflow's webhook, with an Adaptive Card: https://adaptivecards.io/explorer/."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from monitor.domain.news import Card, Message, Severity
from monitor.notifiers.base import (
    Attempt,
    FailureKind,
    HttpAnswer,
    HttpRequest,
    Receipt,
    SendError,
    json_body,
    judge_status,
)
from monitor.notifiers.settings import HttpSettings, SecretUrl
from monitor.notifiers.text import Shown, cut, show, units

# A Workflow answers 202 before it checks the card, and drops cards of more than about 28 KB. These limits are in UTF-16
# units, each of which takes at most three bytes in UTF-8: with links and structure, a card stays below 21 KB.
_TITLE: Final = 300
_FACTS: Final = 1000
_LIST: Final = 1200
_ROW: Final = 200
_MOST_FACTS: Final = 12
_ERROR: Final = 1500
_HINT: Final = 700
_LISTED: Final = 20

_COLOURS: Final = {
    Severity.GOOD: "good",
    Severity.INFO: "accent",
    Severity.WARNING: "warning",
    Severity.BAD: "attention",
}
# https://learn.microsoft.com/azure/logic-apps/logic-apps-workflow-definition-language#triggers
_CODES: Final = {
    "TriggerInputSchemaMismatch": FailureKind.MESSAGE,
    "InvalidRequestContent": FailureKind.MESSAGE,
    "WorkflowTriggerIsNotEnabled": FailureKind.TARGET,
}


class TeamsSettings(HttpSettings):
    """A channel or chat in Microsoft Teams, by a Workflow that is triggered by webhooks."""

    required_secrets: ClassVar[tuple[str, ...]] = ("webhook_url",)
    idempotent: ClassVar[bool] = False
    min_gap: ClassVar[float] = 1.0
    shared: ClassVar[tuple[str, ...]] = ("webhook_url",)

    type: Literal["teams"]
    webhook_url: SecretUrl | None = None
    """The URL of the Workflow's trigger; anyone who knows it can post."""
    webhook_url_file: Path | None = None

    def open(self, secrets: Mapping[str, tuple[str, ...]]) -> TeamsChannel:
        """The channel with the current URL of the Workflow."""
        return TeamsChannel(url=secrets["webhook_url"][0])


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamsChannel:
    """One Workflow. Its answer says whether it was started, but not whether the card was accepted."""

    url: str = field(repr=False)

    def post(self, message: Message, attempt: Attempt) -> HttpRequest:
        """The request for a message with the card as its only attachment."""
        card = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None}
        content = {"type": "message", "attachments": [{**card, "content": adaptive_card(message, attempt)}]}
        return HttpRequest(url=self.url, headers={"Content-Type": "application/json"}, body=json_body(content))

    def edit(self, card: Card, message: Message, attempt: Attempt) -> None:
        """None: a Workflow does not return the id of the message."""

    def judge(self, answer: HttpAnswer, now: datetime) -> Receipt | SendError:
        """Judge an answer by the error codes of Logic Apps, otherwise by the status."""
        error = answer.fields.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        kind = _CODES.get(code) if isinstance(code, str) and 400 <= answer.status < 500 else None
        if kind is None:
            return judge_status(answer, now)
        return SendError(kind, "refused", f"the Workflow answered {answer.status}: {code}")

    def probe(self) -> HttpRequest:
        """A request that shows whether the host can be reached. Every POST would start the Workflow."""
        return HttpRequest(url=self.url, method="OPTIONS")

    def judge_probe(self, answer: HttpAnswer, now: datetime) -> SendError | None:
        """Judge the answer: any but a broken gateway's is good, since Workflows do not support OPTIONS."""
        verdict = judge_status(answer, now)
        broken = answer.status >= 500 or answer.status in {410, 429}
        return verdict if broken and isinstance(verdict, SendError) else None


def adaptive_card(message: Message, attempt: Attempt) -> dict[str, Any]:
    """The card, version 1.5. Text from outside is only in TextRuns, which support neither Markdown nor mentions."""
    shown = show(message, attempt)
    links = [("Open", shown.link), ("At the provider", shown.vendor_link)]
    actions = [{"type": "Action.OpenUrl", "title": title, "url": link} for title, link in links if link is not None]
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.5",
        "body": list(_body(shown, _COLOURS[message.severity])),
        **({"actions": actions} if actions else {}),
    }


def _body(shown: Shown, colour: str) -> Iterator[dict[str, Any]]:
    yield _text(shown.title, _TITLE, weight="bolder", size="medium", color=colour)
    if shown.facts:
        yield {"type": "RichTextBlock", "spacing": "default", "inlines": [*_facts(shown.facts)]}
    yield from _rows(shown.rows, _LIST if shown.error else _LIST + _ERROR)
    if shown.error:
        yield {"type": "Container", "style": "attention", "items": [_text(shown.error, _ERROR, fontType="monospace")]}
    if shown.hint:
        yield {"type": "Container", "style": "emphasis", "items": [_text(shown.hint, _HINT)]}
    if foot := " · ".join(filter(None, (shown.id, shown.note))):
        yield _text(foot, _TITLE, isSubtle=True, size="small")


def _rows(rows: Sequence[tuple[str, str]], room: int) -> Iterator[dict[str, Any]]:
    """A line for each row, as many as fit."""
    for number, (label, value) in enumerate(rows):
        text = cut(f"{label}: {value}", _ROW)
        room -= units(text)
        if room < 0 or number == _LISTED:
            yield _text(f"and {len(rows) - number} more", _ROW, spacing="none")
            return
        yield _text(text, _ROW, spacing="none")


def _facts(facts: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """As many whole facts as fit, with their labels in bold."""
    room = _FACTS
    for number, (label, value) in enumerate(facts[:_MOST_FACTS]):
        room -= units(label) + units(value)
        if room >= 0:
            yield _run(f"{' · ' if number else ''}{label} ", _FACTS, weight="bolder")
            yield _run(value, _FACTS)


def _text(text: str, limit: int, *, spacing: str = "default", **style: Any) -> dict[str, Any]:
    """A paragraph."""
    return {"type": "RichTextBlock", "spacing": spacing, "inlines": [_run(text, limit, **style)]}


def _run(text: str, limit: int, **style: Any) -> dict[str, Any]:
    """A run of text. Double braces are separated, because `{{DATE(…)}}` would be rendered."""
    return {"type": "TextRun", "text": cut(re.sub(r"{(?={)", "{\u200b", text), limit) or "…", **style}
