"""The channels that messages go out by: one file each, and the union of their settings."""

from __future__ import annotations

import sys
from typing import Annotated, TextIO

import aiohttp
from pydantic import Field

from monitor.notifiers import console, slack, webhook
from monitor.notifiers.base import Attempt, Failure, Notifier, Receipt, SendError
from monitor.notifiers.console import ConsoleSettings
from monitor.notifiers.outgoing import session
from monitor.notifiers.slack import SlackSettings
from monitor.notifiers.webhook import WebhookSettings
from monitor.secret import Redactor

NotifierSettings = Annotated[SlackSettings | WebhookSettings | ConsoleSettings, Field(discriminator="type")]

__all__ = [
    "Attempt",
    "ConsoleSettings",
    "Failure",
    "Notifier",
    "NotifierSettings",
    "Receipt",
    "SendError",
    "SlackSettings",
    "WebhookSettings",
    "build",
    "session",
]


def build(
    settings: SlackSettings | WebhookSettings | ConsoleSettings,
    *,
    session: aiohttp.ClientSession,
    redactor: Redactor,
    timeout: float,
    stream: TextIO | None = None,
) -> Notifier:
    """The notifier of some settings; `timeout` is for one request, in seconds, `stream` for the console (stdout)."""
    match settings:
        case SlackSettings():
            return slack.build(settings, session=session, redactor=redactor, timeout=timeout)
        case WebhookSettings():
            return webhook.build(settings, session=session, redactor=redactor, timeout=timeout)
        case ConsoleSettings():
            return console.build(settings, stream=stream or sys.stdout, timeout=timeout)
