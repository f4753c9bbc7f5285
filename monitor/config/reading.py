"""A file as a model: parsed, filled in and validated, or everything that is wrong with it."""

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
    """A YAML file with its variables filled in. Raises OSError."""
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    return parse(content, partial(fill, environ=environ))


def validated(model: type[M], read: Document, file: str) -> M:
    """A document as a model. Raises ConfigError."""
    found, wrong = modelled(model, read.tree, list(sections(model, read.tree)))
    if found is None or read.issues:
        raise ConfigError(problems(once(read.issues, wrong), read, file, Redactor()))
    return found


def modelled(model: type[M], tree: Any, parts: Iterable[Section]) -> tuple[M | None, list[Issue]]:
    """A tree as a model, or why it is none. `parts` are its sections."""
    if tree is None:
        return None, [Issue((), "is empty")]
    if not isinstance(tree, dict):
        return None, [Issue((), "should be a mapping of keys and values")]
    try:
        return model.model_validate(tree), []
    except ValidationError as error:
        return None, list(explain(error, tree, {part.loc: part.model for part in parts}))


def once(*groups: Iterable[Issue]) -> Iterator[Issue]:
    """Each place's flaws from the first group that has any: what cannot be read is not also called empty."""
    reported: set[Loc] = set()
    for group in groups:
        fresh = [issue for issue in group if issue.loc not in reported]
        reported.update(issue.loc for issue in fresh if not issue.warning)
        yield from fresh


def problems(issues: Iterable[Issue], read: Document, file: str, redactor: Redactor) -> Iterator[LocatedIssue]:
    """The flaws with their places in the file; no secret that the redactor knows is in them."""
    for issue in issues:
        line, col = read.place(issue.loc)
        yield LocatedIssue(file=file, line=line, col=col, path=redactor(dotted(issue.loc)), text=redactor(issue.text))
