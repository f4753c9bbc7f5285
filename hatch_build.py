"""The README as a package index shows it: links and pictures that are relative in the repository become absolute."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = re.compile(r"(!?)(\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)")


def absolute(text: str, home: str, revision: str) -> str:
    """The Markdown with every relative link leading to this revision at `home`."""

    def link(found: re.Match[str]) -> str:
        picture, words, path = found.groups()
        return f"{picture}{words}({home}/{'raw' if picture else 'blob'}/{revision}/{path})"

    return _RELATIVE.sub(link, text)


class ReadmeHook(MetadataHookInterface):
    """Gives the package's metadata its long description."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set `readme`, which pyproject.toml declares as dynamic."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        home = metadata["urls"]["Source"]
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, home, "main")}
