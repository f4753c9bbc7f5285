"""Label values: text from outside made harmless and bounded, and the labels an operator gives to organisations."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Final

from monitor.metrics.health import Health

OTHER: Final = "other"
UNKNOWN: Final = "unknown"
NAME: Final = 128
ID: Final = 256

_TAKEN: Final = frozenset(
    {"base_model", "budget", "by", "code", "endpoint", "job_id", "kind", "le", "line_item", "method", "model"}
    | {"notifier", "operation", "org", "provider", "reason", "result", "source", "status"}
)
_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")


def clean(text: str, limit: int) -> str:
    """At most `limit` printable characters; no line ends, control, bidi or lone surrogate characters."""
    if text.isprintable():
        return text[:limit]
    return "".join(character for character in text[: 4 * limit] if character.isprintable())[:limit]


def one_of(value: str, known: Container[str], otherwise: str) -> str:
    """The value, where it is of a closed set."""
    return value if value in known else otherwise


class Models:
    """Model names as label values, at most `most` different ones per organisation: the first met keep their names."""

    def __init__(self, most: int = 200) -> None:
        self._most = most
        self._met: dict[str, set[str]] = {}

    def __call__(self, org: str, model: str) -> str:
        """The label for this model of this organisation."""
        label = clean(model, NAME) or UNKNOWN
        met = self._met.setdefault(org, set())
        if label in met:
            return label
        if len(met) >= self._most:
            return OTHER
        met.add(label)
        return label


def org_labels(health: Health) -> Mapping[str, Mapping[str, str]]:
    """The operator's labels by organisation; under the empty name what any other organisation gets.

    Every organisation gets the label names of all, empty where it has none, so that a family's series agree.
    Empty when there are none at all.
    """
    keys = sorted({key for org in health.orgs.values() for key in org.labels})
    if not keys:
        return {}
    named = {key: _label_name(key) for key in reversed(keys)}
    given: dict[str, Mapping[str, str]] = {"": dict.fromkeys(named.values(), "")}
    for name, org in health.orgs.items():
        given[name] = {label: clean(org.labels.get(key, ""), NAME) for key, label in named.items()}
    return given


def _label_name(key: str) -> str:
    name = _NOT_IN_A_NAME.sub("_", key)
    return f"label_{name}" if name in _TAKEN or not name or name[0].isdigit() or name.startswith("__") else name
