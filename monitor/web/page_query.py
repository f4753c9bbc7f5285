"""The query of the status page: filters, order and page numbers, parsed from the URL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from monitor.domain.flow import Tracked
from monitor.domain.model import JobKind, Status
from monitor.metrics.labels import clean
from monitor.web.job_rows import GONE, ended_at, status
from monitor.web.query import Parameters

STALLED: Final = "stalled"
STATES: Final = (*(status.value for status in Status), STALLED, GONE)
KINDS: Final[Mapping[str, str]] = {JobKind.FINE_TUNING.value: "Fine-tuning jobs", JobKind.BATCH.value: "Batches"}
PER_PAGE: Final = {"active": 50, "ended": 15}
_LONGEST: Final = 200
_LONGEST_CURSOR: Final = 1024
_MOST_PAGES: Final = 10_000
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


def _cost(one: Tracked) -> Decimal:
    return -one.cost.usd if one.cost is not None and one.cost.usd is not None else Decimal(1)


def _newest(one: Tracked) -> datetime:
    return (one.job.created_at if one.active else ended_at(one) or one.job.created_at) or _LONG_AGO


ORDERS: Final[Mapping[str, tuple[str, Callable[[Tracked], Any], bool]]] = {
    "newest": ("Newest first", _newest, True),
    "oldest": ("Oldest first", _newest, False),
    "name": ("Name", lambda one: (one.job.name or one.job.id).casefold(), False),
    "progress": ("Progress", lambda one: one.job.progress or 0.0, True),
    "cost": ("Cost", _cost, False),
}
"""By the word in the URL: the label, the sort key, and whether to sort in descending order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """What the status page shows. An empty filter matches all jobs; pages are counted from 1."""

    org: str = ""
    status: str = ""
    model: str = ""
    kind: str = ""
    """`fine_tuning` or `batch`."""
    q: str = ""
    """Words that must all occur in the job's name, ids or models, in any case."""
    sort: str = "newest"
    active: int = 1
    ended: int = 1
    older: str = ""
    """The pagination cursor of the jobs that finished before the window of the page."""

    @property
    def filters(self) -> bool:
        """Whether any filter is set."""
        return bool(self.org or self.status or self.model or self.kind or self.q)

    def address(self, **over: str | int) -> str:
        """The relative URL of this query with some values replaced: a query string, or `.` where all are defaults."""
        usual = asdict(PageQuery())
        asked = {name: value for name, value in {**asdict(self), **over}.items() if value != usual[name]}
        return "?" + urlencode(asked, errors="replace") if asked else "."

    def chosen(self, jobs: Iterable[Tracked]) -> list[Tracked]:
        """The jobs that match the filters, sorted."""
        _, order, largest_first = ORDERS[self.sort]
        return sorted(filter(self.matches, jobs), key=order, reverse=largest_first)

    def matches(self, one: Tracked) -> bool:
        """Whether a job matches the filters."""
        job = one.job
        if self.org and self.org != clean(job.org, 64):
            return False
        if self.status and not (one.stalled if self.status == STALLED else self.status == status(one)):
            return False
        if (self.model and self.model != clean(job.model, 80)) or (self.kind and self.kind != job.kind):
            return False
        if not self.q:
            return True
        text = f"{job.name or ''}\n{job.id}\n{job.org}\n{job.model}\n{job.tuning.fine_tuned_model or ''}".casefold()
        return all(word in text for word in self.q.casefold().split())


def parse_page_query(parameters: Parameters) -> PageQuery:
    """Parse the URL's parameters. Invalid values are ignored, since people type URLs."""

    def first(name: str, longest: int = _LONGEST) -> str:
        return clean(parameters.getall(name)[0], longest) if name in set(parameters) else ""

    def page(name: str) -> int:
        text = first(name)
        good = text.isascii() and text.isdigit() and len(text) <= 5
        return min(max(int(text), 1), _MOST_PAGES) if good else 1

    wanted, sort, kind = first("status"), first("sort"), first("kind")
    return PageQuery(
        org=first("org"),
        status=wanted if wanted in STATES else "",
        model=first("model"),
        kind=kind if kind in KINDS else "",
        q=first("q").strip(),
        sort=sort if sort in ORDERS else "newest",
        active=page("active"),
        ended=page("ended"),
        older=first("older", _LONGEST_CURSOR),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOfJobs:
    """One page of a long table, and the URLs of the neighbouring pages."""

    shown: tuple[Tracked, ...]
    total: int
    number: int
    pages: int
    before: str | None
    after: str | None


def page_of(query: PageQuery, name: str, jobs: list[Tracked]) -> PageOfJobs:
    """The requested page of these jobs, or the last page. `name` is the field of the query with the page number."""
    most = PER_PAGE[name]
    pages = max(-(-len(jobs) // most), 1)
    number = min(getattr(query, name), pages)
    return PageOfJobs(
        shown=tuple(jobs[(number - 1) * most : number * most]),
        total=len(jobs),
        number=number,
        pages=pages,
        before=query.address(**{name: number - 1}) if number > 1 else None,
        after=query.address(**{name: number + 1}) if number < pages else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierJobs:
    """A page of jobs that finished before the status page's window, and the URLs of other pages."""

    shown: tuple[Tracked, ...] = ()
    newest: str | None = None
    """The URL of the newest of them; None if these are the newest."""
    older: str | None = None
    """The URL of the next older page; None if there is none."""
    until: datetime | None = None
    """How far back the search went, where it ended early."""
