"""What holds for the repository as a whole: sizes, licences, locks, and what must never be in a file."""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest

pytestmark = pytest.mark.fault("G35")

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES = sorted((ROOT / "monitor").rglob("*.py"))
CODE = [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))]
SCRIPTS = sorted(path for path in (ROOT / ".ci").iterdir() if path.is_file())
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-deploy.lock")
Function = ast.FunctionDef | ast.AsyncFunctionDef

FUNCTION_LINES = 50
MOST_FUNCTIONS_LINES = 25


def named(paths: list[Path]) -> list[Any]:
    """Files as parameters, by their place in the repository."""
    return [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in paths]


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """The functions of a file and their lines, docstrings and decorators not counted."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", lines(node)


def lines(function: Function) -> int:
    """How long a function is without its docstring."""
    assert function.end_lineno is not None
    whole = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is None or first.end_lineno is None:
        return whole
    return whole - (first.end_lineno - first.lineno + 1)


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file that is in the repository or would go into it, but for keys that are no secret."""
    # A checkout may belong to another user, as in a container; git wants to be told that this is meant.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (ROOT / ".git").exists():
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        paths = [ROOT / name for name in filter(None, listed.split("\0"))]
    else:  # an unpacked source distribution, which holds what is in the repository and nothing else
        paths = sorted(ROOT.rglob("*"))
    for path in paths:
        if path.is_file():
            yield path, path.read_text(errors="replace")


def locked(name: str) -> dict[str, str]:
    """The distributions of a lock file and their versions."""
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


def test_no_function_is_long_and_most_are_short() -> None:
    sizes = dict(size for path in MODULES for size in functions(path))
    assert {name: size for name, size in sizes.items() if size > FUNCTION_LINES} == {}
    assert quantiles(sizes.values(), n=10)[-1] <= MOST_FUNCTIONS_LINES


@pytest.mark.parametrize("path", named([path for path in MODULES if path.stat().st_size]))
def test_a_module_starts_with_a_sentence_on_what_it_knows(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert re.search(r"^[A-Z`].* .*(\.|:|https://\S+)$", docstring.partition("\n\n")[0], re.DOTALL)


@pytest.mark.parametrize("path", named(CODE))
def test_every_ignore_carries_its_reason(path: Path) -> None:
    ignores = re.findall(r"#\s*(?:noqa|type: ignore).*", path.read_text())
    reasoned = re.compile(r"#\s*(?:noqa: [A-Z0-9, ]+ - \S|type: ignore\[[a-z, -]+\]\s+# \S)")
    assert [ignore for ignore in ignores if path != Path(__file__) and not reasoned.match(ignore)] == []


FORBIDDEN = [
    pytest.param(r"(?<![\w.}])/(home|root|work|Users)/[\w.-]+/", id="a path of somebody's machine"),
    pytest.param(r"\bsk-[\w-]*T3BlbkFJ", id="an API key"),
    pytest.param(r"\bxox[abeprs]-\d{9,}-\d{9,}-\w{12}", id="a Slack token"),
    pytest.param(r"hooks\.slack\.com/services/T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/\w{24}", id="a Slack hook"),
    pytest.param(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]{40}", id="a private key"),
    pytest.param(r"\b(AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36})\b", id="a token of another service"),
    pytest.param(r"(files\.pythonhosted\.org|[\w.-]+\.[a-z]+/([\w/-]+/)?simple\b)", id="an address of a package index"),
    pytest.param(r"--(extra-)?(index-url|find-links)[ =]", id="the choice of a package index"),
    pytest.param(r"^(<{7}|>{7}) ", id="a conflict that was not resolved"),
]


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_no_file_holds(pattern: str) -> None:
    forbidden = re.compile(pattern, re.MULTILINE)
    found = {str(path.relative_to(ROOT)): match.group() for path, text in texts() if (match := forbidden.search(text))}
    assert found == {}


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        pytest.param(pattern.values[0], text, id=str(pattern.id))
        for pattern, text in zip(
            FORBIDDEN,
            [
                "see /home" + "/ann/finetune",
                "sk-proj-" + "a1B2" * 5 + "T3Blbk" + "FJ" + "c3D4" * 5,
                "xoxb" + "-123456789012" * 2 + "-" + "a1B2" * 6,
                "hooks.slack.com/services/" + "T00000000/" + "B00000000/" + "x" * 24,
                "-----BEGIN " + "PRIVATE KEY-----\n" + "MIIE" * 20,
                "AKIA" + "A" * 16,
                "https://packages.example.org" + "/simple",
                "pip install --index" + "-url x",
                "<<<<" + "<<< HEAD",
            ],
            strict=True,
        )
    ],
)
def test_it_would_be_found(pattern: str, text: str) -> None:
    assert re.search(pattern, text, re.MULTILINE)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_is_versions_and_hashes_and_nothing_else(name: str) -> None:
    line = re.compile(
        r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,._-]+\])?==\S+( ; [^:/]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?"
    )
    odd = [text for text in (ROOT / name).read_text().splitlines() if not line.fullmatch(text)]
    assert odd == []


def test_everything_the_program_needs_is_locked_and_tested_in_that_version() -> None:
    running, developing = locked("requirements.lock"), locked("requirements-dev.lock")
    needed = {
        re.split(r"[<>=~!;\[ ]", dependency)[0].replace(".", "-") for dependency in PROJECT["project"]["dependencies"]
    }
    assert needed <= running.keys()
    assert running.items() <= developing.items()


def test_the_licence_is_the_one_that_is_declared() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_bytes()
    # as published by the Apache Software Foundation
    assert hashlib.sha256(text).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


@pytest.mark.parametrize("path", named(SCRIPTS))
def test_a_script_can_be_run_and_read(path: Path) -> None:
    assert path.stat().st_mode & 0o111
    first, second = path.read_text().splitlines()[:2]
    assert first in {"#!/bin/sh", "#!/bin/bash", "#!/usr/bin/env bash"}
    assert second.startswith("# ")
    subprocess.run([first.split("/")[-1].split()[-1], "-n", path], check=True)


def test_make_tells_of_every_command() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in ("demo", "test", "check", "fix", "lock", "image"):
        assert re.search(rf"^  make {command} +\S", told, re.MULTILINE), command


def test_python_versions_are_the_same_wherever_they_are_named() -> None:
    named_there = {
        text.rpartition(" ")[2] for text in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", text)
    }
    assert PROJECT["project"]["requires-python"] == f">={min(named_there)}"
    (image,) = set(re.findall(r"^FROM python:(\d+\.\d+)-", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert image in named_there
    assert f"sys.version_info < ({min(named_there).replace('.', ', ')})" in (ROOT / ".ci/venv").read_text()
