"""A job's life is one message that is edited in place, and its thread."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog.testing
from aiohttp import web

from monitor.config.templates import TemplateSource
from monitor.domain.model import FineTuning, Status
from monitor.domain.templates import MessageTemplate
from monitor.notifiers.discord import DiscordSettings
from monitor.store import StoreUnavailable
from tests.builders import job, on
from tests.courier.life import RULE, Desk, Life, desk
from tests.courier.parts import HOUR
from tests.e2e.daemon import until
from tests.notifiers.receivers import receiver
from tests.slack import Fault, Post


class Dying:
    """A store that works, but for one method."""

    def __init__(self, store: Any, method: str, instead: Callable[..., Awaitable[bool]]) -> None:
        self._store = store
        setattr(self, method, instead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def begin(life: Life) -> None:
    """The job is seen, and runs."""
    await life.poll()
    await life.tell()
    await life.poll(status=Status.RUNNING, started_at=life.clock.now())
    await life.tell()


async def begun(life: Life) -> Post:
    """The same, a minute ago. Gives the card."""
    await begin(life)
    await life.tell(60)
    [card] = life.slack.cards
    card.edits.clear()
    return card


def titles(life: Life) -> list[str]:
    """What stands in the thread of the only card."""
    [card] = life.slack.cards
    return [f"{'+' * post.broadcast}{post.title.split('|')[1].split(' · ')[0]}" for post in life.slack.thread(card)]


async def test_a_job_s_life_is_one_message_with_edits_and_its_thread(tmp_path: Path) -> None:
    async with desk(tmp_path) as of, of.life() as life:
        await begin(life)
        [card] = life.slack.cards
        for minute in range(10):
            for second in range(3):
                await life.step(3 * minute + second + 1, loss=2.0 - minute / 10)
                await life.tell(20)
        assert 8 <= len(card.edits) <= 11
        await life.tell(60)
        assert "██████░░░░░░░░░░░░░░ 30%" in card.text
        life.clock.move(3700)
        await life.silence()
        await life.tell(60)
        assert "has stalled" in card.title
        await life.step(31)
        await life.tell(60)
        await life.poll(status=Status.PAUSED)
        await life.tell(60)
        assert "is paused" in card.title
        await life.poll(status=Status.RUNNING)
        await life.tell(60)
        assert "is running" in card.title
        await life.fail()
        await life.tell(120)
        assert titles(life) == [
            "ℹ️ support-bot started",
            "⚠️ support-bot has stalled",
            "ℹ️ support-bot is moving again",
            "⚠️ support-bot is paused",
            "ℹ️ support-bot resumed",
            "+❌ support-bot failed",
        ]
        assert "support-bot failed" in card.title
        assert "internal error" in card.text
        assert min(life.slack.edit_gaps()) >= 60
        assert min(life.slack.gaps("C0MAIN")) >= 1
        assert life.slack.errors() == []
        edits = len(card.edits)
        await life.tell(600)
        assert len(card.edits) == edits, "where nothing changes, nothing is edited"


async def test_an_end_that_is_the_first_news_is_the_card(tmp_path: Path) -> None:
    async with desk(tmp_path, rule=replace(RULE, on=on("failed", "stalled"))) as of, of.life() as life:
        await begin(life)
        assert life.slack.posts == []
        await life.fail()
        await life.tell(200)
        [card] = life.slack.posts
        assert "support-bot failed" in card.title
        assert card.edits == [], "it says all there is"


async def test_a_card_follows_status_without_the_word_progress_and_progress_with_it_alone(tmp_path: Path) -> None:
    async with desk(tmp_path, rule=replace(RULE, on=on("started"))) as of, of.life() as life:
        await begin(life)
        [card] = life.slack.posts
        for number in range(5):
            await life.step(number + 1)
            await life.tell(70)
        assert len(card.edits) <= 1, "a minute after it was posted it is looked at once"
        await life.fail()
        await life.tell(10)
        assert "support-bot failed" in card.title
        assert life.slack.posts == [card]


async def test_progress_alone_begins_a_card_when_the_job_starts(tmp_path: Path) -> None:
    async with desk(tmp_path, rule=replace(RULE, on=on("progress"))) as of, of.life() as life:
        await begin(life)
        await life.step(50)
        await life.tell(10)
        await life.fail()
        await life.tell(100)
        [card] = life.slack.posts
        assert [len(card.edits), "support-bot failed" in card.title] == [2, True]


async def test_a_restart_in_the_middle_goes_on_with_the_same_message(tmp_path: Path) -> None:
    async with desk(tmp_path) as of:
        async with of.life() as life:
            await begin(life)
            await life.step(10)
            await life.tell()
            await life.step(20)
            last = life.job
        async with of.life(last) as life:
            await life.tell(70)
            [card] = life.slack.cards
            assert "20%" in card.text
            await life.fail()
            await life.tell(70)
            assert life.slack.cards == [card]
            assert "support-bot failed" in card.title
            assert min(life.slack.edit_gaps()) >= 60


class Killed(BaseException):
    """The process is no more."""


async def killed(of: Desk, method: str) -> None:
    """The process ends after Slack has taken the first post, or an edit, and before that is stored."""

    async def never(*_: object, **__: object) -> bool:
        raise Killed

    async with of.life() as life:
        if method == "chat.update":
            await begun(life)
            await life.step(10)
        outbox: Any = Dying(life.store.outbox, "delivered", never)
        cards: Any = Dying(life.store.cards, "shown", never)
        life.courier, life.editor = replace(life.courier, outbox=outbox), replace(life.editor, store=cards)
        await life.poll()
        await life.tell(70)


@pytest.mark.parametrize("method", ["chat.postMessage", "chat.update"])
async def test_killed_before_what_slack_took_is_recorded_it_repeats_that_once_at_most(
    tmp_path: Path, method: str
) -> None:
    async with desk(tmp_path) as of:
        with pytest.raises(BaseExceptionGroup if method == "chat.postMessage" else Killed):
            await killed(of, method)
        async with of.life(job(status=Status.QUEUED, name="support-bot")) as life:
            await life.tell(200)
            await life.poll(status=Status.RUNNING)
            await life.step(20)
            await life.tell(200)
            await life.fail()
            await life.tell(200)
            cards = life.slack.cards
            assert len(cards) == (2 if method == "chat.postMessage" else 1)
            assert "failed" in cards[-1].title
            assert min(life.slack.edit_gaps(), default=60) >= 60


@pytest.mark.fault("D14")
@pytest.mark.parametrize("loss", ["message_not_found", "edit_window_closed", "cant_update_message", "archived"])
async def test_a_card_that_cannot_be_edited_is_posted_anew_once(tmp_path: Path, loss: str) -> None:
    async with desk(tmp_path) as of, of.life() as life:
        await begin(life)
        [first] = life.slack.cards
        lose(life, loss)
        await life.step(10)
        await life.tell(70)
        new = life.slack.cards[-1]
        assert new is not first
        assert "10%" in new.text
        await life.step(20)
        await life.tell(70)
        assert "20%" in new.text
        assert life.metrics.cards["reposted"] == 1
        if loss == "archived":
            assert (new.channel, life.slack.cards) == ("C0NEW", [first, new])
            return
        posts = len(life.slack.cards)
        lose(life, loss)
        for number in range(30, 35):
            await life.step(number)
            await life.tell(60)
        assert len(life.slack.cards) == posts - (loss == "message_not_found"), "once"
        assert life.metrics.cards["abandoned"] == 1
        await life.fail()
        await life.tell()
        assert "support-bot failed" in life.slack.cards[-1].title, "news is told whatever became of the card"


def lose(life: Life, loss: str) -> None:
    """The newest card cannot be edited any more."""
    card = life.slack.cards[-1]
    if loss == "message_not_found":
        life.slack.delete(card)
    elif loss == "archived":
        life.slack.archived.add("C0MAIN")
        life.slack.channels = {"C0MAIN": "#old", "C0NEW": "#fine-tuning"}
    elif loss == "edit_window_closed":
        life.slack.uneditable.add(card.ts)
    else:
        life.slack.fault = lambda _, content: loss if content.get("ts") == card.ts else None


async def test_news_below_a_card_that_is_gone_is_the_next_card(tmp_path: Path) -> None:
    async with desk(tmp_path) as of, of.life() as life:
        await begin(life)
        for post in [*life.slack.posts]:
            life.slack.delete(post)
        await life.poll(status=Status.PAUSED)
        await life.courier.drain_once()
        [card] = life.slack.posts
        assert (card.thread, card.broadcast) == (None, False)
        await life.poll(status=Status.RUNNING)
        await life.tell(70)
        assert "is running" in card.title
        assert len(life.slack.thread(card)) == 1


async def test_slack_that_limits_edits_gets_the_newest_later_and_news_at_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as of, of.life() as life:
        card = await begun(life)

        def limited(method: str, _: object) -> web.Response | None:
            headers = {"Retry-After": "120"}
            return web.Response(status=429, text="", headers=headers) if method == "chat.update" else None

        life.slack.fault = limited
        await life.step(10)
        await life.tell(30)
        life.slack.fault = lambda method, content: None
        await life.step(20)
        await life.poll(status=Status.PAUSED)
        await life.tell(2)
        assert card.edits == []
        assert "is paused" in life.slack.thread(card)[-1].title, "what is news does not wait"
        await life.tell(130)
        [(_, shown)] = card.edits
        assert "20%" in str(shown), "a stale edit is never sent"


async def test_a_refused_layout_is_edited_as_bare_text_and_the_blocks_are_taken_away(tmp_path: Path) -> None:
    async with desk(tmp_path) as of, of.life() as life:
        card = await begun(life)
        life.slack.fault = lambda method, content: (
            "invalid_blocks" if method == "chat.update" and content["blocks"] else None
        )
        await life.step(10)
        await life.tell()
        assert (card.content["blocks"], card.content["attachments"]) == ([], [])
        assert "10%" in card.content["text"]


async def test_what_cannot_be_edited_for_days_after_the_end_is_let_be(tmp_path: Path) -> None:
    async with desk(tmp_path) as of, of.life() as life:
        await begin(life)
        life.slack.fault = lambda method, content: "internal_error" if method == "chat.update" else None
        await life.fail()
        for _ in range(5):
            await life.tell()
            life.clock.move(24 * HOUR)
        await life.tell()
        assert life.metrics.cards["abandoned"] == 1
        assert await life.store.cards.next_due("ml") is None


async def test_waiting_deliveries_of_the_version_before_go_out_unchanged(tmp_path: Path) -> None:
    async with desk(tmp_path) as of, of.life() as life:
        life.policy = replace(life.policy, rules=(replace(RULE, cards=frozenset()),))  # as they were decided then
        await life.poll()
        await life.poll(status=Status.RUNNING)
        await life.fail()
        life.policy = replace(life.policy, rules=(RULE,))
        await life.tell(100)
        assert [post.thread for post in life.slack.posts] == [None, None, None]
        assert [len(post.edits) for post in life.slack.posts] == [0, 0, 0]


async def test_in_discord_the_first_message_is_edited_with_its_files_and_news_is_posted_besides(tmp_path: Path) -> None:
    async with (
        receiver((200, '{"id": "23", "channel_id": "1"}')) as discord,
        desk(tmp_path, rule=replace(RULE, on=on("started", "progress", "failed"))) as of,
    ):
        url = f"{discord.url}/api/webhooks/1/secret"
        of.settings = DiscordSettings.model_validate({"name": "ml", "type": "discord", "webhook_url": url})
        async with of.life() as life:
            await begin(life)
            await life.step(50)
            await life.tell(70)
            await life.fail()
            await life.tell(70)
    calls = [(one.method, one.path.removeprefix("/api/webhooks/1/secret")) for one in discord.heard]
    edit = ("PATCH", "/messages/23")
    assert calls == [("POST", ""), edit, ("POST", ""), edit]
    edits = [json.loads(one.body) for one in discord.heard if one.method == "PATCH"]
    assert ["██████████░░░░░░░░░░ 50%" in str(one) for one in edits] == [True, False]
    assert "support-bot failed" in edits[-1]["embeds"][0]["title"]
    assert not any("attachments" in one for one in edits), "a list of them would take away what is not in it"


async def over(life: Life, fault: Fault = lambda method, content: None) -> Post:
    """A job with a curve that is over. Gives its card."""
    card = await begun(life)
    for number in range(1, 6):
        await life.step(10 * number, loss=2.0 / number)
    await life.fail()
    await life.tell(70)
    life.slack.fault = fault
    await life.finalize()
    await life.tell(120)
    return card


async def test_the_curve_is_shown_once_in_the_thread_of_a_job_that_is_over(tmp_path: Path) -> None:
    async with desk(tmp_path) as of, of.life() as life:
        card = await over(life)
        [shared] = life.slack.shared
        assert (shared["channel_id"], shared["thread_ts"]) == ("C0MAIN", card.ts)
        [content] = life.slack.files.values()
        assert content.startswith(b"\x89PNG")
        await life.poll(tuning=FineTuning(trained_tokens=1000))
        await life.tell(200)
        assert life.slack.shared == [shared], "once"


@pytest.mark.parametrize(
    ("method", "error", "shared", "asked"),
    [
        ("files.getUploadURLExternal", "internal_error", 0, 3),
        ("files.completeUploadExternal", "internal_error", 0, 3),
        ("files.getUploadURLExternal", "missing_scope", 0, 1),
    ],
)
async def test_a_curve_that_slack_does_not_take_is_tried_thrice_at_most_and_harms_nothing(
    tmp_path: Path, method: str, error: str, shared: int, asked: int
) -> None:
    async with desk(tmp_path) as of, of.life() as life:
        await over(life, lambda called, _: error if called == method else None)
        await life.tell(3600)
        assert len(life.slack.shared) == shared
        assert life.slack.errors() == [f"{method} {error}"] * asked
        assert await life.store.cards.next_due("ml") is None


async def test_a_job_without_a_curve_has_no_picture(tmp_path: Path) -> None:
    async with desk(tmp_path) as of, of.life() as life:
        await begin(life)
        await life.fail()
        await life.tell(70)
        await life.finalize()
        await life.tell(120)
        assert (life.slack.files, life.slack.shared) == ({}, [])


async def test_the_loop_rides_out_a_store_that_fails_and_ends_when_it_is_retired(tmp_path: Path) -> None:
    async with desk(tmp_path) as of, of.life() as life:
        card = await begun(life)
        await life.step(50)
        failures = iter(range(3))

        async def claim(*asked: Any, **by: Any) -> Any:
            if next(failures, None) is not None:
                raise StoreUnavailable("the disk is full")
            return await life.store.cards.claim(*asked, **by)

        store: Any = Dying(life.store.cards, "claim", claim)
        editor = replace(life.editor, store=store)
        with structlog.testing.capture_logs() as logs:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(editor.run)
                await until(lambda: bool(card.edits), 20)
                editor.retire()
        assert "50%" in card.text
        assert [one["event"] for one in logs] == ["cards.store_unavailable", "cards.store_available"]


async def test_a_job_that_cannot_be_shown_harms_no_other(tmp_path: Path) -> None:
    async with desk(tmp_path) as of, of.life() as life:
        card = await begun(life)

        def broken(_title: str, _lines: object) -> bytes:
            raise RuntimeError("a bug")

        life.editor = replace(life.editor, draw=broken)
        for number in (10, 20):
            await life.step(number)
        await life.fail()
        await life.tell(70)
        await life.finalize()
        await life.tell(3600)
        assert "support-bot failed" in card.title
        assert (life.slack.shared, life.metrics.cards["failed"] > 0) == ([], True)


async def test_a_card_keeps_the_words_of_its_template_through_its_edits(tmp_path: Path) -> None:
    short = MessageTemplate(name="short", title=TemplateSource(text="{{ job.name }} is {{ job.status }}"))
    async with desk(tmp_path, rule=replace(RULE, template=short)) as of, of.life() as life:
        card = await begun(life)
        assert "support-bot is running" in card.title
        await life.step(30)
        await life.tell(70)
        assert "support-bot is running" in card.title
        await life.fail()
        await life.tell(70)
        assert "support-bot is failed" in card.title
    assert life.metrics.templates_failed == {}


async def test_a_template_that_fails_on_a_card_is_counted_once_for_each_edit(tmp_path: Path) -> None:
    odd = MessageTemplate(name="odd", text=TemplateSource(text="{{ facts['Queued for'] }}"))
    async with desk(tmp_path, rule=replace(RULE, template=odd)) as of, of.life() as life:
        card = await begun(life)
        before = life.metrics.templates_failed["odd"]
        await life.step(30)
        await life.tell(70)
        assert "*Step* 30 of 100" in card.text
        assert life.metrics.templates_failed["odd"] == before + len(card.edits)
