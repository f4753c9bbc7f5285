"""Draws what Slack was sent as Slack would show it, as much of its markup as is sent."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any, Final

SIGNS: Final = {
    "✅": '<circle cx="8" cy="8" r="7" fill="#2eb67d"/><path d="M4.5 8.2l2.4 2.5 4.6-5" stroke="#fff" fill="none"/>',
    "ℹ️": '<rect x="1" y="1" width="14" height="14" rx="3" fill="#3b88c3"/><path d="M8 7v5M8 4v1.5" stroke="#fff"/>',
    "⚠️": '<path d="M8 1l7.5 14H.5z" fill="#f2b632"/><path d="M8 6v4.5M8 12v1.5" stroke="#222"/>',
    "❌": '<path d="M3 3l10 10M13 3L3 13" stroke="#dd2e44" stroke-width="3"/>',
}
"""The signs of titles, which not every machine has a font for."""


def signs(text: str) -> str:
    """With the signs drawn."""
    for sign, paths in SIGNS.items():
        text = text.replace(sign, f'<svg class="sign" viewBox="0 0 16 16" stroke-width="2">{paths}</svg>')
    return text


def post(content: Mapping[str, Any], *, above: str = "") -> str:
    """One message; `above` is what Slack says over it."""
    parts = "".join(
        f'<div class="part" style="border-color: {part["color"]}">{"".join(map(_block, part["blocks"]))}</div>'
        for part in content.get("attachments", [])
    )
    who = '<div class="who"><b>finetune-monitor</b><span>APP</span></div>'
    also = f'<div class="small">{above}</div>' if above else ""
    title = "".join(map(_block, content.get("blocks", [])))
    return f'<div class="post"><div class="face">ft</div><div>{who}{also}{title}{parts}</div></div>'


def _block(block: Mapping[str, Any]) -> str:
    if block["type"] == "context":
        return f'<div class="block small">{" ".join(_text(one) for one in block["elements"])}</div>'
    return f'<div class="block">{_text(block["text"])}</div>'


def _text(of: Mapping[str, Any]) -> str:
    if of["type"] != "mrkdwn":
        return html.escape(html.unescape(of["text"])).replace("\n", "<br>")
    text = re.sub(r"<(https?://[^|>]+)\|([^>]*)>", r'<a href="\1">\2</a>', of["text"])
    text = re.sub(r"<@(\w+)>", '<span class="mention">@ana</span>', text)
    if text.startswith("```"):
        return f"<pre>{text.strip('`')}</pre>"
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", text)
    text = re.sub(r"(?<![^\s])\*(?!\u200b)(.*?)(?<!\u200b)\*(?=\s|$)", r"<b>\1</b>", text)
    return signs(text).replace("\n", "<br>")
