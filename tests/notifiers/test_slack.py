import asyncio
import json
from typing import Any

import aiohttp
import pytest

from monitor import notifiers
from monitor.domain.news import Card, EventType
from monitor.notifiers import HttpNotifier, SlackSettings
from monitor.notifiers.base import FailureKind, HttpAnswer, Notifier, Receipt, SendError
from monitor.notifiers.slack import SlackChannel
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
    assert json.loads(heard.body)["text"].startswith("❌ support-bot failed · research\n")
    assert "authorization" not in heard.headers


async def test_a_bot_posts_into_its_channel_with_the_token_in_a_header() -> None:
    async with receiver(OK) as slack, notifiers.session() as client:
        bot = built(client, token=TOKEN, channel="#ft", api_url=slack.url + "/api/")
        receipt = await bot.send(message(), attempt())
    heard = slack.heard[0]
    assert receipt == Receipt(reference="1700000000.000100", place="C1")
    assert (heard.path, heard.headers["authorization"]) == ("/api/chat.postMessage", f"Bearer {TOKEN}")
    assert json.loads(heard.body)["channel"] == "#ft"
    assert TOKEN not in heard.body.decode()


async def test_an_answer_that_repeats_the_whole_message_is_understood() -> None:
    long = json.dumps({"message": {"text": "é" * 20_000}, "ok": True, "ts": "1.2"})
    async with receiver((200, long)) as slack, notifiers.session() as client:
        receipt = await built(client, token=TOKEN, channel="#ft", api_url=slack.url).send(message(), attempt())
    assert receipt.reference == "1.2"


HOOK = SlackChannel(webhook_url="https://hooks.slack.com/x", token=None, channel=None, api_url="")
BOT = SlackChannel(webhook_url=None, token=TOKEN, channel="#ft", api_url="https://slack.com/api/")
HTML = {"content-type": "text/html; charset=utf-8"}


def kind(channel: SlackChannel, status: int, body: str, headers: dict[str, str] | None = None) -> FailureKind | None:
    """What an answer means; None is delivered."""
    verdict = channel.judge(HttpAnswer(status=status, headers=headers or {}, body=body.encode()), AT)
    return verdict.kind if isinstance(verdict, SendError) else None


WEB_API = {
    FailureKind.RATE: "ratelimited rate_limited message_limit_exceeded",
    FailureKind.TRANSIENT: "internal_error service_unavailable request_timeout team_added_to_org",
    FailureKind.AMBIGUOUS: "fatal_error",
    FailureKind.TARGET: "invalid_auth not_authed account_inactive token_revoked token_expired missing_scope"
    " no_permission channel_not_found not_in_channel is_archived restricted_action restricted_action_read_only_channel"
    " ekm_access_denied org_login_required not_allowed_token_type team_access_not_granted access_denied accesslimited"
    " enterprise_is_restricted two_factor_setup_required method_deprecated deprecated_endpoint messages_tab_disabled"
    " a_new_error",
    FailureKind.MESSAGE: "invalid_blocks invalid_blocks_format msg_too_long msg_blocks_too_long no_text"
    " too_many_attachments metadata_too_large invalid_arguments",
    FailureKind.CARD: "message_not_found cant_update_message edit_window_closed",
}


