"""A real browser, and a site that changes while it is open."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import resources
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.web.site import Site

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
_WATCH = """addEventListener("securitypolicyviolation", (event) =>
  console.error("policy: " + event.violatedDirective + " " + event.blockedURI))"""

Look = Callable[..., AbstractAsyncContextManager[Page]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=path, args=SWITCHES)
        yield found
        await found.close()


@pytest.fixture
def look(browser: Browser) -> Look:
    """Opens a page in a window of its own, and fails if the browser reports any problem."""

    @asynccontextmanager
    async def opened(here: Site, path: str = "/", **window: Any) -> AsyncIterator[Page]:
        complaints: list[str] = []
        context = await browser.new_context(**window)
        page = await context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        await page.add_init_script(_WATCH)
        await page.goto(f"http://127.0.0.1:{here.port}{path}")
        try:
            yield page
            assert complaints == []
        finally:
            await context.close()

    return opened


async def violations(page: Page) -> list[str]:
    """The accessibility violations that axe finds, with the elements."""
    await page.evaluate(AXE)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]


async def live(page: Page) -> None:
    """Wait until the page receives changes."""
    await page.locator("#live[data-state=on]").wait_for()


async def text(page: Page, selector: str) -> str:
    """The visible text of an element, with single spaces."""
    return re.sub(r"\s+", " ", await page.locator(selector).inner_text())


def seconds(within: float) -> float:
    """Seconds in playwright's unit, milliseconds."""
    return within * 1000
