"""Templates of the operator: messages in words of their own, and the built-in ones where these fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from monitor.domain.news import Message, TemplateFailure

Writer = Callable[[Mapping[str, Any]], str]
"""Text from what is known of a message. Raises TemplateFailed; it is bounded in time and size."""
_REASON: Final = 300


class TemplateFailed(Exception):
    """A template that cannot be rendered. The text says why, and is safe to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTemplate:
    """What a message says instead of the built-in words. What is None stays as it is."""

    name: str
    title: Writer | None = None
    text: Writer | None = None
    """Instead of the facts, the error and the hint."""
    body: Writer | None = None
    """Instead of the whole JSON of a webhook."""


def written(template: MessageTemplate, message: Message) -> Message:
    """The message in the template's words; in its own, and saying why, where the template fails.

    What comes of it is text like any other: channels escape and cut it.
    """
    known = variables(message)
    try:
        changed = message
        if template.title is not None:
            changed = replace(changed, title=template.title(known))
        if template.text is not None:
            changed = replace(changed, facts=(), error=None, hint=template.text(known))
        if template.body is not None:
            changed = replace(changed, body=template.body(known))
    except TemplateFailed as error:
        reason = " ".join(str(error).split())[:_REASON]
        return replace(message, template_failure=TemplateFailure(template=template.name, reason=reason))
    return changed


def variables(message: Message) -> dict[str, Any]:
    """What a template may use: the built-in message, part by part, and the `data` of its webhook."""
    facts: dict[str, str] = {}
    for label, value in message.facts:
        facts[label] = f"{facts[label]}, {value}" if label in facts else value
    return {
        **json.loads(message.data),
        "event": message.event_type.value if message.event_type is not None else None,
        "type": message.type,
        "title": message.title,
        "severity": message.severity.value,
        "at": message.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "facts": facts,
        "error": message.error,
        "hint": message.hint,
        "url": message.link,
        "monitor_url": message.monitor_url,
    }
