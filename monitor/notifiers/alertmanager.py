"""Prometheus' Alertmanager: https://prometheus.io/docs/alerting/latest/alerts_api/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from monitor.domain.news import LASTING, Card, EventType, Message, Severity
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
from monitor.notifiers.text import cut, show

_ENDS: Final = {
    EventType.MOVING: EventType.STALLED,
    EventType.SUCCEEDED: EventType.STALLED,
    EventType.RESUMED: EventType.PAUSED,
    EventType.ORG_UP: EventType.ORG_DOWN,
    EventType.NOTIFIER_UP: EventType.NOTIFIER_DOWN,
}
"""The event type that each of these events resolves."""
_OUTAGES: Final = (EventType.ORG_DOWN, EventType.NOTIFIER_DOWN)
_KEPT: Final = timedelta(hours=4)
"""How long a state fires unless it is sent again, so that it resolves even if its end is never reported."""
_MOMENTARY: Final = timedelta(hours=1)
"""How long other events fire: longer than any usual `group_wait`."""
_SEVERITIES: Final = {
    Severity.GOOD: "info",
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.BAD: "critical",
}
_SKEW: Final = timedelta(seconds=30)
_LABEL: Final = 200
_FACTS: Final = 4000


class AlertmanagerSettings(HttpSettings):
    """Alertmanager, which groups, silences and routes these alerts like those of Prometheus."""

    required_secrets: ClassVar[tuple[str, ...]] = ("url",)

    type: Literal["alertmanager"]
    url: SecretUrl | None = None
    """The URL, with the path prefix if there is one: `http://alertmanager:9093`."""
    url_file: Path | None = None

    @property
    def groups_by_itself(self) -> bool:
        """Alertmanager groups by its own routes."""
        return True

    @property
    def forgets_after(self) -> timedelta:
        """An alert resolves at its `endsAt` unless it is sent again."""
        return _KEPT

    def open(self, secrets: Mapping[str, tuple[str, ...]]) -> AlertmanagerChannel:
        """The channel with the current URL."""
        return AlertmanagerChannel(url=secrets["url"][0].rstrip("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertmanagerChannel:
    """One Alertmanager. Alerts with the same labels are the same alert, so duplicates are harmless."""

    url: str = field(repr=False)

    def post(self, message: Message, attempt: Attempt) -> HttpRequest:
        """A request with one alert. In a list, valid alerts would be accepted although the answer is 400."""
        headers = {"Content-Type": "application/json"}
        return HttpRequest(url=f"{self.url}/api/v2/alerts", headers=headers, body=json_body([alert(message, attempt)]))

    def edit(self, card: Card, message: Message, attempt: Attempt) -> None:
        """None: alerts cannot be edited."""

    def judge(self, answer: HttpAnswer, now: datetime) -> Receipt | SendError:
        """Judge an answer. 400 and 422 in JSON are Alertmanager's and concern the alert; others may be a proxy's."""
        if answer.status in {400, 422} and "json" in answer.headers.get("content-type", ""):
            return SendError(FailureKind.MESSAGE, "message_refused", f"Alertmanager answered {answer.status}")
        return judge_status(answer, now)

    def probe(self) -> HttpRequest:
        """A request for its status."""
        return HttpRequest(url=f"{self.url}/api/v2/status", method="GET")

    def judge_probe(self, answer: HttpAnswer, now: datetime) -> SendError | None:
        """Judge the answer by its status."""
        verdict = judge_status(answer, now)
        return verdict if isinstance(verdict, SendError) else None


def alert(message: Message, attempt: Attempt) -> dict[str, Any]:
    """An alert with its start and end.

    Without `endsAt`, Alertmanager would resolve it after `resolve_timeout`; with one in the past, as after an outage,
    it would accept the alert but notify nobody. So the end is counted from the attempt. If the event resolves an
    earlier alert, the end must also have passed on Alertmanager's clock, since otherwise the later end would win.
    """
    shown, event = show(message, attempt), message.event_type
    start, resolves = message.at.astimezone(UTC), event in _ENDS
    subject = _ENDS[event] if event is not None and resolves else event
    lasts = _KEPT if subject in LASTING else _MOMENTARY
    end = start - _SKEW if resolves else max(start, attempt.at.astimezone(UTC)) + lasts
    texts = {
        "summary": shown.headline or message.type,
        "description": shown.error,
        "hint": shown.hint,
        "note": shown.note,
    }
    facts = cut("\n".join(f"{label}: {value}" for label, value in (*shown.facts, *shown.rows)), _FACTS)
    return {
        "labels": _labels(message, subject, resolves=resolves),
        "annotations": {name: text for name, text in {**texts, "facts": facts}.items() if text},
        "startsAt": _moment(start - 2 * _SKEW if resolves else start),
        "endsAt": _moment(end),
        "generatorURL": shown.link or "",
    }


def _labels(message: Message, event: EventType | None, *, resolves: bool) -> dict[str, str]:
    """The labels that identify the alert: the same for the event that fires it and the one that resolves it."""
    kind = message.subject.type_of(event) if event is not None else message.type
    fired = Severity.BAD if event in _OUTAGES else Severity.WARNING
    severity = _SEVERITIES[fired if resolves else message.severity]
    labels = {
        "alertname": "".join(map(str.capitalize, kind.split("."))),  # FinetuneJobFailed
        "org": message.subject.org or "",
        "subject": message.subject.id,
        "severity": severity,
    }
    return {name: cut(value, _LABEL) for name, value in labels.items() if value}


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
