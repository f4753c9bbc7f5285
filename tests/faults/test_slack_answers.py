"""Every answer of Slack over real HTTP, and its effect on the delivery and the channel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.notifiers import SlackSettings
from tests.courier.parts import Hands
from tests.e2e.daemon import until
from tests.faults.delivery import bot, running_couriers, slack
from tests.faults.targets import Act, Letter, Target, half, hang, listening, reset, say
from tests.metrics.scrapes import value

pytestmark = pytest.mark.fault("G16")

Answer = tuple[int, bytes, str]


def api(error: str, status: int = 200) -> Answer:
    return status, json.dumps({"ok": False, "error": error}).encode(), "Content-Type: application/json"


def plain(status: int, body: str) -> Answer:
    return status, body.encode(), "Content-Type: text/plain"


RETRY, SUSPEND, DEAD, ONCE_MORE, REPEAT, SENT = "retry", "suspend", "dead", "once more", "repeat", "sent"


@pytest.mark.fault("D09")
@pytest.mark.parametrize(("error", "expected"), [
    *(pytest.param(error, expected, id=f"D09 {error}") for expected, errors in {
        RETRY: "ratelimited rate_limited message_limit_exceeded internal_error service_unavailable request_timeout "
               "team_added_to_org",
        ONCE_MORE: "fatal_error",
        SUSPEND: "invalid_auth not_authed account_inactive token_revoked token_expired missing_scope no_permission "
              "channel_not_found not_in_channel is_archived restricted_action restricted_action_read_only_channel "
              "restricted_action_thread_only_channel ekm_access_denied org_login_required "
              "not_allowed_token_type team_access_not_granted access_denied accesslimited enterprise_is_restricted "
              "two_factor_setup_required method_deprecated deprecated_endpoint messages_tab_disabled a_new_error",
        DEAD: "invalid_blocks invalid_blocks_format msg_too_long msg_blocks_too_long no_text too_many_attachments "
              "metadata_too_large invalid_arguments",
    }.items() for error in errors.split()),
])  # fmt: skip
async def test_an_error_of_slacks_web_api_has_its_class(tmp_path: Path, error: str, expected: str) -> None:
    await judged(tmp_path, api(error), expected, bot)


@pytest.mark.fault("D09", "D10")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(plain(429, "rate_limited"), RETRY, id="D09 429"),
        pytest.param(plain(500, "rollup_error"), REPEAT, id="D09 rollup_error"),
        pytest.param(plain(503, "x"), REPEAT, id="D09 503"),
        pytest.param(plain(403, "invalid_token"), SUSPEND, id="D09 invalid_token"),
        pytest.param(plain(403, "action_prohibited"), SUSPEND, id="D09 action_prohibited"),
        pytest.param(plain(403, "posting_to_general_channel_denied"), SUSPEND, id="D09 general channel"),
        pytest.param(plain(404, "no_service"), SUSPEND, id="D09 no_service"),
        pytest.param(plain(404, "no_active_hooks"), SUSPEND, id="D09 no_active_hooks"),
        pytest.param(plain(404, "channel_not_found"), SUSPEND, id="D09 channel_not_found"),
        pytest.param(plain(404, "no_team"), SUSPEND, id="D09 no_team"),
        pytest.param(plain(410, "channel_is_archived"), SUSPEND, id="D09 channel_is_archived"),
        pytest.param(plain(400, "invalid_payload"), DEAD, id="D09 invalid_payload"),
        pytest.param(plain(400, "invalid_blocks"), DEAD, id="D09 invalid_blocks"),
        pytest.param(plain(400, "no_text"), DEAD, id="D09 no_text"),
        pytest.param(plain(409, "what_is_this"), SUSPEND, id="D09 an unknown word"),
        pytest.param((200, b"<html>log in</html>", "Content-Type: text/html"), RETRY, id="D10 HTML with 200"),
        pytest.param(plain(409, "come back later"), RETRY, id="D09 other words"),
        pytest.param(plain(404, "<html>no route</html>"), RETRY, id="D06 an ingress without a route"),
        pytest.param(plain(200, ""), SENT, id="nothing with 200"),
        pytest.param(plain(204, ""), SENT, id="204"),
        pytest.param(plain(200, "{}"), SENT, id="{} with 200"),
        pytest.param((302, b"", "Location: https://127.0.0.1:1/"), RETRY, id="D05 302"),
    ],
)
async def test_an_answer_of_an_incoming_webhook_has_its_class(tmp_path: Path, answer: Answer, expected: str) -> None:
    await judged(tmp_path, answer, expected, slack)


@pytest.mark.fault("D10")
async def test_a_page_with_200_is_no_answer_of_the_web_api(tmp_path: Path) -> None:
    await judged(tmp_path, (200, b"<html>log in</html>", "Content-Type: text/html"), RETRY, bot)


def works_but_for_messages(act: Act) -> Act:
    """A Slack that passes checks whether it works, and answers messages with this act."""

    async def acts(letter: Letter, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = b'"text": ""' in letter.body
        await (say(200, b'{"ok": true}') if asked else act)(letter, reader, writer)

    return acts


def messages(target: Target) -> list[Letter]:
    """The messages that a target received, without checks whether it works."""
    return [letter for letter in target.letters if b'"text": ""' not in letter.body]


async def judged(folder: Path, answer: Answer, expected: str, channel: Callable[[str, Target], SlackSettings]) -> None:
    """Send a message to a target that always answers like this, then repair the target and check what became of it."""
    act = say(*answer)
    target, clock = Target([works_but_for_messages(act) if expected == ONCE_MORE else act]), Hands()
    async with listening(target), running_couriers(folder, channel("chat", target), clock=clock) as couriers:
        await couriers.enqueue("a", to=("chat",))

        async def tried() -> bool:
            (one,) = await couriers.posted()
            ended = one.state in {"dead", "sent"}
            parked = value(couriers.own, "finetune_notifier_parked", {"notifier": "chat"}) == 1
            return ended or parked or len(target.letters) >= 7

        await until(tried)
        (one,) = await couriers.posted()
        parked = value(couriers.own, "finetune_notifier_parked", {"notifier": "chat"}) == 1
        repeats = sum(b"may be a repeat" in letter.body for letter in target.letters)
        match expected:
            case "sent":
                assert (one.state, parked, len(target.letters)) == ("sent", False, 1)
            case "suspend":
                assert (one.state, parked) == ("pending", True)
            case "dead":
                assert (one.state, parked, len(target.letters)) == ("dead", False, 2)
                assert b'"blocks"' not in target.letters[1].body
            case "once more":
                assert (one.state, one.reason, len(messages(target)), repeats) == ("dead", "ambiguous", 2, 1)
            case _:
                assert (one.state, parked, repeats) == ("pending", False, 0)
                if expected == "repeat":  # the check whether Slack works that follows the message is not a copy of it
                    assert len(messages(target)) == 1
                good = json.dumps({"ok": True, "ts": "1.2"}).encode() if channel is bot else b"ok"
                target.acts = [say(200, good)]

                async def sent() -> bool:
                    return [one.state for one in await couriers.posted()] == ["sent"]

                await until(sent)
                repeats = sum(b"may be a repeat" in letter.body for letter in target.letters)
                assert repeats == (1 if expected == "repeat" else 0)


@pytest.mark.fault("D02")
@pytest.mark.parametrize("channel", [slack, bot], ids=["webhook", "bot"])
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(reset, id="D02 taken, then RST"),
        pytest.param(hang, id="D02 taken, then silence"),
        pytest.param(half, id="D02 half an answer"),
    ],
)
async def test_slack_gets_at_most_one_marked_repeat_of_what_may_have_arrived(
    tmp_path: Path, act: Act, channel: Callable[[str, Target], SlackSettings]
) -> None:
    target = Target([works_but_for_messages(act)])
    async with listening(target), running_couriers(tmp_path, channel("chat", target)) as couriers:
        await couriers.enqueue("a", to=("chat",))

        async def buried() -> bool:
            return [one.reason for one in await couriers.posted("dead")] == ["ambiguous"]

        await until(buried)
        assert [b"may be a repeat" in letter.body for letter in messages(target)] == [False, True]


@pytest.mark.fault("D02")
@pytest.mark.parametrize("act", [reset, hang, half, say(502)], ids=["RST", "silence", "half an answer", "502"])
async def test_the_one_repeat_waits_until_slack_works_again(tmp_path: Path, act: Act) -> None:
    target = Target([act])
    async with listening(target), running_couriers(tmp_path, slack("chat", target)) as couriers:
        await couriers.enqueue("a", to=("chat",))
        await until(lambda: len(target.letters) >= 3)
        assert len(messages(target)) == 1
        target.acts = [say(200, b"ok")]

        async def sent() -> bool:
            return [one.state for one in await couriers.posted()] == ["sent"]

        await until(sent)
        assert [b"may be a repeat" in letter.body for letter in messages(target)] == [False, True]
