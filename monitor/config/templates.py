"""The settings of templates: compiled by MiniJinja, whose fuel bounds what a template may cost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final

import minijinja
from pydantic import Field, model_validator

from monitor.config.parts import Part
from monitor.domain.news import Message
from monitor.domain.render import span
from monitor.domain.templates import MessageTemplate, TemplateFailed, variables

_FUEL: Final = 100_000  # steps of its machine, and what it makes: 20 ms and 20 MB at the worst, less by far as a rule
_LONGEST: Final = 16_384
_MOST: Final = 262_144  # characters of a result
_YEARS: Final = 10**10  # seconds: what is longer is no duration
_PLACE: Final = re.compile(r" \(in [^)]*\)$")
Text = Annotated[str, Field(min_length=1, max_length=_LONGEST)]


class TemplateSettings(Part):
    """Messages in words of your own, by Jinja's syntax. What is not given stays as it is built in."""

    title: Text | None = None
    """Of the message; one line."""
    text: Text | None = None
    """Instead of the facts, the error and the hint."""
    body: Text | None = None
    """JSON that a webhook gets instead of the built-in one; `{{ … }}` writes JSON, so that a text has its quotes."""

    @model_validator(mode="after")
    def _not_empty(self) -> TemplateSettings:
        if self.title is None and self.text is None and self.body is None:
            raise ValueError("needs a title, a text or a body")
        return self

    def template(self, name: str) -> MessageTemplate:
        """The same as the domain understands it."""
        return MessageTemplate(
            name=name,
            title=TemplateSource(text=self.title) if self.title is not None else None,
            text=TemplateSource(text=self.text) if self.text is not None else None,
            body=TemplateSource(text=self.body, is_json=True) if self.body is not None else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSource:
    """A template in its source. It sees values alone: no files, no other templates, nothing of the program."""

    text: str
    is_json: bool = False
    """It writes JSON, and so does what it inserts."""

    def __call__(self, known: Mapping[str, Any]) -> str:
        """The text that comes of it. Raises TemplateFailed."""
        try:
            result = _ENVIRONMENT.render_str(self.text, "template.json" if self.is_json else "template", **known)
        except minijinja.TemplateError as error:
            raise TemplateFailed(f"line {error.line or 1}: {_PLACE.sub('', error.message)}") from None
        if len(result) > _MOST:
            raise TemplateFailed(f"it makes more than {_MOST:,} characters")
        if self.is_json:
            _check_json(result)
        elif not result.strip():
            raise TemplateFailed("it makes an empty text")
        return result


def problem(source: TemplateSource, messages: Iterable[Message]) -> str | None:
    """What is wrong with a template, tried with these messages; None of a good one."""
    for message in messages:
        try:
            source(variables(message))
        except TemplateFailed as error:
            return f"cannot be rendered for {message.event_type}: {error}"
    return None


def _check_json(text: str) -> None:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise TemplateFailed(f"it makes no JSON: {error}") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _escaped(name: str) -> str | bool:
    return "json" if name.endswith(".json") else False


def _duration(seconds: object) -> str:
    """`2h 5m` from seconds; empty from nothing."""
    return span(timedelta(seconds=min(seconds, _YEARS))) if isinstance(seconds, int | float) else ""


_ENVIRONMENT: Final = minijinja.Environment(
    fuel=_FUEL,
    debug=True,  # errors name what is undefined
    undefined_behavior="strict",
    auto_escape_callback=_escaped,
    filters={"duration": _duration},
)
