"""The settings of message templates. MiniJinja renders them, and its fuel bounds the time and memory they may use."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field, model_validator

from monitor.config.parts import Part
from monitor.domain.news import Message
from monitor.domain.render import span
from monitor.domain.templates import MessageTemplate, TemplateFailed, variables

if TYPE_CHECKING:
    import minijinja

_FUEL: Final = 100_000  # instructions of MiniJinja, which take at most 20 ms and 20 MB, and usually far less
_LONGEST: Final = 16_384  # characters of a template
_MOST: Final = 262_144  # characters of a rendered text
_YEARS: Final = 10**10  # seconds: the longest duration that is displayed
_PLACE: Final = re.compile(r" \(in [^)]*\)$")
Text = Annotated[str, Field(min_length=1, max_length=_LONGEST)]


class TemplateSettings(Part):
    """Your own text of messages, in Jinja's syntax. Parts that are not given keep the built-in text."""

    title: Text | None = None
    """The title of the message, on one line."""
    text: Text | None = None
    """The text that replaces the facts, the error and the hint."""
    body: Text | None = None
    """The JSON that a webhook gets instead of the built-in one. `{{ … }}` inserts JSON, so that texts have their
    quotes."""

    @model_validator(mode="after")
    def _not_empty(self) -> TemplateSettings:
        if self.title is None and self.text is None and self.body is None:
            raise ValueError("needs a title, a text or a body")
        return self

    def template(self, name: str) -> MessageTemplate:
        """The template as a domain value."""
        return MessageTemplate(
            name=name,
            title=TemplateSource(text=self.title) if self.title is not None else None,
            text=TemplateSource(text=self.text) if self.text is not None else None,
            body=TemplateSource(text=self.body, is_json=True) if self.body is not None else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSource:
    """The source of a template. It has access to its variables only: no files, no other templates, no objects."""

    text: str
    is_json: bool = False
    """Whether the result must be JSON, and inserted values are encoded as JSON."""

    def __call__(self, known: Mapping[str, Any]) -> str:
        """Render the template with variables. Raises TemplateFailed."""
        from minijinja import TemplateError  # noqa: PLC0415 - see `_environment`

        try:
            result = _environment().render_str(self.text, "template.json" if self.is_json else "template", **known)
        except TemplateError as error:
            raise TemplateFailed(f"line {error.line or 1}: {_PLACE.sub('', error.message)}") from None
        if len(result) > _MOST:
            raise TemplateFailed(f"the result has more than {_MOST:,} characters")
        if self.is_json:
            _check_json(result)
        elif not result.strip():
            raise TemplateFailed("the result is empty")
        return result


def problem(source: TemplateSource, messages: Iterable[Message]) -> str | None:
    """Why a template cannot be rendered for one of these messages; None if it can for all."""
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
        raise TemplateFailed(f"the result is not valid JSON: {error}") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not allowed in JSON")


def _escaped(name: str) -> str | bool:
    return "json" if name.endswith(".json") else False


def _duration(seconds: object) -> str:
    """The template filter `duration`: `2h 5m` for a number of seconds, and an empty text for other values."""
    return span(timedelta(seconds=min(seconds, _YEARS))) if isinstance(seconds, int | float) else ""


@cache
def _environment() -> minijinja.Environment:
    """The environment of all templates."""
    import minijinja  # noqa: PLC0415 - two megabytes that are only needed with templates

    return minijinja.Environment(
        fuel=_FUEL,
        debug=True,  # errors name the undefined variable
        undefined_behavior="strict",
        auto_escape_callback=_escaped,
        filters={"duration": _duration},
    )
