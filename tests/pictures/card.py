"""The life of one card, as Slack was sent it."""

from __future__ import annotations

import base64
import tempfile
from datetime import timedelta
from pathlib import Path

from monitor.domain.model import FineTuning, Status
from tests.builders import NOON, job
from tests.courier.life import Life, desk
from tests.pictures import slack
from tests.slack import Post


async def drawn() -> str:
    """A card at three moments, and its thread, as what stands in a page's body."""
    with tempfile.TemporaryDirectory() as folder:
        async with desk(Path(folder)) as of, of.life(job(status=Status.QUEUED, name="support-bot")) as life:
            return await _story(life)


async def _story(life: Life) -> str:
    """A job starts, stalls, moves on and succeeds."""
    await life.poll()
    await life.tell(90)
    await life.poll(status=Status.RUNNING, started_at=life.clock.now(), estimated_finish=NOON + timedelta(hours=3))
    [shown] = life.slack.cards
    for number in range(1, 127):
        await life.step(number, 280, 2.4 * 0.985**number)
        life.clock.move(10)
    await life.tell(70)
    running = _post(shown)
    life.clock.move(3700)
    await life.silence()
    await life.tell(70)
    stalled = _post(shown)
    for number in range(127, 281):
        await life.step(number, 280, 2.4 * 0.985**number)
        life.clock.move(10)
    await life.poll(
        status=Status.SUCCEEDED,
        finished_at=life.clock.now(),
        tuning=FineTuning(fine_tuned_model="ft:gpt-4o-mini-2024-07-18:acme:support-bot:9xyz", trained_tokens=1_240_000),
    )
    await life.tell(70)
    await life.finalize()
    await life.tell(90)
    replies = "".join(f'<div class="reply">{_post(reply)}</div>' for reply in life.slack.thread(shown))
    curve = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(content).decode()}">'
        for content in life.slack.files.values()
    )
    return (
        f"<h2>while it runs</h2>{running}<h2>the same message when it stalls</h2>{stalled}"
        f"<h2>and when it has ended, with its thread</h2>{_post(shown)}{replies}{curve}"
    )


def _post(of: Post) -> str:
    return slack.post(of.content, above="also sent to the channel" if of.broadcast else "")
