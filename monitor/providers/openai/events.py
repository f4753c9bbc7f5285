"""Parses OpenAI's fine-tuning events: their kind and their metrics, from their data or from their message."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from monitor.domain.model import Checkpoint, EventKind, JobEvent, Metrics
from monitor.providers._json import Object, Parsed, Skip
from monitor.providers._values import identifier, moment, not_finite, number, sub, text, unreadable, whole

_LEVELS: Final = {"warn": "warn", "warning": "warn", "error": "error"}
_LONGEST_STEP: Final = 31 * 86_400.0  # seconds; a longer duration of a step makes no sense
# The wording of messages changed over the years: "Fine-tune started", "Fine-tuning job started".
_STARTED: Final = re.compile(r"(the )?((fine[- ]?tun\w*|training|job|run) ){1,3}(has )?started\b", re.IGNORECASE)
_CHECKPOINT: Final = re.compile(r"checkpoint (was )?(created|saved)\b", re.IGNORECASE)
_STEP: Final = re.compile(r"step (\d{1,12}) ?/ ?(\d{1,12})\b", re.IGNORECASE)
_PAIR: Final = re.compile(
    r"([a-z][a-z ]{0,60})= ?(-?(?:\d{1,20}(?:\.\d{1,20})?(?:e[+-]?\d{1,3})?|nan\b|inf\b))", re.IGNORECASE
)
_SNAPSHOT: Final = re.compile(r".{0,40}\bstep (\d{1,12}) with snapshot id: (\S{1,256})$", re.IGNORECASE)
_PROSE: Final[Mapping[str, str]] = {
    "training loss": "train_loss",
    "train loss": "train_loss",
    "validation loss": "valid_loss",
    "full validation loss": "full_valid_loss",
    "training token accuracy": "train_mean_token_accuracy",
    "validation token accuracy": "valid_mean_token_accuracy",
    "full validation token accuracy": "full_valid_mean_token_accuracy",
    "train mean reward": "train_mean_reward",
    "training mean reward": "train_mean_reward",
    "validation mean reward": "valid_mean_reward",
    "full validation mean reward": "full_valid_mean_reward",
}
# The vendor's names and ours. Of two for the same field the later wins: the full validation set says more than a batch
# of it.
_FIGURES: Final[Mapping[str, str]] = {
    "train_loss": "train_loss",
    "valid_loss": "valid_loss",
    "full_valid_loss": "valid_loss",
    "train_accuracy": "train_accuracy",
    "train_mean_token_accuracy": "train_accuracy",
    "valid_accuracy": "valid_accuracy",
    "valid_mean_token_accuracy": "valid_accuracy",
    "full_valid_mean_token_accuracy": "valid_accuracy",
    "critic_rewards_mean": "train_reward",  # Bedrock mantle
    "train_mean_reward": "train_reward",
    "valid_mean_reward": "valid_reward",
    "full_valid_mean_reward": "valid_reward",
}


def parse_event(org: str, job_id: str, item: Object) -> Parsed[JobEvent] | Skip:
    """Parse one event. `empty` where it has no id, no message and no time."""
    at, id_ = moment(item.get("created_at")), identifier(item.get("id"))
    message, kind = text(item.get("message"), 2_000) or "", text(item.get("type"), 64)
    if item.get("id") is None and not message and at is None:
        return "empty"
    metrics = _metrics(item.get("data"), message)
    level = item.get("level")
    event = JobEvent(
        org=org,
        job=job_id,
        id=id_ or fingerprint(at, kind, message, metrics),
        at=at,
        level=_LEVELS.get(level, "info") if isinstance(level, str) else "info",
        message=_with_code(message, item.get("data")),
        kind=_kind(kind, message, metrics),
        metrics=metrics,
        checkpoint=_checkpoint(message) if metrics is None else None,
    )
    return Parsed(event, int(at is None and unreadable(item.get("created_at"), at)))


def _with_code(message: str, data: object) -> str:
    """Append the error code and parameter from an error event's data, unless the message contains them."""
    details = (text(sub(data, name), 128) for name in ("error_code", "error_param"))
    missing = [word for word in details if word is not None and word not in message]
    return f"{message} ({', '.join(missing)})" if missing else message


def fingerprint(*content: object) -> str:
    """An id computed from the event's content, for events that come without one."""
    return "content-" + hashlib.sha256(repr(content).encode()).hexdigest()[:32]


def _kind(kind: str | None, message: str, metrics: Metrics | None) -> EventKind:
    if kind == "moderation_checks":
        return EventKind.MODERATION
    if metrics is not None:
        return EventKind.METRICS
    if _STARTED.match(message):
        return EventKind.STARTED
    return EventKind.CHECKPOINT if _CHECKPOINT.match(message) else EventKind.MESSAGE


def _checkpoint(message: str) -> Checkpoint | None:
    """Parse `Checkpoint created at step 100 with Snapshot ID: ft:…:ckpt-step-100`."""
    found = _SNAPSHOT.match(message) if _CHECKPOINT.match(message) else None
    return Checkpoint(step=int(found[1]), name=found[2]) if found is not None else None


def _metrics(figures: object, message: str) -> Metrics | None:
    """The metrics of an event: from its data or, where that is empty, from its message."""
    found = _fields(figures if isinstance(figures, dict) and figures else _from_prose(message))
    return Metrics(**found) if found else None


def _from_prose(message: str) -> dict[str, Any]:
    """Parse `Step 297/300: training loss=0.00` into the fields that event data has."""
    step = _STEP.match(message)
    if step is None:
        return {}
    names = ((_PROSE.get(name.strip().lower()), value) for name, value in _PAIR.findall(message, step.end()))
    figures = {name: float(value) for name, value in names if name is not None}
    return {"step": int(step[1]), "total_steps": int(step[2]), **figures}


def _fields(figures: Object) -> dict[str, Any]:
    """The fields of `Metrics` that have a value, under the names that each training method uses."""
    seconds = number(sub(figures.get("timing"), "step", "full_iteration"))
    found: dict[str, Any] = {
        "step": whole(figures.get("step"), least=0),
        "steps": whole(figures.get("total_steps")),
        "loop_seconds": seconds if seconds is not None and 0 <= seconds <= _LONGEST_STEP else None,
        "train_reward": number(sub(figures.get("scores"), "train_reward_mean")),
        "valid_reward": number(sub(figures.get("scores"), "valid_reward_mean")),
    }
    for name, field in _FIGURES.items():
        raw = figures.get(name)  # most are absent
        if raw is not None and (value := number(raw)) is not None:
            found[field] = value
    if "train_loss" not in found and not_finite(figures.get("train_loss")):
        found["lost"] = True
    return {field: value for field, value in found.items() if value is not None}
