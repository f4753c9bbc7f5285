"""Problems of a configuration with their locations. They never contain the invalid values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

Loc = tuple[str | int, ...]
"""The location of a value in a tree: keys and list indices, from the top."""

# An unknown key may be part of a misplaced secret, which usually has capital letters or digits.
_KEY: Final = re.compile(r"[a-z]{1,20}([_.-][a-z]{1,20}){0,3}[0-9]?")
_TOP: Final = "(file)"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LocatedIssue:
    """A problem or a warning with its location in a file. Lines and columns count from 1."""

    file: str
    line: int
    col: int
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col} {self.path}: {self.text}"


class ConfigError(Exception):
    """A configuration that cannot be used, with all of its problems in the order of their locations."""

    def __init__(self, problems: Iterable[LocatedIssue]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Issue:
    """A problem or a warning at a location in the tree."""

    loc: Loc
    text: str
    warning: bool = False


def dotted(loc: Loc) -> str:
    """A location as text, such as `organizations.0.name`. A key that may be a misplaced secret is shown as `?`."""
    return ".".join(map(_shown, loc)) or _TOP


def nearest(word: object, known: Iterable[str]) -> str:
    """A suggestion such as `; did you mean "interval"?`, or an empty text if no known word is similar."""
    near = get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


def choice(words: Sequence[str]) -> str:
    """The words as an enumeration: `a, b or c`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else "nothing"


def _shown(part: str | int) -> str:
    if isinstance(part, int) or _KEY.fullmatch(part):
        return str(part)
    return "?"
