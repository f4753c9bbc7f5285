"""The settings of budgets."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from monitor.config.parts import JobMatch, Part, Words, countable
from monitor.domain.budgets import Budget, Period
from monitor.domain.text import NAME

_STEP: Final = Decimal("0.001")


def _exact(value: object) -> object:
    """The number as text, so that a float becomes the decimal number that was written."""
    if isinstance(value, bool):
        raise ValueError("should be a number")  # noqa: TRY004 - pydantic collects ValueErrors only
    return str(value) if isinstance(value, float) else value


def _thresholds(values: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
    if any(value % _STEP for value in values):
        raise ValueError("should be numbers with at most three decimals")
    if sorted(set(values)) != list(values):
        raise ValueError("should be in ascending order")
    return values


def _number(**bounds: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "number", **bounds})


Amount = Annotated[
    Decimal,
    BeforeValidator(_exact),
    Field(gt=0, le=1_000_000_000),
    AfterValidator(countable),
    _number(exclusiveMinimum=0, maximum=1_000_000_000),
]
Threshold = Annotated[Decimal, BeforeValidator(_exact), Field(gt=0, le=10), _number(exclusiveMinimum=0, maximum=10)]


class BudgetSettings(Part):
    """How much fine-tuning may cost in a period. Routes with `budget` in `on` determine who is notified."""

    name: Annotated[str, Field(pattern=NAME)]
    """A unique name, which is also the `budget` label of metrics."""
    was: Words = ()
    """Former names of the budget. Thresholds that were announced under them are not announced again."""
    match: JobMatch = JobMatch()
    """Whose costs count; by default all."""
    amount: Amount
    """The amount in US dollars."""
    period: Literal["day", "week", "month", "total"] = "month"
    """The calendar period in UTC. A week begins on Monday; `total` never ends."""
    thresholds: Annotated[tuple[Threshold, ...], Field(min_length=1, max_length=20), AfterValidator(_thresholds)] = (
        Decimal("0.5"),
        Decimal("0.8"),
        Decimal("1.0"),
    )
    """Fractions of the amount at which recipients are notified; 1 is the whole amount."""
    include_usage: bool = False
    """Whether requests to fine-tuned models count as well as training."""

    @property
    def budget(self) -> Budget:
        """The budget as a domain value."""
        return Budget(
            name=self.name,
            was=self.was,
            match=self.match.match,
            amount=self.amount,
            period=Period(self.period),
            thresholds=self.thresholds,
            include_usage=self.include_usage,
        )
