import asyncio
import json
from typing import Any

import aiohttp
import pytest

from monitor import notifiers
from monitor.notifiers import SlackSettings
from monitor.notifiers.base import Failure, Notifier, SendError
from monitor.notifiers.outgoing import Answer
from monitor.notifiers.slack import judge_api, judge_webhook
from monitor.secret import Redactor
from tests.notifiers.receivers import AT, attempt, message, raw, receiver

OK = (200, '{"ok":true,"channel":"C1","ts":"1700000000.000100"}', {"Content-Type": "application/json"})
TOKEN = "xoxb-0123456789-abcdefghij"


def built(client: aiohttp.ClientSession, *, timeout: float = 5.0, **fields: Any) -> Notifier:
    settings = SlackSettings(name="ml", type="slack", **fields)
    return notifiers.build(settings, session=client, redactor=Redactor(), timeout=timeout)


async def failed(sending: Notifier) -> SendError:
    with pytest.raises(SendError) as caught:
        await sending.send(message(), attempt())
    return caught.value


async def test_a_webhook_gets_the_message() -> None:
    async with receiver((200, "ok")) as slack, notifiers.session() as client:
        await built(client, webhook_url=slack.url + "/services/T/B/x").send(message(), attempt())
    heard = slack.heard[0]
    assert (heard.method, heard.path) == ("POST", "/services/T/B/x")
    assert json.loads(heard.body)["text"].startswith("❌ support-bot failed\n")
    assert "authorization" not in heard.headers


async def test_a_bot_posts_into_its_channel_with_the_token_in_a_header() -> None:
    async with receiver(OK) as slack, notifiers.session() as client:
        bot = built(client, token=TOKEN, channel="#ft", api_url=slack.url + "/api/")
        receipt = await bot.send(message(), attempt())
    heard = slack.heard[0]
    assert receipt.reference == "1700000000.000100"
    assert (heard.path, heard.headers["authorization"]) == ("/api/chat.postMessage", f"Bearer {TOKEN}")
    assert json.loads(heard.body)["channel"] == "#ft"
    assert TOKEN not in heard.body.decode()


async def test_an_answer_that_repeats_the_whole_message_is_understood() -> None:
    long = json.dumps({"message": {"text": "é" * 20_000}, "ok": True, "ts": "1.2"})
    async with receiver((200, long)) as slack, notifiers.session() as client:
        receipt = await built(client, token=TOKEN, channel="#ft", api_url=slack.url).send(message(), attempt())
    assert receipt.reference == "1.2"


WEB_API = {
    Failure.RATE: ["ratelimited", "rate_limited", "message_limit_exceeded"],
    Failure.TRANSIENT: ["internal_error", "service_unavailable", "request_timeout", "team_added_to_org"],
    Failure.AMBIGUOUS: ["fatal_error"],
    Failure.TARGET: [
        *("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope"),
        *("no_permission", "channel_not_found", "not_in_channel", "is_archived", "restricted_action"),
        *("restricted_action_read_only_channel", "ekm_access_denied", "org_login_required"),
    ],
    Failure.MESSAGE: [
        *("invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long", "no_text"),
        *("too_many_attachments", "metadata_too_large", "invalid_arguments"),
    ],
    Failure.OTHER: ["a_new_error", "message_not_found", ""],
}


@pytest.mark.parametrize(
    ("failure", "word"),
    [pytest.param(failure, word, id=word or "empty") for failure, words in WEB_API.items() for word in words],
)
def test_what_an_error_of_the_web_api_means(failure: Failure, word: str) -> None:
    body = json.dumps({"ok": False, "error": word}).encode()
    said = judge_api(Answer(status=200, headers={}, body=body), AT)
    assert isinstance(said, SendError)
    assert said.failure is failure


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        pytest.param(429, "rate_limited", Failure.RATE, id="429"),
        pytest.param(500, "rollup_error", Failure.TRANSIENT, id="500 rollup_error"),
        pytest.param(500, "", Failure.TRANSIENT, id="500"),
        pytest.param(502, "<html>bad gateway</html>", Failure.TRANSIENT, id="502"),
        pytest.param(503, "no_service", Failure.TRANSIENT, id="a 5xx passes, whatever it says"),
        pytest.param(500, "fatal_error", Failure.AMBIGUOUS, id="fatal_error may have posted"),
        pytest.param(403, "invalid_token", Failure.TARGET, id="invalid_token"),
        pytest.param(403, "action_prohibited", Failure.TARGET, id="action_prohibited"),
        pytest.param(403, "posting_to_general_channel_denied", Failure.TARGET, id="posting_to_general_channel_denied"),
        pytest.param(404, "no_service", Failure.TARGET, id="no_service"),
        pytest.param(404, "no_active_hooks", Failure.TARGET, id="no_active_hooks"),
        pytest.param(404, "channel_not_found", Failure.TARGET, id="channel_not_found"),
        pytest.param(404, "no_team", Failure.TARGET, id="no_team"),
        pytest.param(410, "channel_is_archived", Failure.TARGET, id="channel_is_archived"),
        pytest.param(400, "invalid_payload", Failure.MESSAGE, id="invalid_payload"),
        pytest.param(400, "invalid_blocks", Failure.MESSAGE, id="invalid_blocks"),
        pytest.param(400, "no_text", Failure.MESSAGE, id="no_text"),
        pytest.param(400, "something else", Failure.OTHER, id="an unknown word"),
        pytest.param(404, "", Failure.OTHER, id="any other 4xx"),
        pytest.param(302, "", Failure.TRANSIENT, id="a redirect"),
        pytest.param(200, "", Failure.OTHER, id="an empty 200"),
        pytest.param(200, "{}", Failure.OTHER, id="an object"),
        pytest.param(200, "okay", Failure.OTHER, id="nearly ok"),
    ],
)
def test_what_an_answer_of_a_webhook_means(status: int, body: str, failure: Failure) -> None:
    said = judge_webhook(Answer(status=status, headers={}, body=body.encode()), AT)
    assert isinstance(said, SendError)
    assert said.failure is failure