@pytest.mark.parametrize(
    ("expected", "word"),
    [pytest.param(expected, word, id=word) for expected, words in WEB_API.items() for word in words.split()],
)
def test_what_an_error_of_the_web_api_means(expected: FailureKind, word: str) -> None:
    assert kind(BOT, 200, json.dumps({"ok": False, "error": word})) is expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(429, "rate_limited", FailureKind.RATE, id="429"),
        pytest.param(500, "rollup_error", FailureKind.TRANSIENT, id="500 rollup_error"),
        pytest.param(500, "", FailureKind.TRANSIENT, id="500"),
        pytest.param(502, "<html>bad gateway</html>", FailureKind.TRANSIENT, id="502"),
        pytest.param(503, "no_service", FailureKind.TRANSIENT, id="a 5xx passes, whatever it says"),
        pytest.param(403, "invalid_token", FailureKind.TARGET, id="invalid_token"),
        pytest.param(403, "action_prohibited", FailureKind.TARGET, id="action_prohibited"),
        pytest.param(403, "posting_to_general_channel_denied", FailureKind.TARGET, id="general channel"),
        pytest.param(404, "no_service", FailureKind.TARGET, id="no_service"),
        pytest.param(404, "no_active_hooks", FailureKind.TARGET, id="no_active_hooks"),
        pytest.param(404, "channel_not_found", FailureKind.TARGET, id="channel_not_found"),
        pytest.param(404, "no_team", FailureKind.TARGET, id="no_team"),
        pytest.param(404, "", FailureKind.TARGET, id="a bare 404"),
        pytest.param(410, "channel_is_archived", FailureKind.TARGET, id="channel_is_archived"),
        pytest.param(400, "a_new_word", FailureKind.TARGET, id="a word that nobody knows"),
        pytest.param(400, "invalid_payload", FailureKind.MESSAGE, id="invalid_payload"),
        pytest.param(400, "invalid_blocks", FailureKind.MESSAGE, id="invalid_blocks"),
        pytest.param(400, "invalid_blocks: [0] too long", FailureKind.MESSAGE, id="a word with an explanation"),
        pytest.param(400, "no_text", FailureKind.MESSAGE, id="no_text"),
        pytest.param(413, "", FailureKind.MESSAGE, id="413"),
        pytest.param(400, "something else", FailureKind.TRANSIENT, id="a 400 in other words"),
        pytest.param(400, '{"message": "Unable to parse", "status_code": 400}', FailureKind.TRANSIENT, id="Mattermost"),
        pytest.param(302, "", FailureKind.TRANSIENT, id="a redirect"),
    ],
)
def test_what_an_answer_of_a_webhook_means(status: int, body: str, expected: FailureKind) -> None:
    assert kind(HOOK, status, body) is expected


@pytest.mark.parametrize("status", [400, 402, 405, 406, 409, 415, 422, 423, 451])
def test_a_refusal_without_a_word_of_slack_is_no_verdict_on_the_message(status: int) -> None:
    assert kind(HOOK, status, "") is FailureKind.TRANSIENT


@pytest.mark.parametrize("status", [200, 401, 403, 404])
@pytest.mark.parametrize("channel", [HOOK, BOT], ids=["webhook", "bot"])
def test_a_page_is_no_answer_of_slack(channel: SlackChannel, status: int) -> None:
    expected = FailureKind.TARGET if status in {401, 403} else FailureKind.TRANSIENT
    assert kind(channel, status, "<html>Sign in to the network</html>", HTML) is expected


@pytest.mark.parametrize("by", ["webhook", "bot"])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((200, "ok"), id="Slack, Mattermost"),
        pytest.param((204, ""), id="no content"),
        pytest.param((200, ""), id="nothing"),
        pytest.param((202, "{}", {"Content-Type": "application/json"}), id="an empty object"),
        pytest.param((200, '{"success":true}', {"Content-Type": "application/json"}), id="Rocket.Chat"),
        pytest.param((200, '{"result":"success","msg":""}'), id="Zulip"),
        pytest.param((200, '{"errcode":0,"errmsg":"ok"}'), id="a relay to WeCom"),
        pytest.param((202, '{"status":"queued","errors":[]}'), id="a relay with a queue"),
        pytest.param((201, '{"status":"queued","error":null}'), id="a relay"),
        pytest.param((200, "Message received, thank you."), id="words"),
        pytest.param((200, "[" * 5000), id="brackets"),
        pytest.param((200, "ok", {"Content-Type": "text/html; charset=utf-8"}), id="Flask, PHP"),
        pytest.param((200, "", {"Content-Type": "text/html"}), id="Django"),
        pytest.param((200, "<?xml version='1.0'?><Response/>", {"Content-Type": "text/xml"}), id="XML"),
    ],
)
async def test_a_receiver_may_acknowledge_in_its_own_words(by: str, answer: Any) -> None:
    async with receiver(answer) as slack, notifiers.session() as client:
        fields: dict[str, Any] = (
            {"webhook_url": slack.url} if by == "webhook" else {"token": TOKEN, "channel": "C1", "api_url": slack.url}
        )
        assert await built(client, **fields).send(message(), attempt()) == Receipt()
    assert len(slack.heard) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((200, '{"ok":false}'), id="ok is false"),
        pytest.param((200, '{"success":false,"error":"Invalid integration id or token provided."}'), id="Rocket.Chat"),
        pytest.param((200, '{"status":"error","message":"no such room"}'), id="a relay in words of its own"),
        pytest.param((200, '{"errcode":40001,"errmsg":"invalid credential"}'), id="a relay to WeCom"),
        pytest.param((202, '{"errors":["no such room"]}'), id="a relay with a list"),
        pytest.param((200, '{"result":"error","msg":"Unknown stream","code":"STREAM_DOES_NOT_EXIST"}'), id="Zulip"),
        pytest.param((200, "invalid_token"), id="a relay that always says 200"),
        pytest.param((200, "Error: no such room"), id="a relay that always says 200, in words"),
    ],
)
async def test_an_error_with_a_good_status_suspends_the_target(answer: Any) -> None:
    async with receiver(answer) as slack, notifiers.session() as client:
        error = await failed(built(client, webhook_url=slack.url))
    assert error.kind is FailureKind.TARGET


