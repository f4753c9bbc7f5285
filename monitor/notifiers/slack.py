"""Slack by incoming webhook or bot token: https://docs.slack.dev/reference/methods/chat.postMessage.

The SDK dresses the message within Block Kit's limits (https://docs.slack.dev/reference/block-kit); the request is ours,
because its clients follow redirects, take proxies from the environment, read answers of any size and log the webhook's
URL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, SecretStr, model_validator
from slack_sdk.models.blocks import (
    Block,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
    TextObject,
)

from monitor.domain.news import Message, Severity
from monitor.domain.retry_after import retry_after
from monitor.domain.text import ELLIPSIS, clean, line
from monitor.notifiers.address import url_problem
from monitor.notifiers.base import Answer, Attempt, Card, FailureKind, Outgoing, Receipt, SendError, judge_status
from monitor.notifiers.settings import HttpSettings, SecretUrl
from monitor.notifiers.text import REPEAT, SIGNS, cut, safe_link, unlinked

_API_ANSWER_BYTES: Final = 256 * 1024  # chat.postMessage answers with the whole message

# https://docs.slack.dev/reference/methods/chat.postMessage#errors and
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
_WORDS: Final = {
    FailureKind.RATE: "ratelimited rate_limited message_limit_exceeded",
    FailureKind.TRANSIENT: "internal_error service_unavailable request_timeout team_added_to_org rollup_error",
    FailureKind.AMBIGUOUS: "fatal_error",
    FailureKind.MESSAGE: "attachment_payload_limit_exceeded invalid_arguments invalid_attachments invalid_blocks"
    " invalid_blocks_format invalid_metadata_format invalid_metadata_schema invalid_payload metadata_too_large"
    " msg_blocks_too_long msg_too_long no_text too_many_attachments too_many_contact_cards",
    FailureKind.TARGET: "access_denied accesslimited account_inactive action_prohibited channel_is_archived"
    " channel_not_found deprecated_endpoint ekm_access_denied enterprise_is_restricted invalid_auth invalid_token"
    " is_archived is_inactive messages_tab_disabled method_deprecated missing_scope no_active_hooks no_permission"
    " no_service no_service_id no_team not_allowed_token_type not_authed not_in_channel org_login_required"
    " posting_to_general_channel_denied restricted_action team_access_not_granted team_disabled token_expired"
    " token_revoked two_factor_setup_required user_not_found",
    FailureKind.CARD: "cant_update_message edit_window_closed message_not_found",
}
_KINDS: Final = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_WORD: Final = re.compile(r"[a-z][a-z_]{1,60}")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

# The parts are sized so that the sum stays below the 13 200 block characters that Slack takes (escapes included).
_HEADER: Final = 150
_FIELDS: Final = 10  # of a section
_MANY: Final = 24  # facts, where there is neither error nor hint; then a value has less room
_LABEL: Final = 80
_VALUE: Final = 400
_SHORT_VALUE: Final = 260
_ERROR: Final = 2900
_HINT: Final = 1000

_COLOURS: Final = {
    Severity.GOOD: "#2eb67d",
    Severity.INFO: "#36c5f0",
    Severity.WARNING: "#ecb22e",
    Severity.BAD: "#e01e5a",
}
_UNTOUCHED: Final = {
    "parse": "none",
    "link_names": False,
    "mrkdwn": False,
    "unfurl_links": False,
    "unfurl_media": False,
}


class SlackSettings(HttpSettings):
    """A channel in Slack: an incoming webhook, or a bot's token and a channel."""

    # Slack knows no idempotency key, so a message whose answer was lost is sent once more at most. It takes one message
    # per second and channel: https://docs.slack.dev/apis/web-api/rate-limits
    idempotent: ClassVar[bool] = False
    min_gap: ClassVar[float] = 1.0
    shared: ClassVar[tuple[str, ...]] = ("webhook_url", "token", "channel")

    type: Literal["slack"]
    webhook_url: SecretUrl | None = None
    """Any host: gateways and Mattermost too."""
    webhook_url_file: Path | None = None
    token: SecretStr | None = None
    token_file: Path | None = None
    channel: str | None = Field(default=None, min_length=1, max_length=100)
    """`#name` or, better, the channel's id, which survives a renaming."""
    api_url: str = "https://slack.com/api/"
    """Of a gateway."""

    @model_validator(mode="after")
    def _one_way(self) -> SlackSettings:
        by_webhook = self.webhook_url is not None or self.webhook_url_file is not None
        by_token = self.token is not None or self.token_file is not None
        if by_webhook == by_token:
            raise ValueError("give either webhook_url (or webhook_url_file), or token (or token_file) and channel")
        if by_token != (self.channel is not None):
            raise ValueError("channel goes with token; an incoming webhook has its own")
        if (problem := url_problem(self.api_url)) is not None:
            raise ValueError(f"api_url {problem}")
        return self

    def open(self, secrets: Mapping[str, tuple[str, ...]]) -> SlackChannel:
        """The channel with what opens it now: its webhook's URL or its bot's token."""
        return SlackChannel(
            webhook_url=next(iter(secrets["webhook_url"]), None),
            token=next(iter(secrets["token"]), None),
            channel=self.channel,
            api_url=self.api_url,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackChannel:
    """One channel of Slack, or of what speaks like it: Mattermost, Rocket.Chat, Zulip, relays."""

    webhook_url: str | None = field(repr=False)
    token: str | None = field(repr=False)
    channel: str | None
    api_url: str

    def post(self, message: Message, attempt: Attempt) -> Outgoing:
        """The message with blocks, or as bare text for receivers that refuse them."""
        return self._request("chat.postMessage", payload(message, attempt))

    def edit(self, card: Card, message: Message, attempt: Attempt) -> Outgoing | None:
        """`chat.update` by token. It keeps what is left out: empty lists take the blocks off."""
        if self.token is None:
            return None
        content = {"blocks": [], "attachments": [], **payload(message, attempt)}
        return self._request("chat.update", {**content, "channel": card.place, "ts": card.reference})

    def judge(self, answer: Answer, now: datetime) -> Receipt | SendError:
        """What the answer means. Errors of the Web API come with status 200 too.

        Receivers that are not Slack acknowledge in their own words (204, nothing, JSON): what is no error is delivered.
        """
        word = _error(answer)
        if word is not None and answer.status < 500 and answer.status != 429:
            return _refusal(answer, word, now)
        if not 200 <= answer.status < 300:
            return judge_status(answer, now)
        if answer.html:  # a portal's page, which posted nothing
            return SendError(FailureKind.TRANSIENT, "not_slack", f"a page answered {answer.status}, and not Slack")
        if answer.lost:
            return SendError(FailureKind.AMBIGUOUS, "answer_lost", "the answer broke off")
        return Receipt(reference=_short(answer.fields.get("ts")), place=_short(answer.fields.get("channel")))

    def probe(self) -> Outgoing:
        """`auth.test` by token. A webhook is sent an empty text, which is refused where the address is right."""
        return self._request("auth.test", {"text": ""})

    def judge_probe(self, answer: Answer, now: datetime) -> SendError | None:
        """A webhook that misses a text, in whatever words, is alive."""
        verdict = self.judge(answer, now)
        if isinstance(verdict, Receipt):
            return None
        misses_a_text = verdict.kind is FailureKind.MESSAGE or (answer.status in {400, 422} and not _error(answer))
        return None if self.token is None and misses_a_text else verdict

    def _request(self, method: str, content: dict[str, Any]) -> Outgoing:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if self.token is None:
            return Outgoing(url=self.webhook_url or "", headers=headers, body=_json(content))
        return Outgoing(
            url=f"{self.api_url.rstrip('/')}/{method}",
            headers={**headers, "Authorization": f"Bearer {self.token}"},
            body=_json({"channel": self.channel, **content}),
            limit=_API_ANSWER_BYTES,
        )


def payload(message: Message, attempt: Attempt) -> dict[str, Any]:
    """The message for an incoming webhook or chat.postMessage (which needs the channel too).

    Where there are blocks, `text` is what notifications and receivers without Block Kit show; `attempt.plain` leaves
    the blocks out. Text from outside stands in plain_text objects only, which know no mentions, links or formatting.
    """
    shown: dict[str, Any] = {"text": _fallback(message, attempt), **_UNTOUCHED}
    if attempt.plain:
        return shown
    return {
        **shown,
        "blocks": [HeaderBlock(text=_plain(_headline(message), _HEADER)).to_dict()],
        "attachments": [
            {"color": _COLOURS[message.severity], "blocks": [block.to_dict() for block in _details(message, attempt)]},
        ],
    }


def _details(message: Message, attempt: Attempt) -> list[Block]:
    room = _LABEL + _room(message)
    fields = [_plain(f"{label}\n{value}", room) for label, value in _facts(message)]
    blocks: list[Block] = [
        SectionBlock(fields=fields[start : start + _FIELDS]) for start in range(0, len(fields), _FIELDS)
    ]
    for text, limit in ((message.error, _ERROR), (message.hint, _HINT)):
        if text and (shown := clean(text, limit)):
            blocks.append(SectionBlock(text=_plain(shown, limit)))
    return [*blocks, ContextBlock(elements=_context(message, attempt))]


def _facts(message: Message) -> list[tuple[str, str]]:
    """Those that there is room for, each on one line."""
    room = _room(message)
    return [(line(label, _LABEL), line(value, room)) for label, value in message.facts[: _most(message)]]


def _most(message: Message) -> int:
    return _FIELDS if message.error or message.hint else _MANY


def _room(message: Message) -> int:
    return _VALUE if len(message.facts) <= _FIELDS or _most(message) == _FIELDS else _SHORT_VALUE


def _context(message: Message, attempt: Attempt) -> list[TextObject]:
    elements: list[TextObject] = []
    link = _link(message)
    if link is not None:
        elements.append(MarkdownTextObject(text=f"<{link}|Open the job>", verbatim=True))
    where = f"{line(message.subject.org or message.subject.kind, _LABEL)} · {line(message.subject.id, _LABEL)}"
    left = len(message.facts) - _most(message)
    elements.append(_plain(f"{where} · {left} more facts" if left > 0 else where, 2 * _VALUE))
    if attempt.repeated:
        elements.append(_plain(REPEAT, _VALUE))
    return elements


def _headline(message: Message) -> str:
    return f"{SIGNS[message.severity]} {line(message.title, _HEADER)}"


def _fallback(message: Message, attempt: Attempt) -> str:
    """All of it as lines of text, for readers that show no blocks."""
    facts = [f"{label}: {value}" for label, value in _facts(message)]
    texts = [clean(text, limit) for text, limit in ((message.error, _ERROR), (message.hint, _HINT)) if text]
    lines = [_headline(message), *facts, *filter(None, texts), *([REPEAT] if attempt.repeated else [])]
    link = _link(message)
    text = cut("\n".join(map(unlinked, lines)), 2 * (_ERROR + _HINT) + _FIELDS * (_LABEL + _VALUE), _ENTITIES)
    return f"{text}\n<{link}>" if link is not None else text


def _link(message: Message) -> str | None:
    link = safe_link(message.link)
    return link.replace("&", "&amp;") if link is not None else None


def _plain(text: str, limit: int) -> PlainTextObject:
    return PlainTextObject(text=cut(text, limit, _ENTITIES) or ELLIPSIS, emoji=False)


def _error(answer: Answer) -> str | None:
    """The word of the error in an answer; empty for an error in other words, None where there is none."""
    said = answer.fields
    if said:
        word = said.get("error")
        bad = word or said.get("ok") is False or said.get("success") is False or said.get("result") == "error"
        named = isinstance(word, str) and _WORD.fullmatch(word)
        if named or (bad and answer.status < 400):
            return str(word) if named else ""
        return None
    text = answer.text
    first = found.group() if (found := re.match(r"[a-z][a-z_]{1,60}(?=\W|$)", text)) else ""
    if first in _KINDS or (answer.status >= 400 and "_" in first and first == text):
        return first
    return None


def _refusal(answer: Answer, word: str, now: datetime) -> SendError:
    """What an error's word means. A word that nobody knows is not blamed on the message: it stays and waits."""
    known = "restricted_action" if word.startswith("restricted_action") else word
    kind = _KINDS.get(known)
    text = line(f"Slack answered {answer.status}: {word or 'an error in other words'}", 200)
    wait = retry_after(answer.headers, now)
    return SendError(kind or FailureKind.TARGET, known if kind else "other", text, retry_after=wait)


def _short(value: object) -> str | None:
    return value[:40] if isinstance(value, str) and value else None


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False).encode()
