"""The container image as its files promise it; .ci/image-check builds and runs it."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

from monitor.cli import main
from tests.deploy.promql import DEPLOY, ROOT, parsed
from tests.deploy.tools import installed, run

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")


def instruction(name: str) -> list[str]:
    """What stands after each use of an instruction."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def copied() -> set[str]:
    """The files of the repository that go into the image or its making."""
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