@pytest.mark.fault("P23")
@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_5xx_may_have_posted(status: int) -> None:
    async with receiver((status, "bad gateway")) as slack, notifiers.session() as client:
        error = await failed(built(client, webhook_url=slack.url))
    assert (error.kind, error.status, error.answer) == (FailureKind.AMBIGUOUS, status, "bad gateway")


@pytest.mark.fault("P23")
@pytest.mark.parametrize(
    ("down", "kind"),
    [
        pytest.param((503, ""), FailureKind.TRANSIENT, id="still down"),
        pytest.param((404, "no_service"), FailureKind.TARGET, id="gone meanwhile"),
    ],
)
async def test_the_one_repeat_is_not_spent_while_slack_is_down(down: Any, kind: FailureKind) -> None:
    async with receiver(down, (400, "no_text"), (200, "ok")) as slack, notifiers.session() as client:
        hook = built(client, webhook_url=slack.url)
        with pytest.raises(SendError) as caught:
            await hook.send(message(), attempt(repeated=True))
        assert caught.value.kind is kind
        await hook.send(message(), attempt(repeated=True))
    assert [json.loads(heard.body)["text"] == "" for heard in slack.heard] == [True, True, False]


async def test_a_receiver_that_takes_no_question_well_gets_the_repeat_in_the_end() -> None:
    async with receiver((200, "ok")) as slack, notifiers.session() as client:
        await built(client, webhook_url=slack.url).send(message(), attempt(repeated=True, number=50))
    assert [json.loads(heard.body)["text"] == "" for heard in slack.heard] == [False]


def test_a_bot_edits_what_it_posted_and_a_webhook_cannot() -> None:
    card = Card(place="C1", reference="1.2")
    assert HOOK.edit(card, message(), attempt()) is None
    edited = BOT.edit(card, message(), attempt(plain=True))
    assert edited is not None
    assert edited.url == "https://slack.com/api/chat.update"
    content = json.loads(edited.body)
    assert (content["channel"], content["ts"]) == ("C1", "1.2")
    assert (content["blocks"], content["attachments"]) == ([], []), "what is left out would stay"


def test_what_goes_below_a_card_is_in_its_thread_and_the_end_is_in_the_channel_too() -> None:
    below = attempt(card=Card(place="C1", reference="1.2"))
    end, milestone = (
        json.loads(BOT.post(message(event_type=event, channel="#other"), below).body)
        for event in (EventType.FAILED, EventType.STALLED)
    )
    assert (end["channel"], end["thread_ts"], end["reply_broadcast"]) == ("C1", "1.2", True)
    assert (milestone["channel"], milestone["thread_ts"], "reply_broadcast" in milestone) == ("C1", "1.2", False)


def test_an_edit_has_no_word_that_chat_update_does_not_know() -> None:
    edited = BOT.edit(Card(place="C1", reference="1.2"), message(), attempt())
    assert edited is not None
    assert set(json.loads(edited.body)) == {"channel", "ts", "text", "blocks", "attachments", "parse", "link_names"}


