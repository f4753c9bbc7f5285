"""Draws what Slack is sent as Slack shows it: the life of a card, and a message of each event in light and dark."""

from __future__ import annotations

import base64
import html
import re
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser

from monitor.domain.model import Status
from monitor.domain.news import EventType
from monitor.domain.samples import samples
from monitor.notifiers.base import Attempt
from monitor.notifiers.slack import payload
from tests.builders import NOON, job
from tests.courier.life import Life, desk
from tests.slack import Post

_STYLE: Final = """
body { font: 15px/1.46 "Noto Sans", "DejaVu Sans", sans-serif; color: #1d1c1d; margin: 0; padding: 8px 24px }
body { width: 760px }
h2 { font-size: 13px; color: #616061; font-weight: 400; margin: 18px 0 6px; border-bottom: 1px solid #ddd }
.post { display: grid; grid-template-columns: 36px 1fr; gap: 10px; margin: 6px 0 }
.face { background: #3b76d6; color: #fff; border-radius: 6px; width: 36px; height: 36px; text-align: center }
.face { line-height: 36px }
.who b { margin-right: 6px } .who span { color: #616061; font-size: 12px }
.part { border-left: 4px solid; border-radius: 3px; padding: 2px 0 2px 12px; margin: 4px 0 }
.small { color: #616061; font-size: 13px } .reply { margin-left: 46px } a { color: #1264a3; text-decoration: none }
code { background: #f6f6f6; border: 1px solid #ddd; border-radius: 3px; color: #c01343; font-size: 12px }
img { border: 1px solid #ddd; border-radius: 8px; width: 520px; margin-left: 46px }
"""


_DARK: Final = """
body { background: #1a1d21; color: #d1d2d3 } h2, .who span, .small { color: #ababad } h2 { border-color: #35373b }
a { color: #1d9bd1 } code { background: #222529; border-color: #35373b; color: #e8912d } img { border-color: #35373b }
"""


async def messages(browser: Browser, path: Path, *, dark: bool) -> None:
    """The picture of a message of every event type."""
    body = "".join(
        f"<h2>{event.value}</h2>{_post(Post(channel='C1', ts='1', at=0.0, content=payload(message, _ATTEMPT)))}"
        for event in EventType
        if event not in _NO_MESSAGES and (message := next(samples(event), None)) is not None
    )
    page = await browser.new_page(device_scale_factor=1.5, viewport={"width": 808, "height": 400})
    await page.set_content(f"<style>{_STYLE}{_DARK if dark else ''}</style>{body}")
    await page.screenshot(path=path, full_page=True)
    await page.close()


_ATTEMPT: Final = Attempt(key="sample", at=NOON)
_NO_MESSAGES: Final = {EventType.PROGRESS}
"""Shown by cards alone."""


async def card(browser: Browser, path: Path) -> None:
    """The picture of a card at three moments, and of its thread."""
    with tempfile.TemporaryDirectory() as folder:
        async with desk(Path(folder)) as of, of.life(job(status=Status.QUEUED, name="support-bot")) as life:
            body = await _story(life)
    page = await browser.new_page(device_scale_factor=1.5, viewport={"width": 808, "height": 400})
    await page.set_content(f"<style>{_STYLE}</style>{body}")
    await page.screenshot(path=path, full_page=True)
    await page.close()


async def _story(life: Life) -> str:
    """A job starts, stalls, moves on and succeeds."""
    await life.poll()
    await life.tell(90)
    await life.poll(status=Status.RUNNING, started_at=life.clock.now(), estimated_finish=NOON + timedelta(hours=3))
    [shown] = life.slack.cards
    for number in range(1, 127):
        await life.step(number, 280, 2.4 * 0.985**number)
        life.clock.move(10)
    await life.tell(70)
    running = _post(shown)
    life.clock.move(3700)
    await life.silence()
    await life.tell(70)
    stalled = _post(shown)
    for number in range(127, 281):
        await life.step(number, 280, 2.4 * 0.985**number)
        life.clock.move(10)
    await life.poll(
        status=Status.SUCCEEDED,
        finished_at=life.clock.now(),
        fine_tuned_model="ft:gpt-4o-mini-2024-07-18:acme:support-bot:9xyz",
        trained_tokens=1_240_000,
    )
    await life.tell(70)
    await life.finalize()
    await life.tell(90)
    replies = "".join(f'<div class="reply">{_post(reply)}</div>' for reply in life.slack.thread(shown))
    curve = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(content).decode()}">'
        for content in life.slack.files.values()
    )
    return (
        f"<h2>while it runs</h2>{running}<h2>the same message when it stalls</h2>{stalled}"
        f"<h2>and when it has ended, with its thread</h2>{_post(shown)}{replies}{curve}"
    )


def _post(of: Post) -> str:
    parts = "".join(
        f'<div class="part" style="border-color: {part["color"]}">{"".join(map(_block, part["blocks"]))}</div>'
        for part in of.content["attachments"]
    )
    who = '<div class="who"><b>finetune-monitor</b><span>APP</span></div>'
    also = '<div class="small">also sent to the channel</div>' if of.broadcast else ""
    title = "".join(map(_block, of.content["blocks"]))
    return f'<div class="post"><div class="face">ft</div><div>{who}{also}{title}{parts}</div></div>'


def _block(block: dict[str, Any]) -> str:
    if block["type"] == "context":
        return f'<div class="small">{" ".join(_text(one) for one in block["elements"])}</div>'
    return f"<div>{_text(block['text'])}</div>"


def _text(of: dict[str, Any]) -> str:
    """Slack's markup, as much of it as is sent."""
    if of["type"] != "mrkdwn":
        return html.escape(of["text"])
    text = re.sub(r"<(https?://[^|>]+)\|([^>]*)>", r'<a href="\1">\2</a>', of["text"])
    text = text.replace("✅", "✔").replace("❌", "✖")  # not every machine has a font for them
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", text)
    return re.sub(r"^\*(.*)\*$", r"<b>\1</b>", text).replace("\n", "<br>")
