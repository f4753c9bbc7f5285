"""A test message by a configured notifier: the real one, to the real target."""

from __future__ import annotations

import json
from datetime import datetime

from monitor import __version__, notifiers
from monitor.config import Settings
from monitor.domain.news import Message, Severity, Subject, SubjectKind
from monitor.domain.render import moment
from monitor.notifiers import Attempt
from monitor.secret import Redactor


class NoSuchNotifier(Exception):
    """The configuration has no notifier of this name. The text says which there are."""


async def send(settings: Settings, name: str, now: datetime) -> None:
    """Send it once. Raises NoSuchNotifier, and SendError where it is not accepted."""
    wanted = next((one for one in settings.notifiers if one.name == name), None)
    if wanted is None:
        known = ", ".join(one.name for one in settings.notifiers) or "none"
        raise NoSuchNotifier(f"there is no such notifier; there are: {known}")
    async with notifiers.session(public_only=settings.outbound.public_only) as session:
        timeout = settings.delivery.timeout.total_seconds()
        notifier = notifiers.build(wanted, session=session, redactor=Redactor(), timeout=timeout)
        # A key of its own each time: receivers drop what has a key that they know.
        await notifier.send(message(name, now), Attempt(key=f"test/{now:%Y%m%dT%H%M%S.%f}/1@{name}", at=now))


def message(name: str, now: datetime) -> Message:
    """What is sent; its `type` is that of no news, so that receivers can tell it from all news."""
    subject = Subject(kind=SubjectKind.TEST, org="finetune-monitor", id="test")
    return Message(
        type="finetune.test",
        at=now,
        title="Test message: notifications arrive",
        severity=Severity.INFO,
        subject=subject,
        event_type=None,
        facts=(("Notifier", name), ("Sent by", f"finetune-monitor {__version__}")),
        data=json.dumps({"notifier": name, "sent_at": moment(now), "version": __version__}),
    )
