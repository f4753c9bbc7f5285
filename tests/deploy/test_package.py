"""What is published to a package index: absolute links, and sources that build and test themselves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from email import message_from_string
from pathlib import Path

import pytest

from hatch_build import absolute
from tests.deploy.promql import ROOT
from tests.test_repository import PROJECT, texts

HOME = PROJECT["project"]["urls"]["Source"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    _hatch("build", "--target", "sdist", "--directory", folder, at=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="tar")
    return folder / archive.name.removesuffix(".tar.gz")


def _hatch(*arguments: str | Path, at: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", *arguments], cwd=at, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sources_have_every_file_of_the_repository(sources: Path) -> None:
    there = {
        path.relative_to(sources).as_posix() for path in sources.rglob("*") if not path.is_dir() or path.is_symlink()
    }
    assert {path.relative_to(ROOT).as_posix() for path, _ in texts()} - there == set()


def test_the_sources_build_the_same_wheel(sources: Path, tmp_path: Path) -> None:
    from zipfile import ZipFile  # noqa: PLC0415 - only here

    names = []
    for at, folder in ((ROOT, tmp_path / "a"), (sources, tmp_path / "b")):
        _hatch("build", "--target", "wheel", "--directory", folder, at=at)
        (wheel,) = folder.glob("*.whl")
        names.append(sorted(ZipFile(wheel).namelist()))
    assert names[0] == names[1]


@pytest.mark.timeout(300)
def test_the_sources_test_themselves(sources: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(sources), "PYTHONDONTWRITEBYTECODE": "1"}
    picked = ["tests/test_repository.py", "tests/test_readme.py", "tests/config/test_examples.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *picked]
    done = subprocess.run(command, cwd=sources, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def test_links_of_the_readme_are_absolute_where_it_is_published(sources: Path) -> None:
    shown = message_from_string((sources / "PKG-INFO").read_text())
    assert shown["Description-Content-Type"] == "text/markdown"
    text = shown.get_payload()
    assert isinstance(text, str)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert targets
    assert [target for target in targets if not target.startswith(("https://", "http://", "#"))] == []
    paths = [
        match[1] for target in targets if (match := re.fullmatch(rf"{HOME}/(?:blob|raw)/main/([^#]+)(?:#.*)?", target))
    ]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert f"({HOME}/raw/main/docs/page.png)" in text


def test_the_package_says_where_the_project_is_at_home(sources: Path) -> None:
    shown = message_from_string((sources / "PKG-INFO").read_text())
    urls = dict(line.split(", ", 1) for line in shown.get_all("Project-URL", []))
    assert set(urls) == {"Homepage", "Documentation", "Changelog", "Issues", "Source"}
    assert all(url.startswith(HOME) for url in urls.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[a](docs/x.md#y)", "[a](H/blob/v1/docs/x.md#y)", id="a page"),
        pytest.param("![a](docs/x.png)", "![a](H/raw/v1/docs/x.png)", id="a picture"),
        pytest.param("[a](https://x.example/y) [b](#z)", "[a](https://x.example/y) [b](#z)", id="absolute already"),
        pytest.param("[`a`](config/)", "[`a`](H/blob/v1/config/)", id="a folder"),
        pytest.param("a (b) c", "a (b) c", id="parentheses"),
    ],
)
def test_a_relative_link_becomes_absolute(text: str, expected: str) -> None:
    assert absolute(text, "H", "v1") == expected
