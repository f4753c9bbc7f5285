"""The pictures of docs/messages are those of what is sent now, of every event and every channel."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from PIL import Image

from monitor.domain.news import EventType
from monitor.notifiers import NotifierSettings
from tests.pictures.events import GROUPS
from tests.pictures.sheets import DIGEST, FOLDER, pages, sheets

PAGE = (FOLDER.parent / "messages.md").read_text(encoding="utf-8")
ANEW = "run `make messages`, and look at what has changed"


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    return {f"{sheet.name}.png": sheet.digest for sheet in sheets()}


def test_the_pictures_are_of_what_is_sent_now(digests: dict[str, str]) -> None:
    drawn = {}
    for name in digests:
        with Image.open(FOLDER / name) as picture:
            drawn[name] = picture.info[DIGEST]
    assert drawn == digests, ANEW


def test_the_pages_are_of_what_is_sent_now() -> None:
    for name, text in pages():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, ANEW


def test_every_picture_and_page_is_shown_and_no_other_is_there(digests: dict[str, str]) -> None:
    shown = set(re.findall(r"\]\(messages/([\w.-]+)\)", PAGE))
    assert shown == {path.name for path in FOLDER.iterdir()}
    assert shown == {*digests, *(name for name, _ in pages()), "card-light.png", "card-dark.png"}


def test_every_event_is_shown() -> None:
    messages = [scene.message for group in GROUPS.values() for scene in group()]
    assert {message.event_type for message in messages} - {None} == {*EventType}
    assert {message.type for message in messages if message.event_type is None} == {
        *("finetune.test", "finetune.digest.due", "finetune.notifications.grouped"),
    }


def test_every_channel_is_shown(digests: dict[str, str]) -> None:
    channels = {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(get_args(NotifierSettings)[0])}
    drawn = {re.split(r"[-.]", name)[0] for name in (*digests, *(name for name, _ in pages()))}
    assert drawn - {"cloudevents"} == channels
