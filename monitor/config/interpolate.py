"""Substitutes environment variables in texts: `${NAME}` and `${NAME:-default}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_PLACE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^{}]*)?\}|(?P<open>\{))"
)


def fill(text: str, environ: Mapping[str, str]) -> str:
    """The text with its variables substituted. `$$` stands for a dollar sign.

    As in a shell, the default also replaces an empty variable. Raises ValueError for a variable that is not set and has
    no default, and for invalid syntax.
    """

    def value(place: re.Match[str]) -> str:
        if place["dollar"]:
            return "$"
        if place["open"]:
            raise ValueError("${ must be followed by NAME} or NAME:-default}; write $${ for the characters themselves")
        name, default = place["name"], place["default"]
        found = environ.get(name)
        if default is not None:
            return found or default.removeprefix(":-")
        if found is None:
            raise ValueError(f"the environment variable {name} is not set, and there is no default")
        return found

    return _PLACE.sub(value, text)
