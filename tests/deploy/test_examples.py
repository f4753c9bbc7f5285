"""The examples in config/ pass `check`, and they and the guides mention only features that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from monitor.cli import main
from tests.config.test_examples import ENVIRON, EXAMPLES, beside
from tests.deploy.promql import ROOT

SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "monitor").rglob("*.py")))
SERVED = set(re.findall(r'add_(?:get|post)\(\s*f?"([^"{]+)', SOURCE))
TEXTS = [
    *sorted((ROOT / "config").glob("*.y*ml")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "deploy" / "README.md",
]
each_text = pytest.mark.parametrize("text", [pytest.param(path.read_text(), id=path.name) for path in TEXTS])

# Words that may be used only if the source contains them.
NEEDS = {
    r"edited in place": r"chat\.update|chat_update",
    r"milestones in (its|the) thread": r"thread_ts",
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_check_says_that_an_example_is_good(example: Path, tmp_path: Path) -> None:
    copy = beside(example, tmp_path)
    answer = CliRunner().invoke(main, ["check", "--config", str(copy)], env=ENVIRON)
    assert (answer.exit_code, answer.output) == (0, f"{copy}: good\n")


@each_text
def test_every_path_that_a_text_names_is_served(text: str) -> None:
    named = re.findall(r"(?<![\w.:/<-])/(?:webhooks|jobs|api/v1|-)/[\w-]*", text)
    assert [path for path in named if not any(path.startswith(prefix) for prefix in SERVED - {"/"})] == []


@each_text
def test_what_a_text_says_of_slack_is_there(text: str) -> None:
    assert [claim for claim, source in NEEDS.items() if re.search(claim, text) and not re.search(source, SOURCE)] == []
