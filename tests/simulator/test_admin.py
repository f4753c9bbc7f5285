"""The simulated costs of an organisation: permissions, buckets, and agreement with what happened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from monitor.simulator import Org, Simulation, Traffic, organisations, serve
from monitor.simulator.openai.costs import DAY, charges
from tests.simulator.conftest import NOON, STEADY, Client, HandClock

MIDNIGHT = int(NOON) // DAY * DAY
USAGE, COSTS = "/organization/usage/completions", "/organization/costs"


@pytest.fixture
async def admin(simulation: Simulation, base_url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        api_key="none", admin_api_key=simulation.orgs[0].admin_key, base_url=base_url, max_retries=0
    ) as client:
        yield client


async def ask(client: Client, path: str, key: str | None = None, **query: Any) -> tuple[int, Any]:
    """GET a path, by default with the admin key; lists become repeated parameters."""
    headers = {"Authorization": f"Bearer {key or client.org.admin_key}"}
    params = [
        (name, str(one)) for name, value in query.items() for one in (value if isinstance(value, list) else [value])
    ]
    async with client.session.get(client.base_url + path, headers=headers, params=params) as response:
        return response.status, await response.json()


async def a_model(client: Client, clock: HandClock) -> str:
    """A tuned model that was used once."""
    job = await client.create()
    clock.move(100)
    model = str((await client.job(job["id"]))["fine_tuned_model"])
    body = {"model": model, "messages": [{"role": "user", "content": "word " * 2000}]}
    status, _ = await client.call("POST", "/chat/completions", body)
    assert status == 200
    return model


@pytest.mark.parametrize("path", [USAGE, COSTS, "/organization/projects"])
async def test_an_ordinary_key_may_not_read_the_costs_and_a_stranger_not_either(client: Client, path: str) -> None:
    status, body = await ask(client, path, client.org.key, start_time=MIDNIGHT)
    assert status == 403
    assert "Missing scopes" in body["error"]["message"]
    assert (await ask(client, path, "sk-admin-wrong", start_time=MIDNIGHT))[0] == 401
    assert (await ask(client, path, start_time=MIDNIGHT))[0] == 200


async def test_an_admin_key_opens_nothing_else(client: Client) -> None:
    assert (await ask(client, "/fine_tuning/jobs"))[0] == 401


@pytest.mark.parametrize(
    ("path", "query", "param"),
    [
        pytest.param(USAGE, {}, "start_time", id="no start"),
        pytest.param(USAGE, {"start_time": "monday"}, "start_time", id="a start in words"),
        pytest.param(USAGE, {"start_time": 0, "limit": 32}, "limit", id="more than 31 days"),
        pytest.param(USAGE, {"start_time": 0, "limit": 169, "bucket_width": "1h"}, "limit", id="more than 168 hours"),
        pytest.param(USAGE, {"start_time": 0, "limit": 0}, "limit", id="no buckets"),
        pytest.param(COSTS, {"start_time": 0, "limit": 181}, "limit", id="more than 180 days of costs"),
        pytest.param(COSTS, {"start_time": 0, "bucket_width": "1h"}, "bucket_width", id="costs by the hour"),
        pytest.param(USAGE, {"start_time": 0, "group_by": "line_item"}, "group_by", id="usage by line item"),
        pytest.param(COSTS, {"start_time": 0, "group_by": "model"}, "group_by", id="costs by model"),
        pytest.param(USAGE, {"start_time": 0, "page": "page_!"}, "page", id="a cursor that is none"),
        pytest.param(USAGE, {"start_time": MIDNIGHT, "page": "page_MTIz"}, "page", id="a cursor of another list"),
    ],
)
async def test_invalid_queries_are_refused(client: Client, path: str, query: dict[str, Any], param: str) -> None:
    status, body = await ask(client, path, **query)
    assert (status, body["error"]["param"]) == (400, param)


async def test_the_official_package_reads_usage_by_model(admin: AsyncOpenAI, client: Client, clock: HandClock) -> None:
    model = await a_model(client, clock)
    groups: Any = ["model", "project_id", "batch"]
    page = await admin.admin.organization.usage.completions(start_time=MIDNIGHT - 2 * DAY, group_by=groups)
    days = [bucket.results for bucket in page.data]
    assert [len(results) for results in days] == [0, 0, 1]
    row: Any = days[2][0]
    assert (row.model, row.project_id, row.batch) == (model, client.org.projects[0].id, False)
    assert row.input_tokens > row.input_cached_tokens > 0
    assert (row.num_model_requests, page.has_more, page.next_page) == (1, False, None)


async def test_the_official_package_reads_the_bill(admin: AsyncOpenAI, client: Client, clock: HandClock) -> None:
    await a_model(client, clock)
    clock.move(2 * DAY)
    page = await admin.admin.organization.usage.costs(start_time=MIDNIGHT, group_by=["line_item", "project_id"])
    rows: Any = page.data[0].results
    lines = {row.line_item: Decimal(str(row.amount.value)) for row in rows}
    assert set(lines) == {
        "gpt-4o-mini-2024-07-18 fine-tuning training",
        "ft-gpt-4o-mini-2024-07-18, input",
        "ft-gpt-4o-mini-2024-07-18, cached input",
        "ft-gpt-4o-mini-2024-07-18, output",
    }
    assert lines["gpt-4o-mini-2024-07-18 fine-tuning training"] == Decimal("0.036")  # 4000 tokens, 3 epochs, $3
    assert {row.amount.currency for row in rows} == {"usd"}
    with pytest.raises(openai.BadRequestError):
        await admin.admin.organization.usage.costs(start_time=MIDNIGHT, limit=181)


async def test_without_groups_there_is_one_row_that_names_nothing(client: Client, clock: HandClock) -> None:
    await a_model(client, clock)
    _, page = await ask(client, USAGE, start_time=MIDNIGHT)
    [row] = page["data"][0]["results"]
    assert (row["model"], row["project_id"], row["batch"]) == (None, None, None)


@pytest.mark.parametrize(("width", "limit"), [("1d", 3), ("1h", 50), ("1m", 1000)])
async def test_pages_follow_each_other_without_gap_or_overlap(client: Client, width: str, limit: int) -> None:
    query: dict[str, Any] = {
        "start_time": MIDNIGHT - 6 * DAY,
        "end_time": MIDNIGHT,
        "bucket_width": width,
        "limit": limit,
    }
    starts: list[int] = []
    page: Any = {"has_more": True, "next_page": None}
    while page["has_more"]:
        more = {"page": page["next_page"]} if page["next_page"] else {}
        _, page = await ask(client, USAGE, **query, **more)
        assert len(page["data"]) <= limit
        starts += [bucket["start_time"] for bucket in page["data"]]
    seconds = {"1d": DAY, "1h": 3600, "1m": 60}[width]
    assert starts == list(range(MIDNIGHT - 6 * DAY, MIDNIGHT, seconds))


async def test_the_future_has_no_buckets(client: Client) -> None:
    _, page = await ask(client, COSTS, start_time=MIDNIGHT, end_time=MIDNIGHT + 10 * DAY)
    assert [bucket["start_time"] for bucket in page["data"]] == [MIDNIGHT]


async def test_projects_are_listed(session: aiohttp.ClientSession) -> None:
    simulation = Simulation(organisations(1, projects=3, seed=1), clock=HandClock())
    async with serve(simulation) as base_url:
        client = Client(session, base_url, simulation.orgs[0])
        _, first = await ask(client, "/organization/projects", limit=2)
        _, second = await ask(client, "/organization/projects", limit=2, after=first["last_id"])
    named = [project["name"] for project in first["data"] + second["data"]]
    assert named == ["default", "project-2", "project-3"]
    assert (first["has_more"], second["has_more"]) == (True, False)


def busy(seed: int = 7) -> tuple[Simulation, Org, HandClock]:
    """An organisation with past jobs, whose oldest models are in use."""
    clock = HandClock()
    traffic = Traffic(history=20, in_use=3)
    simulation = Simulation(organisations(1, seed=seed), clock=clock, pace=STEADY, traffic=traffic, seed=seed)
    return simulation, simulation.orgs[0], clock


async def test_models_in_use_are_used_every_day_and_the_same_again_with_the_same_seed(
    session: aiohttp.ClientSession,
) -> None:
    answers = []
    for _ in range(2):
        simulation, org, _ = busy()
        async with serve(simulation) as base_url:
            query: dict[str, Any] = {"start_time": MIDNIGHT - 3 * DAY, "group_by": ["model"]}
            answers.append((await ask(Client(session, base_url, org), USAGE, **query))[1])
    assert answers[0] == answers[1]
    used = [{row["model"] for row in bucket["results"]} for bucket in answers[0]["data"]]
    assert len(used) == 4
    assert all(len(models) == 3 for models in used)


async def test_hours_add_up_to_the_day(session: aiohttp.ClientSession) -> None:
    simulation, org, _ = busy()
    async with serve(simulation) as base_url:
        client = Client(session, base_url, org)
        span: dict[str, Any] = {"start_time": MIDNIGHT - DAY, "end_time": MIDNIGHT}
        _, day = await ask(client, USAGE, **span)
        _, hours = await ask(client, USAGE, **span, bucket_width="1h", limit=24)
    by_hour = [row for bucket in hours["data"] for row in bucket["results"]]
    [whole] = day["data"][0]["results"]
    for name in ("input_tokens", "input_cached_tokens", "output_tokens", "num_model_requests"):
        assert sum(row[name] for row in by_hour) == whole[name] > 0


def test_the_newest_day_is_billed_late_and_whole_a_day_later() -> None:
    simulation, org, clock = busy()
    clock.now = MIDNIGHT + DAY - 1

    def billed() -> Decimal:
        return sum((charge.usd for charge in charges(simulation, org, MIDNIGHT, clock.now)), Decimal(0))

    sums = [billed()]
    for _ in range(4):
        clock.move(DAY / 2)
        sums.append(billed())
    assert 0 < sums[0] < sums[1] <= sums[2] == sums[3] == sums[4]


GRADER = {
    "type": "string_check",
    "name": "exact",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
}


@pytest.mark.parametrize(
    ("asked", "billed"),
    [
        pytest.param(
            {"model": "o4-mini", "method": {"type": "reinforcement", "reinforcement": {"grader": GRADER}}},
            {"o4-mini-2025-04-16 fine-tuning training": 17.0},
            id="ten minutes of reinforcement are 0.17 h",
        ),
        pytest.param({"model": "gpt-4o-mini"}, {}, id="nothing of the others"),
    ],
)
async def test_what_a_cancelled_job_is_billed(
    client: Client, clock: HandClock, asked: dict[str, Any], billed: dict[str, float]
) -> None:
    file = (await client.upload(b'{"messages": [{"role": "user", "content": "ask"}], "answer": "42"}\n' * 12))[1]["id"]
    job = await client.create(**({"training_file": file} if billed else {}), **asked)
    clock.move(15 + (600 if billed else 10))
    assert (await client.call("POST", f"/fine_tuning/jobs/{job['id']}/cancel"))[0] == 200
    clock.move(2 * DAY)
    _, page = await ask(client, COSTS, start_time=MIDNIGHT, group_by=["line_item"])
    lines = {row["line_item"]: row["amount"]["value"] for bucket in page["data"] for row in bucket["results"]}
    assert lines == billed
