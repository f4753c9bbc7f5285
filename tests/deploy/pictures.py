"""Takes the pictures of the documentation: `python -m tests.deploy.pictures`, which `make pictures` runs.

The demo runs and shows its pages; Prometheus scrapes it, and a page made of Grafana's own libraries
(deploy/grafana/pictures) draws what the dashboards ask. It needs npm and a package index, Prometheus and Chromium.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

from aiohttp import web
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from tests.deploy.live import demo, prometheus
from tests.deploy.promql import DASHBOARDS, DEPLOY, ROOT

DOCS = ROOT / "docs"
WIDTH = 1600
BACK = 3600
"""Seconds of history that the pictures show, and that the demo runs before."""
RICHEST = (
    'topk(1, finetune_job_duration_seconds{phase="run"} and on (org, job_id) finetune_job_valid_loss '
    f"and on (org, job_id) finetune_job_created_timestamp_seconds > time() - {BACK - 20})"
)
"""The job with the longest course that is wholly in the picture, of those with a validation file."""


def main() -> int:
    """Build the page, run the demo for an hour, take the pictures."""
    page = built(Path(tempfile.gettempdir()) / "finetune-monitor-pictures")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_demo(page, Path(folder)))
    return 0


def built(folder: Path) -> Path:
    """The page, made with npm in a folder that is kept for the next time."""
    shutil.copytree(DEPLOY / "grafana" / "pictures", folder, dirs_exist_ok=True)
    npm = ["npm", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]
    subprocess.run([*npm, "install"], cwd=folder, check=True)
    subprocess.run([*npm, "run", "build"], cwd=folder, check=True)
    icons = folder / "node_modules/@grafana/ui/dist/public"
    shutil.copytree(icons, folder / "dist/public/build", dirs_exist_ok=True)
    return folder / "dist"


async def _demo(page: Path, folder: Path) -> None:
    async with demo(folder, speed=0.03) as target, prometheus(folder, target, interval="5s") as server:
        await asyncio.sleep(BACK)
        ((job, _),) = await server.ask(RICHEST, instant=True)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            await _pages(browser, f"http://{target}", job)
            await _boards(browser, page, server.url, job)
            await browser.close()


async def _pages(browser: Browser, url: str, job: Mapping[str, str]) -> None:
    """The status page in light and dark, and the page of a job."""
    for name, path, theme in (
        ("page", "/", "light"),
        ("page-dark", "/", "dark"),
        ("job", f"/jobs/{job['org']}/{job['job_id']}", "light"),
    ):
        async with _opened(browser, f"{url}{path}", {"width": 1280, "height": 1180}) as page:
            await page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
            await page.wait_for_selector('[data-state="on"]')
            await page.screenshot(path=DOCS / f"{name}.png")


async def _boards(browser: Browser, built: Path, server: str, job: Mapping[str, str]) -> None:
    """Each dashboard, whole."""
    async with _served(built) as url:
        for path in DASHBOARDS:
            asked = {"board": f"dashboards/{path.name}", "url": server, "seconds": str(BACK)}
            if path.stem == "job":
                asked |= {"org": job["org"], "job": job["job_id"]}
            address = f"{url}/index.html?{urlencode(asked)}"
            async with _opened(browser, address, {"width": WIDTH, "height": 900}) as page:
                await page.wait_for_selector("[data-panel]")
                await page.wait_for_function("() => !document.querySelector('[data-panel=waiting]')")
                await page.set_viewport_size({"width": WIDTH, "height": await _height(page)})
                await page.wait_for_timeout(2000)
                await page.screenshot(path=DOCS / f"dashboard-{path.stem}.png")


@asynccontextmanager
async def _opened(browser: Browser, url: str, size: ViewportSize) -> AsyncIterator[Page]:
    """The page at that address. An error in its scripts fails."""
    page = await browser.new_page(viewport=size)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(url)
    yield page
    await page.close()
    assert errors == [], errors


async def _height(page: Page) -> int:
    return int(await page.evaluate("document.querySelector('main').getBoundingClientRect().bottom + 8"))


@asynccontextmanager
async def _served(page: Path) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_static("/dashboards", DASHBOARDS[0].parent)
    app.router.add_static("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())
