"""Generates the table of all providers in docs/providers.md from the code.

`python -m tests.providers.capabilities` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from monitor.dataset.rules import PROVIDERS as CHECKED
from monitor.domain.model import Job, JobKind
from monitor.providers import OrganizationSettings
from monitor.providers.base import Provider
from monitor.simulator import PROVIDERS as SIMULATED
from tests.providers.answers import SAMPLES, response
from tests.providers.test_vendors import KEYS, LEAST

PAGE: Final = Path(__file__).parents[2] / "docs" / "providers.md"
BEGIN, END = "<!-- made by tests/providers/capabilities.py -->\n\n", "\n<!-- end -->"
_SETTINGS: Final[Mapping[str, dict[str, Any]]] = {
    "openai": {"api_key": "k", "admin_key": "k", "discover": {"projects": "*"}},
    **LEAST,
}
_SUCCEEDED: Final = {"fireworks": "supervised", "bedrock": "summary"}
_ADAPTER: Final[TypeAdapter[Any]] = TypeAdapter(OrganizationSettings)


def vendors() -> Iterator[Provider]:
    """Each provider with all its optional settings."""
    for provider, given in _SETTINGS.items():
        yield _vendor(provider, given, *JobKind) or _vendor(provider, given) or _missing(provider)


def _vendor(provider: str, given: dict[str, Any], *watch: JobKind) -> Provider | None:
    asked = {"watch": [kind.value for kind in watch]} if watch else {}
    try:
        found: Provider = _ADAPTER.validate_python({"name": "x", "provider": provider, **given, **asked}).vendor()
    except ValueError:
        return None
    return found


def _missing(provider: str) -> Provider:
    raise AssertionError(f"{provider} cannot be set up")


def _succeeded(of: Provider) -> Job:
    """The sample of a succeeded job."""
    if of.name == "openai":
        item = json.loads((SAMPLES / "object_FineTuningJob.json").read_text())
        item = {**item, "status": "succeeded", "trained_tokens": 5768}
    else:
        item = json.loads((SAMPLES / f"{of.name}.json").read_text())[_SUCCEEDED.get(of.name, "job")]
    pages = of.jobs[0].pages
    [job] = pages.read(pages.first, response({KEYS.get(of.name, "data"): [item]})).items
    return job


def _cost(of: Provider) -> str:
    job = _succeeded(of)
    if job.reported_usd is not None:
        return "the provider's own"
    return "tokens × price" if job.tuning.trained_tokens is not None else "unknown"


def _lists(of: Provider) -> str:
    number = sum(each.kind is JobKind.FINE_TUNING for each in of.jobs)
    if of.name == "vertex":
        return "a list for each location"
    return "1 list" if number == 1 else f"{number} lists"


def _push(of: Provider) -> str:
    if of.push is None:
        return ""
    endpoints = of.push.endpoints
    if endpoints is None:
        return "received"
    return "received, registered, rotated" if endpoints.rotate is not None else "received, registered"


_COLUMNS: Final[Mapping[str, Callable[[Provider], str]]] = {
    "provider": lambda of: f"[`{of.name}`](providers/{of.name}.md)",
    "fine-tuning jobs": _lists,
    "batches": lambda of: _mark(any(each.kind is JobKind.BATCH for each in of.jobs)),
    "events": lambda of: _mark(of.events is not None),
    "training files": lambda of: _mark(of.files is not None),
    "shutdown dates": lambda of: _mark(of.models is not None),
    "webhooks": _push,
    "usage, bill": lambda of: _mark(of.billing is not None),
    "projects": lambda of: _mark(of.discovery is not None),
    "cost of a job": _cost,
    "`estimate`": lambda of: _mark(of.name in CHECKED),
    "`simulate`": lambda of: _mark(of.name in SIMULATED),
}


def _mark(there: bool) -> str:
    return "yes" if there else ""


def table() -> str:
    """The generated table."""
    rows = [list(_COLUMNS), ["---"] * len(_COLUMNS)]
    rows += [[column(of) for column in _COLUMNS.values()] for of in vendors()]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def shown() -> str:
    """The table in the current page."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = PAGE.read_text()
    PAGE.write_text(text.replace(BEGIN + shown(), BEGIN + table()))
