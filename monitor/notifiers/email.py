"""E-mail by SMTP, as text and HTML, with one thread per job."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, getaddresses, parseaddr
from html import escape
from pathlib import Path
from typing import Annotated, Final, Literal

import aiosmtplib
import anyio
from pydantic import AfterValidator, Field, SecretStr, model_validator

from monitor.domain.news import Message
from monitor.domain.text import line
from monitor.notifiers.address import objection
from monitor.notifiers.base import EVIDENCE, Attempt, FailureKind, Receipt, SendError
from monitor.notifiers.settings import ChannelSettings, Connections
from monitor.notifiers.text import Shown, labelled_once, show
from monitor.secret import Redactor, Secret

_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
_BODY: Final = "font:15px/1.4 sans-serif"
_LABELS: Final = "color:#666;padding-right:12px;vertical-align:top;white-space:nowrap"
_PRE: Final = "background:#f4f4f5;border-left:4px solid #c01343;padding:8px 12px;white-space:pre-wrap"
_TOO_LARGE: Final = 552  # https://www.rfc-editor.org/rfc/rfc1870#section-6.1


def _one_address(value: str) -> str:
    found = getaddresses([value])
    try:
        Address(found[0][0], addr_spec=found[0][1])
    except (ValueError, IndexError):
        found = []
    if len(found) != 1 or "@" not in found[0][1] or not found[0][1].isascii() or not value.isprintable():
        raise ValueError("must be one address: name@example.com, or Name <name@example.com>")
    return value


MailAddress = Annotated[str, AfterValidator(_one_address)]


class EmailSettings(ChannelSettings):
    """E-mail by SMTP."""

    type: Literal["email"]
    host: str = Field(min_length=1, max_length=253)
    port: int | None = Field(default=None, ge=1, le=65535)
    """587 with STARTTLS, 465 with TLS, 25 without."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """With `starttls` and `tls`, the server needs a valid certificate; `none` is for private networks only."""
    ca_file: Path | None = None
    """A PEM file with the authorities to trust instead of the system's."""
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    sender: MailAddress
    """The `From` address; its domain is also used in message ids."""
    to: tuple[MailAddress, ...] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _credentials_are_complete(self) -> EmailSettings:
        if (self.username is None) != (self.password is None and self.password_file is None):
            raise ValueError("username and password (or password_file) go together")
        if self.username is not None and self.tls == "none":
            raise ValueError("a password needs TLS: tls is starttls or tls")
        return self

    def notifier(self, connections: Connections) -> EmailNotifier:
        """A notifier that sends through this server."""
        password = self.secrets(connections.redactor)["password"]
        return EmailNotifier(
            name=self.name,
            settings=self,
            password=password[0] if password else None,
            redact=connections.redactor,
            timeout=connections.timeout,
            public_only=connections.public_only,
            lane=f"email:{self.name}",
        )


@dataclass(slots=True, kw_only=True)
class EmailNotifier:
    """A mail server and the recipients."""

    name: str
    settings: EmailSettings
    password: Secret | None
    redact: Redactor
    timeout: float
    """Seconds for the whole dialogue."""
    public_only: bool
    lane: str
    min_gap: float = 0.0
    idempotent: bool = False

    def preview(self, message: Message, attempt: Attempt) -> str:
        """The message with its headers."""
        return compose(message, attempt, sender=self.settings.sender, to=self.settings.to).as_string()

    async def send(self, message: Message, attempt: Attempt) -> Receipt:
        """Deliver the message to the recipients that the server accepts. Raises SendError if it accepts none."""
        mail = compose(message, attempt, sender=self.settings.sender, to=self.settings.to)
        begun = False
        try:
            async with self._connected() as server:
                await server.mail(_bare(self.settings.sender))
                await self._recipients(server)
                begun = True
                await server.data(mail.as_bytes(policy=policy.SMTP))
        except (aiosmtplib.SMTPException, OSError) as error:  # TimeoutError and ssl.SSLError are OSErrors
            raise self._failed(error, begun=begun) from None
        return Receipt(reference=mail["Message-ID"])

    async def check(self) -> None:
        """Connect and log in, without sending a message. Raises SendError."""
        try:
            async with self._connected() as server:
                await server.noop()
        except (aiosmtplib.SMTPException, OSError) as error:
            raise self._failed(error, begun=False) from None

    async def _recipients(self, server: aiosmtplib.SMTP) -> None:
        refused: aiosmtplib.SMTPRecipientRefused | None = None
        accepted = 0
        for recipient in self.settings.to:
            try:
                await server.rcpt(_bare(recipient))
                accepted += 1
            except aiosmtplib.SMTPRecipientRefused as error:
                refused = error
        if not accepted and refused is not None:
            raise refused

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """An SMTP session, with TLS and login if configured, which ends at the deadline."""
        wanted = self.settings
        context = await anyio.to_thread.run_sync(self._context)
        with anyio.fail_after(self.timeout):
            peer = await self._dial()
            server = aiosmtplib.SMTP(
                hostname=wanted.host,
                sock=peer,
                local_hostname=_literal(peer),
                timeout=self.timeout,
                use_tls=wanted.tls == "tls",
                start_tls=False,
                tls_context=context,
            )
            try:
                await server.connect()
                if wanted.tls == "starttls":
                    await self._start_tls(server, context)
                if wanted.username is not None and self.password is not None:
                    await server.login(wanted.username, self._secret(self.password))
                yield server
                await server.quit()
            finally:
                server.close()

    async def _start_tls(self, server: aiosmtplib.SMTP, context: ssl.SSLContext) -> None:
        await server.ehlo()
        if not server.supports_extension("starttls"):
            raise SendError(FailureKind.TARGET, "no_starttls", "the mail server offers no STARTTLS; nothing was sent")
        await server.starttls(server_hostname=self.settings.host, tls_context=context)

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.settings.ca_file)
        except (OSError, ValueError):
            raise SendError(FailureKind.TRANSIENT, "bad_settings", "ca_file cannot be read") from None

    def _secret(self, password: Secret) -> str:
        try:
            return password.read()
        except (OSError, ValueError) as error:
            text = f"the password cannot be read: {type(error).__name__}"
            raise SendError(FailureKind.TRANSIENT, "secret", text) from None

    async def _dial(self) -> socket.socket:
        """A connection to the first address that answers. Raises SendError if an address is not allowed."""
        port = self.settings.port or _PORTS[self.settings.tls]
        found = await anyio.getaddrinfo(self.settings.host, port, type=socket.SOCK_STREAM)
        failed: OSError = OSError("the host name does not resolve")
        for family, kind, protocol, _, address in found:
            plain = self.settings.tls == "none"
            problem = objection(str(address[0]), plain=plain, public_only=self.public_only)
            if problem is not None:
                raise SendError(FailureKind.TARGET, "address_refused", problem)
            peer = socket.socket(family, kind, protocol)
            peer.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(peer, address)
            except OSError as error:
                peer.close()
                failed = error
            except BaseException:  # the deadline
                peer.close()
                raise
            else:
                return peer
        raise failed

    def _failed(self, error: Exception, *, begun: bool) -> SendError:
        verdict = judge(error, begun=begun)
        if isinstance(error, aiosmtplib.SMTPResponseException):
            verdict.status, verdict.answer = error.code, line(self.redact(error.message), EVIDENCE)
        return verdict


