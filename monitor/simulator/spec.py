"""What a client asks for when it creates a job, read from the body and refused as the API refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from monitor.simulator import errors
from monitor.simulator.catalogue import Base, base_of

SWITCH = "simulate"
"""The metadata key whose value decides how a job ends."""

_KNOWN = frozenset(("model", "training_file", "validation_file", "hyperparameters", "method", "suffix", "seed"))
_KNOWN |= {"metadata", "integrations"}
_TUNABLE = {"n_epochs": (1, 50), "batch_size": (1, 256), "learning_rate_multiplier": (0.0, 100.0), "beta": (0.0, 2.0)}
_DEFAULTS = {
    "supervised": ("n_epochs", "batch_size", "learning_rate_multiplier"),
    "dpo": ("beta", "n_epochs", "batch_size", "learning_rate_multiplier"),
    "reinforcement": (
        "n_epochs",
        "batch_size",
        "learning_rate_multiplier",
        "eval_interval",
        "eval_samples",
        "compute_multiplier",
    ),
}


class Ending(StrEnum):
    """How a job will end; the values are those of the metadata switch."""

    SUCCESS = "success"
    SERVER_ERROR = "server_error"
    MODERATION = "moderation"
    VALIDATION = "validation"
    STALL = "stall"
    STUCK_QUEUE = "stuck_queue"


@dataclass(frozen=True)
class JobSpec:
    """A job as asked for: `hyperparameters` holds "auto" wherever the client left the choice."""

    training_file: str
    model: str
    method: str = "supervised"
    hyperparameters: Mapping[str, Any] = field(default_factory=lambda: dict.fromkeys(_DEFAULTS["supervised"], "auto"))
    method_extras: Mapping[str, Any] = field(default_factory=dict)
    validation_file: str | None = None
    suffix: str | None = None
    seed: int | None = None
    metadata: Mapping[str, str] | None = None
    integrations: tuple[Mapping[str, Any], ...] = ()
    ending: Ending = Ending.SUCCESS

    @property
    def base(self) -> Base:
        """The snapshot that is tuned, or that the tuned model came from."""
        base = base_of(self.model)
        if base is None:
            raise ValueError(f"{self.model} is tuned from no known base")
        return base

    @property
    def format(self) -> str:
        """The format that the training file must have."""
        if self.method != "supervised":
            return self.method
        return "chat" if self.base.chat else "completion"


def read(body: Mapping[str, Any]) -> JobSpec:
    """The job that `body` asks for; raises ApiError 400. Whether files and tuned models exist is not checked here."""
    unknown = [name for name in body if name not in _KNOWN]
    if unknown:
        raise errors.bad(None, f"Unrecognized request argument supplied: {unknown[0]}")
    model, base = _model(body)
    method, hyperparameters, extras = _method(body)
    if method not in base.methods:
        raise errors.bad("method", f"The {method} method is not supported for model {model}.", "unsupported_method")
    metadata = _metadata(body)
    return JobSpec(
        training_file=_text(body, "training_file", required=True) or "",
        model=model,
        method=method,
        hyperparameters=hyperparameters,
        method_extras=extras,
        validation_file=_text(body, "validation_file"),
        suffix=_suffix(body),
        seed=_seed(body),
        metadata=metadata,
        integrations=_integrations(body),
        ending=Ending((metadata or {}).get(SWITCH, Ending.SUCCESS)),
    )


def _text(body: Mapping[str, Any], name: str, *, required: bool = False) -> str | None:
    value = body.get(name)
    if value is None and not required:
        return None
    if name not in body:
        raise errors.missing(name)
    if not isinstance(value, str):
        raise errors.bad_type(name, "a string", value)
    return value


def _model(body: Mapping[str, Any]) -> tuple[str, Base]:
    name = _text(body, "model", required=True) or ""
    base = base_of(name)
    if base is None or not base.methods:
        message = f"Model {name} is not available for fine-tuning or does not exist."
        raise errors.bad("model", message, "model_not_available")
    return (name if name.startswith("ft:") else base.id), base


def _method(body: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The method's name, its hyperparameters, and what else it carries (a grader, a response format)."""
    given = _mapping(body, "method")
    name = given.get("type", "supervised")
    if not isinstance(name, str) or name not in _DEFAULTS:
        message = f"Invalid value: '{name}'. Supported values are: 'supervised', 'dpo', and 'reinforcement'."
        raise errors.bad("method.type", message, "invalid_value")
    details = _mapping(given, name)
    if name == "reinforcement" and "grader" not in details:
        raise errors.missing("method.reinforcement.grader")
    asked = {**_mapping(body, "hyperparameters"), **_mapping(details, "hyperparameters")}
    chosen: dict[str, Any] = dict.fromkeys(_DEFAULTS[name], "auto")
    if name == "reinforcement":
        chosen["reasoning_effort"] = "medium"
    for key, value in asked.items():
        chosen[key] = _number(key, value) if key in _TUNABLE else value
    return name, chosen, {key: value for key, value in details.items() if key != "hyperparameters"}


def _mapping(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise errors.bad_type(name, "an object", value)
    return value


def _number(name: str, value: Any) -> Any:
    if value in ("auto", None):
        return "auto"
    param = f"hyperparameters.{name}"
    whole = name in ("n_epochs", "batch_size")
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise errors.bad_type(param, f"'auto' or {'an integer' if whole else 'a number'}", value)
    least, most = _TUNABLE[name]
    if value < least:
        message = f"Invalid '{param}': integer below minimum value. Expected a value >= {least}, but got {value}."
        raise errors.bad(param, message, "integer_below_min_value")
    if value > most:
        message = f"Invalid '{param}': integer above maximum value. Expected a value <= {most}, but got {value}."
        raise errors.bad(param, message, "integer_above_max_value")
    return value


def _suffix(body: Mapping[str, Any]) -> str | None:
    suffix = _text(body, "suffix")
    if suffix is not None and len(suffix) > 64:
        message = f"Invalid 'suffix': string too long. Expected a string with maximum length 64, but got {len(suffix)}."
        raise errors.bad("suffix", message, "string_above_max_length")
    return suffix or None


def _seed(body: Mapping[str, Any]) -> int | None:
    seed = body.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise errors.bad_type("seed", "an integer", seed)
    return seed


def _integrations(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    integrations = body.get("integrations") or []
    if not isinstance(integrations, list):
        raise errors.bad_type("integrations", "an array of objects", integrations)
    return tuple(integrations)


def _metadata(body: Mapping[str, Any]) -> dict[str, str] | None:
    if body.get("metadata") is None:
        return None
    metadata = dict(_mapping(body, "metadata"))
    if len(metadata) > 16:
        message = "Invalid 'metadata': too many properties. Expected an object with at most 16."
        raise errors.bad("metadata", message, "object_above_max_properties")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise errors.bad_type(f"metadata.{key}", "a string", value)
        if len(key) > 64 or len(value) > 512:
            message = f"Invalid 'metadata.{key}': string too long."
            raise errors.bad(f"metadata.{key}", message, "string_above_max_length")
    if metadata.get(SWITCH, Ending.SUCCESS) not in set(Ending):
        choices = ", ".join(repr(each.value) for each in Ending)
        raise errors.bad(f"metadata.{SWITCH}", f"The simulator knows these endings: {choices}.", "invalid_value")
    return metadata
