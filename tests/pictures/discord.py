"""Draws what Discord was sent as Discord would show it: an embed in its dark theme."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from tests.pictures.slack import signs


def post(content: Mapping[str, Any]) -> str:
    """One message with its embed."""
    (embed,) = content["embeds"]
    title = f'<div class="title">{_text(embed["title"])}</div>'
    head = f'<a href="{html.escape(embed["url"])}">{title}</a>' if "url" in embed else title
    fields = "".join(
        f'<div class="field{"" if one["inline"] else " wide"}"><b>{_text(one["name"])}</b>{_text(one["value"])}</div>'
        for one in embed["fields"]
    )
    when = embed["timestamp"][:16].replace("T", " ")
    note = embed.get("footer", {"text": ""})["text"]
    foot = f'<div class="foot">{html.escape(" • ".join(filter(None, (note, when))))}</div>'
    who = '<div class="who"><b>finetune-monitor</b><span>APP</span></div>'
    return (
        f'<div class="post"><div class="face">ft</div><div>{who}'
        f'<div class="embed" style="border-color: #{embed["color"]:06x}">{head}{_description(embed["description"])}'
        f'<div class="fields">{fields}</div>{foot}</div></div></div>'
    )


def _description(text: str) -> str:
    block, rest = re.fullmatch(r"(?:```\n(.*?)\n```\n?)?(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr] # matches all
    error = f"<pre>{html.escape(block)}</pre>" if block else ""
    return f'{error}<div class="text">{_text(rest)}</div>' if rest else error


def _text(text: str) -> str:
    """Escapes are taken off; nothing else of Discord's markup is sent."""
    return signs(html.escape(re.sub(r"\\([\\*_~`|<>\[\]()#@])", r"\1", text)))
