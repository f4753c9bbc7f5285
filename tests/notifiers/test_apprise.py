"""Apprise, to a real receiver over real HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from monitor import notifiers
from monitor.notifiers import NotifierSettings
from monitor.notifiers.apprise import texts
from monitor.notifiers.base import FailureKind, Notifier, SendError
from monitor.secret import Redactor
from tests.notifiers.messages import HUGE, huge
from tests.notifiers.receivers import attempt, message, receiver

pytest.importorskip("apprise")
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # in Apprise's imports


async def built(**over: Any) -> Notifier:
    settings = TypeAdapter(NotifierSettings).validate_python({"name": "n", "type": "apprise", **over})
    async with notifiers.session() as client:
        return notifiers.build(settings, session=client, redactor=Redactor(), timeout=5.0)


async def test_a_message_goes_out_by_apprise() -> None:
    async with receiver((200, "ok")) as target:
        sender = await built(url=target.url.replace("http://", "json://"))
        await sender.check()
        await sender.send(message(), attempt())
    (heard,) = target.heard
    sent = json.loads(heard.body)
    assert (sent["title"], sent["type"]) == ("❌ support-bot failed · research", "failure")
    assert sent["message"].startswith("Model: gpt-4o-mini\nDuration: 31m")


@pytest.mark.parametrize("status", [302, 400, 429, 500])
async def test_what_is_not_taken_is_tried_again(status: int) -> None:
    async with receiver((status, "")) as target:
        sender = await built(url=target.url.replace("http://", "json://"))
        with pytest.raises(SendError) as caught:
            await sender.send(message(), attempt())
    assert caught.value.kind is FailureKind.TRANSIENT


async def test_a_redirect_is_not_followed() -> None:
    async with receiver((200, "ok")) as elsewhere:
        async with receiver((307, "", {"Location": elsewhere.url})) as target:
            sender = await built(url=target.url.replace("http://", "json://"))
            with pytest.raises(SendError):
                await sender.send(message(), attempt())
        assert (len(target.heard), elsewhere.heard) == (1, [])


async def test_a_url_from_a_file_is_read_again_and_checked_each_time(tmp_path: Path) -> None:
    path = tmp_path / "url"
    async with receiver((200, "ok")) as target:
        path.write_text("nothing://that/apprise/knows")
        sender = await built(url_file=path)
        with pytest.raises(SendError) as caught:
            await sender.send(message(), attempt())
        assert caught.value.reason == "secret"
        assert "nothing" not in str(caught.value)
        path.write_text(target.url.replace("http://", "json://"))
        await sender.send(message(), attempt())
    assert len(target.heard) == 1


def test_a_url_that_apprise_does_not_know_is_refused_without_showing_it() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(NotifierSettings).validate_python({"name": "n", "type": "apprise", "url": "nope://SECRET"})
    assert "SECRET" not in str(caught.value.errors(include_input=False, include_context=False))


@pytest.mark.parametrize("char", HUGE, ids=ascii)
@pytest.mark.parametrize(("title", "body"), [(250, 32_768), (0, 280), (256, 1024)])
def test_texts_are_cut_to_what_the_service_takes(char: str, title: int, body: int) -> None:
    shown_title, shown_body = texts(huge(char), attempt(), title=title, body=body)
    assert len(shown_title) <= title
    assert 0 < len(shown_body) <= body
