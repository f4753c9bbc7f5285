"""Holds what was computed against what was billed, day by day: two numbers side by side, neither corrects the other.

Jobs of reinforcement are billed when they are paused, cancelled or fail, too, each time for what was added. What is
computed of them is booked at their end, so that a bill may come days before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from monitor.domain.costs import Bill, Spending, Usage
from monitor.domain.import_window import SETTLED_AFTER

WINDOW: Final = 30
"""Settled days over which the drift is measured."""


class LineItemKind(StrEnum):
    """What a line item of the bill is for."""

    TRAINING = "training"
    INFERENCE = "inference"
    """Use of tuned models."""
    OTHER = "other"
    UNKNOWN = "unknown"
    """No use of a model's tokens that we can see: it may be anything, training among it."""


Kinds = Callable[[str], LineItemKind]
"""What a line item is for, by its name: every vendor has names of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCosts:
    """One organisation's books of one UTC day, in US dollars."""

    org: str
    day: date
    settled: bool
    """Old enough that nothing more is expected to be booked on it."""
    computed_training: Decimal = Decimal(0)
    """Of the jobs that ended on it and have a price."""
    computed_use: Decimal = Decimal(0)
    unpriced: int = 0
    """Models and projects whose use of that day has no price, and is not in `computed_use`."""
    billed_training: Decimal | None = None
    """None, like the next, where the day's bill has no such line."""
    billed_inference: Decimal | None = None
    billed_other: Decimal | None = None
    """All other lines, those among them of which nobody knows what they are."""
    unknown: tuple[str, ...] = ()
    """The names of those, which may be training under a name that we do not know."""


@dataclass(slots=True)
class _DayRecords:
    spendings: list[Spending] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)


def reconcile(
    spendings: Iterable[Spending],
    usages: Iterable[Usage],
    bills: Iterable[Bill],
    since: date,
    until: date,
    *,
    kinds: Kinds,
) -> tuple[DayCosts, ...]:
    """The days from `since` to `until` (the day up to which the books were read: today) on which there is something.

    Sorted by organisation and day. `until` and the two days before it are not settled.
    """
    days: dict[tuple[str, date], _DayRecords] = {}

    def records(org: str, day: date) -> _DayRecords:
        return days.setdefault((org, day), _DayRecords())

    for spending in spendings:
        records(spending.org, _day(spending.at)).spendings.append(spending)
    for usage in usages:
        records(usage.org, usage.day).usages.append(usage)
    for bill in bills:
        records(bill.org, bill.day).bills.append(bill)
    return tuple(
        _balanced(org, day, days[org, day], kinds, settled=until - day >= SETTLED_AFTER)
        for org, day in sorted(days)
        if since <= day <= until
    )


def _balanced(org: str, day: date, records: _DayRecords, kinds: Kinds, *, settled: bool) -> DayCosts:
    billed = [(kinds(one.line_item), one) for one in records.bills]
    return DayCosts(
        org=org,
        day=day,
        settled=settled,
        computed_training=sum((one.usd for one in records.spendings), Decimal(0)),
        computed_use=sum((one.usd.total for one in records.usages if one.usd is not None), Decimal(0)),
        unpriced=sum(one.usd is None for one in records.usages),
        billed_training=_billed(billed, LineItemKind.TRAINING),
        billed_inference=_billed(billed, LineItemKind.INFERENCE),
        billed_other=_billed(billed, LineItemKind.OTHER, LineItemKind.UNKNOWN),
        unknown=tuple(sorted({one.line_item for kind, one in billed if kind is LineItemKind.UNKNOWN})),
    )


def _billed(bills: Sequence[tuple[LineItemKind, Bill]], *kinds: LineItemKind) -> Decimal | None:
    amounts = [one.usd for kind, one in bills if kind in kinds]
    return sum(amounts, Decimal(0)) if amounts else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What was billed and what was computed on the same settled days, in US dollars."""

    org: str
    kind: LineItemKind
    """TRAINING or INFERENCE."""
    computed: Decimal
    billed: Decimal

    @property
    def usd(self) -> Decimal:
        """How much more was billed than computed; negative where it was less."""
        return self.billed - self.computed

    @property
    def ratio(self) -> Decimal | None:
        """The same, of what was computed; None where that is nothing."""
        return self.usd / self.computed if self.computed else None


def drift(records: Iterable[DayCosts], today: date, *, days: int = WINDOW) -> tuple[Drift, ...]:
    """By organisation and kind, over the settled ones of the last so many days. Absent where nothing was billed.

    What was computed for days before the first bill that we have is left out.
    Prices and quantities that we do not know make the computed sum too small, which `finetune_unpriced_jobs` and
    `DayBooks.unpriced` tell.
    """
    within = [one for one in records if one.settled and one.day > today - timedelta(days=days)]
    found: list[Drift] = []
    for org in sorted({one.org for one in within}):
        own = _from_first_bill([one for one in within if one.org == org])
        pairs = {
            LineItemKind.TRAINING: [(one.computed_training, one.billed_training) for one in own],
            LineItemKind.INFERENCE: [(one.computed_use, one.billed_inference) for one in own],
        }
        for kind, each in pairs.items():
            billed = [amount for _, amount in each if amount is not None]
            if billed:
                computed = sum((amount for amount, _ in each), Decimal(0))
                found.append(Drift(org=org, kind=kind, computed=computed, billed=sum(billed, Decimal(0))))
    return tuple(found)


def _from_first_bill(records: Sequence[DayCosts]) -> Sequence[DayCosts]:
    billed = [one.day for one in records if {one.billed_training, one.billed_inference, one.billed_other} != {None}]
    return [one for one in records if billed and one.day >= min(billed)]


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()
