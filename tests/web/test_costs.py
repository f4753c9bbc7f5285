"""Costs over HTTP: by day, budgets, tuned models, and their part of the status page."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from monitor.domain.costs import Bill, Spending, TokenDollars, TunedModel, Usage
from monitor.domain.flow import Change, Reason, Trouble
from monitor.domain.health import BillingHealth, BudgetState
from monitor.domain.hosting import Hosting
from monitor.domain.model import Method, TokenCount
from monitor.domain.snapshot import WatchState
from tests.builders import DAY, HOUR, NOON, job, tracked
from tests.web.site import Answer, Site, org, site
from tests.web.test_pages import NASTY, Seen

TODAY = NOON.date()
BASE = "gpt-4o-mini-2024-07-18"


def data(answer: Answer) -> Any:
    assert answer.status == 200, answer.text
    return json.loads(answer.body)["data"]


async def kept(here: Site, model: str = "ft:a") -> None:
    """Store training costs of $2.40, usage of $0.30 and a bill, all of today, and a model with a shutdown date."""
    spent = Spending(
        org="research", job="ftjob-1", provider="openai", model=BASE, method=Method.SUPERVISED, at=NOON,
        usd=Decimal("2.40"),
    )  # fmt: skip
    tuned = TunedModel(org="research", id=model, base=BASE, shutdown=date(2027, 1, 14))
    change = Change(org="research", based_on=0, at=NOON, tracked=(tracked(job()),), spendings=(spent,), tuned=(tuned,))
    await here.store.jobs.commit(change)
    usd = TokenDollars(input=Decimal("0.1"), cached_input=Decimal(0), output=Decimal("0.2"))
    used = Usage(
        org="research", project="", model=model, day=TODAY, batch=False, tokens=TokenCount(input=1, output=2), usd=usd
    )
    await here.store.costs.record_usage("research", [used], until=TODAY)
    items = {"gpt-4o-mini fine-tuning training": "2.5", "ft-gpt-4o-mini, input": "0.25", "storage": "1"}
    bills = [
        Bill(org="research", project="", line_item=item, day=TODAY, usd=Decimal(usd)) for item, usd in items.items()
    ]
    await here.store.costs.record_bill("research", bills, since=TODAY, until=TODAY, now=NOON)


async def test_costs_by_day_have_computed_and_billed_amounts(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await kept(here)
        assert data(await here.get("/api/v1/costs")) == [
            {
                "org": "research",
                "day": "2026-11-22",
                "settled": False,
                "computed": {"training": "2.40", "use": "0.30", "hosting": "0.00"},
                "billed": {"training": "2.50", "use": "0.25", "other": "1.00"},
                "unpriced": 0,
                "unknown_line_items": ["storage"],
            }
        ]


async def test_the_number_of_days_can_be_chosen(tmp_path: Path) -> None:
    async with site(tmp_path, org(), org("search")) as here:
        late = Bill(org="search", project="", line_item="x", day=TODAY - timedelta(days=9), usd=Decimal(1))
        await here.store.costs.record_bill("search", [late], since=late.day, until=TODAY, now=NOON)
        assert len(data(await here.get("/api/v1/costs?days=10"))) == 1
        assert data(await here.get("/api/v1/costs?days=9")) == []
        assert data(await here.get("/api/v1/costs?days=10&org=research")) == []


async def pages(here: Site, path: str) -> list[list[Any]]:
    """All pages of a list, with two items per page."""
    found: list[list[Any]] = []
    after = ""
    while len(found) < 9:
        answer = await here.get(f"{path}?limit=2{after}")
        found.append(data(answer))
        if (following := json.loads(answer.body)["next"]) is None:
            break
        after = f"&after={quote(following)}"
    return found


async def test_costs_and_models_come_in_pages(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e"]
    async with site(tmp_path, *(org(name) for name in names)) as here:
        for name in names:
            bill = Bill(org=name, project="", line_item="x", day=TODAY, usd=Decimal(1))
            await here.store.costs.record_bill(name, [bill], since=TODAY, until=TODAY, now=NOON)
            model = TunedModel(org=name, id="ft:1", base=BASE, shutdown=None if name < "c" else TODAY, listed=True)
            await here.store.costs.replace_models(name, [model])
        costs, models = await pages(here, "/api/v1/costs"), await pages(here, "/api/v1/models")
    assert [[one["org"] for one in page] for page in costs] == [["a", "b"], ["c", "d"], ["e"]]
    assert [[one["org"] for one in page] for page in models] == [["c", "d"], ["e", "a"], ["b"]]


@pytest.mark.parametrize("asked", ["days=0", "days=367", "days=x", "org=nobody", "limit=0", "after=x"])
async def test_an_invalid_query_is_refused(tmp_path: Path, asked: str) -> None:
    async with site(tmp_path) as here:
        assert (await here.get(f"/api/v1/costs?{asked}")).status == 400


async def test_models_are_listed_by_their_end(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await kept(here)
        await here.store.costs.replace_models(
            "research", [TunedModel(org="research", id="ft:0", base=BASE, listed=True)]
        )
        first, second = data(await here.get("/api/v1/models"))
        assert first == {
            "org": "research",
            "id": "ft:a",
            "base_model": BASE,
            "shutdown_date": "2027-01-14",
            "days_left": 53,
            "listed": False,
        }
        assert (second["id"], second["shutdown_date"], second["days_left"]) == ("ft:0", None, None)


async def test_hosting_is_a_cost_of_its_own(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await kept(here)
        assert "Hosting" not in (await here.get("/")).text
        hosted = Hosting(
            org="research", deployment="d", model=BASE, since=NOON - HOUR, until=NOON, usd_per_hour=Decimal("1.70")
        )
        await here.store.costs.record_hosting([hosted])
        (first, *_) = data(await here.get("/api/v1/costs"))
        assert first["computed"]["hosting"] == "1.70"
        shown = Seen((await here.get("/")).text).text
        for word in ("Hosting, computed", "$1.70"):
            assert word in shown, word
        scrape = (await here.get("/metrics")).text
        lines = [line for line in scrape.splitlines() if line.startswith("finetune_hosting_cost_month_dollars")]
        (line,) = lines
        assert f'model="{BASE}"' in line
        assert line.endswith(" 1.7")


async def test_a_budget_says_how_full_it_is(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        here.health.budgets = (
            BudgetState(name="search", limit=Decimal(500), spent=Decimal(410), period_end=NOON + DAY),
        )
        assert data(await here.get("/api/v1/budgets")) == [
            {
                "name": "search",
                "limit": "500.00",
                "spent": "410.00",
                "ratio": 0.82,
                "period_end": "2026-11-23T12:00:00Z",
            }
        ]


async def test_issues_of_usage_and_costs_are_shown_separately(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        trouble = Trouble(reason=Reason.AUTH, text="the admin key is refused")
        here.health.billing = {"research": BillingHealth(org="research")}
        imports = WatchState(
            org="research:costs", up=False, since=NOON, owner="another", last_success=NOON, trouble=trouble
        )
        await here.store.jobs.record(imports)
        [shown] = data(await here.get("/api/v1/orgs"))
        assert shown["trouble"] is None
        assert shown["books"] == {
            "last_success": "2026-11-22T12:00:00Z",
            "next_read_at": None,
            "trouble": {"reason": "auth", "text": "the admin key is refused"},
        }
        assert "the admin key is refused" in Seen((await here.get("/")).text).text


async def test_the_page_shows_budgets_the_month_and_ending_models(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        assert 'id="money"' not in (await here.get("/")).text
        await kept(here)
        here.health.budgets = (BudgetState(name="everything", limit=Decimal(2), spent=Decimal("2.40")),)
        shown = Seen((await here.get("/")).text).text
        for word in ("everything", "120%", "$2.40", "$2.00", "$0.30", "$3.75", "ft:a", "2027-01-14", "in 53 days"):
            assert word in shown, word


async def test_models_that_have_ended_are_not_shown_as_ending(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        gone = TunedModel(org="research", id="ft:gone", base=BASE, shutdown=TODAY, listed=True)
        await here.store.costs.replace_models("research", [gone])
        assert "ft:gone" not in (await here.get("/")).text


@pytest.mark.parametrize("text", NASTY)
async def test_hostile_names_of_models_are_inert(tmp_path: Path, text: str) -> None:
    async with site(tmp_path) as here:
        await kept(here, model=text)
        seen = Seen((await here.get("/")).text)
        assert seen.tags.count("script") == 1, "our own"
        assert not [name for name, _ in seen.attributes if name.startswith("on")]
