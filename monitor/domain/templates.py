"""The operator's message templates, with the built-in text as a fallback if one cannot be rendered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from monitor.domain.news import Message, TemplateFailure

Writer = Callable[[Mapping[str, Any]], str]
"""Renders a template with the `variables` of a message. It is bounded in time and size. Raises TemplateFailed."""
_REASON: Final = 300


class TemplateFailed(Exception):
    """A template that cannot be rendered. The text gives the reason and contains no secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTemplate:
    """Templates for the parts of a message. A part whose template is None keeps the built-in text."""

    name: str
    title: Writer | None = None
    text: Writer | None = None
    """Replaces the facts, the error and the hint."""
    body: Writer | None = None
    """Replaces the whole JSON of a webhook."""


def apply_template(template: MessageTemplate, message: Message) -> Message:
    """The message with its parts rendered from the template.

    If the template fails, it is the built-in message with the reason as `template_failure`. Rendered text is untrusted
    like any other: channels escape and truncate it.
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
    """The variables of a template: the parts of the built-in message, and the fields of its webhook `data`."""
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
