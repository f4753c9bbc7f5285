"""The notification channels: one file each, and the union of their settings."""

from __future__ import annotations

import sys
from typing import Annotated, TextIO

import aiohttp
from pydantic import Field

from monitor.notifiers.alertmanager import AlertmanagerSettings
from monitor.notifiers.apprise import AppriseSettings
from monitor.notifiers.base import Attempt, FailureKind, Notifier, Receipt, SendError
from monitor.notifiers.console import ConsoleSettings
from monitor.notifiers.discord import DiscordSettings
from monitor.notifiers.email import EmailSettings
from monitor.notifiers.http import NO_EDITS, HttpNotifier, session
from monitor.notifiers.pagerduty import PagerDutySettings
from monitor.notifiers.settings import ChannelSettings, Connections
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
    | EmailSettings
    | AlertmanagerSettings
    | AppriseSettings,
    Field(discriminator="type"),
]

__all__ = [
    "NO_EDITS",
    "Attempt",
    "ConsoleSettings",
    "FailureKind",
    "HttpNotifier",
    "Notifier",
    "NotifierSettings",
    "Receipt",
    "SendError",
    "SlackSettings",
    "WebhookSettings",
    "build",
    "session",
]


def build(  # noqa: PLR0913 - what all notifiers share, by name
    settings: ChannelSettings,
    *,
    session: aiohttp.ClientSession,
    redactor: Redactor,
    timeout: float,
    kept: aiohttp.ClientSession | None = None,
    stream: TextIO | None = None,
    public_only: bool = False,
) -> Notifier:
    """The notifier with these settings. `timeout` is the limit of one request in seconds; `stream` is the console's.

    `kept` is a session that keeps its connections, for targets that recognise duplicates. `public_only` applies to
    notifiers that do not use the sessions, which were created with that setting themselves.
    """
    connections = Connections(
        session=session,
        redactor=redactor,
        timeout=timeout,
        kept=kept,
        stream=stream or sys.stdout,
        public_only=public_only,
    )
    return settings.notifier(connections)
