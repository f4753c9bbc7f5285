"""Discord by webhook, with an embed: https://docs.discord.com/developers/resources/webhook."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal
from urllib.parse import urlsplit, urlunsplit

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
from monitor.notifiers.text import Shown, cut, show, units, unlinked

# https://docs.discord.com/developers/resources/message#embed-object-embed-limits, in UTF-16 units
_CONTENT: Final = 2000
_TITLE: Final = 256
_NAME: Final = 256
_VALUE: Final = 1024
_FIELDS: Final = 25
_INLINE: Final = 20  # a third of an embed's width; longer values such as ids would be broken
_FOOTER: Final = 300
_DESCRIPTION: Final = 3000
_SUM: Final = 6000

_SUPPRESS_EMBEDS: Final = 1 << 2
_COLOURS: Final = {Severity.GOOD: 0x2EB67D, Severity.INFO: 0x36C5F0, Severity.WARNING: 0xECB22E, Severity.BAD: 0xE01E5A}
_MARKDOWN: Final = {char: f"\\{char}" for char in "\\*_~`|<>[]()#@"}
# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json-json-error-codes
_CODES: Final = {
    **dict.fromkeys((10003, 10015, 50001, 50013, 50027, 220001), FailureKind.TARGET),
    **dict.fromkeys((50006, 50035, 50109), FailureKind.MESSAGE),
    10008: FailureKind.CARD,
    30046: FailureKind.RATE,  # messages older than an hour have a limit of edits
}


class DiscordSettings(HttpSettings):
    """A channel in Discord, by its webhook."""

    required_secrets: ClassVar[tuple[str, ...]] = ("webhook_url",)
    idempotent: ClassVar[bool] = False
    min_gap: ClassVar[float] = 0.5
    shared: ClassVar[tuple[str, ...]] = ("webhook_url",)

    type: Literal["discord"]
    webhook_url: SecretUrl | None = None
    """Append `?thread_id=…` for a thread or a forum post."""
    webhook_url_file: Path | None = None
    mode: Literal["card", "messages"] = "card"
    """`card`: the first message of each job is edited in place until the job ends; further events are posted as well.
    `messages`: no message is edited."""

    @property
    def keeps_cards(self) -> bool:
        """Whether each job has a card: yes, except with `mode: messages`."""
        return self.mode == "card"

    def open(self, secrets: Mapping[str, tuple[str, ...]]) -> DiscordChannel:
        """The channel with the current URL of its webhook."""
        return DiscordChannel(url=secrets["webhook_url"][0])


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscordChannel:
    """One webhook."""

    url: str = field(repr=False)

    def post(self, message: Message, attempt: Attempt) -> HttpRequest:
        """The request for an embed, or for plain text. With `wait`, Discord returns the id of the saved message."""
        return self._request("", payload(message, attempt), method="POST")

    def edit(self, card: Card, message: Message, attempt: Attempt) -> HttpRequest:
        """The request that replaces a message of the webhook."""
        content = {"content": None, "embeds": [], **payload(message, attempt)}
        return self._request(f"/messages/{card.reference}", content, method="PATCH")

    def judge(self, answer: HttpAnswer, now: datetime) -> Receipt | SendError:
        """Judge an answer by Discord's error code if that is known, otherwise by the status."""
        fields = answer.fields
        code = fields.get("code")
        kind = _CODES.get(code) if isinstance(code, int) and 400 <= answer.status < 500 else None
        if kind is not None and answer.status != 429:
            return SendError(kind, f"code_{code}", f"Discord answered {answer.status}: code {code}")
        verdict = judge_status(answer, now)
        if isinstance(verdict, SendError):
            return verdict
        id_, place = fields.get("id"), fields.get("channel_id")
        known = isinstance(id_, str) and isinstance(place, str) and id_.isdigit() and place.isdigit()
        return Receipt(reference=id_, place=place) if known else Receipt()

    def probe(self) -> HttpRequest:
        """A request for the webhook itself."""
        return HttpRequest(url=self.url, method="GET")

    def judge_probe(self, answer: HttpAnswer, now: datetime) -> SendError | None:
        """Judge the answer like any other."""
        verdict = self.judge(answer, now)
        return verdict if isinstance(verdict, SendError) else None

    def _request(self, path: str, content: Mapping[str, Any], *, method: str) -> HttpRequest:
        parts = urlsplit(self.url)
        query = "&".join(filter(None, (parts.query, "wait=true")))
        url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + path, query, ""))
        headers = {"Content-Type": "application/json"}
        return HttpRequest(url=url, method=method, headers=headers, body=json_body(content), limit=64 * 1024)


def payload(message: Message, attempt: Attempt) -> dict[str, Any]:
    """The content for the webhook. It pings nobody, whatever the text contains."""
    shown = show(message, attempt)
    quiet: dict[str, Any] = {"allowed_mentions": {"parse": []}}
    if attempt.plain:
        text = cut("\n".join(map(unlinked, shown.lines)), _CONTENT, _MARKDOWN)
        return {"content": text, "flags": _SUPPRESS_EMBEDS, **quiet}
    title, description, footer = _text(shown.title, _TITLE), _description(shown), _footer(shown)
    foot = {"footer": {"text": footer}} if footer else {}
    embed = {
        "title": title,
        "description": description,
        "color": _COLOURS[message.severity],
        "timestamp": message.at.astimezone(UTC).isoformat(timespec="seconds"),
        "fields": list(_fields(shown, _SUM - units(title + description + footer))),
        **foot,
        **({"url": shown.link} if shown.link is not None else {}),
    }
    return {"embeds": [embed], **quiet}


def _description(shown: Shown) -> str:
    """The error as a code block, in which nothing is formatted, and the hint below it."""
    hint = _text(shown.hint, 1000, break_lines=True)
    error = cut(shown.error.replace("`", "ˋ"), _DESCRIPTION - units(hint) - 10)
    return "\n".join(filter(None, (f"```\n{error}\n```" if error else "", hint)))


def _fields(shown: Shown, room: int) -> Iterator[dict[str, Any]]:
    """As many whole fields as fit."""
    facts = [(label, _text(value, _VALUE), units(value) <= _INLINE) for label, value in shown.facts]
    lists = [(label, _text("\n".join(values), _VALUE, break_lines=True), False) for label, values in shown.lists]
    for label, value, inline in [*facts, *lists][:_FIELDS]:
        name = _text(label, _NAME)
        room -= max(units(name), 1) + max(units(value), 1)
        if room < 0:
            return
        yield {"name": name.strip() or "…", "value": value.strip() or "…", "inline": inline}


def _footer(shown: Shown) -> str:
    """The id and the note. Discord does not format footers."""
    return cut(" · ".join(filter(None, (shown.id, shown.note))), _FOOTER)


def _text(text: str, limit: int, *, break_lines: bool = False) -> str:
    """The text, escaped so that Discord neither formats nor links it."""
    kept = text if break_lines else re.sub(r"\s+", " ", text)
    return cut(kept.replace("://", ":\u200b//"), limit, _MARKDOWN)
