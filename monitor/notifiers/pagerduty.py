"""PagerDuty's Events API v2: https://developer.pagerduty.com/docs/events-api-v2-overview."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import SecretStr, field_validator

from monitor.domain.news import Card, EventType, Message, Severity
from monitor.notifiers.address import url_problem
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
from monitor.notifiers.settings import HttpSettings
from monitor.notifiers.text import cut, show

_SUMMARY: Final = 1024
_KEY: Final = 255
_SEVERITIES: Final = {
    Severity.GOOD: "info",
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.BAD: "error",
}
_RESOLVES: Final = frozenset(
    {
        *(EventType.SUCCEEDED, EventType.CANCELLED, EventType.MOVING, EventType.STARTED, EventType.RESUMED),
        *(EventType.APPEARED, EventType.ORG_UP, EventType.NOTIFIER_UP),
    }
)
"""Events that end an incident, or do not start one: PagerDuty ignores a `resolve` without an incident."""


class PagerDutySettings(HttpSettings):
    """A service in PagerDuty: an incident for each job that fails or stalls, resolved when it recovers."""

    required_secrets: ClassVar[tuple[str, ...]] = ("routing_key",)

    type: Literal["pagerduty"]
    routing_key: SecretStr | None = None
    """The integration key of the service's Events API v2."""
    routing_key_file: Path | None = None
    api_url: str = "https://events.pagerduty.com"
    """`https://events.eu.pagerduty.com` in the EU, or a gateway."""

    @field_validator("api_url")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        if (problem := url_problem(value)) is not None:
            raise ValueError(problem)
        return value

    @property
    def groups_by_itself(self) -> bool:
        """PagerDuty groups by the incident's key."""
        return True

    def open(self, secrets: Mapping[str, tuple[str, ...]]) -> PagerDutyChannel:
        """The channel with the current integration key."""
        return PagerDutyChannel(routing_key=secrets["routing_key"][0], api_url=self.api_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDutyChannel:
    """One service. Thanks to the dedup key, duplicates are harmless."""

    routing_key: str = field(repr=False)
    api_url: str

    def post(self, message: Message, attempt: Attempt) -> HttpRequest:
        """The request that triggers or resolves the incident of the message's subject."""
        resolves = message.event_type in _RESOLVES
        event: dict[str, Any] = {"event_action": "resolve" if resolves else "trigger", "dedup_key": dedup_key(message)}
        if not resolves:
            event |= _details(message, attempt)
        return self._request(event)

    def edit(self, card: Card, message: Message, attempt: Attempt) -> None:
        """None: an incident is updated by further events."""

    def judge(self, answer: HttpAnswer, now: datetime) -> Receipt | SendError:
        """Judge an answer. A 400 lists what is wrong: the integration key, or otherwise this event."""
        errors = answer.fields.get("errors")
        if answer.status != 400 or not isinstance(errors, list):
            return judge_status(answer, now)
        if any("routing_key" in str(error) for error in errors):
            return SendError(FailureKind.TARGET, "unauthorized", "PagerDuty refuses the routing_key")
        return SendError(FailureKind.MESSAGE, "message_refused", "PagerDuty refuses this event")

    def probe(self) -> HttpRequest:
        """A request that resolves an incident which does not exist: PagerDuty accepts and ignores it."""
        return self._request({"event_action": "resolve", "dedup_key": "finetune-monitor/check"})

    def judge_probe(self, answer: HttpAnswer, now: datetime) -> SendError | None:
        """Judge the answer like that to any event."""
        verdict = self.judge(answer, now)
        return verdict if isinstance(verdict, SendError) else None

    def _request(self, event: Mapping[str, Any]) -> HttpRequest:
        return HttpRequest(
            url=f"{self.api_url.rstrip('/')}/v2/enqueue",
            headers={"Content-Type": "application/json"},
            body=json_body({"routing_key": self.routing_key, **event}),
        )


def dedup_key(message: Message) -> str:
    """The key of the subject, so that all events of a job belong to one incident; hashed if it is too long."""
    key = message.subject.key.encode("ascii", "backslashreplace").decode()
    return key if len(key) <= _KEY else f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _details(message: Message, attempt: Attempt) -> dict[str, Any]:
    shown = show(message, attempt)
    texts = {"error": shown.error, "hint": shown.hint, "id": shown.id, "note": shown.note}
    details = {**dict(shown.facts), **{label: list(values) for label, values in shown.lists}, **texts}
    links = [("Open", shown.link), ("At the provider", shown.vendor_link)]
    return {
        "client": "finetune-monitor",
        **({"client_url": shown.link} if shown.link is not None else {}),
        "links": [{"href": link, "text": text} for text, link in links if link is not None],
        "payload": {
            "summary": cut(shown.headline or message.type, _SUMMARY),
            "source": cut(message.subject.org or message.subject.kind, _KEY),
            "severity": _SEVERITIES[message.severity],
            "timestamp": message.at.astimezone(UTC).isoformat(timespec="seconds"),
            "class": message.type,
            "custom_details": {label: value for label, value in details.items() if value},
        },
    }
