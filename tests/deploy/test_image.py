"""The container image as its files define it; .ci/image-check builds and runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from monitor import __version__
from monitor.cli import main
from tests.deploy.manifests import with_tools
from tests.deploy.promql import DEPLOY, ROOT, parsed
from tests.deploy.tools import installed, run

pytestmark = pytest.mark.fault("G35")

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")


def instruction(name: str) -> list[str]:
    """The arguments of each use of an instruction."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def copied() -> set[str]:
    """The files of the repository that go into the image or its build."""
    return {word for line in instruction("COPY") if not line.startswith("--from") for word in line.split()[:-1]}


def test_hadolint_finds_nothing() -> None:
    run(installed("hadolint"), ROOT / "Dockerfile")


def test_it_runs_the_command_without_root() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (entry_point,) = instruction("ENTRYPOINT")
    assert json.loads(entry_point)[0] in scripts
    assert instruction("USER") == ["10001:10001"]
    assert instruction("VOLUME") == ["/data"]


def test_it_starts_with_options_the_command_has() -> None:
    name, *options = json.loads(instruction("CMD")[0])
    known = {option for parameter in main.commands[name].params for option in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known
    assert options[options.index("--listen") + 1] == "0.0.0.0:10877"


def test_compose_mounts_the_configuration_where_the_image_looks_for_it() -> None:
    command = json.loads(instruction("CMD")[0])
    mounts = [volume["target"] for volume in parsed(DEPLOY / "compose.own.yaml")["services"]["monitor"]["volumes"]]
    assert command[command.index("--config") + 1] in mounts


def test_its_health_check_is_a_program_that_asks_the_exposed_port() -> None:
    (check,) = instruction("HEALTHCHECK")
    code = json.loads(check.partition(" CMD ")[2])[-1]
    compile(code, "HEALTHCHECK", "exec")
    assert f"127.0.0.1', {instruction('EXPOSE')[0]}" in code
    assert "/-/healthy" in code


def test_its_labels_say_what_it_is_and_of_which_version() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.([a-z.]+)=(?:"([^"]+)"|\$REVISION)', DOCKERFILE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert labels.keys() == {"title", "description", "licenses", "version", "base.name", "revision"}
    assert (labels["title"], labels["licenses"]) == (project["name"], project["license"])
    assert labels["version"] == __version__
    assert {labels["base.name"]} == {f"docker.io/library/{image.split()[0]}" for image in instruction("FROM")}


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        pytest.param("git@example.com:ml/monitor.git", "https://example.com/ml/monitor", id="ssh"),
        pytest.param("https://ann:token@example.com/ml/monitor", "https://example.com/ml/monitor", id="a login"),
        pytest.param("/srv/git/monitor.git", None, id="a folder"),
    ],
)
def test_the_engine_is_told_where_the_source_is_and_no_login(remote: str, source: str | None, tmp_path: Path) -> None:
    engine = tmp_path / "bin" / "docker"
    engine.parent.mkdir()
    engine.write_text('#!/bin/sh\n[ "$1" = info ] || printf "%s\\n" "$@"\n')
    engine.chmod(0o755)
    copy = tmp_path / "repository"
    for name in (".ci/image", "monitor/__init__.py"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    git = ["git", "-c", "user.name=ann", "-c", "user.email=ann@example.com", "-C", str(copy)]
    for command in (
        ["init", "-q"],
        ["remote", "add", "origin", remote],
        ["commit", "-q", "--allow-empty", "-m", "one"],
    ):
        subprocess.run([*git, *command], check=True)
    environ = {"PATH": f"{engine.parent}{os.pathsep}{os.environ['PATH']}"}
    told = subprocess.run([copy / ".ci/image"], env=environ, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    assert f"finetune-monitor:{__version__}" in told
    labels = dict(label.split("=", 1) for label in told if label.startswith("org.opencontainers"))
    assert labels.get("org.opencontainers.image.source") == source
    assert "org.opencontainers.image.created" in labels
    assert re.search(r"\nREVISION=[0-9a-f]{7,}\n", "\n".join(told))


@pytest.mark.slow
@with_tools("cyclonedx-py")
def test_its_bill_of_materials_is_what_the_lock_says() -> None:
    made = subprocess.run([ROOT / ".ci/sbom"], capture_output=True, text=True, check=True).stdout
    bill = json.loads(made)
    assert (bill["bomFormat"], bill["metadata"]["component"]["version"]) == ("CycloneDX", __version__)
    parts = {re.sub(r"[-_.]+", "-", part["name"].lower()): part["version"] for part in bill["components"]}
    locked = dict(
        re.findall(
            r"^([a-z0-9][a-z0-9._-]*)(?:\[[^]]*])?==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE
        )
    )
    assert parts.items() <= locked.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {re.split(r"[<>=]", need)[0].replace(".", "-") for need in project["dependencies"]} <= parts.keys()
    assert all(part.get("licenses") for part in bill["components"])


def test_everything_it_installs_is_locked_by_hash() -> None:
    installs = [line for line in instruction("RUN") if " install " in line and "pip" in line]
    assert installs
    for line in installs:
        assert "--require-hashes" in line or "--no-index" in line


@pytest.mark.parametrize("source", sorted(copied()))
def test_every_file_it_copies_exists_and_is_sent_to_the_engine(source: str) -> None:
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert f"!{source}" in allowed
    assert (ROOT / source).exists()