@pytest.mark.parametrize("by", ["webhook", "bot"])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((200, "<html>Sign in to the network</html>", {"Content-Type": "text/html"}), id="a portal's page"),
        pytest.param((200, ""), id="nothing"),
        pytest.param((200, "{}"), id="an empty object"),
        pytest.param((200, "null"), id="null"),
        pytest.param((200, "[" * 5000), id="nonsense"),
        pytest.param((204, ""), id="no content"),
    ],
)
async def test_a_good_status_alone_delivers_nothing(by: str, answer: Any) -> None:
    async with receiver(answer) as slack, notifiers.session() as client:
        fields: dict[str, Any] = (
            {"webhook_url": slack.url} if by == "webhook" else {"token": TOKEN, "channel": "C1", "api_url": slack.url}
        )
        error = await failed(built(client, **fields))
    assert error.failure in {Failure.OTHER, Failure.TRANSIENT}


async def test_blocks_that_slack_refuses_are_sent_once_more_as_text() -> None:
    async with receiver((400, "invalid_blocks"), (200, "ok")) as slack, notifiers.session() as client:
        await built(client, webhook_url=slack.url).send(message(), attempt())
    first, second = (json.loads(heard.body) for heard in slack.heard)
    assert "blocks" in first
    assert "blocks" not in second
    assert second["text"] == first["text"]


async def test_a_message_that_is_refused_as_text_too_is_refused() -> None:
    async with receiver((400, "invalid_blocks")) as slack, notifiers.session() as client:
        error = await failed(built(client, webhook_url=slack.url))
    assert (error.failure, error.reason, len(slack.heard)) == (Failure.MESSAGE, "invalid_blocks", 2)


async def test_a_limit_says_how_long_to_wait() -> None:
    async with receiver((429, "rate_limited", {"Retry-After": "30"})) as slack, notifiers.session() as client:
        error = await failed(built(client, webhook_url=slack.url))
    assert (error.failure, error.retry_after) == (Failure.RATE, 30.0)


async def test_one_lost_answer_is_one_request() -> None:
    heard = 0

    async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard += 1
        writer.transport.abort()

    async with raw(cut) as url, notifiers.session() as client:
        error = await failed(built(client, webhook_url=url))
    assert (error.failure, heard) == (Failure.AMBIGUOUS, 1)


async def test_half_an_answer_may_have_posted() -> None:
    async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")

    async with raw(half) as url, notifiers.session() as client:
        assert (await failed(built(client, webhook_url=url))).failure is Failure.AMBIGUOUS


async def test_an_error_shows_neither_the_token_nor_the_url() -> None:
    echo = json.dumps({"ok": False, "error": f"bad {TOKEN}"})
    async with receiver((200, echo)) as slack, notifiers.session() as client:
        bot = await failed(built(client, token=TOKEN, channel="C1", api_url=slack.url))
        hook = await failed(built(client, webhook_url=slack.url + f"/services/{TOKEN}"))
    assert "0123456789" not in f"{bot} {hook} {bot!r} {hook!r}"


async def test_no_redirect_takes_the_token_elsewhere() -> None:
    async with (
        receiver((200, "ok")) as thief,
        receiver((307, "", {"Location": thief.url})) as slack,
        notifiers.session() as client,
    ):
        error = await failed(built(client, token=TOKEN, channel="C1", api_url=slack.url))
    assert (error.failure, thief.heard) == (Failure.TRANSIENT, [])


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        pytest.param((400, "no_text"), True, id="a webhook that misses a text is alive"),
        pytest.param((404, "no_service"), False, id="a webhook that was removed"),
    ],
)
async def test_checking_a_webhook_posts_nothing(answer: tuple[int, str], *, good: bool) -> None:
    async with receiver(answer) as slack, notifiers.session() as client:
        hook = built(client, webhook_url=slack.url)
        if good:
            await hook.check()
        else:
            with pytest.raises(SendError):
                await hook.check()
    assert [json.loads(heard.body)["text"] for heard in slack.heard] == [""]


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        pytest.param((200, '{"ok":true}'), True, id="good"),
        pytest.param((200, '{"ok":false,"error":"invalid_auth"}'), False, id="revoked"),
    ],
)
async def test_checking_a_token_asks_auth_test(answer: tuple[int, str], *, good: bool) -> None:
    async with receiver(answer) as slack, notifiers.session() as client:
        bot = built(client, token=TOKEN, channel="C1", api_url=slack.url)
        if good:
            await bot.check()
        else:
            with pytest.raises(SendError):
                await bot.check()
    assert [heard.path for heard in slack.heard] == ["/auth.test"]
