import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from monitor import notifiers
from monitor.notifiers import NotifierSettings
from monitor.notifiers.base import FailureKind, Notifier, SendError
from monitor.notifiers.webhook import body, signed
from monitor.secret import Redactor
from tests.notifiers.receivers import AT, Heard, attempt, message, receiver

KEY = "whsec_" + base64.b64encode(b"a key of some length, for tests").decode()
OTHER_KEY = "whsec_" + base64.b64encode(b"another key, for the change over").decode()
NASTY = [
    "grüße 🎉",
    "line\u2028and\u2029paragraph",
    'quote " \\ slash',
    "\u202eevil",
    "\x00\x1f",
    "</script>",
    "a\r\nb: c",
]


def settings(**fields: Any) -> Any:
    return TypeAdapter[Any](NotifierSettings).validate_python({"name": "ops", "type": "webhook", **fields})


def built(client: aiohttp.ClientSession, *, redactor: Redactor | None = None, **fields: Any) -> Notifier:
    return notifiers.build(settings(**fields), session=client, redactor=redactor or Redactor(), timeout=5.0)


def verified(heard: Heard, key: str) -> Any:
    return Webhook(key).verify(heard.body, heard.headers)


async def test_a_message_arrives_as_a_standard_webhook() -> None:
    async with receiver((204, "")) as target, notifiers.session() as client:
        now = datetime.now(UTC)
        await built(client, url=target.url + "/hook", secret=KEY).send(message(), attempt(at=now))
    heard = target.heard[0]
    assert (heard.method, heard.path) == ("POST", "/hook")
    assert heard.headers["webhook-id"] == "research/ftjob-abc/3@ops"
    assert heard.headers["webhook-timestamp"] == str(int(now.timestamp()))
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["user-agent"].startswith("finetune-monitor/")
    assert verified(heard, KEY) == {
        "type": "finetune.job.failed",
        "timestamp": "2026-11-22T10:15:02Z",
        "data": {"org": "research"},
    }