@pytest.mark.parametrize(
    ("word", "kind", "of_post"),
    [
        ("message_not_found", FailureKind.CARD, FailureKind.CARD),
        ("is_archived", FailureKind.CARD, FailureKind.TARGET),
        ("channel_not_found", FailureKind.CARD, FailureKind.TARGET),
        ("token_revoked", FailureKind.TARGET, FailureKind.TARGET),
    ],
)
async def test_an_archived_channel_is_a_lost_card_for_who_edits_and_a_refusal_for_who_posts(
    word: str, kind: FailureKind, of_post: FailureKind
) -> None:
    card = Card(place="C1", reference="1.2")
    async with receiver((200, json.dumps({"ok": False, "error": word}))) as slack, notifiers.session() as client:
        bot = built(client, token=TOKEN, channel="#ft", api_url=slack.url)
        assert isinstance(bot, HttpNotifier)
        with pytest.raises(SendError) as edited:
            await bot.edit(card, message(), attempt())
        with pytest.raises(SendError) as below:
            await bot.send(message(), attempt(card=card))
        assert (edited.value.kind, below.value.kind) == (kind, kind)
        assert (await failed(bot)).kind is of_post


async def test_a_webhook_says_that_it_can_edit_nothing() -> None:
    async with notifiers.session() as client:
        hook = built(client, webhook_url="http://127.0.0.1:1/")
        assert isinstance(hook, HttpNotifier)
        with pytest.raises(SendError) as edited:
            await hook.edit(Card(place="C1", reference="1.2"), message(), attempt())
        with pytest.raises(SendError):
            hook.preview_edit(Card(place="C1", reference="1.2"), message(), attempt())
    assert edited.value.kind is FailureKind.CARD


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
    assert (error.kind, error.reason, len(slack.heard)) == (FailureKind.MESSAGE, "invalid_blocks", 2)


async def test_a_refusal_is_kept_with_what_slack_said_redacted_and_cut() -> None:
    said = json.dumps({"ok": False, "error": "invalid_auth", "needed": f"not {TOKEN[5:]}", "more": "x" * 900})
    async with receiver((200, said)) as slack, notifiers.session() as client:
        error = await failed(built(client, token=TOKEN, channel="#ft", api_url=slack.url))
    assert (error.status, len(error.answer)) == (200, 300)
    assert error.answer.startswith('{"ok": false, "error": "invalid_auth", "needed": "not [redacted]"')


async def test_a_limit_says_how_long_to_wait() -> None:
    async with receiver((429, "rate_limited", {"Retry-After": "30"})) as slack, notifiers.session() as client:
        error = await failed(built(client, webhook_url=slack.url))
    assert (error.kind, error.retry_after) == (FailureKind.RATE, 30.0)


async def test_one_lost_answer_is_one_request() -> None:
    heard = 0

    async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard += 1
        writer.transport.abort()

    async with raw(cut) as url, notifiers.session() as client:
        error = await failed(built(client, webhook_url=url))
    assert (error.kind, heard) == (FailureKind.AMBIGUOUS, 1)


async def test_half_an_answer_may_have_posted() -> None:
    async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")

    async with raw(half) as url, notifiers.session() as client:
        assert (await failed(built(client, webhook_url=url))).kind is FailureKind.AMBIGUOUS


async def test_an_error_shows_neither_the_token_nor_the_url() -> None:
    echo = json.dumps({"ok": False, "error": f"bad {TOKEN}"})
    async with receiver((200, echo)) as slack, notifiers.session() as client:
        bot = await failed(built(client, token=TOKEN, channel="C1", api_url=slack.url))
        hook = await failed(built(client, webhook_url=slack.url + f"/services/{TOKEN}"))
    assert "0123456789" not in f"{bot} {hook} {bot!r} {hook!r}"


@pytest.mark.fault("G31", "D05")
async def test_no_redirect_takes_the_token_elsewhere() -> None:
    async with (
        receiver((200, "ok")) as thief,
        receiver((307, "", {"Location": thief.url})) as slack,
        notifiers.session() as client,
    ):
        error = await failed(built(client, token=TOKEN, channel="C1", api_url=slack.url))
    assert (error.kind, thief.heard) == (FailureKind.TRANSIENT, [])


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
