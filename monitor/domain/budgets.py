"""Budgets: what was spent in a period, and which threshold of the budget that reaches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from monitor.domain.costs import Spending, Usage
from monitor.domain.flow import Tracked
from monitor.domain.model import Basis
from monitor.domain.routing import Match, OrgRef, covers, matches, names

_WHOLE: Final = 1000  # a threshold of 1, in thousandths
_LATE: Final = timedelta(days=1)  # how much later than it happened a cost may become known


class Period(StrEnum):
    """The calendar period of a budget, in UTC. Weeks begin on Monday; TOTAL never ends."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many US dollars fine-tuning may cost in one period."""

    name: str
    was: tuple[str, ...] = ()
    """Former names of the budget."""
    match: Match = field(default_factory=Match)
    amount: Decimal
    period: Period
    thresholds: tuple[Decimal, ...] = (Decimal("0.5"), Decimal("0.8"), Decimal(1))
    """Fractions of the amount, ascending, each a whole number of thousandths."""
    include_usage: bool = False
    """Whether requests to fine-tuned models count as well."""

    def covers(self, orgs: Iterable[OrgRef]) -> tuple[OrgRef, ...]:
        """The organisations whose costs may count against the budget."""
        return tuple(org for org in orgs if covers(self.match, org))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One period of a budget, from `start` (inclusive) to `end` (exclusive). Both are None in an endless period."""

    id: str
    """The id of the period: `2026-11-23`, `2026-W48`, `2026-11` or `total`."""
    start: datetime | None = None
    end: datetime | None = None

    def has(self, day: date) -> bool:
        """Whether a UTC day lies in the period. Periods consist of whole days."""
        return (self.start is None or self.start.date() <= day) and (self.end is None or day < self.end.date())


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRecords:
    """The stored costs that budgets are computed from."""

    spendings: tuple[Spending, ...] = ()
    active: tuple[Tracked, ...] = ()
    usages: tuple[Usage, ...] = ()

    def renamed(self, orgs: Iterable[OrgRef]) -> BudgetRecords:
        """The same records under the current names of the organisations.

        A record that exists under a former and the present name counts once.
        """
        names = {was: org.org for org in orgs for was in org.was}
        if not names:
            return self
        spendings = {(one.org, one.job): one for one in self.spendings}
        usages = {_usage_key(one): one for one in self.usages}
        for spending in (replace(one, org=names[one.org]) for one in self.spendings if one.org in names):
            spendings.setdefault((spending.org, spending.job), spending)
        for usage in (replace(one, org=names[one.org]) for one in self.usages if one.org in names):
            usages.setdefault(_usage_key(usage), usage)
        return replace(self, spendings=tuple(spendings.values()), usages=tuple(usages.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """What counts against a budget in one period, in US dollars."""

    computed: Decimal = Decimal(0)
    """Cost of the jobs that ended in the period."""
    estimated: Decimal = Decimal(0)
    """Expected total cost of the active jobs."""
    usage: Decimal = Decimal(0)
    """Cost of requests to fine-tuned models; 0 unless the budget includes usage."""
    unknown_jobs: int = 0
    """Number of active jobs without an estimate. They count as 0 dollars."""

    @property
    def spent(self) -> Decimal:
        """The sum of computed, estimated and usage costs."""
        return self.computed + self.estimated + self.usage


def period_of(period: Period, now: datetime) -> Span:
    """The period that contains a moment."""
    today = now.astimezone(UTC).date()
    if period is Period.TOTAL:
        return Span(id="total")
    if period is Period.DAY:
        return _span(today.isoformat(), today, today + timedelta(days=1))
    if period is Period.WEEK:
        year, week, weekday = today.isocalendar()
        monday = today - timedelta(days=weekday - 1)
        return _span(f"{year:04}-W{week:02}", monday, monday + timedelta(days=7))
    first = today.replace(day=1)
    return _span(f"{first:%Y-%m}", first, (first + timedelta(days=31)).replace(day=1))


def periods(period: Period, now: datetime) -> tuple[Span, ...]:
    """The periods to check now: the current one, preceded on its first day by the one before.

    Costs may become known up to a day after they arose.
    """
    present, before = period_of(period, now), period_of(period, now - _LATE)
    return (present,) if before == present else (before, present)


def since(budgets: Iterable[Budget], now: datetime) -> datetime | None:
    """The earliest moment whose costs one of these budgets counts; None if one of them counts all costs."""
    starts = [periods(budget.period, now)[0].start for budget in budgets]
    return None if None in starts else min(filter(None, starts), default=now)


def add_up(budget: Budget, costs: BudgetRecords, orgs: Iterable[OrgRef], span: Span, *, now: datetime) -> Sum:
    """What counts against a budget in a period. Costs of organisations that are not in `orgs` are left out.

    The computed cost of a job counts in the period in which the job ended, an estimate in full in the current one.
    """
    known = {org.org: org for org in orgs}
    present = span == period_of(budget.period, now)
    active = [one for one in costs.active if present and _is_for(budget.match, one, known)]
    estimates = [one.cost.usd for one in active if one.cost is not None and one.cost.basis is Basis.ESTIMATED]
    guesses = [usd for usd in estimates if usd is not None]
    return Sum(
        computed=_total(one.usd for one in costs.spendings if _was_for(budget.match, one, known, span)),
        estimated=_total(guesses),
        usage=_total(_used(budget.match, costs.usages, known, span)) if budget.include_usage else Decimal(0),
        unknown_jobs=len(active) - len(guesses),
    )


def crossed(budget: Budget, spent: Decimal) -> Decimal | None:
    """The highest threshold that the spent amount reaches; None if it reaches none."""
    return max((one for one in budget.thresholds if spent >= budget.amount * one), default=None)


def per_mille(threshold: Decimal) -> int:
    """A threshold in thousandths, such as 800 for 0.8."""
    return int(threshold * _WHOLE)


def _usage_key(usage: Usage) -> tuple[object, ...]:
    """The identity of a usage record."""
    return usage.org, usage.project, usage.model, usage.day, usage.batch


def _total(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))


def _is_for(match: Match, tracked: Tracked, orgs: Mapping[str, OrgRef]) -> bool:
    org = orgs.get(tracked.job.org)
    return org is not None and matches(match, tracked.job, org.labels)


def _was_for(match: Match, spending: Spending, orgs: Mapping[str, OrgRef], span: Span) -> bool:
    org = orgs.get(spending.org)
    return (
        org is not None
        and span.has(spending.at.astimezone(UTC).date())
        and covers(match, org)
        and names(match, spending.model, spending.base_model, spending.fine_tuned_model)
        and match.metadata.items() <= spending.metadata.items()
    )


def _used(match: Match, usages: Iterable[Usage], orgs: Mapping[str, OrgRef], span: Span) -> Iterator[Decimal]:
    """The known costs of usage. A budget that matches metadata counts none of it, because usage has no metadata."""
    for usage in usages if not match.metadata else ():
        org = orgs.get(usage.org)
        if org is None or usage.usd is None or not (covers(match, org) and span.has(usage.day)):
            continue
        if names(match, usage.model, org.naming.base_model(usage.model)):
            yield usage.usd.total


def _span(id_: str, first: date, after: date) -> Span:
    start, end = (datetime.combine(day, time(), UTC) for day in (first, after))
    return Span(id=id_, start=start, end=end)
