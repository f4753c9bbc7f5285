"""docs/openapi.yaml equals the API: the same paths and parameters, and all responses match their schemas."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from monitor.domain.costs import Bill, TunedModel
from monitor.domain.flow import Reason, TransitionKind, Trouble
from monitor.domain.health import BillingHealth, BudgetState
from monitor.domain.model import Basis, Checkpoint, Cost, EventKind, JobError, Method, Metrics, Status
from monitor.web.query import MOST_ITEMS
from tests.builders import NOON, event, job, tracked
from tests.web.site import Site, admin_actions, org, site

DOCUMENT: Final[dict[str, Any]] = YAML(typ="safe").load(
    (Path(__file__).parents[2] / "docs" / "openapi.yaml").read_text(encoding="utf-8")
)
SCHEMAS: Final = DOCUMENT["components"]["schemas"]
PAGES: Final = {"/", "/jobs/{org}/{job_id}"}
TYPES: Final[dict[str, set[type]]] = {
    "string": {str}, "integer": {int}, "number": {int, float}, "boolean": {bool}, "null": {type(None)},
    "object": {dict}, "array": {list},
}  # fmt: skip


def test_its_licence_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert DOCUMENT["info"]["license"]["identifier"] == project["license"]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of each operation."""
    for path, found in DOCUMENT["paths"].items():
        for method in ("get", "post"):
            if method in found:
                yield path, method, found[method]


def resolved(of: dict[str, Any]) -> dict[str, Any]:
    """The target of a reference."""
    if "$ref" not in of:
        return of
    found: Any = DOCUMENT
    for step in of["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return resolved(found)


def differences(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """How a value differs from its schema, in which all properties are required and no others are allowed."""
    schema = resolved(schema)
    if "anyOf" in schema:
        tried = [differences(value, one, where) for one in schema["anyOf"]]
        return [] if [] in tried else tried[0]
    if "allOf" in schema:
        parts = [resolved(part)["properties"] for part in schema["allOf"]]
        schema = {"type": "object", "properties": {name: one for part in parts for name, one in part.items()}}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(type(value) in TYPES[kind] for kind in kinds):
        return [f"{where}: {value!r} is not {kinds}"]
    pattern = schema.get("pattern", "") if isinstance(value, str) else ""
    if value not in schema.get("enum", [value]) or not re.search(pattern, str(value)):
        return [f"{where}: {value!r} is not allowed"]
    return [*_of_parts(value, schema, where)]


def _of_parts(value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from differences(item, schema["items"], f"{where}[{number}]")
    if isinstance(value, dict):
        known = schema.get("properties", dict.fromkeys(value, schema.get("additionalProperties")))
        yield from (f"{where}.{name} is missing" for name in schema.get("required", known) if name not in value)
        yield from (f"{where}.{name} is not documented" for name in value if name not in known)
        for name in value:
            if name in known:
                yield from differences(value[name], known[name], f"{where}.{name}")


async def furnished(here: Site) -> None:
    """Store at least one item for every list."""
    guess = Cost(basis=Basis.ESTIMATED, usd=Decimal(3), low=Decimal(2), high=Decimal(4))
    await here.keep(
        tracked(job("ftjob-1", metadata={"env": "prod"}), cost=guess),
        tracked(job("ftjob-2", Status.FAILED, error=JobError(code="server_error")), seq=2),
        events=(
            event("ev-1", kind=EventKind.METRICS, metrics=Metrics(step=1, train_loss=0.5)),
            event("ev-2", checkpoint=Checkpoint(step=1, name="ckpt-1")),
        ),
        told=("ops",),
    )
    bill = Bill(org="research", project="", line_item="x", day=NOON.date(), usd=Decimal(1))
    await here.store.costs.record_bill("research", [bill], since=NOON.date(), until=NOON.date(), now=NOON)
    ending = TunedModel(org="research", id="ft:a", base="gpt-4o", shutdown=date(2026, 12, 1), listed=True)
    await here.store.costs.replace_models("research", [ending, TunedModel(org="research", id="ft:b", base="gpt-4o")])
    refused = Trouble(reason=Reason.AUTH, text="refused")
    here.health.billing["research"] = BillingHealth(org="research", trouble=refused)
    here.health.budgets = (BudgetState(name="all", limit=Decimal(10), spent=Decimal(9)),)


def concrete(path: str) -> str:
    """The path with an existing job."""
    return path.format(org="research", job_id="ftjob-1")


async def test_the_document_has_every_path_of_the_server_and_no_other(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        served = {
            (str(resource.canonical), route.method.lower())
            for resource in here.app.router.resources()
            for route in resource
            if route.method != "HEAD"
        }
    assert {(path, method) for path, method, _ in operations()} == {one for one in served if one[0] not in PAGES}


@pytest.mark.parametrize(("path", "method"), [(path, method) for path, method, _ in operations() if path != "/metrics"])
async def test_every_parameter_is_documented(tmp_path: Path, path: str, method: str) -> None:
    documented = [resolved(one)["name"] for one in DOCUMENT["paths"][path][method].get("parameters", [])]
    async with site(tmp_path, changes=admin_actions) as here:
        await furnished(here)
        answer = await here.get(f"{concrete(path)}?zzz=1", method=method.upper())
    if path.startswith(("/api/", "/-/requeue", "/-/replay")):
        known = json.loads(answer.text)["error"]["message"].partition("known are: ")[2]
        assert known == (", ".join(documented) or "none")
    else:
        assert documented == []


@pytest.mark.parametrize(("path", "method", "operation"), list(operations()))
async def test_every_response_matches_its_documented_schema(
    tmp_path: Path, path: str, method: str, operation: dict[str, Any]
) -> None:
    content = operation["responses"]["200"]["content"]
    if "application/json" not in content:
        return
    async with site(tmp_path, org(), changes=admin_actions) as here:
        await furnished(here)
        query = "?since=24h&dry_run=true" if path == "/-/replay" else ""
        answer = await here.get(concrete(path) + query, method=method.upper())
        wrong = await here.get(f"{concrete(path)}?zzz=1", method=method.upper())
    shown = json.loads(answer.text)
    assert answer.status == 200
    assert shown["data"], "an empty list has every shape"
    assert differences(shown, content["application/json"]["schema"]) == []
    assert differences(json.loads(wrong.text), SCHEMAS["Error"]) == []


@pytest.mark.parametrize(
    ("documented", "known"),
    [
        (SCHEMAS["Status"], Status),
        (SCHEMAS["Job"]["properties"]["method"], Method),
        (SCHEMAS["Cost"]["properties"]["basis"], Basis),
        (SCHEMAS["Transition"]["properties"]["kind"], TransitionKind),
        (SCHEMAS["Event"]["properties"]["kind"], EventKind),
    ],
)
def test_enums_are_those_of_the_code(documented: dict[str, Any], known: Any) -> None:
    assert documented["enum"] == [one.value for one in known]


def test_the_maximum_page_size_is_that_of_the_code() -> None:
    assert DOCUMENT["components"]["parameters"]["Limit"]["schema"]["maximum"] == MOST_ITEMS


def test_a_deviation_from_the_schema_is_detected() -> None:
    budget = {"name": "all", "limit": "10.00", "spent": 9, "ratio": True, "more": 1}
    assert differences(budget, SCHEMAS["Budget"]) == [
        "$.period_end is missing",
        "$.more is not documented",
        "$.spent: 9 is not ['string']",
        "$.ratio: True is not ['number']",
    ]
