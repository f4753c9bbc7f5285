"""Parses YAML 1.2 into plain values, with the line and column of each."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.composer import ComposerError, MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from monitor.config.problems import Issue, Loc

LARGEST: Final = 1024 * 1024  # bytes
_DEEPEST: Final = 32  # levels of nesting
_MOST_VALUES: Final = 100_000  # values, where an alias counts each time it is used

_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = _TAG + "merge"
_TAGS: Final = {_TAG + kind for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")}
_VARIABLE: Final = re.compile(r"[{\[].*[:,\[]\s*\$\{")
_BARE_VARIABLE: Final = 'between { } and [ ] a variable needs quotes: "${NAME}"'
_BASES: Final = {"0x": 16, "0o": 8, "0b": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed file."""

    tree: Any
    """Plain dicts, lists and scalars; None if the file cannot be parsed."""
    places: dict[Loc, tuple[int, int]] = field(default_factory=dict)
    """The line and column of each value, counted from 1."""
    issues: tuple[Issue, ...] = ()
    """The values that cannot be read."""

    def place(self, loc: Loc) -> tuple[int, int]:
        """The line and column of a value, or of the nearest enclosing value that is in the file."""
        while loc not in self.places and loc:
            loc = loc[:-1]
        return self.places.get(loc, (1, 1))


def parse(content: bytes, fill: Callable[[str], str]) -> Document:
    """Parse a document. `fill` substitutes variables in each text, and raises ValueError if it cannot.

    Numbers with a decimal point become Decimal, and dates stay text. Tags, duplicate keys and documents that expand to
    too many values are reported as issues.
    """
    if len(content) > LARGEST:
        return _failed("the file is larger than 1 MiB")
    try:
        text = content.decode("utf-8-sig")
        yaml = YAML(typ="safe", pure=True)  # "rt" would keep comments, but takes half as long again
        yaml.max_depth = _DEEPEST
        yaml.composer.warn_double_anchors = False  # YAML allows them, and the warning would quote the text
        node = yaml.compose(io.StringIO(text))
    except UnicodeDecodeError:
        return _failed("the file is not UTF-8 text")
    except RecursionError:
        return _failed("the values are nested too deeply")
    except ReaderError as error:
        return _failed("a control character that YAML does not allow", _line_col(text, error.position))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
        problem = _BARE_VARIABLE if _VARIABLE.search(line) else _syntax(error)
        return _failed(problem, (mark.line + 1, mark.column + 1) if mark else (1, 1))
    except (YAMLError, ValueError, ArithmeticError, AssertionError, LookupError, AttributeError, TypeError):
        # The parser raises other exceptions for some invalid texts, such as unknown directives or escapes.
        return _failed("this is not YAML")
    reader = _Reader(fill)
    try:
        tree = reader.value(node, (), 0) if node is not None else None
    except _TooManyValues:
        return _failed("there are too many values, or an alias of itself")
    return Document(tree=tree, places=reader.places, issues=tuple(reader.issues))


def _failed(text: str, place: tuple[int, int] = (1, 1)) -> Document:
    return Document(tree=None, places={(): place}, issues=(Issue((), text),))


def _line_col(text: str, at: int) -> tuple[int, int]:
    before = text[:at]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _syntax(error: MarkedYAMLError) -> str:
    """The message of the parser if it does not quote the text, or a message for frequent mistakes."""
    problem = str(error.problem or "")
    if isinstance(error, MaxDepthExceededError):
        return "the values are nested too deeply"
    if isinstance(error, ComposerError):
        if "another document" in problem:
            return "only one document is allowed in the file"
        return "an alias (*name) needs its anchor (&name) before it; put text that starts with * in quotes"
    if "mapping values are not allowed" in problem:
        return "a colon is not expected here; put text with a colon and a space in quotes, or check the indentation"
    if "cannot start any token" in problem:
        return "a value cannot start with this character; put it in quotes (and indent with spaces, not tabs)"
    known = re.fullmatch(r"(expected|could not find expected|but got|did not find)[ \w<>,'\":\]}\-]*", problem)
    return f"this is not YAML: {problem}" if known and len(problem) < 80 else "this is not YAML"


class _TooManyValues(Exception):
    """The document has more values than any configuration, or an alias contains itself."""


class _Reader:
    """Converts nodes to values, and collects their places and issues."""

    def __init__(self, fill: Callable[[str], str]) -> None:
        self.places: dict[Loc, tuple[int, int]] = {}
        self.issues: list[Issue] = []
        self._fill = fill
        self._left = _MOST_VALUES

    def value(self, node: Node, loc: Loc, depth: int) -> Any:
        self.places.setdefault(loc, _start(node))
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise _TooManyValues
        if str(node.tag) not in _TAGS:
            return self._issue(loc, "tags (!name) are not allowed")
        if isinstance(node, MappingNode):
            return self._mapping(node, loc, depth)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*loc, at), depth + 1) for at, item in enumerate(node.value)]
        return self._scalar(node, loc)

    def _mapping(self, node: MappingNode, loc: Loc, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for name, inherited in self._inherited(value, loc, depth):
                    merged.setdefault(name, inherited)
                continue
            if not isinstance(key, ScalarNode):
                self._issue(loc, "a key must be text")
                continue
            name, where = str(key.value), (*loc, str(key.value))
            if name in own:
                self.places[where] = _start(key)
                self._issue(where, "duplicate key")
            self.places[where] = _start(key)
            own[name] = self.value(value, where, depth + 1)
        return merged | own

    def _inherited(self, node: Node, loc: Loc, depth: int) -> Iterator[tuple[str, Any]]:
        """The entries that `<<: *anchor` or `<<: [*one, *other]` merges into a mapping."""
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            value = self.value(source, loc, depth + 1)
            if isinstance(value, dict):
                yield from value.items()
            else:
                self._issue(loc, "<< needs mappings to merge")

    def _scalar(self, node: Node, loc: Loc) -> Any:
        kind, text = str(node.tag).removeprefix(_TAG), str(node.value)
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return text.lower() in {"true", "yes", "on"}
                case "int":
                    return _whole(text)
                case "float":
                    return _decimal(text)
                case _:
                    return self._fill(text)
        except InvalidOperation:
            return self._issue(loc, "this number cannot be read")
        except ValueError as error:
            return self._issue(loc, "this number cannot be read" if kind == "int" else str(error))

    def _issue(self, loc: Loc, text: str) -> None:
        self.issues.append(Issue(loc, text))


def _start(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _whole(text: str) -> int:
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    return sign * int(digits, _BASES.get(digits[:2].lower(), 10))


def _decimal(text: str) -> Decimal:
    return Decimal(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
