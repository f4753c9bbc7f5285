"""The Kubernetes objects as kustomize and helm render them, and their validation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.deploy.promql import DEPLOY

Object = dict[str, Any]

OVERLAYS = DEPLOY / "kubernetes" / "overlays"
BASE = DEPLOY / "kubernetes" / "base"
CHART = DEPLOY / "helm" / "finetune-monitor"
EVERYTHING = (
    "serviceMonitor.enabled=true",
    "prometheusRule.enabled=true",
    "dashboards.enabled=true",
    "networkPolicy.enabled=true",
    "podDisruptionBudget.enabled=true",
)
OLDEST, NEWEST = "1.27.0", "1.37.0"  # of Kubernetes
OLDER_KUBECTLS = ("kubectl-1.27", "kubectl-1.32")
"""The oldest supported version, and the one whose kustomize accepts least; `make deploy-tools` installs them."""
OLDER_HELMS = ("helm-3.12", "helm-3.17")
OPERATOR = "monitoring.coreos.com/v1"

# Reads a list of objects, and prints what the operator's models do not define or reject.
_JUDGE = """
import json, sys
import cloudcoil.models.prometheus_operator.v1 as operator
for read in json.load(sys.stdin):
    model = getattr(operator, read["kind"])
    kept = model.model_validate(read).model_dump(mode="json", by_alias=True, exclude_unset=True)
    if kept != read:
        print(read["kind"], "has unknown fields:", json.dumps(read), json.dumps(kept))
"""


def _place(tool: str) -> str | None:
    beside = Path(sys.prefix) / "deploy" / "bin" / tool
    return str(beside) if beside.is_file() else shutil.which(tool)


def with_tools(*tools: str) -> pytest.MarkDecorator:
    """Mark tests that need tools of `make deploy-tools`: skipped if one is missing, except in CI."""
    missing = [tool for tool in tools if _place(tool) is None]
    return pytest.mark.skipif(
        bool(missing) and not os.environ.get("CI"), reason=f"{', '.join(missing)} not here: make deploy-tools"
    )


def told(tool: str, *arguments: str | Path, said: str | None = None) -> subprocess.CompletedProcess[str]:
    """The result of running a tool, whatever its exit code."""
    place = _place(tool)
    assert place is not None, f"{tool} is missing: make deploy-tools"
    return subprocess.run([place, *arguments], input=said, capture_output=True, text=True, check=False)


def objects(text: str) -> list[Object]:
    """The objects in a stream of YAML documents."""
    return [document for document in YAML(typ="safe").load_all(text) if document]


@cache
def kustomized(folder: Path, *, by: str = "kubectl") -> list[Object]:
    """The objects that `kubectl apply -k` sends, rendered by this kubectl."""
    done = told(by, "kustomize", folder)
    assert done.returncode == 0, done.stderr
    return objects(done.stdout)


@cache
def templated(*values: str, release: str = "finetune-monitor", by: str = "helm") -> list[Object]:
    """The objects that `helm install` sends into the namespace `finetune-monitor`, with values as for --set."""
    settings = [part for value in values for part in ("--set", value)]
    done = told(by, "template", release, CHART, "--namespace", "finetune-monitor", *settings)
    assert done.returncode == 0, done.stderr
    return objects(done.stdout)


def only(kind: str, among: Iterable[Object]) -> Object:
    """The only object of a kind."""
    (found,) = (one for one in among if one["kind"] == kind)
    return found


def pod(among: Iterable[Object]) -> Object:
    """The specification of the monitor's pod."""
    spec: Object = only("Deployment", among)["spec"]["template"]["spec"]
    return spec


def container(among: Iterable[Object]) -> Object:
    """The specification of the monitor's container."""
    (one,) = pod(among)["containers"]
    found: Object = one
    return found


def check_core(among: Iterable[Object], *, version: str = NEWEST) -> None:
    """Validate Kubernetes' own objects against the schemas of a version, which allow no unknown fields."""
    core = [one for one in among if one["apiVersion"] != OPERATOR]
    assert core
    said = "\n---\n".join(json.dumps(one) for one in core)
    done = told("kubernetes-validate", "--strict", "--kubernetes-version", version, "/dev/stdin", said=said)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" passed for resource ") == len(core), done.stdout


def check_operator(among: Iterable[Object]) -> None:
    """Validate the Prometheus Operator's objects against its definitions; unknown fields would be dropped."""
    theirs = [one for one in among if one["apiVersion"] == OPERATOR]
    assert theirs
    done = told("python", "-c", _JUDGE, said=json.dumps(theirs))
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
