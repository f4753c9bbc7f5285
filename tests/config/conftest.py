"""How the tests write a configuration and read what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from monitor.config import ConfigError, LocatedIssue, Settings, examine, load

ORGANIZATION = "organizations: [{name: research, provider: openai, api_key: sk-test-0123456789}]\n"


class Folder:
    """A folder with a configuration in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "conf.yaml"

    def write(self, text: str) -> Folder:
        self.file.write_text(text, encoding="utf-8")
        return self

    def secret(self, name: str, text: str, mode: int = 0o600) -> Path:
        file = self.path / name
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)
        return file

    def load(self, environ: Mapping[str, str] | None = None) -> Settings:
        return load(self.file, environ or {})

    def warnings(self, environ: Mapping[str, str] | None = None) -> list[str]:
        return self._short(examine(self.file, environ or {})[1])

    def problems(self, environ: Mapping[str, str] | None = None) -> list[str]:
        """Each as `LINE:COL path: text`."""
        with pytest.raises(ConfigError) as caught:
            self.load(environ)
        return self._short(caught.value.problems)

    def _short(self, problems: tuple[LocatedIssue, ...]) -> list[str]:
        return [str(problem).removeprefix(f"{self.path}/").removeprefix("conf.yaml:") for problem in problems]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)
