"""Label values: sanitised and bounded text from outside, and the labels that operators give to organisations."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Final

from monitor.domain.health import Health

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
    """At most `limit` printable characters: no line breaks, control or bidirectional characters, or lone surrogates."""
    if text.isprintable():
        return text[:limit]
    return "".join(character for character in text[: 4 * limit] if character.isprintable())[:limit]


def one_of(value: str, known: Container[str], otherwise: str) -> str:
    """The value if it is one of the known ones."""
    return value if value in known else otherwise


class Models:
    """Limits the label values for model names to `most` per organisation: later ones become `other`."""

    def __init__(self, most: int = 200) -> None:
        self._most = most
        self._met: dict[str, set[str]] = {}

    def __call__(self, org: str, model: str) -> str:
        """The label value for a model of an organisation."""
        label = clean(model, NAME) or UNKNOWN
        met = self._met.setdefault(org, set())
        if label in met:
            return label
        if len(met) >= self._most:
            return OTHER
        met.add(label)
        return label


def org_labels(health: Health) -> Mapping[str, Mapping[str, str]]:
    """The operator's labels by organisation; under the empty name those of any other organisation.

    Every organisation has the label names of all, with empty values where it has none, so that a family's series have
    the same labels. Empty if there are no labels at all.
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
