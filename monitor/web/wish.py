"""What somebody wants to see of the status page: filters, order and which page, as its address tells them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from monitor.domain.flow import Tracked
from monitor.domain.model import Status
from monitor.metrics.labels import clean
from monitor.web.query import Parameters

STALLED: Final = "stalled"
STATES: Final = (*(status.value for status in Status), STALLED)
PER_PAGE: Final = {"active": 50, "ended": 15}
_LONGEST: Final = 200
_MOST_PAGES: Final = 10_000
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

Order = Callable[[Tracked], Any]


def _cost(one: Tracked) -> Decimal:
    return -one.cost.usd if one.cost is not None and one.cost.usd is not None else Decimal(1)


def _newest(one: Tracked) -> Any:
    return one.job.finished_at or (one.since if one.job.status.final else one.job.created_at) or _LONG_AGO


ORDERS: Final[Mapping[str, tuple[str, Order, bool]]] = {
    "newest": ("Newest first", _newest, True),
    "oldest": ("Oldest first", _newest, False),
    "name": ("Name", lambda one: (one.job.name or one.job.id).casefold(), False),
    "progress": ("Progress", lambda one: one.job.progress or 0.0, True),
    "cost": ("Cost", _cost, False),
}
"""By the word in the address: what people read, by what it sorts, and whether the largest comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Empty filters let everything through. Pages are counted from 1."""

    org: str = ""
    status: str = ""
    model: str = ""
    q: str = ""
    """Words that are all in its name, ids or models, in whatever case."""
    sort: str = "newest"
    active: int = 1
    ended: int = 1

    @property
    def filters(self) -> bool:
        """Whether anything is held back."""
        return bool(self.org or self.status or self.model or self.q)

    def address(self, **over: str | int) -> str:
        """The same page with something else wanted: a query string, or `.` where nothing is out of the ordinary."""
        usual = asdict(Wish())
        asked = {name: value for name, value in {**asdict(self), **over}.items() if value != usual[name]}
        return "?" + urlencode(asked, errors="replace") if asked else "."

    def chosen(self, jobs: tuple[Tracked, ...]) -> list[Tracked]:
        """The jobs that are let through, in the order that is wanted."""
        words = self.q.casefold().split()
        _, order, largest_first = ORDERS[self.sort]
        return sorted((one for one in jobs if self._lets(one, words)), key=order, reverse=largest_first)

    def _lets(self, one: Tracked, words: list[str]) -> bool:
        job = one.job
        if self.org and self.org != clean(job.org, 64):
            return False
        if self.status and not (one.stalled if self.status == STALLED else self.status == job.status.value):
            return False
        if self.model and self.model != clean(job.model, 80):
            return False
        if not words:
            return True
        text = f"{job.name or ''}\n{job.id}\n{job.org}\n{job.model}\n{job.fine_tuned_model or ''}".casefold()
        return all(word in text for word in words)


def wished(parameters: Parameters) -> Wish:
    """What the address asks for. People type addresses: what makes no sense is as if it were not there."""

    def first(name: str) -> str:
        return clean(parameters.getall(name)[0], _LONGEST) if name in set(parameters) else ""

    def page(name: str) -> int:
        text = first(name)
        good = text.isascii() and text.isdigit() and len(text) <= 5
        return min(max(int(text), 1), _MOST_PAGES) if good else 1

    status, sort = first("status"), first("sort")
    return Wish(
        org=first("org"),
        status=status if status in STATES else "",
        model=first("model"),
        q=first("q").strip(),
        sort=sort if sort in ORDERS else "newest",
        active=page("active"),
        ended=page("ended"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Paged:
    """One page of a long table, and the addresses of its neighbours."""

    shown: tuple[Tracked, ...]
    total: int
    number: int
    pages: int
    before: str | None
    after: str | None


def paged(wish: Wish, name: str, jobs: list[Tracked]) -> Paged:
    """The page of these jobs that is wanted, or the last there is. `name` is that of its field in the wish."""
    most = PER_PAGE[name]
    pages = max(-(-len(jobs) // most), 1)
    number = min(getattr(wish, name), pages)
    return Paged(
        shown=tuple(jobs[(number - 1) * most : number * most]),
        total=len(jobs),
        number=number,
        pages=pages,
        before=wish.address(**{name: number - 1}) if number > 1 else None,
        after=wish.address(**{name: number + 1}) if number < pages else None,
    )
