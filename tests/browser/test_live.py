"""The pages in a real browser: live, filtered, accessible, and without console messages."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.async_api import expect

from monitor.domain.model import Metrics, Status
from tests.browser.conftest import Look, live, seconds, text, violations
from tests.browser.scenes import ORGS, furnish
from tests.builders import job, tracked, trained
from tests.web.site import org, site

pytestmark = pytest.mark.asyncio(loop_scope="module")  # of the browser, which all tests share

CUT_OFF = """() => [...document.querySelectorAll("td:not(.curve), tbody th, dd")].filter((cell) => {
  const edge = cell.closest("table, dl").getBoundingClientRect().right + 1;
  return cell.scrollWidth > cell.clientWidth + 1 || cell.getBoundingClientRect().right > edge;
}).map((cell) => cell.textContent.trim().slice(0, 60))"""
"""Texts that do not fit into their cell, and cells that do not fit into their table."""

RUN_INTO_THEIR_VALUES = """() => {
  const pen = document.createElement("canvas").getContext("2d");
  return [...document.querySelectorAll("td[data-label]")].filter((cell) => {
    const { font, width, whiteSpace } = getComputedStyle(cell, "::before");
    pen.font = font;
    return whiteSpace === "nowrap" && pen.measureText(cell.dataset.label).width > parseFloat(width);
  }).map((cell) => cell.dataset.label);
}"""
"""Labels of a phone's tables that are too long for their column and are not broken."""


async def test_a_transition_is_seen_within_two_seconds_and_disturbs_nobody(tmp_path: Path, look: Look) -> None:
    async with site(tmp_path, *ORGS, notifiers=("chat",)) as here:
        await furnish(here)
        async with look(here) as page:
            await live(page)
            await page.locator("#timeline-box summary").click()
            await page.get_by_role("searchbox").fill("support")
            await expect(page.locator("#active-jobs tbody tr")).to_have_count(1)
            await page.get_by_role("link", name="support-bot").focus()
            moved = trained(job(name="support-bot"), latest=Metrics(step=77, steps=100))
            begun = time.monotonic()
            await here.keep(tracked(moved))
            await expect(page.locator("#active-jobs")).to_contain_text("step 77 of 100", timeout=seconds(2))
            assert time.monotonic() - begun < 2
            assert await page.evaluate("document.activeElement.textContent") == "support-bot"
            assert await page.locator("#timeline-box").get_attribute("open") is None
            assert await page.get_by_role("searchbox").input_value() == "support"
            await here.keep(tracked(job(name="support-bot", status=Status.SUCCEEDED), seq=2))
            await expect(page.locator("#ended-jobs")).to_contain_text("support-bot", timeout=seconds(2))
            here.health.orgs["search"].up = True
            await expect(page.locator(".alarm")).to_have_count(0, timeout=seconds(4))


@pytest.mark.slow
async def test_the_page_of_a_job_that_is_gone_says_so_and_stays_live(tmp_path: Path, look: Look) -> None:
    async with site(tmp_path) as here:
        await here.keep(tracked(job()))
        async with look(here, "/jobs/research/ftjob-1") as page:
            await live(page)
            await page.evaluate("history.replaceState(null, '', 'ftjob-gone')")
            await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as one who comes back to it
            await expect(page.get_by_role("heading", level=1)).to_have_text("No such job")
            assert await page.locator("#live").get_attribute("data-state") == "on"


@pytest.mark.slow
async def test_a_page_says_when_it_is_cut_off_and_comes_back(tmp_path: Path, look: Look) -> None:
    async with site(tmp_path) as here:
        async with look(here) as page:
            await live(page)
            (stream,) = here.streams
            stream.cancel()
            await page.locator("#live[data-state=off]").wait_for()
            await here.keep(tracked(job(name="meanwhile")))
            await expect(page.locator("#active-jobs")).to_contain_text("meanwhile", timeout=seconds(6))
            await live(page)


@pytest.mark.slow
async def test_filters_work_while_one_types_and_go_with_the_address(tmp_path: Path, look: Look) -> None:
    async with site(tmp_path, *ORGS, notifiers=("chat",)) as here:
        await furnish(here)
        async with look(here) as page:
            rows = page.locator("#active-jobs tbody tr")
            await live(page)
            await page.locator("select[name=org]").select_option("search")
            await expect(rows).to_have_count(1)
            await expect(rows).to_contain_text("ranking")
            assert page.url.endswith("/?org=search")
            await page.get_by_role("link", name="Show all").click()
            await expect(rows).to_have_count(4)
            await page.locator("select[name=status]").select_option("stalled")
            await expect(rows).to_have_count(1)
            await expect(rows).to_contain_text("router")
            await page.go_back()
            await expect(rows).to_have_count(1)
            await expect(rows).to_contain_text("ranking")
            assert await page.locator("select[name=org]").input_value() == "search"


