"""Budgets as they are written: how much may be spent in a period, and on what."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from monitor.config.parts import JobMatch, Part, Words
from monitor.domain.budgets import Budget, Period
from monitor.domain.text import NAME

_STEP: Final = Decimal("0.001")


def _exact(value: object) -> object:
    """The number as it was written: a float would be one next to it."""
    if isinstance(value, bool):
        raise ValueError("should be a number")  # noqa: TRY004 - pydantic collects ValueErrors only
    return str(value) if isinstance(value, float) else value


def _thresholds(values: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
    if any(value % _STEP for value in values):
        raise ValueError("should be numbers with at most three decimals")
    if sorted(set(values)) != list(values):
        raise ValueError("should grow from one to the next")
    return values


def _number(**bounds: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "number", **bounds})


Amount = Annotated[
    Decimal,
    BeforeValidator(_exact),
    Field(gt=0, le=1_000_000_000),
    _number(exclusiveMinimum=0, maximum=1_000_000_000),
]
Threshold = Annotated[Decimal, BeforeValidator(_exact), Field(gt=0, le=10), _number(exclusiveMinimum=0, maximum=10)]


class BudgetSettings(Part):
    """An amount of money for the fine-tuning of a period. Routes with `budget` in `on` say who is notified."""

    name: Annotated[str, Field(pattern=NAME)]
    """Unique; the `budget` label."""
    was: Words = ()
    """Names that it had before: thresholds that were notified under one are not notified again."""
    match: JobMatch = JobMatch()
    """Whose costs count; all by default."""
    amount: Amount
    """US dollars."""
    period: Literal["day", "week", "month", "total"] = "month"
    """Of the calendar, in UTC; a week begins on Monday. `total` never begins anew."""
    thresholds: Annotated[tuple[Threshold, ...], Field(min_length=1, max_length=20), AfterValidator(_thresholds)] = (
        Decimal("0.5"),
        Decimal("0.8"),
        Decimal("1.0"),
    )
    """Parts of the amount at which recipients are notified; 1 is all of it."""
    include_usage: bool = False
    """Whether the use of fine-tuned models counts, too, and not their training alone."""

    @property
    def budget(self) -> Budget:
        """The same as the domain understands it."""
        return Budget(
            name=self.name,
            was=self.was,
            match=self.match.match,
            amount=self.amount,
            period=Period(self.period),
            thresholds=self.thresholds,
            include_usage=self.include_usage,
        )
