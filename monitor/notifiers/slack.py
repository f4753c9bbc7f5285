"""Slack by incoming webhook or bot token: https://docs.slack.dev/reference/methods/chat.postMessage.

Messages are built with the SDK's Block Kit models (https://docs.slack.dev/reference/block-kit). Its clients are not
used, because they follow redirects, use proxies from the environment, read answers of any size and log webhook URLs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlencode

from pydantic import AfterValidator, Field, SecretStr, model_validator

from monitor.domain.news import Card, EventType, Message, Severity
from monitor.domain.retry_after import retry_after
from monitor.domain.text import ELLIPSIS, line
from monitor.notifiers.address import url_problem
from monitor.notifiers.base import (
    Attempt,
    FailureKind,
    HttpAnswer,
    HttpRequest,
    Picture,
    Receipt,
    SendError,
    Steps,
    json_body,
    judge_status,
)
from monitor.notifiers.settings import HttpSettings, SecretUrl
from monitor.notifiers.text import Shown, cut, show, units, unlinked

if TYPE_CHECKING:
    from slack_sdk.models.blocks import Block, MarkdownTextObject

_API_ANSWER_BYTES: Final = 256 * 1024  # chat.postMessage returns the whole message

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
    FailureKind.CARD: "cannot_reply_to_message cant_update_message edit_window_closed message_not_found"
    " thread_not_found",
}
_CARD_LOST: Final = frozenset({"channel_is_archived", "channel_not_found", "is_archived"})
_ENDS: Final = frozenset({EventType.SUCCEEDED, EventType.FAILED, EventType.CANCELLED})
_KINDS: Final = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_REFUSING: Final = re.compile(r"\W{0,20}(error|failed|failure|denied|forbidden|unauthorized)\b", re.IGNORECASE)
_FAILED: Final = ("error", "fail", "failed", "failure")
_WORD: Final = re.compile(r"[a-z][a-z_]{1,60}")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

# Characters that Slack would format, and colons that it would take for an emoji.
_EMOJI: Final = re.compile(r":(?=[\w+-]+:)")
_MARKS: Final = _ENTITIES | {mark: f"{mark}\u200b" for mark in "*_~`"}
_IDS: Final = frozenset({"Model", "Fine-tuned model"})
"""Facts that are shown without a label, because their values speak for themselves."""
_CODES: Final = _IDS | {"Best checkpoint"}

# Limits in UTF-16 units after escaping. With two links of at most 1,000, all blocks together stay below 12,000: Slack
# rejects slightly larger messages with `msg_blocks_too_long` (https://github.com/slackapi/bolt-js/issues/2509).
_TITLE: Final = 400
_FACTS: Final = 1500
_LIST: Final = 2900
_ERROR: Final = 2400
_HINT: Final = 900
_CONTEXT: Final = 300

_COLOURS: Final = {
    Severity.GOOD: "#2eb67d",
    Severity.INFO: "#36c5f0",
    Severity.WARNING: "#ecb22e",
    Severity.BAD: "#e01e5a",
}
_OF_POSTS: Final = frozenset({"mrkdwn", "unfurl_links", "unfurl_media"})
_UNTOUCHED: Final = {
    "parse": "none",
    "link_names": False,
    "mrkdwn": False,
    "unfurl_links": False,
    "unfurl_media": False,
}


def _no_url(token: SecretStr) -> SecretStr:
    if "://" in token.get_secret_value():
        raise ValueError("is a URL, not a token; the URL of an incoming webhook goes into webhook_url")
    return token


class SlackSettings(HttpSettings):
    """A Slack channel, by an incoming webhook, or by a bot's token and the channel's name."""

    # Slack has no idempotency key, so that a message is repeated at most once after a lost answer. It accepts one
    # message per second and channel: https://docs.slack.dev/apis/web-api/rate-limits
    idempotent: ClassVar[bool] = False
    min_gap: ClassVar[float] = 1.0
    shared: ClassVar[tuple[str, ...]] = ("webhook_url", "token", "channel")

    type: Literal["slack"]
    webhook_url: SecretUrl | None = None
    """Its host may be any, such as a gateway or Mattermost."""
    webhook_url_file: Path | None = None
    token: Annotated[SecretStr, AfterValidator(_no_url)] | None = None
    token_file: Path | None = None
    channel: str | None = Field(default=None, min_length=1, max_length=100)
    """`#name` or, better, the channel's id, which does not change when the channel is renamed."""
    api_url: str = "https://slack.com/api/"
    """The base URL of the Web API, to be changed for a gateway."""
    mode: Literal["card", "messages"] = "card"
    """`card`: one message per job, edited in place, with further events in its thread. `messages`: one message per
    notification; with an incoming webhook, that is the only mode."""

    @model_validator(mode="after")
    def _one_way(self) -> SlackSettings:
        by_webhook = self.webhook_url is not None or self.webhook_url_file is not None
        by_token = self.token is not None or self.token_file is not None
        if by_webhook == by_token:
            raise ValueError("give either webhook_url (or webhook_url_file), or token (or token_file) with channel")
        if by_token and self.channel is None:
            raise ValueError('a token needs a channel, in quotes: "#general" (without them, # begins a comment)')
        if by_webhook and self.channel is not None:
            raise ValueError("channel goes with token; an incoming webhook has its own")
        if by_webhook and self.mode == "card" and "mode" in self.model_fields_set:
            raise ValueError("mode: card needs a token: messages of an incoming webhook cannot be edited")
        if (problem := url_problem(self.api_url)) is not None:
            raise ValueError(f"api_url {problem}")
        return self

    @property
    def keeps_cards(self) -> bool:
        """Whether each job has a card: yes with a token, except with `mode: messages`."""
        return self.channel is not None and self.mode == "card"

    @property
    def shows_pictures(self) -> bool:
        """Whether pictures can be shown: yes, below cards."""
        return self.keeps_cards

    def open(self, secrets: Mapping[str, tuple[str, ...]]) -> SlackChannel:
        """The channel with its current credentials: the URL of its webhook or the token of its bot."""
        return SlackChannel(
            webhook_url=next(iter(secrets["webhook_url"]), None),
            token=next(iter(secrets["token"]), None),
            channel=self.channel,
            api_url=self.api_url,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackChannel:
    """One channel of Slack, or of a compatible receiver: Mattermost, Rocket.Chat, Zulip, relays."""

    webhook_url: str | None = field(repr=False)
    token: str | None = field(repr=False)
    channel: str | None
    api_url: str

    def post(self, message: Message, attempt: Attempt) -> HttpRequest:
        """The request for a message, with blocks or as plain text. It goes to the thread of its card, if there is one,
        and the end of a job also to the channel."""
        content = payload(message, attempt)
        if attempt.card is not None:
            thread = {"channel": attempt.card.place, "thread_ts": attempt.card.reference}
            broadcast = {"reply_broadcast": True} if message.event_type in _ENDS else {}
            return self._request("chat.postMessage", content | thread | broadcast, card_lost=_CARD_LOST)
        return self._request("chat.postMessage", content | ({"channel": message.channel} if message.channel else {}))

    def edit(self, card: Card, message: Message, attempt: Attempt) -> HttpRequest | None:
        """The request to `chat.update`, with a token. Blocks that are left out would stay: empty lists remove them."""
        if self.token is None:
            return None
        content = {"blocks": [], "attachments": [], **payload(message, attempt)}
        content = {key: value for key, value in content.items() if key not in _OF_POSTS}
        there = {"channel": card.place, "ts": card.reference}
        return self._request("chat.update", content | there, card_lost=_CARD_LOST)

    def attach(self, card: Card, picture: Picture) -> Steps:
        """Get an upload URL, upload the picture and share it: https://docs.slack.dev/messaging/working-with-files#upload.

        This needs the scope `files:write`. Slack chooses the upload URL, to which the token is not sent.
        """
        length = str(len(picture.content))
        granted = yield self._form("files.getUploadURLExternal", {"filename": picture.name, "length": length})
        self._accept(granted)
        url, file = granted.fields.get("upload_url"), granted.fields.get("file_id")
        if not isinstance(url, str) or not isinstance(file, str) or url_problem(url) is not None:
            raise SendError(FailureKind.MESSAGE, "no_upload_url", "Slack returned no upload URL")
        stored = yield HttpRequest(url=url, headers={"Content-Type": "image/png"}, body=picture.content)
        if stored.status != 200:
            self._accept(stored)
            raise SendError(FailureKind.TRANSIENT, "not_stored", f"Slack answered {stored.status} to the upload")
        shared = {"files": [{"id": file, "title": picture.title}], "thread_ts": card.reference}
        self._accept((yield self._request("files.completeUploadExternal", {"channel_id": card.place, **shared})))

    def _accept(self, answer: HttpAnswer) -> None:
        """Raises SendError if the answer is an error."""
        verdict = self.judge(answer, datetime.min.replace(tzinfo=UTC))
        if isinstance(verdict, SendError):
            raise verdict

    def judge(self, answer: HttpAnswer, now: datetime) -> Receipt | SendError:
        """Judge an answer. The Web API reports errors with status 200 too.

        Receivers other than Slack acknowledge in various ways (204, an empty body, JSON): a 2xx without an error counts
        as delivered.
        """
        word = _error(answer)
        if word is not None and answer.status < 500 and answer.status != 429:
            return _refusal(answer, word, now)
        if not 200 <= answer.status < 300:
            return judge_status(answer, now)
        if answer.document:  # a login portal's page: nothing was posted
            return SendError(
                FailureKind.TRANSIENT, "not_slack", f"a web page answered {answer.status} instead of Slack"
            )
        if answer.lost:
            return SendError(FailureKind.AMBIGUOUS, "answer_lost", "the answer broke off")
        fields = answer.fields
        return Receipt(reference=_short(fields.get("ts")), place=_short(fields.get("channel")))

    def probe(self) -> HttpRequest:
        """A request to `auth.test` with a token. A webhook gets an empty text, which it rejects if its URL is valid."""
        return self._request("auth.test", {"text": ""})

    def judge_probe(self, answer: HttpAnswer, now: datetime) -> SendError | None:
        """Judge the answer. A webhook that rejects the missing text works."""
        verdict = self.judge(answer, now)
        if isinstance(verdict, Receipt):
            return None
        misses_a_text = verdict.kind is FailureKind.MESSAGE or (answer.status in {400, 422} and not _error(answer))
        return None if self.token is None and misses_a_text else verdict

    def _request(self, method: str, content: dict[str, Any], *, card_lost: frozenset[str] = frozenset()) -> HttpRequest:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if self.token is None:
            return HttpRequest(url=self.webhook_url or "", headers=headers, body=json_body(content))
        return HttpRequest(
            url=f"{self.api_url.rstrip('/')}/{method}",
            headers={**headers, "Authorization": f"Bearer {self.token}"},
            body=json_body(content if "channel_id" in content else {"channel": self.channel, **content}),
            limit=_API_ANSWER_BYTES,
            card_lost=card_lost,
        )

    def _form(self, method: str, fields: Mapping[str, str]) -> HttpRequest:
        """A request to a method whose arguments must be sent as a form."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Bearer {self.token}"}
        url = f"{self.api_url.rstrip('/')}/{method}"
        return HttpRequest(url=url, headers=headers, body=urlencode(fields).encode())


def payload(message: Message, attempt: Attempt) -> dict[str, Any]:
    """The message for an incoming webhook or chat.postMessage, without the channel.

    `text` is shown in desktop notifications and by receivers without Block Kit. With `attempt.plain`, there are no
    blocks.
    """
    shown = show(message, attempt)
    mention = message.mention  # from the configuration: the only text that may mention anybody
    content: dict[str, Any] = {"text": " ".join(filter(None, (mention, _fallback(shown)))), **_UNTOUCHED}
    if attempt.plain:
        return content
    from slack_sdk.models.blocks import SectionBlock  # noqa: PLC0415 - two megabytes, only needed with Slack

    details = [block.to_dict() for block in _details(shown)]
    return {
        **content,
        "blocks": [SectionBlock(text=_markup(" ".join(filter(None, (_title(shown), mention))))).to_dict()],
        "attachments": [{"color": _COLOURS[message.severity], "blocks": details}],
    }


def _title(shown: Shown) -> str:
    title = _inert(shown.title, _TITLE)
    return f"*<{_href(shown.link)}|{title}>*" if shown.link is not None else f"*{title}*"


def _details(shown: Shown) -> Iterator[Block]:
    """A line of facts, then lists, the error and the hint, and a line with the id and the provider's link."""
    from slack_sdk.models.blocks import ContextBlock, PlainTextObject, SectionBlock  # noqa: PLC0415 - as above

    if shown.facts:
        yield SectionBlock(text=_markup(_joined((_fact(*fact) for fact in shown.facts), " · ", _FACTS)))
    if shown.lists:
        many = (f"{_label(label)} {_value(label, value)}" for label, value in shown.rows)
        yield SectionBlock(text=_markup(_joined(many, "\n", _LIST)))
    if shown.error:
        error = cut(shown.error.replace("`", "'"), _ERROR, _ENTITIES)
        yield SectionBlock(text=_markup(f"```{error}```"))
    if shown.hint:
        yield SectionBlock(text=PlainTextObject(text=cut(shown.hint, _HINT, _ENTITIES), emoji=False))
    if context := [_markup(text) for text in _context(shown)]:
        yield ContextBlock(elements=context)


def _context(shown: Shown) -> Iterator[str]:
    if shown.id:
        yield _code(shown.id)
    if shown.vendor_link is not None:
        yield f"<{_href(shown.vendor_link)}|At the provider>"
    if shown.note:
        yield _inert(shown.note, _CONTEXT)


def _fact(label: str, value: str) -> str:
    """A fact with its label, except for models, which need none."""
    shown = _value(label, value)
    return shown if label in _IDS else f"{_label(label)} {shown}"


def _label(label: str) -> str:
    return f"*{_inert(label, 90)}*"


def _value(label: str, value: str) -> str:
    """The value, as code if it is an id."""
    return _code(value) if label in _CODES else _inert(value, 500)


def _joined(parts: Iterable[str], separator: str, limit: int) -> str:
    """As many whole parts as fit, so that markup is never cut."""
    kept, room, left = [], limit - 20, 0
    for part in parts:
        room -= units(part) + len(separator)
        if room >= 0:
            kept.append(part)
        else:
            left += 1
    return separator.join([*kept, f"and {left} more"] if left else kept)


def _markup(text: str) -> MarkdownTextObject:
    from slack_sdk.models.blocks import MarkdownTextObject  # noqa: PLC0415 - as above

    return MarkdownTextObject(text=text, verbatim=True)


def _inert(text: str, limit: int) -> str:
    """Text that Slack neither formats nor links: a zero-width space disables each mark."""
    return cut(_EMOJI.sub("\\g<0>\u200b", text), limit, _MARKS) or ELLIPSIS


def _code(text: str) -> str:
    """Text as code: nothing in it is formatted, and it can be copied."""
    shown = cut(text.replace("`", "'"), _CONTEXT, _ENTITIES) or ELLIPSIS
    return f"`{shown}`"


def _href(link: str | None) -> str:
    return (link or "").replace("&", "&amp;")


def _fallback(shown: Shown) -> str:
    """The whole message as lines of text, for receivers without Block Kit."""
    text = cut("\n".join(map(unlinked, shown.lines)), 20_000, _ENTITIES)
    return f"{text}\n<{_href(shown.link)}>" if shown.link is not None else text


def _error(answer: HttpAnswer) -> str | None:
    """The error code in an answer; empty for an error without a code, None if there is no error."""
    fields = answer.fields
    if fields:
        word = fields.get("error")
        bad = (
            any(fields.get(name) for name in ("error", "errors", "errcode"))
            or any(fields.get(name) is False for name in ("ok", "success"))
            or any(fields.get(name) in _FAILED for name in ("result", "status"))
        )
        named = isinstance(word, str) and _WORD.fullmatch(word)
        if named or (bad and answer.status < 400):
            return str(word) if named else ""
        return None
    text = answer.text
    first = found.group() if (found := re.match(r"[a-z][a-z_]{1,60}(?=\W|$)", text)) else ""
    if first in _KINDS or (answer.status >= 400 and "_" in first and first == text):
        return first
    return "" if answer.status < 400 and _REFUSING.match(text) else None


def _refusal(answer: HttpAnswer, word: str, now: datetime) -> SendError:
    """The meaning of an error code. An unknown code suspends the target, so that the message is kept."""
    known = "restricted_action" if word.startswith("restricted_action") else word
    kind = _KINDS.get(known)
    text = line(f"Slack answered {answer.status}: {word or 'an error without a code'}", 200)
    wait = retry_after(answer.headers, now)
    return SendError(kind or FailureKind.TARGET, known if kind else "other", text, retry_after=wait)


def _short(value: object) -> str | None:
    return value[:40] if isinstance(value, str) and value else None
