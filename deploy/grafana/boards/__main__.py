"""Writes the dashboards' JSON files; with --check, only checks whether the existing ones are up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.grafana.boards.board import rendered
from deploy.grafana.boards.costs import costs
from deploy.grafana.boards.health import health
from deploy.grafana.boards.job import job
from deploy.grafana.boards.overview import overview

FOLDER = Path(__file__).parents[1] / "dashboards"


def files() -> dict[Path, str]:
    """Yield the file of each dashboard with its content."""
    return {FOLDER / f"{board.name}.json": rendered(board) for board in (overview(), job(), costs(), health())}


def main(arguments: list[str]) -> int:
    """Write or check the files. Returns the exit code."""
    wanted = files()
    if arguments == ["--check"]:
        stale = [path.name for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
        stale += [path.name for path in FOLDER.glob("*.json") if path not in wanted]
        if stale:
            sys.stderr.write(f"{', '.join(stale)}: not what deploy/grafana/boards makes; run make dashboards\n")
        return len(stale)
    for path, text in wanted.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
