"""Every answer of Slack, over real HTTP, and what becomes of the envelope and the channel."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.notifiers import SlackSettings
from tests.courier.parts import Hands
from tests.e2e.daemon import until
from tests.faults.post_office import bot, post_office, slack
from tests.faults.targets import Act, Target, half, hang, listening, reset, say

Answer = tuple[int, bytes, str]


def api(error: str, status: int = 200) -> Answer:
    return status, json.dumps({"ok": False, "error": error}).encode(), "Content-Type: application/json"


def plain(status: int, body: str) -> Answer:
    return status, body.encode(), "Content-Type: text/plain"


RETRY, PARK, BURY, ONCE_MORE, CAPPED = "retry", "park", "bury", "once more", "capped"


@pytest.mark.parametrize(("error", "expected"), [
    *(pytest.param(error, expected, id=f"D09 {error}") for expected, errors in {
        RETRY: "ratelimited rate_limited message_limit_exceeded internal_error service_unavailable request_timeout "
               "team_added_to_org",
        ONCE_MORE: "fatal_error",
        PARK: "invalid_auth not_authed account_inactive token_revoked token_expired missing_scope no_permission "
              "channel_not_found not_in_channel is_archived restricted_action restricted_action_read_only_channel "
              "restricted_action_thread_only_channel ekm_access_denied org_login_required",
        BURY: "invalid_blocks invalid_blocks_format msg_too_long msg_blocks_too_long no_text too_many_attachments "
              "metadata_too_large invalid_arguments",
        CAPPED: "a_new_error",
    }.items() for error in errors.split()),
])  # fmt: skip
async def test_an_error_of_slacks_web_api_has_its_class(tmp_path: Path, error: str, expected: str) -> None:
    await judged(tmp_path, api(error), expected, bot)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(plain(429, "rate_limited"), RETRY, id="D09 429"),
        pytest.param(plain(500, "rollup_error"), RETRY, id="D09 rollup_error"),
        pytest.param(plain(503, "x"), RETRY, id="D09 503"),
        pytest.param(plain(403, "invalid_token"), PARK, id="D09 invalid_token"),
        pytest.param(plain(403, "action_prohibited"), PARK, id="D09 action_prohibited"),
        pytest.param(plain(403, "posting_to_general_channel_denied"), PARK, id="D09 general channel"),
        pytest.param(plain(404, "no_service"), PARK, id="D09 no_service"),
        pytest.param(plain(404, "no_active_hooks"), PARK, id="D09 no_active_hooks"),
        pytest.param(plain(404, "channel_not_found"), PARK, id="D09 channel_not_found"),
        pytest.param(plain(404, "no_team"), PARK, id="D09 no_team"),
        pytest.param(plain(410, "channel_is_archived"), PARK, id="D09 channel_is_archived"),
        pytest.param(plain(400, "invalid_payload"), BURY, id="D09 invalid_payload"),
        pytest.param(plain(400, "invalid_blocks"), BURY, id="D09 invalid_blocks"),
        pytest.param(plain(400, "no_text"), BURY, id="D09 no_text"),
        pytest.param(plain(409, "what_is_this"), CAPPED, id="D09 an unknown word"),
        pytest.param((200, b"<html>log in</html>", "Content-Type: text/html"), RETRY, id="D10 HTML with 200"),
        pytest.param(plain(200, ""), CAPPED, id="D10 nothing with 200"),
        pytest.param(plain(200, "{}"), CAPPED, id="D10 {} with 200"),
        pytest.param((302, b"", "Location: https://127.0.0.1:1/"), RETRY, id="D05 302"),
    ],
)
async def test_an_answer_of_an_incoming_webhook_has_its_class(tmp_path: Path, answer: Answer, expected: str) -> None:
    await judged(tmp_path, answer, expected, slack)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((200, b"<html>log in</html>", "Content-Type: text/html"), id="D10 HTML with 200"),
        pytest.param(plain(200, ""), id="D10 nothing with 200"),
        pytest.param(plain(200, "{}"), id="D10 {} with 200"),
        pytest.param(plain(200, "[" * 100_000), id="D10 brackets"),
        pytest.param(plain(200, '{"ok": "true"}'), id="D10 ok is text"),
        pytest.param(plain(200, "null"), id="D10 null"),
    ],
)
async def test_what_is_no_answer_of_the_web_api_is_a_failure(tmp_path: Path, answer: Answer) -> None:
    target = Target([say(*answer)])
    async with listening(target), post_office(tmp_path, bot("chat", target)) as office:
        await office.enqueue("a", to=("chat",))

        async def failed() -> bool:
            (one,) = await office.posted()
            return one.state == "pending" and one.reason is not None

        await until(failed, 3)


async def judged(folder: Path, answer: Answer, expected: str, channel: Callable[[str, Target], SlackSettings]) -> None:
    """Send one letter to a target that always answers so, then mend it; look at what became of the letter."""
    target, clock = Target([say(*answer)]), Hands()
    async with listening(target), post_office(folder, channel("chat", target), clock=clock) as office:
        await office.enqueue("a", to=("chat",))

        async def tried() -> bool:
            (one,) = await office.posted()
            ended = one.state == "dead"
            parked = office.own.registry.get_sample_value("finetune_notifier_parked", {"notifier": "chat"}) == 1
            return ended or parked or len(target.letters) >= 7

        await until(tried, 10)
        (one,) = await office.posted()
        parked = office.own.registry.get_sample_value("finetune_notifier_parked", {"notifier": "chat"}) == 1
        repeats = sum(b"may be a repeat" in letter.body for letter in target.letters)
        match expected:
            case "park":
                assert (one.state, parked) == ("pending", True)
            case "bury":
                assert (one.state, parked, len(target.letters)) == ("dead", False, 2)
                assert b'"blocks"' not in target.letters[1].body
            case "once more":
                assert (one.state, one.reason, len(target.letters), repeats) == ("dead", "ambiguous", 2, 1)
            case "capped":
                assert (one.state, parked, len(target.letters)) == ("dead", False, 5)
            case _:
                assert (one.state, parked, repeats) == ("pending", False, 0)
                good = json.dumps({"ok": True, "ts": "1.2"}).encode() if channel is bot else b"ok"
                target.acts = [say(200, good)]

                async def sent() -> bool:
                    return [one.state for one in await office.posted()] == ["sent"]

                await until(sent, 5)


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
    target = Target([act])
    async with listening(target), post_office(tmp_path, channel("chat", target)) as office:
        await office.enqueue("a", to=("chat",))

        async def buried() -> bool:
            return [one.reason for one in await office.posted("dead")] == ["ambiguous"]

        await until(buried, 8)
        assert [b"may be a repeat" in letter.body for letter in target.letters] == [False, True]
