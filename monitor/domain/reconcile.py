"""Compares computed with billed costs, day by day. Neither figure corrects the other.

Reinforcement jobs are billed also when they are paused or cancelled or fail, each time for what was added. Their
computed cost is recorded when they end, which may be days after the bill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from monitor.domain.costs import Bill, TrainingDay, Usage
from monitor.domain.hosting import Hosting, daily
from monitor.domain.import_window import SETTLED_AFTER

WINDOW: Final = 30
"""Length in days of the window over which the drift is measured."""


class LineItemKind(StrEnum):
    """What a line item of the bill is for."""

    TRAINING = "training"
    INFERENCE = "inference"
    """Requests to fine-tuned models."""
    OTHER = "other"
    UNKNOWN = "unknown"
    """An unrecognised line item, which may be anything, even training."""


Kinds = Callable[[str], LineItemKind]
"""A vendor's classification of line items by their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCosts:
    """One organisation's costs on one UTC day, in US dollars."""

    org: str
    day: date
    settled: bool
    """Whether the day is old enough that its bill is expected not to change any more."""
    computed_training: Decimal = Decimal(0)
    """Computed cost of the jobs that ended on the day, as far as they have a price."""
    computed_use: Decimal = Decimal(0)
    """Computed cost of requests to fine-tuned models, as far as they have a price."""
    computed_hosting: Decimal = Decimal(0)
    """Computed cost of hosting fine-tuned models."""
    unpriced: int = 0
    """Number of usage records of the day without a price, which are not in `computed_use`."""
    billed_training: Decimal | None = None
    """Billed cost of training; None if the day's bill has no such line."""
    billed_inference: Decimal | None = None
    """Billed cost of requests to fine-tuned models; None if the day's bill has no such line."""
    billed_other: Decimal | None = None
    """Sum of all other lines, including those of unknown kind; None if there are none."""
    unknown: tuple[str, ...] = ()
    """Names of the line items of unknown kind."""


@dataclass(slots=True)
class _DayRecords:
    trained: list[TrainingDay] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)


def reconcile(
    trained: Iterable[TrainingDay],
    usages: Iterable[Usage],
    bills: Iterable[Bill],
    since: date,
    until: date,
    *,
    kinds: Kinds,
) -> tuple[DayCosts, ...]:
    """The costs of each day from `since` to `until` (inclusive) that has any, sorted by organisation and day.

    `until` is the day up to which costs were imported, usually today. It and the two days before it are not settled.
    """
    days: dict[tuple[str, date], _DayRecords] = {}

    def records(org: str, day: date) -> _DayRecords:
        return days.setdefault((org, day), _DayRecords())

    for training in trained:
        records(training.org, training.day).trained.append(training)
    for usage in usages:
        records(usage.org, usage.day).usages.append(usage)
    for bill in bills:
        records(bill.org, bill.day).bills.append(bill)
    return tuple(
        _balanced(org, day, days[org, day], kinds, settled=until - day >= SETTLED_AFTER)
        for org, day in sorted(days)
        if since <= day <= until
    )


def with_hosting(
    days: Iterable[DayCosts], hostings: Iterable[Hosting], since: date, until: date
) -> tuple[DayCosts, ...]:
    """The same days with what hosting cost on each, and the days on which there is nothing else."""
    found = {(one.org, one.day): one for one in days}
    for (org, day), usd in daily(hostings, since, until).items():
        one = found.get((org, day)) or DayCosts(org=org, day=day, settled=until - day >= SETTLED_AFTER)
        found[org, day] = replace(one, computed_hosting=usd)
    return tuple(found[place] for place in sorted(found))


def _balanced(org: str, day: date, records: _DayRecords, kinds: Kinds, *, settled: bool) -> DayCosts:
    billed = [(kinds(one.line_item), one) for one in records.bills]
    return DayCosts(
        org=org,
        day=day,
        settled=settled,
        computed_training=sum((one.usd for one in records.trained), Decimal(0)),
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
    """Billed and computed costs of the same settled days, in US dollars."""

    org: str
    kind: LineItemKind
    """Either TRAINING or INFERENCE."""
    computed: Decimal
    billed: Decimal

    @property
    def usd(self) -> Decimal:
        """Billed minus computed cost."""
        return self.billed - self.computed

    @property
    def ratio(self) -> Decimal | None:
        """The drift as a fraction of the computed cost; None if that is 0."""
        return self.usd / self.computed if self.computed else None


def drift(records: Iterable[DayCosts], today: date, *, days: int = WINDOW) -> tuple[Drift, ...]:
    """The drift by organisation and kind over the settled ones of the last `days` days.

    A kind of which nothing was billed has no drift. Days before the first stored bill are left out. Unknown prices and
    quantities make the computed sum too low; `finetune_unpriced_jobs` and `DayCosts.unpriced` count them.
    """
    within = [one for one in records if one.settled and one.day > today - timedelta(days=days)]
    found: list[Drift] = []
    for org in sorted({one.org for one in within}):
        own = _from_first_bill([one for one in within if one.org == org])
        pairs = {
            LineItemKind.TRAINING: [(one.computed_training, one.billed_training) for one in own],
            LineItemKind.INFERENCE: [(one.computed_use, one.billed_inference) for one in own],
        }
        for kind, amounts in pairs.items():
            billed = [amount for _, amount in amounts if amount is not None]
            if billed:
                computed = sum((amount for amount, _ in amounts), Decimal(0))
                found.append(Drift(org=org, kind=kind, computed=computed, billed=sum(billed, Decimal(0))))
    return tuple(found)


def _from_first_bill(records: Sequence[DayCosts]) -> Sequence[DayCosts]:
    billed = [one.day for one in records if {one.billed_training, one.billed_inference, one.billed_other} != {None}]
    return [one for one in records if billed and one.day >= min(billed)]
