"""Slack by incoming webhook or bot token: https://docs.slack.dev/reference/methods/chat.postMessage.

The SDK dresses the message (`blockkit.py`); the request is ours, because its clients follow redirects, take proxies
from the environment, read answers of any size and log the webhook's URL.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp
from pydantic import Field, SecretStr, model_validator

from monitor.domain.news import Message
from monitor.domain.retry_after import retry_after
from monitor.domain.text import line
from monitor.notifiers.base import Attempt, Failure, Receipt, SendError
from monitor.notifiers.blockkit import payload
from monitor.notifiers.outgoing import ANSWER_BYTES, Answer, post, url_problem
from monitor.notifiers.settings import SecretUrl, Settings, secret
from monitor.secret import Redactor, Secret

GAP: Final = 1.0  # https://docs.slack.dev/apis/web-api/rate-limits: one message per second and channel
_API_ANSWER_BYTES: Final = 256 * 1024  # chat.postMessage answers with the whole message

_RATE: Final = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
_TRANSIENT: Final = frozenset(
    {"internal_error", "service_unavailable", "request_timeout", "team_added_to_org", "rollup_error"}
)
_TARGET: Final = frozenset(
    {
        *("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope"),
        *("no_permission", "channel_not_found", "not_in_channel", "is_archived", "ekm_access_denied"),
        *("org_login_required", "invalid_token", "action_prohibited", "posting_to_general_channel_denied"),
        *("no_service", "no_active_hooks", "no_team", "channel_is_archived"),
    }
)
_MESSAGE: Final = frozenset(
    {
        *("invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long", "no_text"),
        *("too_many_attachments", "metadata_too_large", "invalid_arguments", "invalid_payload"),
    }
)


class SlackSettings(Settings):
    """A channel in Slack: an incoming webhook, or a bot's token and a channel."""

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


@dataclass(slots=True, kw_only=True)
class SlackNotifier:
    """One channel. Slack knows no idempotency key, so a message whose answer was lost is sent once more at most."""

    name: str
    secret: Secret
    """The webhook's URL, or the bot's token where `channel` is set."""
    channel: str | None
    api_url: str
    session: aiohttp.ClientSession
    redact: Redactor
    timeout: float
    lane: str
    min_gap: float = GAP
    at_most_once_more: bool = True

    async def send(self, message: Message, attempt: Attempt) -> Receipt:
        """Deliver it, as plain text where Slack refuses the blocks. Raises SendError."""
        try:
            return await self._post(payload(message, attempt), attempt.at)
        except SendError as error:
            if error.failure is not Failure.MESSAGE:
                raise
        return await self._post(payload(message, attempt, plain=True), attempt.at)

    async def check(self) -> None:
        """Ask whether the credentials work, without a message. Raises SendError.

        A webhook is sent an empty text, which Slack refuses with `no_text` where the address is right.
        """
        try:
            await self._post({"text": ""}, None, method="auth.test")
        except SendError as error:
            if self.channel is not None or error.failure is not Failure.MESSAGE:
                raise

    async def _post(self, content: dict[str, Any], at: datetime | None, *, method: str = "chat.postMessage") -> Receipt:
        try:
            key = self.secret.read()
        except (OSError, ValueError) as error:
            raise SendError(Failure.TRANSIENT, "secret", f"the secret cannot be read: {type(error).__name__}") from None
        url, headers, limit = key, {"Content-Type": "application/json; charset=utf-8"}, ANSWER_BYTES
        if self.channel is not None:
            url, limit = self.api_url.rstrip("/") + "/" + method, _API_ANSWER_BYTES
            headers["Authorization"] = f"Bearer {key}"
            content = {"channel": self.channel, **content}
        body = json.dumps(content, allow_nan=False).encode()
        answer = await post(self.session, url, body=body, headers=headers, timeout=self.timeout, limit=limit)
        verdict = judge_api(answer, at) if self.channel is not None else judge_webhook(answer, at)
        if isinstance(verdict, SendError):
            raise SendError(
                verdict.failure, verdict.reason, self.redact(str(verdict)), retry_after=verdict.retry_after
            ) from None
        return verdict


def build(
    settings: SlackSettings, *, session: aiohttp.ClientSession, redactor: Redactor, timeout: float
) -> SlackNotifier:
    """The channel of some settings."""
    text, path = settings.webhook_url or settings.token, settings.webhook_url_file or settings.token_file
    read = secret(text, path, redactor)
    if read is None:
        raise ValueError("a webhook_url or a token is needed")
    try:
        identity = read.read()
    except (OSError, ValueError):  # not there yet: its place tells it apart from others too
        identity = str(path)
    return SlackNotifier(
        name=settings.name,
        secret=read,
        channel=settings.channel,
        api_url=settings.api_url,
        session=session,
        redact=redactor,
        timeout=timeout,
        lane="slack:" + hashlib.sha256(f"{identity}\n{settings.channel}".encode()).hexdigest(),
    )


def judge_webhook(answer: Answer, at: datetime | None) -> Receipt | SendError:
    """What an incoming webhook's answer means: only a 200 that says `ok` is one that posted."""
    text = answer.body.decode("utf-8", "replace").strip()
    if answer.status == 200 and text == "ok" and not answer.lost:
        return Receipt()
    return _refusal(answer, text, at)


def judge_api(answer: Answer, at: datetime | None) -> Receipt | SendError:
    """What the Web API's answer means. Errors come with status 200 too."""
    text = answer.body.decode("utf-8", "replace").strip()
    said = _object(text)
    if answer.status == 200 and said.get("ok") is True:
        reference = said.get("ts")
        return Receipt(reference=reference[:40] if isinstance(reference, str) else None)
    error = said.get("error")
    return _refusal(answer, error if isinstance(error, str) and said.get("ok") is not True else text, at)


def _refusal(answer: Answer, text: str, at: datetime | None) -> SendError:
    wait = retry_after(answer.headers, at) if at is not None else None
    word = found.group() if (found := re.match(r"[a-z][a-z_]{1,60}(?=\W|$)", text)) else ""
    failure, reason = _failure(answer, word)
    said = word or ("nothing" if not text else "what Slack does not answer")
    shown = line(f"Slack answered {answer.status}: {said}", 200)
    return SendError(failure, reason, shown, retry_after=wait)


def _failure(answer: Answer, word: str) -> tuple[Failure, str]:
    """The class of a failed answer and its word for metrics."""
    status = answer.status
    if status == 429 or word in _RATE:
        return Failure.RATE, "rate_limited"
    if word == "fatal_error":
        return Failure.AMBIGUOUS, word
    if status >= 500 or status == 408:
        return Failure.TRANSIENT, "server_error"
    if 300 <= status < 400:
        return Failure.TRANSIENT, "redirect"  # of a maintenance page, or for the operator to mend
    if 200 <= status < 300 and answer.lost:
        return Failure.AMBIGUOUS, "answer_lost"
    return _by_word(word, answer.headers)


def _by_word(word: str, headers: Mapping[str, str]) -> tuple[Failure, str]:
    if word in _TRANSIENT:
        return Failure.TRANSIENT, word
    if word in _MESSAGE:
        return Failure.MESSAGE, word
    if word in _TARGET:
        return Failure.TARGET, word
    if word.startswith("restricted_action"):
        return Failure.TARGET, "restricted_action"
    if "html" in headers.get("content-type", ""):
        return Failure.TRANSIENT, "not_slack"  # a portal's or a proxy's page, which posted nothing
    return Failure.OTHER, "other"


def _object(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
