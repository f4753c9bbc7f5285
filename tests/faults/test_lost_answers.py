"""Receivers without an idempotency key that lose their answers: each message is repeated once at most, and marked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import TypeAdapter

from monitor.notifiers import NotifierSettings
from tests.e2e.daemon import until
from tests.faults.delivery import Couriers, running_couriers
from tests.faults.targets import Act, Letter, Target, half, hang, listening, reset, say
from tests.notifiers.test_email import Inbox, mail_server

pytestmark = pytest.mark.fault("D02")

HOOKS = {
    "teams": "{url}/workflows/x?sig=1",
    "discord": "{url}/api/webhooks/1/x",
}


def settings(type_: str, **fields: Any) -> NotifierSettings:
    found: NotifierSettings = TypeAdapter(NotifierSettings).validate_python({"name": "n", "type": type_, **fields})
    return found


def works_but_for_messages(act: Act) -> Act:
    """A receiver that answers probes, which have no body, and does this with messages."""

    async def acts(letter: Letter, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (act if letter.body else say(200, b"{}"))(letter, reader, writer)

    return acts


async def dead(couriers: Couriers) -> bool:
    return [one.reason for one in await couriers.posted("dead")] == ["ambiguous"]


@pytest.mark.slow
@pytest.mark.parametrize("type_", HOOKS)
@pytest.mark.parametrize("act", [reset, hang, half, say(502)], ids=["RST", "silence", "half an answer", "502"])
async def test_what_may_have_arrived_is_repeated_once_and_marked(tmp_path: Path, type_: str, act: Act) -> None:
    target = Target([works_but_for_messages(act)])
    async with listening(target):
        notifier = settings(type_, webhook_url=HOOKS[type_].format(url=target.url.rstrip("/")))
        async with running_couriers(tmp_path, notifier) as couriers:
            await couriers.enqueue("a", to=("n",))
            await until(lambda: dead(couriers))
    sent = [json.loads(letter.body) for letter in target.letters if letter.body]
    assert ["may be a repeat" in json.dumps(one) for one in sent] == [False, True]


class Silent(Inbox):
    """A mail server that takes mails and hangs up instead of saying so."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        answer = await super().handle_DATA(server, session, envelope)
        assert isinstance(server.transport, asyncio.Transport)
        server.transport.abort()
        return answer


async def test_a_mail_that_may_have_arrived_is_repeated_once_with_its_id(tmp_path: Path) -> None:
    inbox = Silent()
    with mail_server(inbox) as port:
        fields = {"sender": "monitor@example.com", "to": ["ops@example.com"], "tls": "none"}
        mail = settings("email", host="127.0.0.1", port=port, **fields)
        async with running_couriers(tmp_path, mail) as couriers:
            await couriers.enqueue("a", to=("n",))
            await until(lambda: dead(couriers))
    assert ["may be a repeat" in str(one) for one in inbox.mails] == [False, True]
    assert len({one["Message-ID"] for one in inbox.mails}) == 1
