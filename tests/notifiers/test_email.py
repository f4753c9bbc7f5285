"""Mails to a real mail server, with real TLS."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from hypothesis import given
from pydantic import TypeAdapter, ValidationError

from monitor import notifiers
from monitor.domain.news import job_subject
from monitor.notifiers import NotifierSettings
from monitor.notifiers.base import FailureKind, Notifier, SendError
from monitor.notifiers.email import compose
from monitor.secret import Redactor
from tests.notifiers.messages import HUGE, MESSAGES, few, huge
from tests.notifiers.receivers import attempt, message

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
PASSWORD = "correct-horse-battery"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost with its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    (folder / "both.pem").write_text(cert.read_text() + key.read_text())
    return folder / "both.pem"


# ruff: noqa: N802 - the methods are those of aiosmtpd's handlers


class Inbox:
    """What a mail server got, and what it answers instead where it is told to."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.mails: list[EmailMessage] = []
        self.encrypted: list[bool] = []
        self.recipients: list[list[str]] = []

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, _: list[str]) -> str:  # noqa: ARG002 - aiosmtpd gives it
        envelope.mail_from = address
        return self.answers.get("mail", "250 OK")

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, _: list[str]) -> str:  # noqa: ARG002 - aiosmtpd gives it
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002 - aiosmtpd gives it
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.encrypted.append(session.ssl is not None)
        self.recipients.append(list(envelope.rcpt_tos))
        return self.answers.get("data", "250 OK")


def authenticated(_s: Any, _session: Any, _envelope: Any, _mechanism: str, login: LoginPassword) -> AuthResult:
    return AuthResult(success=login.password == PASSWORD.encode(), handled=False)