def judge(error: Exception, *, begun: bool) -> SendError:
    """The meaning of a failed session. `begun` says whether the content of the message was already being sent.

    4yz is transient (https://www.rfc-editor.org/rfc/rfc5321#section-4.2.1). 5yz concerns the login, the sender or the
    recipients, which are the same for every message, or the content, of which only the size concerns this message.
    """
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        error = error.recipients[0]
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return _refused(error)
    if begun and not isinstance(error, ssl.SSLCertVerificationError):
        return SendError(FailureKind.AMBIGUOUS, "answer_lost", "the mail server's answer was lost")
    if isinstance(error, ssl.SSLError):
        return SendError(FailureKind.TRANSIENT, "tls", f"TLS failed: {type(error).__name__}")
    return SendError(
        FailureKind.TRANSIENT, "unreachable", f"the session with the mail server failed: {type(error).__name__}"
    )


def _refused(error: aiosmtplib.SMTPResponseException) -> SendError:
    text = f"the mail server answered {error.code}"
    if error.code < 500:
        return SendError(FailureKind.TRANSIENT, "server_error", text)
    if error.code == _TOO_LARGE:
        return SendError(FailureKind.MESSAGE, "too_large", text)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return SendError(FailureKind.TARGET, "unauthorized", f"{text} to the login")
    if isinstance(error, aiosmtplib.SMTPSenderRefused | aiosmtplib.SMTPRecipientRefused):
        return SendError(FailureKind.TARGET, "address_refused", f"{text} to the sender or the recipients")
    return SendError(FailureKind.TRANSIENT, "refused", text)


def compose(message: Message, attempt: Attempt, *, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """The message as e-mail. Every attempt has the same id, and all messages about a subject refer to the same root."""
    shown, mail = show(message, attempt), EmailMessage()
    domain = parseaddr(sender)[1].rpartition("@")[2]
    root = _id(f"subject {message.subject.key}", domain)
    mail["From"] = _address(sender)
    mail["To"] = tuple(map(_address, to))
    mail["Subject"] = shown.title
    mail["Date"] = format_datetime(message.at)
    mail["Message-ID"] = _id(attempt.key, domain)
    mail["In-Reply-To"] = root
    mail["References"] = root
    mail["Auto-Submitted"] = "auto-generated"
    links = filter(None, (shown.link, shown.vendor_link))
    mail.set_content("\n\n".join(("\n".join(shown.lines), *links)) + "\n")
    mail.add_alternative(_html(shown), subtype="html")
    return mail


def _html(shown: Shown) -> str:
    title = escape(shown.title)
    head = f'<a href="{escape(shown.link)}">{title}</a>' if shown.link is not None else title
    rows = labelled_once((*shown.facts, *shown.rows))
    cells = "".join(
        f'<tr><td style="{_LABELS}">{escape(label)}</td><td><bdi>{escape(value)}</bdi></td></tr>'
        for label, value in rows
    )
    parts = [f"<h3>{head}</h3>", f"<table>{cells}</table>" if cells else ""]
    parts.append(f'<pre style="{_PRE}">{escape(shown.error)}</pre>' if shown.error else "")
    parts.append(f"<p>{escape(shown.hint)}</p>" if shown.hint else "")
    if shown.vendor_link is not None:
        parts.append(f'<p><a href="{escape(shown.vendor_link)}">At the provider</a></p>')
    id_ = f"<code>{escape(shown.id)}</code>" if shown.id else ""
    parts.append(f"<p>{id_} {escape(shown.note)}</p>" if id_ or shown.note else "")
    return f'<!doctype html><html><body style="{_BODY}">{"".join(parts)}</body></html>\n'


def _id(text: str, domain: str) -> str:
    return f"<{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:32]}@{domain}>"


def _bare(address: str) -> str:
    return parseaddr(address)[1]


def _address(value: str) -> Address:
    name, address = parseaddr(value)
    return Address(name, addr_spec=address)


def _literal(peer: socket.socket) -> str:
    """Our address as an EHLO literal, because the host name of a container means nothing to the server."""
    host = str(peer.getsockname()[0])
    return f"[IPv6:{host}]" if ":" in host else f"[{host}]"
