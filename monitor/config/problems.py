"""What is wrong with a configuration, and where; never what the value was."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

Loc = tuple[str | int, ...]
"""The way from the top of the file to a value: keys and list positions."""

# A key that nobody knows may be a piece of a secret that slipped out of its place: those have capitals or digits.
_KEY: Final = re.compile(r"[a-z]{1,20}([_.-][a-z]{1,20}){0,3}[0-9]?")
_TOP: Final = "(file)"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LocatedIssue:
    """One thing that is wrong, or, as a warning, unwise. Lines and columns count from 1."""

    file: str
    line: int
    col: int
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col} {self.path}: {self.text}"


class ConfigError(Exception):
    """A configuration that cannot be used, with all of its problems in the order of the file."""

    def __init__(self, problems: Iterable[LocatedIssue]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Issue:
    """A problem before its place in the file is looked up."""

    loc: Loc
    text: str
    warning: bool = False


def dotted(loc: Loc) -> str:
    """`organizations.0.name`. A key that may be a misplaced secret is not shown."""
    return ".".join(map(_shown, loc)) or _TOP


def nearest(word: object, known: Iterable[str]) -> str:
    """`; did you mean "interval"?`, or nothing where no known word is near."""
    near = get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


def choice(words: Sequence[str]) -> str:
    """The words as a person would list them: `a, b or c`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else "nothing"


def _shown(part: str | int) -> str:
    if isinstance(part, int) or _KEY.fullmatch(part):
        return str(part)
    return "?"
