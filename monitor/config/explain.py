"""Turns validation errors of pydantic into issues in plain words, without the invalid values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from monitor.config.problems import Issue, Loc, nearest

_LIST: Final = "should be a list"
_MAPPING: Final = "should be a mapping of keys and values"
_WHOLE: Final = "should be a whole number"
_NUMBER: Final = "should be a number"
_SWITCH: Final = "should be true or false"

_WORDS: Final = {
    "missing": "is required",
    "string_type": "should be text; put it in quotes",
    "path_type": "should be a file's path",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _SWITCH,
    "bool_parsing": _SWITCH,
}

_CHOICES: Final = {"literal_error", "enum", "union_tag_invalid"}

# Types of errors that are located at a key that may be missing in the tree.
_ABSENT: Final = {"missing", "union_tag_invalid", "union_tag_not_found"}


def explain(error: ValidationError, tree: Any, models: Mapping[Loc, type[BaseModel]]) -> Iterator[Issue]:
    """One issue for each location that has errors. `models` maps locations to the models of their sections."""
    found: dict[Loc, list[str]] = {}
    for one in error.errors(include_url=False, include_input=False):
        loc = _location(_error_loc(one), tree, named=one["type"] in _ABSENT)
        if one["type"] == "too_short" and _at(tree, loc):
            continue  # the list is not empty: pydantic does not count its invalid items
        texts = found.setdefault(loc, [])
        text = _error_text(one, loc, models) + _meant(one, loc, tree)
        if text not in texts:
            texts.append(text)
    for loc, texts in found.items():
        yield Issue(loc, ", or ".join(texts))


def _error_text(error: Mapping[str, Any], loc: Loc, models: Mapping[Loc, type[BaseModel]]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in _SPECIAL:
        return _SPECIAL[kind](context)
    if kind == "extra_forbidden":
        return _unknown(loc, models)
    if kind in _WORDS:
        return _WORDS[kind]
    # Messages of validators begin with "Value error, ", and those of pydantic's bounds with "Input should be …".
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")


def _meant(error: Mapping[str, Any], loc: Loc, tree: Any) -> str:
    """Which of the expected words is near to what was given, which is not shown."""
    expected = error.get("ctx", {}).get("expected_tags" if error["type"] == "union_tag_invalid" else "expected", "")
    return nearest(_at(tree, loc), re.findall(r"'(\w+)'", expected)) if error["type"] in _CHOICES else ""


def _unknown(loc: Loc, models: Mapping[Loc, type[BaseModel]]) -> str:
    model = models.get(loc[:-1])
    known = [field.alias or name for name, field in model.model_fields.items()] if model else []
    return "unknown key" + nearest(loc[-1], known)


def _expected(context: Mapping[str, Any]) -> str:
    return f"should be {_quoted(context['expected'])}"


def _length(context: Mapping[str, Any]) -> str:
    return "should not be empty" if context["min_length"] == 1 else f"should be at least {context['min_length']} long"


def _quoted(words: object) -> str:
    return str(words).replace("'", '"')


_SPECIAL: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "literal_error": _expected,
    "enum": _expected,
    "union_tag_invalid": lambda context: f"should be one of {_quoted(context['expected_tags'])}",
    "union_tag_not_found": lambda _: "is required",
    "too_short": _length,
    "string_too_short": _length,
    "string_pattern_mismatch": lambda context: f"should match {context['pattern']}",
}


def _error_loc(error: Mapping[str, Any]) -> Loc:
    """The location of an error as pydantic gives it; for a union, that of the key that selects a member."""
    if error["type"].startswith("union_tag"):
        return (*error["loc"], error["ctx"]["discriminator"].strip("'"))
    return tuple(error["loc"])


def _at(tree: Any, loc: Loc) -> Any:
    for part in loc:
        tree = tree[part]
    return tree


def _location(loc: Loc, tree: Any, *, named: bool) -> Loc:
    """The location in the tree, without the tags and type names that pydantic inserts.

    With `named`, the last part is kept even if the tree does not have it.
    """
    found: list[str | int] = []
    for at, part in enumerate(loc):
        if isinstance(tree, dict) and part in tree:
            tree = tree.get(part)
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        elif not (named and at == len(loc) - 1):
            continue
        found.append(part)
    return tuple(found)