@pytest.mark.parametrize("form", ["standard", "cloudevents"])
async def test_the_body_of_a_template_goes_out_as_it_is_and_signed(form: str) -> None:
    async with receiver((200, "")) as target, notifiers.session() as client:
        hook = built(client, url=target.url, secret=KEY, format=form)
        await hook.send(message(body='{"text": "ä"}'), attempt(at=datetime.now(UTC)))
    assert target.heard[0].body == '{"text": "ä"}'.encode()
    assert verified(target.heard[0], KEY) == {"text": "ä"}
    assert target.heard[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize("text", NASTY)
async def test_the_body_that_is_signed_is_the_body_that_is_sent(text: str) -> None:
    data = json.dumps({"name": text}, ensure_ascii=False)
    async with receiver((200, "")) as target, notifiers.session() as client:
        hook = built(client, url=target.url, secret=KEY)
        await hook.send(message(data=data), attempt(key=f"research/{text}/1@ops", at=datetime.now(UTC)))
    assert verified(target.heard[0], KEY)["data"] == {"name": text}
    assert data.encode() in target.heard[0].body


async def test_an_altered_body_does_not_verify() -> None:
    async with receiver((200, "")) as target, notifiers.session() as client:
        await built(client, url=target.url, secret=KEY).send(message(), attempt(at=datetime.now(UTC)))
    heard = target.heard[0]
    with pytest.raises(WebhookVerificationError):
        Webhook(KEY).verify(heard.body + b" ", heard.headers)


async def test_while_a_secret_is_changed_both_sign() -> None:
    async with receiver((200, "")) as target, notifiers.session() as client:
        await built(client, url=target.url, secret=(KEY, OTHER_KEY)).send(message(), attempt(at=datetime.now(UTC)))
    assert len(target.heard[0].headers["webhook-signature"].split(" ")) == 2
    assert verified(target.heard[0], KEY)
    assert verified(target.heard[0], OTHER_KEY)


async def test_without_a_secret_nothing_is_signed() -> None:
    async with receiver((200, "")) as target, notifiers.session() as client:
        await built(client, url=target.url).send(message(), attempt())
    assert "webhook-signature" not in target.heard[0].headers


async def test_secrets_from_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    async with receiver((200, "")) as target, notifiers.session() as client:
        hook = built(client, url=target.url, secret_file=path)
        await hook.send(message(), attempt(at=datetime.now(UTC)))
        path.write_text(OTHER_KEY + "\n\n")
        await hook.send(message(), attempt(at=datetime.now(UTC)))
    assert verified(target.heard[0], KEY)
    assert verified(target.heard[1], OTHER_KEY)


@pytest.mark.parametrize("content", ["", "whsec_", "not base64!", None])
async def test_a_file_without_a_usable_key_sends_nothing(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    async with receiver((200, "")) as target, notifiers.session() as client:
        with pytest.raises(SendError) as caught:
            await built(client, url=target.url, secret_file=path).send(message(), attempt())
    assert (caught.value.kind, caught.value.reason) == (FailureKind.TRANSIENT, "secret")
    assert target.heard == []


async def test_headers_of_the_operator_go_along() -> None:
    async with receiver((200, "")) as target, notifiers.session() as client:
        await built(client, url=target.url, headers={"Authorization": "Bearer abc"}).send(message(), attempt())
    assert target.heard[0].headers["authorization"] == "Bearer abc"


def test_every_attempt_has_the_same_body_and_its_own_time_and_signature() -> None:
    sealed = message(data='{"b": 1,  "a":\t2}')
    assert body(sealed) == body(sealed)
    assert b'"data":{"b": 1,  "a":\t2}' in body(sealed)
    first, later = (signed(body(sealed), attempt(at=at), [KEY]) for at in (AT, AT + timedelta(minutes=5)))
    assert first["webhook-id"] == later["webhook-id"]
    assert first["webhook-timestamp"] != later["webhook-timestamp"]
    assert first["webhook-signature"] != later["webhook-signature"]


@given(st.text(), st.text(), st.text())
def test_no_text_can_break_an_envelope(kind: str, job: str, text: str) -> None:
    content = body(message(type=kind, data=json.dumps(text + "\ud800", ensure_ascii=False)))
    assert set(json.loads(content)) == {"type", "timestamp", "data"}
    headers = signed(content, attempt(key=f"research/{job}\ud800/1@ops"), [KEY])
    assert all(value.isascii() and value.isprintable() for value in headers.values())


async def test_a_refusal_is_kept_with_what_the_receiver_said_but_not_in_its_text() -> None:
    key = base64.b64decode(KEY.removeprefix("whsec_") + "==").hex()
    said = f"bad signature by {KEY} \x1b[31m<script>\n" + "x" * 900
    async with receiver((400, said)) as target, notifiers.session() as client:
        with pytest.raises(SendError) as caught:
            await built(client, url=target.url, secret=KEY).send(message(), attempt())
    error = caught.value
    assert (error.kind, error.reason, error.status) == (FailureKind.TRANSIENT, "refused", 400)
    assert "script" not in str(error)
    assert error.answer.startswith("bad signature by [redacted] [31m<script> xxx")
    assert (len(error.answer), KEY[6:] in error.answer, key in error.answer) == (300, False, False)


@pytest.mark.parametrize("url", ["ws://127.0.0.1:{}/", "WS://127.0.0.1:{}/", "//127.0.0.1:{}/", "127.0.0.1:{}", "x"])
async def test_a_file_that_holds_no_url_sends_nothing(tmp_path: Path, url: str) -> None:
    path = tmp_path / "url"
    async with receiver((200, "")) as target, notifiers.session() as client:
        path.write_text(url.format(target.url.rpartition(":")[2]))
        hook = built(client, url_file=path)
        with pytest.raises(SendError) as caught:
            await hook.send(message(), attempt())
        assert (caught.value.kind, caught.value.reason) == (FailureKind.TRANSIENT, "secret")
        assert target.heard == []
        path.write_text(target.url)
        await hook.send(message(), attempt())
        assert len(target.heard) == 1
        path.write_text(url)
        with pytest.raises(SendError):
            await hook.send(message(), attempt())
        assert len(target.heard) == 1


@pytest.mark.parametrize(
    ("answers", "good"),
    [
        pytest.param([(204, "")], True, id="it answers"),
        pytest.param([(401, "")], True, id="it refuses what is not signed"),
        pytest.param([(410, "")], False, id="it is gone"),
    ],
)
async def test_checking_sends_no_message(answers: Sequence[tuple[int, str]], *, good: bool) -> None:
    async with receiver(*answers) as target, notifiers.session() as client:
        hook = built(client, url=target.url, secret=KEY)
        if good:
            await hook.check()
        else:
            with pytest.raises(SendError):
                await hook.check()
    assert [heard.method for heard in target.heard] == ["OPTIONS"]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"url": "https://a.example/", "secret": ""}, id="an empty secret"),
        pytest.param({"url": "https://a.example/", "secret": "whsec_"}, id="a secret that is only a prefix"),
        pytest.param({"url": "https://a.example/", "secret": "whsec_SECRET*VALUE"}, id="a secret that is not base64"),
        pytest.param({"url": "https://a.example/", "secret": "whsec_QUJDREVGR0hJSktMTU5P"}, id="a key of 15 bytes"),
        pytest.param({"url": "https://a.example/", "secret": [KEY, ""]}, id="one of two secrets is empty"),
        pytest.param({"url": "http://8.8.8.8/SECRET*VALUE"}, id="plain http to a public address"),
        pytest.param({"url": "SECRET*VALUE"}, id="no URL"),
        pytest.param({"url": "https://a.example/", "headers": {"Webhook-Id": "SECRET*VALUE"}}, id="a header of ours"),
        pytest.param({"url": "https://a.example/", "headers": {"a b": "SECRET*VALUE"}}, id="no header name"),
        pytest.param({"url": "https://a.example/", "headers": {"x": "SECRET*VALUE\r\ny: z"}}, id="two headers in one"),
        pytest.param({"url": "https://a.example/", "colour": "red"}, id="an unknown key"),
        pytest.param({"url": "https://a.example/", "name": "No Name"}, id="a name that is no label"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_showing_a_secret(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**fields)
    assert "SECRET*VALUE" not in str(caught.value.errors(include_input=False, include_context=False))


def test_all_secrets_are_known_to_the_redactor() -> None:
    redactor = Redactor()
    client: Any = None  # nothing is sent
    built(
        client,
        redactor=redactor,
        url="https://ops.example.com/hook/0123456789abcdef",
        secret=(KEY, OTHER_KEY),
        headers={"X-Token": "token-0123456789"},
    )
    shown = redactor(f"hook/0123456789abcdef {KEY} {OTHER_KEY} token-0123456789")
    assert not any(part in shown for part in ("0123456789", KEY[6:], OTHER_KEY[6:]))
