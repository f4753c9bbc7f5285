"""The listing commands as tables and as JSON: jobs by filter, organisations, budgets, models, costs; and `reload`."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from monitor.clock import SystemClock
from tests.terminal.asked import answer, answering, asked
from tests.web.site import admin_actions, org, site

NOW = SystemClock().now()
TROUBLE = {"reason": "auth", "text": "the key is refused\x1b[2J"}


def created(ago: timedelta, **over: Any) -> dict[str, Any]:
    at = (NOW - ago).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"id": "ftjob-1", "org": "research", "status": "running", "created_at": at, **over}


JOBS = [
    created(timedelta(minutes=1), id="queued", status="queued", model="gpt-4o-2024-08-06"),
    created(timedelta(minutes=2), id="failed", status="failed", model="gpt-4o-mini-2024-07-18"),
    created(
        timedelta(hours=3), id="tuned", model="ft:gpt-4o-mini-2024-07-18:acme::x", base_model="gpt-4o-mini-2024-07-18"
    ),
    created(timedelta(days=2), id="old", status="paused", model="gpt-4.1-2025-04-14"),
    created(timedelta(days=3), id="lost", status="unknown", gone=True),
]


def api(request: str) -> bytes:
    """An API with jobs in the requested status, in pages of the largest size, and one healthy organisation."""
    url = urlsplit(request.split()[1])
    wanted = parse_qs(url.query)
    if url.path == "/api/v1/orgs":
        return answer({"data": [{"org": "research", "up": True, "last_success": "2026-11-22T10:00:00Z"}]})
    found = [job for job in JOBS if job["status"] in wanted.get("status", [job["status"]])]
    start, limit = int(wanted.get("after", ["0"])[0]), int(wanted["limit"][0])
    following = str(start + limit) if len(found) > start + limit else None
    return answer({"data": found[start : start + limit], "next": following})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param([], ["queued", "failed", "tuned", "old", "lost"], id="all of them"),
        pytest.param(["--active"], ["queued", "tuned", "old"], id="those that have not ended, newest first"),
        pytest.param(["--since", "24h"], ["queued", "failed", "tuned"], id="of the last day"),
        pytest.param(["--model", "gpt-4o-mini*"], ["failed", "tuned"], id="of a model or tuned from it"),
        pytest.param(["--model", "gpt-4o*", "--active", "--since", "1h"], ["queued"], id="all at once"),
        pytest.param(["--active", "--limit", "2"], ["queued", "tuned"], id="at most so many"),
        pytest.param(["--model", "gpt-4o*", "--limit", "1"], ["queued"], id="at most so many that match"),
        pytest.param(["--status", "cancelled"], [], id="none"),
    ],
)
async def test_jobs_are_filtered(arguments: list[str], expected: list[str]) -> None:
    async with answering(api) as port:
        said = await asked(port, "jobs", "--json", *arguments)
    assert [json.loads(line)["id"] for line in said.stdout.splitlines()] == expected
    assert said.exit_code == 0
    assert ("There are older jobs" in said.stderr) is ("--limit" in arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--active", "--status", "failed"], "--active and --status exclude each other", id="both"),
        pytest.param(["--since", "yesterday"], "should be a duration such as 500ms, 30s, 5m, 6h or 30d", id="no time"),
    ],
)
async def test_invalid_filters_are_usage_errors(arguments: list[str], expected: str) -> None:
    said = await asked(1, "jobs", *arguments)
    assert (said.exit_code, said.stdout) == (2, "")
    assert expected in said.stderr


async def test_an_empty_list_names_unreachable_organisations() -> None:
    unreached = {"org": "research", "up": None, "last_success": None, "trouble": TROUBLE}

    def give(request: str) -> bytes:
        return answer({"data": [unreached] if "/orgs" in request else [], "next": None})

    async with answering(give) as port:
        said = await asked(port, "jobs")
    assert said.stdout == "No job matches.\n"
    assert said.stderr == "No organisation has been polled successfully yet.\n  research: auth: the key is refused[2J\n"


async def test_organisations_are_listed_with_their_issues() -> None:
    orgs = [
        {"org": "a", "provider": "openai", "up": True, "last_success": "2020-01-01T00:00:00Z", "labels": {"team": "x"},
         "books": {"trouble": {"reason": "not_eligible", "text": "no admin"}}},
        {"org": "b", "provider": "openai", "up": False, "last_success": "2020-01-01T00:00:00Z", "trouble": TROUBLE},
        {"org": "c", "provider": "azure", "up": None, "last_success": None, "trouble": None, "books": None},
    ]  # fmt: skip
    async with answering(answer({"data": orgs, "next": None})) as port:
        _, *rows = (await asked(port, "orgs")).stdout.splitlines()
        programs = await asked(port, "orgs", "--json")
    assert [row.split()[:3] for row in rows] == [["a", "openai", "up"], ["b", "openai", "down"], ["c", "azure", "not"]]
    assert rows[0].rstrip().endswith("team: x  billed costs: not_eligible: no admin")
    assert rows[1].rstrip().endswith("auth: the key is refused[2J")
    assert [json.loads(line) for line in programs.stdout.splitlines()] == orgs


async def test_of_a_healthy_organisation_the_interval_is_shown_and_not_the_last_stored_success() -> None:
    success = SystemClock().now() - timedelta(seconds=80)
    times = {"last_success": success.isoformat(), "next_poll_at": (success + timedelta(seconds=30)).isoformat()}
    healthy = {"org": "a", "provider": "openai", "up": True, **times}
    async with answering(answer({"data": [healthy], "next": None})) as port:
        head, row = (await asked(port, "orgs")).stdout.splitlines()
    assert (head.split(), row.split()) == (
        ["ORG", "PROVIDER", "STATE", "POLLED"],
        ["a", "openai", "up", "every", "30s"],
    )


async def test_budgets_are_listed_with_their_share() -> None:
    budget = {"name": "search", "limit": "500.00", "spent": "1234.5", "ratio": 2.469, "period_end": None}
    async with answering(answer({"data": [budget], "next": None})) as port:
        said, programs = await asked(port, "budgets"), await asked(port, "budgets", "--json")
    assert said.stdout.splitlines()[1].split() == ["search", "$1,234.50", "$500.00", "247%"]
    assert json.loads(programs.stdout) == budget


async def test_models_are_listed_with_the_days_they_have() -> None:
    days = (("2026-11-01", -26), ("2026-11-27", 0), ("2026-11-28", 1), ("2026-12-17", 20), (None, None))
    models = [{"org": "a", "id": f"ft:{left}", "shutdown_date": date, "days_left": left} for date, left in days]
    async with answering(answer({"data": models, "next": None})) as port:
        said, some = await asked(port, "models"), await asked(port, "models", "--limit", "2", "--json")
    _, *rows = said.stdout.splitlines()
    assert [" ".join(row.split()[2:]) for row in rows] == [
        "2026-11-01 (26 days ago)", "2026-11-27 (today)", "2026-11-28 (tomorrow)", "2026-12-17 (in 20 days)", "",
    ]  # fmt: skip
    assert len(some.stdout.splitlines()) == 2
    assert some.stderr == "There are 3 more models: --limit 0 shows all, --limit 4 twice as many.\n"


async def test_costs_are_listed_computed_beside_billed() -> None:
    day = {"org": "a", "day": "2026-11-27", "settled": False, "unpriced": 2}
    day |= {"computed": {"training": "2.4", "use": "0.00"}, "billed": {"training": "2.5", "use": None, "other": None}}
    asked_for = []

    def give(request: str) -> bytes:
        asked_for.append(request.split()[1])
        return answer({"data": [day], "next": None})

    async with answering(give) as port:
        said, programs = await asked(port, "costs", "--org", "a", "--days", "7"), await asked(port, "costs", "--json")
    head, row = said.stdout.splitlines()
    assert head.split() == ["DAY", "ORG", "TRAINING", "BILLED", "INFERENCE", "NOTE"]
    assert row.split() == [
        "2026-11-27",
        "a",
        "$2.40",
        "$2.50",
        "$0.00",
        "bill",
        "not",
        "final,",
        "2",
        "jobs",
        "unpriced",
    ]
    assert json.loads(programs.stdout) == day
    assert asked_for == ["/api/v1/costs?org=a&days=7&limit=500", "/api/v1/costs?days=30&limit=500"]


@pytest.mark.parametrize("command", ["orgs", "budgets", "models", "costs"])
async def test_the_real_api_is_parsed(tmp_path: Path, command: str) -> None:
    async with site(tmp_path, org(), org("search")) as here:
        said, programs = await asked(here.port, command), await asked(here.port, command, "--json")
    assert (said.exit_code, programs.exit_code, said.stderr, programs.stderr) == (0, 0, "", "")
    found = [json.loads(line)["org"] for line in programs.stdout.splitlines()]
    assert found == (["research", "search"] if command == "orgs" else [])
    assert said.stdout.count("\n") == (3 if command == "orgs" else 1)


async def test_a_reload_that_finds_problems_is_exit_code_1(tmp_path: Path) -> None:
    async with site(tmp_path, changes=admin_actions) as here:
        said, programs = await asked(here.port, "reload"), await asked(here.port, "reload", "--json")
    assert (said.exit_code, programs.exit_code) == (1, 1)
    assert said.stdout.splitlines()[1:] == ["line 1: wrong", "line 2: wrong"]
    assert json.loads(programs.stdout) == {"reloaded": False, "problems": ["line 1: wrong", "line 2: wrong"]}


async def test_a_reload_that_works_is_exit_code_0() -> None:
    async with answering(answer(b"reloaded\n")) as port:
        said = await asked(port, "reload")
    assert (said.exit_code, said.stdout, said.stderr) == (0, "Reloaded.\n", "")


async def test_a_disabled_reload_names_the_setting(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        said = await asked(here.port, "reload")
    assert (said.exit_code, said.stdout) == (2, "")
    assert "needs server.enable_lifecycle" in said.stderr


async def test_the_configuration_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text("organizations: [{name: a, provider: openai, api_key: sk-proj-0123456789abcdef}]\n")
    said = await asked(1, "check", FINETUNE_MONITOR_CONFIG=str(file))
    assert (said.exit_code, said.stdout) == (0, f"{file}: good\n")