async def test_a_job_has_a_page_of_its_own(tmp_path: Path, look: Look) -> None:
    async with site(tmp_path, *ORGS, notifiers=("chat",)) as here:
        await furnish(here)
        async with look(here) as page:
            await page.get_by_role("link", name="support-bot").click()
            await expect(page).to_have_title("support-bot · finetune-monitor")
            await live(page)
            await expect(page.locator(".chart")).to_have_count(2)
            await page.locator("#loss svg").hover()
            assert re.match(r"step \d+ · training [\d.]+", await text(page, "#loss .readout"))
            for words in ("Checkpoint created at step 60", "file-1", "Step 60", "chat"):
                await expect(page.locator("main")).to_contain_text(words)
            await page.get_by_role("link", name="Older →").click()
            await expect(page.locator("#event-lines")).to_contain_text("Step 3")
            await page.get_by_role("link", name="← Newest").click()
            await here.keep(tracked(job(name="support-bot", status=Status.CANCELLED), seq=2))
            await expect(page.locator(".title")).to_contain_text("cancelled", timeout=seconds(2))
            await page.get_by_role("link", name="All jobs").click()
            await expect(page.locator("#active-jobs")).to_contain_text("triage")


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        ("/", "light"),
        pytest.param("/", "dark", marks=pytest.mark.slow),
        pytest.param("/jobs/research/ftjob-1", "light", marks=pytest.mark.slow),
        ("/jobs/research/ftjob-1", "dark"),
        pytest.param("/jobs/research/ftjob-4", "light", marks=pytest.mark.slow),
        pytest.param("/jobs/research/ftjob-4", "dark", marks=pytest.mark.slow),
    ],
)
async def test_nothing_is_in_the_way_of_anybody(tmp_path: Path, look: Look, scheme: str, path: str) -> None:
    async with site(tmp_path, *ORGS, notifiers=("chat",)) as here:
        await furnish(here)
        async with look(here, path, color_scheme=scheme) as page:
            await live(page)
            ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(16, 19, 23)") is (scheme == "dark")
            assert await violations(page) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "/jobs/research/ftjob-1"])
async def test_a_phone_shows_all_of_it_without_scrolling_sideways(tmp_path: Path, look: Look, path: str) -> None:
    async with site(tmp_path, *ORGS, notifiers=("chat",)) as here:
        await furnish(here)
        async with look(here, path, viewport={"width": 360, "height": 740}) as page:
            await live(page)
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360
            assert await page.evaluate(RUN_INTO_THEIR_VALUES) == []
            assert await violations(page) == []


@pytest.mark.parametrize("width", [390, 800, 900, 1024, 1280, 1920])
async def test_no_width_cuts_a_cell_off_or_scrolls_sideways(tmp_path: Path, look: Look, width: int) -> None:
    async with site(tmp_path, *ORGS, notifiers=("chat",)) as here:
        await furnish(here)
        async with look(here, viewport={"width": width, "height": 900}) as page:
            await live(page)
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            assert await page.evaluate(CUT_OFF) == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1024])
async def test_long_names_are_broken_and_widen_nothing(tmp_path: Path, look: Look, width: int) -> None:
    named, id_ = "o" * 63, "ftjob-" + "x" * 58
    async with site(tmp_path, org(named)) as here:
        await here.keep(tracked(job(id_, org=named, name="W" * 64, model="m" * 100, training_file="file-" + "f" * 90)))
        for path in ("/", f"/jobs/{named}/{id_}"):
            async with look(here, path, viewport={"width": width, "height": 900}) as page:
                await live(page)
                assert await page.evaluate("document.documentElement.scrollWidth") <= width, path


async def test_moments_are_told_in_local_time_beside_utc(tmp_path: Path, look: Look) -> None:
    async with site(tmp_path, *ORGS, notifiers=("chat",)) as here:
        await furnish(here)
        async with look(here, "/jobs/research/ftjob-5", timezone_id="Asia/Tokyo", locale="en-GB") as page:
            await live(page)
            finished = page.locator("#details + .facts time").last
            assert await finished.inner_text() == "2026-11-22 11:00:00 UTC"
            assert await finished.get_attribute("data-local") == "22 Nov 2026, 20:00:00 GMT+9"
            assert (await page.locator(".tile time").first.get_attribute("title") or "").startswith(
                "22 Nov 2026, 20:00"
            )


async def test_without_scripts_the_tables_and_filters_are_there(tmp_path: Path, look: Look) -> None:
    async with site(tmp_path, *ORGS, notifiers=("chat",)) as here:
        await furnish(here)
        async with look(here, java_script_enabled=False) as page:
            assert await page.locator("#active-jobs tbody tr").count() == 4
            assert await page.locator("meta[http-equiv=refresh]").get_attribute("content") == "15"
            await page.get_by_role("searchbox").fill("triage")
            await page.get_by_role("button", name="Show").click()
            assert await page.locator("#active-jobs tbody tr").count() == 1
            await page.get_by_role("link", name="triage").click()
            assert "ftjob-2" in await text(page, "main")
