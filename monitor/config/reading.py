"""Reads a YAML file into a pydantic model, or reports all of its problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from monitor.config.explain import explain
from monitor.config.interpolate import fill
from monitor.config.problems import ConfigError, Issue, Loc, LocatedIssue, dotted
from monitor.config.sections import Section, sections
from monitor.config.yaml import LARGEST, Document, parse
from monitor.secret import Redactor

M = TypeVar("M", bound=BaseModel)


def document(path: Path, environ: Mapping[str, str]) -> Document:
    """A YAML file with its environment variables substituted. Raises OSError."""
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    return parse(content, partial(fill, environ=environ))


def validated(model: type[M], read: Document, file: str) -> M:
    """Validate a document. Raises ConfigError."""
    found, issues = validate_tree(model, read.tree, list(sections(model, read.tree)))
    if found is None or read.issues:
        raise ConfigError(problems(first_per_location(read.issues, issues), read, file, Redactor()))
    return found


def validate_tree(model: type[M], tree: Any, parts: Iterable[Section]) -> tuple[M | None, list[Issue]]:
    """Validate a tree. Returns the model, or None and the problems. `parts` are the sections of the tree."""
    if tree is None:
        return None, [Issue((), "is empty")]
    if not isinstance(tree, dict):
        return None, [Issue((), "should be a mapping of keys and values")]
    try:
        return model.model_validate(tree), []
    except ValidationError as error:
        return None, list(explain(error, tree, {part.loc: part.model for part in parts}))


def first_per_location(*groups: Iterable[Issue]) -> Iterator[Issue]:
    """The issues of each location from the first group that has any: an unreadable value is not also called empty."""
    reported: set[Loc] = set()
    for group in groups:
        fresh = [issue for issue in group if issue.loc not in reported]
        reported.update(issue.loc for issue in fresh if not issue.warning)
        yield from fresh


def problems(issues: Iterable[Issue], read: Document, file: str, redactor: Redactor) -> Iterator[LocatedIssue]:
    """The issues with their lines and columns in the file, and with secrets that the redactor knows masked."""
    for issue in issues:
        line, col = read.place(issue.loc)
        yield LocatedIssue(file=file, line=line, col=col, path=redactor(dotted(issue.loc)), text=redactor(issue.text))
