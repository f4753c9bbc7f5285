"""Prepares the README for a package index: relative links and pictures become absolute."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = re.compile(r"(!?)(\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)")


def absolute(text: str, home: str, revision: str) -> str:
    """The Markdown with every relative link replaced by one to this revision at `home`."""

    def link(found: re.Match[str]) -> str:
        picture, words, path = found.groups()
        return f"{picture}{words}({home}/{'raw' if picture else 'blob'}/{revision}/{path})"

    return _RELATIVE.sub(link, text)


class ReadmeHook(MetadataHookInterface):
    """Sets the long description in the package's metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set `readme`, which pyproject.toml declares as dynamic."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        home = metadata["urls"]["Source"]
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, home, "main")}
