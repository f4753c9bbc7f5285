"""Many jobs end at once: what one Slack channel gets of it, and that another one does not wait."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from monitor import notifiers
from monitor.courier import Courier, Lanes
from monitor.domain.flow import Change
from monitor.domain.news import Hold
from monitor.notifiers import Notifier
from monitor.secret import Redactor
from monitor.store import opened
from tests.builders import NOON
from tests.courier.life import bot
from tests.courier.parts import POLICY, Hands, Tallied, letter
from tests.slack import Workspace, workspace
from tests.store.samples import delivery

JOBS = 500


async def test_500_ends_in_a_minute_are_grouped_in_order_within_slack_s_rate_and_no_other_channel_waits(
    tmp_path: Path,
) -> None:
    clock = Hands(at=NOON)
    slack = Workspace(now=clock.monotonic, channels={"C0MAIN": "#fine-tuning", "C0OPS": "#ops"})
    async with (
        workspace(slack),
        opened(f"sqlite:///{tmp_path / 'monitor.db'}", clock=clock) as store,
        notifiers.session() as session,
    ):
        lanes = Lanes()

        def courier(name: str, channel: str) -> Courier:
            settings = bot(slack, name, channel=channel)
            sending: Notifier = notifiers.build(settings, session=session, redactor=Redactor(), timeout=POLICY.timeout)
            return Courier(
                outbox=store.outbox, notifier=sending, clock=clock, owner="me", policy=POLICY, jitter=lambda: 1.0,
                lanes=lanes, metrics=Tallied(),
            )  # fmt: skip

        couriers = [courier("ml", "#fine-tuning"), courier("ops", "#ops")]
        hold = Hold(group="wait", wait=timedelta(seconds=30))
        for second in range(60):
            jobs = [f"job-{number:03}" for number in range(JOBS * second // 60, JOBS * (second + 1) // 60)]
            ends = [replace(delivery(one, notifier="ml"), message=letter(one), card=True, hold=hold) for one in jobs]
            urgent = replace(
                delivery(f"urgent-{second}", notifier="ops"), message=letter(f"urgent-{second}"), card=True
            )
            await store.jobs.commit(Change(org="research", based_on=second, at=clock.now(), deliveries=(*ends, urgent)))
            committed = clock.monotonic()
            for each in couriers:
                await each.drain_once()
            assert slack.posts[-1].channel == "C0OPS"
            assert slack.posts[-1].at == committed, "on time"
            clock.move(committed + 1.0 - clock.monotonic() + 0.001)
        for _ in range(60):
            await couriers[0].drain_once()
            clock.move(1.001)

        posts = [post for post in slack.posts if post.channel == "C0MAIN"]
        listed = [name for post in posts for name in re.findall(r"job-\d{3}", str(post.content["text"]))]
        page = await store.reader.deliveries(state="pending", limit=10)
        assert page.items == (), "nothing is lost"
        counted = [int(found[1]) for post in posts if (found := re.search(r"(\d+) jobs", post.title))]
        assert sum(counted) == JOBS
        assert len(posts) <= JOBS / 50 + 3
        assert min(slack.gaps("C0MAIN")) >= 1
        assert min(slack.gaps("C0OPS")) >= 1
        assert [*dict.fromkeys(listed)] == sorted({*listed}), "in order"
        assert slack.errors() == []
