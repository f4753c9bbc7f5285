"""Draws what Teams was sent as Teams would show it: an Adaptive Card."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from tests.pictures.slack import signs


def post(content: Mapping[str, Any]) -> str:
    """One message with its card."""
    (attachment,) = content["attachments"]
    card = attachment["content"]
    actions = "".join(f"<span>{html.escape(one['title'])}</span>" for one in card.get("actions", []))
    body = "".join(map(_element, card["body"]))
    return (
        f'<div class="who">Workflows</div><div class="card">{body}'
        f'{f"""<div class="actions">{actions}</div>""" if actions else ""}</div>'
    )


def _element(of: Mapping[str, Any]) -> str:
    if of["type"] == "Container":
        return f'<div class="box {of["style"]}">{"".join(map(_element, of["items"]))}</div>'
    runs = "".join(f'<span class="{_look(run)}">{signs(html.escape(run["text"]))}</span>' for run in of["inlines"])
    return f'<div class="text{"" if of["spacing"] == "none" else " gap"}">{runs}</div>'


def _look(run: Mapping[str, Any]) -> str:
    named = [run.get("weight"), run.get("size"), run.get("color"), run.get("fontType")]
    return " ".join([*filter(None, named), *(["subtle"] if run.get("isSubtle") else [])])
