"""Finds the settings model of each part of a tree, before anything is validated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from monitor.config.problems import Loc


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A mapping in the tree and the model that will validate it."""

    model: type[BaseModel]
    node: dict[str, Any]
    loc: Loc


def sections(kind: Any, node: Any, loc: Loc = ()) -> Iterator[Section]:
    """Every mapping that a model validates, from the top down. `kind` is the annotation of `node`."""
    kind = _chosen(kind, node)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if isinstance(node, dict):
            yield Section(model=kind, node=node, loc=loc)
            for name, field in kind.model_fields.items():
                if name in node:
                    yield from sections(field.annotation, node[name], (*loc, name))
    elif get_origin(kind) in (list, tuple) and isinstance(node, list):
        for at, item in enumerate(node):
            yield from sections(get_args(kind)[0], item, (*loc, at))


def models(kind: Any) -> Iterator[type[BaseModel]]:
    """Every model that an annotation contains, directly or through other models."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from models(field.annotation)
    else:
        for part in get_args(kind):
            yield from models(part)


def secret_names(model: type[BaseModel]) -> tuple[str, ...]:
    """The names of fields that may also be given as a file: `x` if there is a field `x_file`."""
    return tuple(
        name
        for name, field in model.model_fields.items()
        if f"{name}_file" in model.model_fields and get_origin(_bare(field.annotation)) is not dict
    )


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def required_secrets(model: type[BaseModel]) -> tuple[str, ...]:
    """The names of secrets that must be given, as a text or as a file."""
    return tuple(getattr(model, "required_secrets", ()))


def path_names(model: type[BaseModel]) -> tuple[str, ...]:
    """The names of fields whose values are paths."""
    return tuple(
        name
        for name, field in model.model_fields.items()
        if field.annotation is Path or Path in get_args(field.annotation)
    )


def _chosen(kind: Any, node: Any) -> Any:
    """The annotation without `Annotated`; for a union, the member that fits the node."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) not in (Union, UnionType):
        return kind
    return next((_chosen(part, node) for part in get_args(kind) if _fits(_chosen(part, node), node)), kind)


def _fits(kind: Any, node: Any) -> bool:
    """Whether a node fits a member of a union: a list, or a model whose literal fields all have allowed values."""
    if get_origin(kind) in (list, tuple):
        return isinstance(node, list)
    if not (isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(node, dict)):
        return False
    literals = {
        name: get_args(field.annotation)
        for name, field in kind.model_fields.items()
        if get_origin(field.annotation) is Literal
    }
    return all(node.get(name, kind.model_fields[name].default) in allowed for name, allowed in literals.items())


def mentions(kind: Any, what: type) -> bool:
    """Whether an annotation contains a type, in unions, lists or mappings."""
    return kind is what or any(mentions(part, what) for part in get_args(kind))
