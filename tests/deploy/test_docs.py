"""The guides: a site without broken links, real payloads, and commands that work as described."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from anyio import run_process

from monitor.clock import SystemClock
from monitor.domain.bundle import bundle
from monitor.domain.costs import TunedModel
from monitor.domain.digests import Digest, DigestPeriod, Times, digest_news
from monitor.domain.flow import Transition, TransitionKind
from monitor.domain.model import Batch, Status, TokenCount
from monitor.domain.news import Delivery, EventType, with_page
from monitor.domain.notifier_outages import NotifierBacklog
from monitor.domain.render import Labelling, build_delivery
from monitor.domain.routing import OrgRef, Recipient, Rule
from monitor.store import opened
from tests.builders import DAY, HOUR, NOON, job, tracked
from tests.deploy.promql import ROOT
from tests.deploy.tools import installed
from tests.domain.test_notices import crossing, ends, models
from tests.domain.test_notifier_outages import SINCE, backlog
from tests.domain.test_notifier_outages import news as notifier_news
from tests.domain.test_outages import notice
from tests.test_readme import shape
from tests.test_repository import PROJECT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
HOME = PROJECT["project"]["urls"]["Source"]
OPERATIONS = (DOCS / "operations.md").read_text()
NOTIFICATIONS = (DOCS / "notifications.md").read_text()
PAYLOADS = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", NOTIFICATIONS, re.MULTILINE | re.DOTALL)]


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command: list[str | Path] = [
        installed("mkdocs"),
        "build",
        "--strict",
        "--config-file",
        ROOT / "mkdocs.yml",
        "--site-dir",
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path).parent.as_posix() for path in tmp_path.rglob("index.html")}
    assert pages == {path.relative_to(DOCS).with_suffix("").as_posix().replace("index", ".") for path in PAGES}
    sources = "".join(path.read_text() for path in tmp_path.rglob("*.html"))
    assert re.findall(r'(?:<script|<link rel="stylesheet"|<img)[^>]*(?:src|href)="https?:[^"]*"', sources) == []


def test_a_broken_link_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[there](runbooks.md#nothing) [away](nowhere.md)\n")
    (tmp_path / "docs" / "runbooks.md").write_text("# Runbooks\n")
    (tmp_path / "mkdocs.yml").write_text((ROOT / "mkdocs.yml").read_text())
    done = subprocess.run([installed("mkdocs"), "build"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr
    assert "#nothing" in done.stderr


@pytest.mark.parametrize("page", [*PAGES, ROOT / "mkdocs.yml", ROOT / "pyproject.toml"], ids=lambda path: path.name)
def test_links_into_the_repository_lead_somewhere(page: Path) -> None:
    linked = re.findall(rf"{HOME}/(?:blob|tree|raw)/main/([^)\s\"#]+)", page.read_text())
    assert [path for path in linked if not (ROOT / path).exists()] == []


def test_every_page_begins_with_the_heading_that_names_it_in_the_navigation() -> None:
    headings = [path.read_text().splitlines()[0] for path in PAGES]
    assert all(heading.startswith("# ") for heading in headings)
    assert len(set(headings)) == len(headings)


def test_the_front_page_leads_to_every_guide() -> None:
    linked = set(re.findall(r"\]\(([\w/-]+\.md)\)", (DOCS / "index.md").read_text()))
    assert linked >= {path.name for path in DOCS.glob("*.md")} - {"index.md"}


PAGE: Final = "https://monitor.example.com"


def sent() -> dict[str, Any]:
    """The `data` of one real message of each type, as receivers get it."""
    moved = Transition(
        org="research", job="a", seq=3, at=NOON, kind=TransitionKind.MOVED, before=Status.RUNNING, after=Status.FAILED
    )
    failed = tracked(job(status=Status.FAILED))
    labelling = Labelling(labels={}, monitor_url="https://monitor.example.com")
    failing = Recipient(event=EventType.FAILED, rule=Rule())
    seen = {"research/outage/1": "2026-11-22T11:40:00Z"}
    ended = {Status.SUCCEEDED: 2, Status.FAILED: 1}
    (down,) = notice(False).deliveries[:1]  # type: ignore[union-attr] # it has recipients
    lost = backlog(answer="403", last_delivered=NOON - HOUR)
    back = backlog(failing_since=None, last_delivered=NOON)
    (up,) = notice(True, seen, ended=ended).deliveries[:1]  # type: ignore[union-attr] # it has recipients
    messages = [
        build_delivery(moved, failed, to="ops", recipient=failing, labelling=labelling).message,
        build_delivery(
            replace(moved, job="batch:b", after=Status.SUCCEEDED),
            tracked(job("batch:b", Status.SUCCEEDED, batch=Batch(tokens=TokenCount()))),
            to="ops",
            recipient=Recipient(event=EventType.SUCCEEDED, rule=Rule()),
            labelling=labelling,
        ).message,
        with_page(crossing("410").deliveries[0].message, PAGE),  # type: ignore[union-attr] # it has recipients
        with_page(ends(models(1), 30)[0].deliveries[0].message, PAGE),
        with_page(down.message, PAGE),
        with_page(up.message, PAGE),
        with_page(notifier_outage(lost).message, PAGE),
        with_page(notifier_outage(back, notified=SINCE).message, PAGE),
        bundle([replace(down, message=with_page(down.message, PAGE))] * 2),
    ]
    times = Times(before=NOON - 2 * DAY, start=NOON - DAY, end=NOON)
    stops = TunedModel(org="research", id="ft:m", base="m", shutdown=NOON.date())
    period = DigestPeriod(ended=[failed], active=[], spendings=[], models=[stops])
    weekly = Digest(name="weekly", cron="0 9 * * MON", zone=ZoneInfo("Europe/Berlin"), notify=("ml",))
    digest = digest_news(weekly, times, period, [OrgRef(org="research", provider="openai")], page=PAGE)
    messages.append(digest.deliveries[0].message)
    return {message.type: json.loads(message.data) for message in messages}


def notifier_outage(of: NotifierBacklog, **over: Any) -> Delivery:
    told = notifier_news(of, **over)
    assert told is not None
    return told.deliveries[0]


def test_every_type_of_message_has_its_payload_in_the_guide() -> None:
    assert [payload["type"] for payload in PAYLOADS] == list(sent())
    named = set(re.findall(r"`(finetune\.[a-z]+\.[a-z]+)`", NOTIFICATIONS))
    jobs = set(re.findall(r"`(finetune\.(?:job|batch)\.\w+)`", NOTIFICATIONS))
    assert named == set(sent()) | jobs
    assert {name.rpartition(".")[2] for name in jobs} <= set(EventType)


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: str(payload["type"]))
def test_a_payload_of_the_guide_has_the_shape_of_a_real_one(payload: dict[str, Any]) -> None:
    assert list(payload) == ["type", "timestamp", "data"]
    assert _types(payload["data"]) == _types(sent()[payload["type"]])


def _types(of: Any) -> Any:
    """The keys in order with the types of their values; of lists, the first item."""
    if isinstance(of, list):
        return [_types(one) for one in of[:1]]
    if isinstance(of, dict):
        return {key: None if key in ("labels", "metadata") else _types(value) for key, value in of.items()}
    return shape(of)


async def test_the_copy_that_the_guide_makes_of_a_running_store_is_whole_and_starts(tmp_path: Path) -> None:
    (command,) = re.findall(r"^\$ finetune-monitor (backup .*)$", OPERATIONS, re.MULTILINE)
    there = command.replace("/backups/monitor.db", "backup.db")
    database = f"sqlite:///{tmp_path}/monitor.db"
    organization = {"name": "research", "provider": "openai", "api_key": "sk-test-0123456789"}
    config = {"organizations": [organization], "store": {"url": database}}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    (tmp_path / "config.yaml").chmod(0o600)
    async with opened(database, clock=SystemClock()):
        await run_process([sys.executable, "-m", "monitor", *shlex.split(there)], cwd=tmp_path)
    restored = tmp_path / "restored"
    restored.mkdir()
    (tmp_path / "backup.db").rename(restored / "monitor.db")
    with sqlite3.connect(restored / "monitor.db") as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*) FROM sqlite_master WHERE name = 'outbox'").fetchone() == (1,)
    copy.close()
    async with opened(f"sqlite:///{restored}/monitor.db", clock=SystemClock()):
        pass
