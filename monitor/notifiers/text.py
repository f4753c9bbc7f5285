"""The parts of a message that every channel shows, and text for their formats: escaped, and shortened safely."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from monitor.domain.news import Message, Severity, SubjectKind
from monitor.domain.text import ELLIPSIS, clean, line
from monitor.notifiers.base import Attempt

SIGNS: Final = {Severity.GOOD: "✅", Severity.INFO: "ℹ️", Severity.WARNING: "⚠️", Severity.BAD: "❌"}
REPEAT: Final = "This may be a repeat: the answer to an earlier attempt was lost."
_LONGEST_URL: Final = 1000
_TITLE: Final = 200
_LABEL: Final = 60
_VALUE: Final = 400
_ERROR: Final = 2400
_HINT: Final = 900
_OF_MANY: Final = (SubjectKind.GROUP, SubjectKind.DIGEST)
_BATCH: Final = "batch:"
_NOTHING: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A message as people read it, before formatting: bounded, without invisible characters or repetitions."""

    title: str
    """The title with a sign for its severity, and with the organisation."""
    headline: str
    """The same without the sign."""
    facts: tuple[tuple[str, str], ...]
    """Labels and values, each a single line, without those that the title and the id contain."""
    lists: tuple[tuple[str, tuple[str, ...]], ...]
    """Labels with several values, such as the models of a shutdown; for digests and groups, all facts."""
    error: str
    hint: str
    link: str | None
    """The monitor's page of the subject, otherwise the vendor's."""
    vendor_link: str | None
    """The vendor's page, if `link` is the monitor's."""
    id: str
    """The provider's id of the job or batch; empty for other subjects."""
    note: str
    """A note that this may be a repeat; otherwise empty."""

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """The lists as rows, with a label for each value."""
        return tuple((label, value) for label, values in self.lists for value in values)

    @property
    def lines(self) -> list[str]:
        """Everything except the links, for receivers of plain text."""
        rows = [f"{label}: {value}" for label, value in (*self.facts, *self.rows)]
        return list(filter(None, [self.title, *rows, self.error, self.hint, self.id, self.note]))


def show(message: Message, attempt: Attempt) -> Shown:
    """The parts of a message. This is the only place where channels take a message apart."""
    subject = message.subject
    of_job, of_many = subject.kind in (SubjectKind.JOB, SubjectKind.BATCH), subject.kind in _OF_MANY
    id_ = line(subject.id.removeprefix(_BATCH), 2 * _LABEL) if of_job else ""
    org = line(subject.org or "", _LABEL) if subject.kind is not SubjectKind.TEST else ""
    title = line(message.title, _TITLE)
    headline = title + (f" · {org}" if org and org not in title else "")
    values: dict[str, list[str]] = {}
    for label, value in message.facts:
        values.setdefault(line(label, _LABEL), []).append(line(value, _VALUE))
    elsewhere = {org, id_} - {""}
    ours, vendors = safe_link(message.monitor_url, "http"), safe_link(message.link)
    return Shown(
        title=f"{SIGNS[message.severity]} {headline}",
        headline=headline,
        facts=tuple(
            (label, one) for label, (one, *more) in values.items() if not (more or of_many) and one not in elsewhere
        ),
        lists=tuple((label, tuple(many)) for label, many in values.items() if len(many) > 1 or of_many),
        error=clean(message.error or "", _ERROR),
        hint=clean(message.hint or "", _HINT),
        link=ours or vendors,
        vendor_link=vendors if ours else None,
        id=id_,
        note=REPEAT if attempt.repeated else "",
    )


def labelled_once(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The rows of a table, with an empty label where the row above has the same."""
    above = ""
    for label, value in rows:
        yield "" if label == above else label, value
        above = label


def units(text: str) -> int:
    """The length in UTF-16 units, which is at least that in code points, so that it fits however a receiver counts."""
    return len(text) + sum(char > "\uffff" for char in text)


def cut(text: str, limit: int, escapes: Mapping[str, str] = _NOTHING) -> str:
    """The text, escaped and shortened to `limit` UTF-16 units, without splitting characters or escapes."""
    kept: list[str] = []
    room = limit
    for char in text:
        piece = escapes.get(char, char)
        room -= units(piece)
        if room < 0:
            return _shortened(kept, limit)
        kept.append(piece)
    return "".join(kept)


def unlinked(text: str) -> str:
    """The text without mentions and links, for receivers that would detect them (Mattermost)."""
    for sign in ("@", "://", "www.", "]("):
        text = text.replace(sign, f"{sign}\u200b")
    return text


def safe_link(link: str | None, *also: str) -> str | None:
    """The link with `|`, `<`, `>` and `"`, which end links in some formats, percent-encoded; None unless it is https.

    `also` names other schemes that are allowed: the monitor's own page may be served by plain http.
    """
    if link is None or not link.isascii() or not link.isprintable() or len(link) > _LONGEST_URL:
        return None
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    if parts.scheme not in {"https", *also} or not parts.hostname or parts.username is not None:
        return None
    quoted = quote(link, safe="%/:?#[]@!$&'()*+,;=~")
    return quoted if len(quoted) <= _LONGEST_URL else None


def _shortened(kept: list[str], limit: int) -> str:
    """The kept characters, shortened to make room for an ellipsis."""
    size = sum(map(units, kept))
    while kept and size + len(ELLIPSIS) > limit:
        size -= units(kept.pop())
    return "".join([*kept, ELLIPSIS])
