"""Draws docs/messages/*.png with Chromium, and writes the pages there: `make messages`."""

from __future__ import annotations

import asyncio
import io
import sys

from PIL import Image, PngImagePlugin
from playwright.async_api import Browser, async_playwright

from tests.pictures.card import drawn
from tests.pictures.sheets import DIGEST, FOLDER, Sheet, cards, pages, sheets

_COLOURS = 64


async def main() -> int:
    """Draw each sheet whose name begins with one of the arguments, or all, in few colours."""
    FOLDER.mkdir(exist_ok=True)
    wanted = [sheet for sheet in sheets() if sheet.name.startswith(tuple(sys.argv[1:]) or "")]
    for name, text in pages():
        (FOLDER / name).write_text(text, encoding="utf-8")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for sheet in wanted:
            await _draw(browser, sheet)
        if "card".startswith(tuple(sys.argv[1:]) or ""):
            for sheet in cards(await drawn()):
                await _draw(browser, sheet)
        await browser.close()
    return 0


async def _draw(browser: Browser, sheet: Sheet) -> None:
    page = await browser.new_page(viewport={"width": sheet.width, "height": 100})
    await page.set_content(sheet.html)
    taken = await page.screenshot(full_page=True)
    await page.close()
    known = PngImagePlugin.PngInfo()
    known.add_text(DIGEST, sheet.digest)
    picture = (
        Image.open(io.BytesIO(taken))
        .convert("RGB")
        .quantize(_COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    )
    picture.save(FOLDER / f"{sheet.name}.png", optimize=True, pnginfo=known)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
