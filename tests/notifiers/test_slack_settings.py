from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from monitor import notifiers
from monitor.notifiers import SlackSettings
from tests.notifiers.test_slack import TOKEN, built


async def test_notifiers_of_one_channel_share_its_lane(tmp_path: Path) -> None:
    path = tmp_path / "hook"
    path.write_text("https://hooks.slack.com/services/T/B/x\n")
    async with notifiers.session() as client:
        text = built(client, webhook_url="https://hooks.slack.com/services/T/B/x")
        file = built(client, webhook_url_file=path)
        other = built(client, webhook_url="https://hooks.slack.com/services/T/B/y")
        bots = [built(client, token=TOKEN, channel=name) for name in ("C1", "C2")]
    assert text.lane == file.lane
    assert len({text.lane, other.lane, *(bot.lane for bot in bots)}) == 4
    assert "hooks" not in text.lane
    assert (text.min_gap, text.idempotent) == (1.0, False)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="no way to send"),
        pytest.param({"token": TOKEN}, id="a token without a channel"),
        pytest.param({"webhook_url": "https://a.example/", "channel": "#x"}, id="a webhook with a channel"),
        pytest.param({"webhook_url": "https://a.example/", "mode": "card"}, id="a webhook that should edit"),
        pytest.param({"webhook_url": "https://a.example/", "token": TOKEN, "channel": "#x"}, id="two ways"),
        pytest.param({"webhook_url": "http://8.8.8.8/"}, id="plain http to a public address"),
        pytest.param(
            {"token": TOKEN, "channel": "#x", "api_url": "http://8.8.8.8/"}, id="a public gateway without TLS"
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SlackSettings(name="ml", type="slack", **fields)


def test_a_bot_keeps_cards_unless_it_is_told_not_to() -> None:
    bot = {"name": "ml", "type": "slack", "token": TOKEN, "channel": "#x"}
    hook = {"name": "ml", "type": "slack", "webhook_url": "https://a.example/"}
    kept = [
        SlackSettings.model_validate(fields).keeps_cards
        for fields in (bot, bot | {"mode": "card"}, bot | {"mode": "messages"}, hook, hook | {"mode": "messages"})
    ]
    assert kept == [True, True, False, False, False]
