"""`${NAME}` and `${NAME:-default}` in a text, filled from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_PLACE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^{}]*)?\}|(?P<open>\{))"
)


def fill(text: str, environ: Mapping[str, str]) -> str:
    """The text with its variables filled in; `$$` is a dollar. Raises ValueError for what cannot be filled.

    As in a shell, the default also stands in for a variable that is set but empty.
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
