"""The commands on the database, run like an operator does."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner, Result

from monitor.cli import main
from monitor.store import opened
from tests.store.samples import StillClock, full


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose database has one job."""
    database = f"sqlite:///{tmp_path}/monitor.db"
    file = tmp_path / "config.yaml"
    organization = {"name": "research", "provider": "openai", "api_key": "sk-test-0123456789"}
    file.write_text(json.dumps({"organizations": [organization], "store": {"url": database}}))
    file.chmod(stat.S_IRUSR | stat.S_IWUSR)

    async def fill() -> None:
        async with opened(database, clock=StillClock()) as store:
            await store.jobs.commit(full(0))

    anyio.run(fill)
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_a_backup_is_made_by_the_daemons_configuration(config: Path, tmp_path: Path) -> None:
    done = run("backup", tmp_path / "saved.db", "--config", config)
    assert (done.exit_code, done.stdout) == (
        0,
        f"{tmp_path}/saved.db: {(tmp_path / 'saved.db').stat().st_size:,} bytes\n",
    )
    refused = run("backup", tmp_path / "monitor.db", "--config", config)
    assert refused.exit_code == 1
    assert "the database itself" in refused.stderr


def test_copy_and_check_report_what_they_found(config: Path, tmp_path: Path) -> None:
    done = run("store", "copy", f"sqlite:///{tmp_path}/monitor.db", f"sqlite:///{tmp_path}/other.db")
    assert done.exit_code == 0
    assert f"{1:>10} job\n" in done.stdout
    again = run("store", "copy", f"sqlite:///{tmp_path}/monitor.db", f"sqlite:///{tmp_path}/other.db")
    assert (again.exit_code, again.stdout) == (1, "")
    checked = run("store", "check", "--config", config)
    assert checked.exit_code == 0
    assert checked.stderr.startswith("Intact: ")
    assert f"{1:>10} outbox\n" in checked.stdout
    os.truncate(tmp_path / "monitor.db", 8192)
    assert run("store", "check", "--config", config).exit_code == 1
