"""What a message looks like in Slack: https://docs.slack.dev/reference/block-kit, within its limits, all text inert."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlsplit

from slack_sdk.models.blocks import (
    Block,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
    TextObject,
)

from monitor.domain.news import Message, Severity
from monitor.domain.text import ELLIPSIS, clean, line
from monitor.notifiers.base import Attempt

REPEAT: Final = "This may be a repeat: the answer to an earlier attempt was lost."

# The parts are sized so that the sum stays below the 13 200 block characters that Slack takes (escapes included).
_HEADER: Final = 150
_FIELDS: Final = 10  # of a section
_MANY: Final = 24  # facts, where there is neither error nor hint; then a value has less room
_LABEL: Final = 80
_VALUE: Final = 400
_SHORT_VALUE: Final = 260
_ERROR: Final = 2900
_HINT: Final = 1000
_URL: Final = 1500

_LOOK: Final = {
    Severity.GOOD: ("✅", "#2eb67d"),
    Severity.INFO: ("ℹ️", "#36c5f0"),
    Severity.WARNING: ("⚠️", "#ecb22e"),
    Severity.BAD: ("❌", "#e01e5a"),
}
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_UNTOUCHED: Final = {
    "parse": "none",
    "link_names": False,
    "mrkdwn": False,
    "unfurl_links": False,
    "unfurl_media": False,
}


def payload(message: Message, attempt: Attempt, *, plain: bool = False) -> dict[str, Any]:
    """The message for an incoming webhook or chat.postMessage (which needs the channel too).

    Where there are blocks, `text` is what notifications and receivers without Block Kit show; `plain` leaves the
    blocks out. Text from outside stands in plain_text objects only, which know no mentions, links or formatting.
    """
    shown: dict[str, Any] = {"text": _fallback(message, attempt), **_UNTOUCHED}
    if plain:
        return shown
    colour = _LOOK[message.severity][1]
    return {
        **shown,
        "blocks": [HeaderBlock(text=_plain(_headline(message), _HEADER)).to_dict()],
        "attachments": [
            {"color": colour, "blocks": [block.to_dict() for block in _details(message, attempt)]},
        ],
    }


def escaped(text: str, limit: int) -> str:
    """Slack's three escapes, cut to `limit` UTF-16 units between characters, never inside an escape."""
    kept: list[str] = []
    room = limit
    for char in text:
        piece = _ENTITIES.get(char, char)
        room -= len(piece) if char <= "\uffff" else 2
        if room < 0:
            return _shortened(kept, limit)
        kept.append(piece)
    return "".join(kept)


def safe_link(link: str | None) -> str | None:
    """The link as it may stand between `<` and `>`; None unless it is plain https."""
    if link is None or not link.isascii() or not link.isprintable() or len(link) > _URL:
        return None
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        return None
    # `|`, `<` and `>` would end the address inside Slack's link syntax.
    quoted = quote(link, safe="%/:?#[]@!$&'()*+,;=~")
    return quoted.replace("&", "&amp;") if len(quoted) <= _URL else None


def _details(message: Message, attempt: Attempt) -> list[Block]:
    room = _LABEL + _room(message)
    fields = [_plain(f"{label}\n{value}", room) for label, value in _facts(message)]
    blocks: list[Block] = [
        SectionBlock(fields=fields[start : start + _FIELDS]) for start in range(0, len(fields), _FIELDS)
    ]
    for text, limit in ((message.error, _ERROR), (message.hint, _HINT)):
        if text and (shown := clean(text, limit)):
            blocks.append(SectionBlock(text=_plain(shown, limit)))
    return [*blocks, ContextBlock(elements=_context(message, attempt))]


def _facts(message: Message) -> list[tuple[str, str]]:
    """Those that there is room for, each on one line."""
    room = _room(message)
    return [(line(label, _LABEL), line(value, room)) for label, value in message.facts[: _most(message)]]


def _most(message: Message) -> int:
    return _FIELDS if message.error or message.hint else _MANY


def _room(message: Message) -> int:
    return _VALUE if len(message.facts) <= _FIELDS or _most(message) == _FIELDS else _SHORT_VALUE


def _context(message: Message, attempt: Attempt) -> list[TextObject]:
    elements: list[TextObject] = []
    link = safe_link(message.link)
    if link is not None:
        elements.append(MarkdownTextObject(text=f"<{link}|Open the job>", verbatim=True))
    where = f"{line(message.subject.org or message.subject.kind, _LABEL)} · {line(message.subject.id, _LABEL)}"
    left = len(message.facts) - _most(message)
    elements.append(_plain(f"{where} · {left} more facts" if left > 0 else where, 2 * _VALUE))
    if attempt.repeated:
        elements.append(_plain(REPEAT, _VALUE))
    return elements


def _headline(message: Message) -> str:
    return f"{_LOOK[message.severity][0]} {line(message.title, _HEADER)}"


def _fallback(message: Message, attempt: Attempt) -> str:
    """All of it as lines of text, for readers that show no blocks."""
    facts = [f"{label}: {value}" for label, value in _facts(message)]
    texts = [clean(text, limit) for text, limit in ((message.error, _ERROR), (message.hint, _HINT)) if text]
    lines = [_headline(message), *facts, *filter(None, texts), *([REPEAT] if attempt.repeated else [])]
    link = safe_link(message.link)
    text = escaped("\n".join(map(_unlinked, lines)), 2 * (_ERROR + _HINT) + _FIELDS * (_LABEL + _VALUE))
    return f"{text}\n<{link}>" if link is not None else text


def _unlinked(text: str) -> str:
    """Without what a receiver that formats by itself (Mattermost) would take for a mention or a link."""
    for sign in ("@", "://", "www.", "]("):
        text = text.replace(sign, f"{sign}\u200b")
    return text


def _plain(text: str, limit: int) -> PlainTextObject:
    return PlainTextObject(text=escaped(text, limit) or ELLIPSIS, emoji=False)


def _shortened(kept: list[str], limit: int) -> str:
    """Make room for the sign that something is missing."""
    size = sum(len(piece) if piece <= "\uffff" else 2 for piece in kept)
    while kept and size + len(ELLIPSIS) > limit:
        piece = kept.pop()
        size -= len(piece) if piece <= "\uffff" else 2
    return "".join([*kept, ELLIPSIS])
