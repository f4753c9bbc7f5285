"""The README says what the code does."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from monitor.config import settings_from
from monitor.domain.flow import Transition, TransitionKind
from monitor.domain.model import Basis, Cost, FailureClass, Status
from monitor.domain.render import Labelling, payload
from monitor.metrics.families import FAMILIES
from monitor.metrics.process import ProcessMetrics
from tests.builders import NOON, job, tracked

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(finetune_\w+)` \| (\w+)(?: ∞)? \| ([\w, ]*?) ?\|", re.MULTILINE)
STORED = re.compile(r"^\| `(finetune_\w+)` \| \w+ ∞ ", re.MULTILINE)

PAID = Cost(basis=Basis.COMPUTED, usd=Decimal(2))
Described = dict[str, tuple[str, tuple[str, ...]]]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def exported() -> Described:
    return {family.name: (family.kind, family.labels) for family in (*FAMILIES, *ProcessMetrics().families)}


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    told = {name: (kind, tuple(filter(None, labels.split(", ")))) for name, kind, labels in ROW.findall(README)}
    assert told == exported()


def test_what_is_marked_as_stored_outlives_the_process() -> None:
    assert set(STORED.findall(README)) == {family.name for family in FAMILIES if family.kind != "gauge"}


def test_its_configurations_are_valid(tmp_path: Path) -> None:
    files = {
        "research": "sk-proj-0123456789abcdef",
        "research-admin": "sk-admin-0123456789abcdef",
        "research-webhook": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "slack-hook": "https://hooks.slack.com/services/T0/B0/x1y2z3",
    }
    files |= {"slack-token": "xoxb-1-2-abc", "ops": "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="}
    for name, value in files.items():
        (tmp_path / name).write_text(value)
        (tmp_path / name).chmod(0o600)
    examples = blocks("yaml")
    assert len(examples) == 2
    for example in examples:
        text = re.sub(r"(?:/run/)?secrets(?=/)", str(tmp_path), example).replace("${LAB_KEY}", "sk-lab-0123456789")
        assert settings_from(YAML(typ="safe").load(text)).organizations


def test_its_payload_has_the_shape_of_a_real_one() -> None:
    told = json.loads(blocks("json")[0])
    moved = Transition(
        org="research", job="a", seq=3, at=NOON, kind=TransitionKind.MOVED, before=Status.RUNNING, after=Status.FAILED
    )
    real = payload(moved, tracked(job(status=Status.FAILED)), Labelling())
    assert list(told) == ["type", "timestamp", "data"]
    assert shape(told["data"]) == shape(real)


def shape(of: Any) -> Any:
    """The keys of a payload, without those that users choose."""
    if not isinstance(of, dict):
        return None
    return {key: shape(value) if key not in ("labels", "metadata") else None for key, value in of.items()}


def test_every_class_of_failure_is_named() -> None:
    sentence = next(line for line in README.splitlines() if line.startswith("`error.class`"))
    assert set(re.findall(r"`(\w+)`", sentence)) == set(FailureClass)
