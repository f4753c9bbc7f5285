"""What the pictures show: for each channel, what its file makes of every message, drawn as its receiver would."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from monitor.notifiers.alertmanager import AlertmanagerChannel
from monitor.notifiers.apprise import texts
from monitor.notifiers.base import Attempt, Channel
from monitor.notifiers.console import card
from monitor.notifiers.discord import DiscordChannel
from monitor.notifiers.email import compose
from monitor.notifiers.pagerduty import PagerDutyChannel
from monitor.notifiers.slack import SlackChannel
from monitor.notifiers.teams import TeamsChannel
from monitor.notifiers.webhook import WebhookChannel
from tests.deploy.promql import ROOT
from tests.pictures import discord, slack, teams
from tests.pictures.events import GROUPS, Scene

FOLDER: Final = ROOT / "docs" / "messages"
DIGEST: Final = "Payloads"
"""The text in a picture that tells of which payloads it was drawn."""
_STYLE: Final = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
_THEMES: Final = ("light", "dark")
_HOOK: Final = "https://hooks.example.com/services/…"


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One picture."""

    name: str
    html: str
    digest: str
    """Of the payloads that it shows."""
    width: int


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """How the messages of one channel are drawn."""

    name: str
    payload: Callable[[Scene, Attempt], Any]
    draw: Callable[[Any], str]
    look: str
    """The classes of the page's body."""
    width: int = 720


@dataclass(frozen=True, kw_only=True)
class _Code:
    """How the messages of one channel that is for programs are shown."""

    name: str
    title: str
    payload: Callable[[Scene, Attempt], Any]
    language: str = "json"

    @property
    def about(self) -> str:
        """The page's first sentence."""
        setting = "format: cloudevents" if self.name == "cloudevents" else f"type: {self.name}"
        return f"Every message of a notifier with `{setting}`. `make messages` generates this page from the code."


_TITLES: Final = {
    "pagerduty": "Messages in PagerDuty",
    "alertmanager": "Messages in Alertmanager",
    "webhook": "Messages by webhook",
    "cloudevents": "Messages as CloudEvents",
    "console": "Messages in the terminal",
    "apprise": "Messages by Apprise",
}


def sheets() -> Iterator[Sheet]:
    """All pictures."""
    for kind in _pictures():
        for group, scenes in GROUPS.items():
            payloads = {scene.name: kind.payload(scene, _attempt(scene)) for scene in scenes()}
            parts = "".join(f"<h2>{html.escape(name)}</h2>{kind.draw(payload)}" for name, payload in payloads.items())
            known = json.dumps(payloads, default=str, ensure_ascii=False)
            yield Sheet(
                name=f"{kind.name}-{group}",
                html=_page(kind.look, parts),
                digest=hashlib.sha256(known.encode()).hexdigest(),
                width=kind.width,
            )


def cards(body: str) -> Iterator[Sheet]:
    """The pictures of a card's life."""
    for theme in _THEMES:
        yield Sheet(name=f"card-{theme}", html=_page(f"slack {theme}", body), digest="", width=760)


def pages() -> Iterator[tuple[str, str]]:
    """The names and texts of the pages of what is no picture: JSON, and plain text."""
    for code in _codes():
        scenes = [scene for group in GROUPS.values() for scene in group()]
        parts = [f"## {_heading(scene.name)}\n\n```{code.language}\n{_code(code, scene)}\n```\n" for scene in scenes]
        yield f"{code.name}.md", "\n".join([f"# {code.title}\n\n{code.about}\n", *parts])


def _heading(text: str) -> str:
    return text[0].upper() + text[1:]


def _code(code: _Code, scene: Scene) -> str:
    payload = code.payload(scene, _attempt(scene))
    text = payload if isinstance(payload, str) else json.dumps(payload, indent=2, ensure_ascii=False)
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines())


def _page(look: str, parts: str) -> str:
    head = f'<!doctype html><meta charset="utf-8"><style>{_STYLE}</style>'
    return f'{head}<body class="{look}">{parts}</body>'


def _attempt(scene: Scene) -> Attempt:
    return Attempt(key=f"{scene.message.subject.key}/3@ml", at=scene.message.at, repeated=scene.repeated)


def _pictures() -> Iterator[_Kind]:
    bot = SlackChannel(webhook_url=_HOOK, token=None, channel=None, api_url="")
    guild, workflow = DiscordChannel(url=_HOOK), TeamsChannel(url=_HOOK)
    for theme in _THEMES:
        yield _Kind(name=f"slack-{theme}", payload=_posted(bot), draw=slack.post, look=f"slack {theme}")
    yield _Kind(name="discord", payload=_posted(guild), draw=discord.post, look="discord", width=620)
    yield _Kind(name="teams", payload=_posted(workflow), draw=teams.post, look="teams", width=620)
    yield _Kind(name="email", payload=_mail, draw=_drawn_mail, look="mail")


def _codes() -> Iterator[_Code]:
    channels: dict[str, Channel] = {
        "pagerduty": PagerDutyChannel(routing_key="R0123456789", api_url="https://events.pagerduty.com"),
        "alertmanager": AlertmanagerChannel(url="http://alertmanager:9093"),
        "webhook": WebhookChannel(url=_HOOK, keys=(), headers={}),
        "cloudevents": WebhookChannel(url=_HOOK, keys=(), headers={}, cloudevents=True),
    }
    for name, channel in channels.items():
        yield _Code(name=name, title=_TITLES[name], payload=_posted(channel))
    yield _Code(name="console", title=_TITLES["console"], payload=_printed, language="text")
    yield _Code(name="apprise", title=_TITLES["apprise"], payload=_sent_by_apprise, language="text")


def _posted(channel: Channel) -> Callable[[Scene, Attempt], Any]:
    return lambda scene, attempt: json.loads(channel.post(scene.message, attempt).body)


def _mail(scene: Scene, attempt: Attempt) -> dict[str, str]:
    """What people see of a mail; its boundaries are chosen by chance."""
    of = compose(scene.message, attempt, sender="Fine-tuning <monitor@example.com>", to=("ml@example.com",))
    body = of.get_body(("html",))
    assert body is not None
    return {"subject": of["Subject"], "who": f"{of['From']} → {of['To']}", "html": body.get_content()}


def _drawn_mail(of: dict[str, str]) -> str:
    head = f'<div class="head"><b>{slack.signs(html.escape(of["subject"]))}</b>{html.escape(of["who"])}</div>'
    return f'{head}<div class="body">{slack.signs(of["html"])}</div>'


def _printed(scene: Scene, attempt: Attempt) -> str:
    return card(scene.message, attempt, width=90)


def _sent_by_apprise(scene: Scene, attempt: Attempt) -> str:
    title, body = texts(scene.message, attempt, title=250, body=5000)
    return f"{title}\n\n{body}"
