"""The channels that messages go out by: one file each, and the union of their settings."""

from __future__ import annotations

import sys
from typing import Annotated, TextIO

import aiohttp
from pydantic import Field

from monitor.notifiers.alertmanager import AlertmanagerSettings
from monitor.notifiers.base import Attempt, FailureKind, Notifier, Receipt, SendError
from monitor.notifiers.console import ConsoleSettings
from monitor.notifiers.discord import DiscordSettings
from monitor.notifiers.http import session
from monitor.notifiers.pagerduty import PagerDutySettings
from monitor.notifiers.settings import Connections, Settings
from monitor.notifiers.slack import SlackSettings
from monitor.notifiers.teams import TeamsSettings
from monitor.notifiers.webhook import WebhookSettings
from monitor.secret import Redactor

NotifierSettings = Annotated[
    SlackSettings
    | WebhookSettings
    | ConsoleSettings
    | TeamsSettings
    | DiscordSettings
    | PagerDutySettings
    | AlertmanagerSettings,
    Field(discriminator="type"),
]

__all__ = [
    "Attempt",
    "ConsoleSettings",
    "FailureKind",
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
    settings: Settings,
    *,
    session: aiohttp.ClientSession,
    redactor: Redactor,
    timeout: float,
    stream: TextIO | None = None,
) -> Notifier:
    """The notifier of some settings; `timeout` is for one request, in seconds, `stream` for the console (stdout)."""
    return settings.notifier(
        Connections(session=session, redactor=redactor, timeout=timeout, stream=stream or sys.stdout)
    )
