"""The JSON Schema of the configuration, for editors."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from monitor.config.address import Address
from monitor.config.sections import models, required_secrets, secret_names
from monitor.config.settings import Settings
from monitor.domain.durations import format_duration

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_MINIMAL: Final = {
    "organizations": [{"name": "research", "provider": "openai", "api_key_file": "/run/secrets/research"}]
}


class _AsWritten(GenerateJsonSchema):
    """Writes defaults as they would be written in the file."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, Address):
            return str(dft)
        if isinstance(dft, tuple):
            return [self.encode_default(item) for item in dft]
        if isinstance(dft, Decimal):
            return float(dft)
        return dft.model_dump(mode="json") if isinstance(dft, BaseModel) else super().encode_default(dft)


def schema() -> dict[str, Any]:
    """The schema in draft 2020-12. It also requires secrets, and that each is given as either a text or a file."""
    found = Settings.model_json_schema(mode="validation", schema_generator=_AsWritten)
    for model in set(models(Settings)):
        described = found["$defs"].get(model.__name__) if model is not Settings else found
        if described is None:
            continue
        for name, text in _descriptions(model):
            described["properties"][name].setdefault("description", text)
        if model is not Settings and (rules := _secret_rules(model)):
            described["allOf"] = rules
    return {"$schema": _DIALECT, **found, "title": "finetune-monitor", "examples": [_MINIMAL]}


def _descriptions(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """The settings of a model, and the texts below them in its source, those of the model itself before inherited ones.

    Pydantic can read them as well (`use_attribute_docstrings`), but only when a model is defined, and then each start
    of the program takes a twentieth of a second more. There are none if the source is not installed.
    """
    for base in model.__mro__:
        if issubclass(base, BaseModel) and base is not BaseModel:
            try:
                source = inspect.getsource(base)
            except OSError:
                continue
            (defined,) = ast.parse(textwrap.dedent(source)).body
            for field, below in pairwise(defined.body if isinstance(defined, ast.ClassDef) else ()):
                match field, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        if (settings := model.model_fields.get(name)) is not None:
                            yield settings.alias or name, inspect.cleandoc(text)


def _secret_rules(model: type[BaseModel]) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = []
    for name in secret_names(model):
        text, file = {"required": [name]}, {"required": [f"{name}_file"]}
        rules.append({"oneOf": [text, file]} if name in required_secrets(model) else {"not": {"allOf": [text, file]}})
    return rules
