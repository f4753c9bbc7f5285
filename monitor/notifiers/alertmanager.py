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
"""The news that resolve the alert of earlier news."""
_OUTAGES: Final = (EventType.ORG_DOWN, EventType.NOTIFIER_DOWN)
_KEPT: Final = timedelta(hours=4)
"""For how long a state fires unless it is sent again: so that one whose end nobody tells of goes out by itself."""
_MOMENTARY: Final = timedelta(hours=1)
"""For how long news that is no state fires: long enough for every `group_wait`."""
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
    """Alertmanager, which groups, silences and routes alerts as it does those of Prometheus."""

    required_secrets: ClassVar[tuple[str, ...]] = ("url",)

    type: Literal["alertmanager"]
    url: SecretUrl | None = None
    """Its address with the path prefix, if it has one: `http://alertmanager:9093`."""
    url_file: Path | None = None

    @property
    def groups_by_itself(self) -> bool:
        """By its routes."""
        return True

    @property
    def forgets_after(self) -> timedelta:
        """An alert resolves at its `endsAt`, unless it is sent again before."""
        return _KEPT

    def open(self, secrets: Mapping[str, tuple[str, ...]]) -> AlertmanagerChannel:
        """The Alertmanager at its present address."""
        return AlertmanagerChannel(url=secrets["url"][0].rstrip("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertmanagerChannel:
    """One Alertmanager. The same labels are the same alert, so that sending again is safe."""

    url: str = field(repr=False)

    def post(self, message: Message, attempt: Attempt) -> HttpRequest:
        """One alert for each request: of a list with a bad one, the good ones are taken in and the answer is 400."""
        headers = {"Content-Type": "application/json"}
        return HttpRequest(url=f"{self.url}/api/v2/alerts", headers=headers, body=json_body([alert(message, attempt)]))

    def edit(self, card: Card, message: Message, attempt: Attempt) -> None:
        """An alert is not a message."""

    def judge(self, answer: HttpAnswer, now: datetime) -> Receipt | SendError:
        """400 and 422 in JSON are Alertmanager's own and concern the alert; others are of what stands before it."""
        if answer.status in {400, 422} and "json" in answer.headers.get("content-type", ""):
            return SendError(FailureKind.MESSAGE, "message_refused", f"Alertmanager answered {answer.status}")
        return judge_status(answer, now)

    def probe(self) -> HttpRequest:
        """Its status."""
        return HttpRequest(url=f"{self.url}/api/v2/status", method="GET")

    def judge_probe(self, answer: HttpAnswer, now: datetime) -> SendError | None:
        """It answers."""
        verdict = judge_status(answer, now)
        return verdict if isinstance(verdict, SendError) else None


def alert(message: Message, attempt: Attempt) -> dict[str, Any]:
    """One alert with both of its times.

    Without `endsAt` it would be resolved after `resolve_timeout`; with one that has passed, as after an outage, it
    would be accepted and sent to nobody. So the end is counted from the attempt, unless the news resolves it: then it
    must have passed on Alertmanager's clock too, or the later end of the alert that fires would win.
    """
    shown, event = show(message, attempt), message.event_type
    start, resolves = message.at.astimezone(UTC), event in _ENDS
    subject = _ENDS[event] if event is not None and resolves else event
    lasts = _KEPT if subject in LASTING else _MOMENTARY
    end = start - _SKEW if resolves else max(start, attempt.at.astimezone(UTC)) + lasts
    told = {
        "summary": shown.headline or message.type,
        "description": shown.error,
        "hint": shown.hint,
        "note": shown.note,
    }
    facts = cut("\n".join(f"{label}: {value}" for label, value in (*shown.facts, *shown.rows)), _FACTS)
    return {
        "labels": _labels(message, subject, resolves=resolves),
        "annotations": {name: text for name, text in {**told, "facts": facts}.items() if text},
        "startsAt": _moment(start - 2 * _SKEW if resolves else start),
        "endsAt": _moment(end),
        "generatorURL": shown.link or "",
    }


def _labels(message: Message, event: EventType | None, *, resolves: bool) -> dict[str, str]:
    """What the alert is known by: the same for the news that fires it and for the news that resolves it."""
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
