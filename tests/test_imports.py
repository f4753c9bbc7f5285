"""What a start takes along."""

from __future__ import annotations

import subprocess
import sys

import pytest

from monitor.imports import without

DAEMON = "import sys, monitor.app.run; print(*sys.modules)"
NOT_AT_START = {"alembic", "PIL", "bcrypt", "jinja2", "minijinja", "psycopg", "pygments", "rich", "slack_sdk"}


def test_a_start_imports_nothing_that_only_some_need() -> None:
    done = subprocess.run([sys.executable, "-c", DAEMON], capture_output=True, text=True, check=True)
    assert not {name.partition(".")[0] for name in done.stdout.split()} & NOT_AT_START


def test_what_is_hidden_is_not_found_until_it_may_be() -> None:
    sys.modules.pop("this", None)
    with without("this"), pytest.raises(ImportError):
        import this  # noqa: F401, PLC0415 - a module that nothing else loads
    assert "this" not in sys.modules


def test_what_is_loaded_stays() -> None:
    with without("subprocess"):
        assert sys.modules["subprocess"] is subprocess