@contextmanager
def mail_server(inbox: Inbox, **options: Any) -> Iterator[int]:
    """A real one; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(inbox, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


def settings(**over: Any) -> Any:
    fields = {"sender": "Monitor <monitor@example.com>", "to": ["ops@example.com"], **over}
    given = {"name": "mail", "type": "email", "host": "localhost", **fields}
    return TypeAdapter(NotifierSettings).validate_python(given)


async def built(timeout: float = 5.0, *, public_only: bool = False, **over: Any) -> Notifier:
    async with notifiers.session() as client:
        return notifiers.build(
            settings(**over), session=client, redactor=Redactor(), timeout=timeout, public_only=public_only
        )


async def failed(sender: Notifier) -> SendError:
    with pytest.raises(SendError) as caught:
        await sender.send(message(), attempt())
    return caught.value


async def test_a_mail_goes_out_encrypted_and_logged_in(certificate: Path) -> None:
    inbox = Inbox()
    options = {"tls_context": tls(certificate), "require_starttls": True, "auth_required": True}
    with mail_server(inbox, authenticator=authenticated, **options) as port:
        mail = await built(
            port=port, ca_file=certificate, username="monitor", password=PASSWORD, to=['"Ops, all" <ops@example.com>']
        )
        await mail.check()
        receipt = await mail.send(message(monitor_url="https://monitor.example.com/jobs/x"), attempt())
    (got,) = inbox.mails
    assert (inbox.encrypted, inbox.recipients) == ([True], [["ops@example.com"]])
    assert got["Subject"] == "❌ support-bot failed · research"
    assert (got["From"], got["To"]) == ("Monitor <monitor@example.com>", '"Ops, all" <ops@example.com>')
    assert got["Message-ID"] == receipt.reference
    assert got["Auto-Submitted"] == "auto-generated"
    plain, html = got.get_body(("plain",)), got.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().splitlines()[:3] == [got["Subject"], "Model: gpt-4o-mini", "Duration: 31m"]
    assert '<a href="https://monitor.example.com/jobs/x">❌ support-bot failed · research</a>' in html.get_content()


async def test_with_tls_from_the_start(certificate: Path) -> None:
    inbox = Inbox()
    with mail_server(inbox, ssl_context=tls(certificate)) as port:
        await (await built(port=port, tls="tls", ca_file=certificate)).send(message(), attempt())
    assert len(inbox.mails) == 1


async def test_without_tls_where_it_is_said_so() -> None:
    inbox = Inbox()
    with mail_server(inbox) as port:
        await (await built(port=port, tls="none")).send(message(), attempt())
    assert inbox.encrypted == [False]


async def test_a_server_without_starttls_gets_nothing() -> None:
    inbox = Inbox()
    with mail_server(inbox) as port:
        error = await failed(await built(port=port))
    assert (error.kind, error.reason, inbox.mails) == (FailureKind.TARGET, "no_starttls", [])


async def test_a_certificate_that_nobody_vouches_for_gets_nothing(certificate: Path) -> None:
    inbox = Inbox()
    with mail_server(inbox, tls_context=tls(certificate)) as port:
        error = await failed(await built(port=port))
    assert (error.kind, error.reason, inbox.mails) == (FailureKind.TRANSIENT, "tls", [])


async def test_a_wrong_password_suspends_the_target(certificate: Path) -> None:
    inbox = Inbox()
    options = {"tls_context": tls(certificate), "auth_required": True, "authenticator": authenticated}
    with mail_server(inbox, **options) as port:
        error = await failed(await built(port=port, ca_file=certificate, username="monitor", password="wrong-password"))
    assert (error.kind, error.status) == (FailureKind.TARGET, 535)


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        pytest.param({"data": "451 try again"}, FailureKind.TRANSIENT, id="a grey list"),
        pytest.param(
            {"data": "554 looks like spam"}, FailureKind.TRANSIENT, id="a policy is no verdict on the message"
        ),
        pytest.param({"data": "552 too large"}, FailureKind.MESSAGE, id="too large"),
        pytest.param({"mail": "550 who are you"}, FailureKind.TARGET, id="the sender"),
        pytest.param({"ops@example.com": "550 no such user"}, FailureKind.TARGET, id="the recipient"),
        pytest.param({"ops@example.com": "450 mailbox busy"}, FailureKind.TRANSIENT, id="the recipient, for now"),
    ],
)
async def test_what_a_refusal_means(answers: dict[str, str], kind: FailureKind) -> None:
    with mail_server(Inbox(**answers)) as port:
        error = await failed(await built(port=port, tls="none"))
    (answer,) = answers.values()
    assert (error.kind, f"{error.status} {error.answer}") == (kind, answer)


async def test_one_bad_recipient_keeps_it_from_nobody_else() -> None:
    inbox = Inbox(**{"gone@example.com": "550 no such user"})
    with mail_server(inbox) as port:
        mail = await built(port=port, tls="none", to=["gone@example.com", "ops@example.com"])
        await mail.send(message(), attempt())
    assert inbox.recipients == [["ops@example.com"]]


async def test_nobody_there_is_a_passing_trouble() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await failed(await built(port=unused.getsockname()[1], tls="none"))
    assert (error.kind, error.reason) == (FailureKind.TRANSIENT, "unreachable")


async def test_a_server_that_says_nothing_holds_up_nobody_for_longer_than_the_deadline() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        error = await failed(await built(timeout=0.3, port=deaf.getsockname()[1], tls="none"))
    assert (error.kind, error.reason) == (FailureKind.TRANSIENT, "unreachable")


@pytest.mark.parametrize(
    ("host", "over"),
    [
        pytest.param("169.254.169.254", {}, id="metadata"),
        pytest.param("8.8.8.8", {"tls": "none"}, id="public without TLS"),
        pytest.param("127.0.0.1", {"public_only": True}, id="only what is public"),
    ],
)
async def test_the_rules_for_addresses_hold_for_mail_servers(host: str, over: dict[str, Any]) -> None:
    error = await failed(await built(host=host, **over))
    assert (error.kind, error.reason) == (FailureKind.TARGET, "address_refused")


def test_all_mails_of_one_job_are_one_thread_and_every_attempt_has_the_same_id() -> None:
    to = ("ops@example.com",)

    def mail(key: str, **over: Any) -> EmailMessage:
        return compose(message(**over), attempt(key=key), sender="m@example.com", to=to)

    first, again, later = mail("a/b/1@m"), mail("a/b/1@m"), mail("a/b/2@m")
    other = mail("a/c/1@m", subject=job_subject("a", "c"))
    assert first["Message-ID"] == again["Message-ID"] != later["Message-ID"]
    assert first["References"] == later["References"] == later["In-Reply-To"] != other["References"]


@few
@given(MESSAGES)
def test_no_text_breaks_out_of_a_mail(sealed: Any) -> None:
    mail = compose(sealed, attempt(repeated=True), sender="m@example.com", to=("ops@example.com",))
    read = message_from_bytes(mail.as_bytes(policy=policy.SMTP), policy=policy.default)
    assert isinstance(read, EmailMessage)
    # Spaces between encoded words come and go in the standard library (Python 3.11).
    assert "".join(read["Subject"].split()) == "".join(mail["Subject"].split())
    assert sorted(read.keys()) == sorted(mail.keys())
    html = read.get_body(("html",))
    assert html is not None
    tags = {"<html>", "</html>", "<body>", "</body>", "<h3>", "</h3>", "<table>", "</table>", "<tr>", "</tr>", "<td>"}
    shown = html.get_content()
    assert "<script" not in shown
    assert shown.count("<a href=") <= 2
    assert tags >= {tag for tag in tags if tag in shown}


@pytest.mark.parametrize("char", HUGE, ids=ascii)
def test_a_megabyte_in_every_field_is_a_mail_of_reasonable_size(char: str) -> None:
    mail = compose(huge(char), attempt(), sender="m@example.com", to=("ops@example.com",))
    assert len(mail.as_bytes(policy=policy.SMTP)) < 800_000


@pytest.mark.parametrize(
    "over",
    [
        pytest.param({"to": []}, id="nobody"),
        pytest.param({"to": ["a@example.com, b@example.com"]}, id="two in one"),
        pytest.param({"sender": "nobody"}, id="no address"),
        pytest.param({"sender": "a@example.com\r\nBcc: x@example.com"}, id="a header"),
        pytest.param({"username": "a"}, id="a name without a password"),
        pytest.param({"username": "a", "password": "b", "tls": "none"}, id="a password in clear"),
    ],
)
def test_settings_that_cannot_work_are_refused(over: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**over)
