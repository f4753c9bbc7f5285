"""Fine-tuned models and their shutdown dates: the inventory of a provider's list, and announcements at milestones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

from monitor.domain.costs import TunedModel
from monitor.domain.pricing import Prices, shutdown

MILESTONES: Final = (90, 30, 7, 1)
"""Days before a shutdown at which it is announced. Milestones are numbered from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One entry of a provider's list of models, which includes base models."""

    id: str
    shutdown: date | None = None
    """The first day on which it no longer answers; None if the list does not give it."""
    base: str | None = None
    """The base model of a fine-tuned model; None for a base model."""
    family: str | None = None
    """What the names of a fine-tuned model and of its training snapshots have in common."""
    snapshot: bool = False
    """Whether it is a training snapshot, a model from before the end of the training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """Models of one organisation that are shut down on the same day."""

    org: str
    day: date
    days_left: int
    """Days until the shutdown; 0 on the day itself."""
    milestone: int
    """The number of the latest milestone that is reached, counted from 1."""
    models: tuple[TunedModel, ...]

    @property
    def subject(self) -> str:
        """The id of its news within the organisation, such as `shutdown:2026-11-23`."""
        return f"shutdown:{self.day.isoformat()}"


def inventory(org: str, listed: Iterable[ListedModel], prices: Prices) -> tuple[TunedModel, ...]:
    """The fine-tuned models of a complete list of models, each with its shutdown date.

    The date is that of the model, or else that of its base in the same list, or else that of the price table. Training
    snapshots are left out if their final model is listed: they are shut down together.
    """
    models = {one.id: one for one in listed}
    days = {name: one.shutdown for name, one in models.items()}
    whole = {one.family for one in models.values() if one.base is not None and not one.snapshot}
    return tuple(
        TunedModel(
            org=org,
            id=name,
            base=one.base,
            shutdown=one.shutdown or days.get(one.base) or shutdown(one.base, prices, tuned=True),
            listed=True,
        )
        for name, one in models.items()
        if one.base is not None and not (one.snapshot and one.family in whole)
    )


def with_shutdown_dates(models: Iterable[TunedModel], prices: Prices) -> Iterator[TunedModel]:
    """The models, with the shutdown date of the price table if they have none of their own."""
    for model in models:
        yield model if model.shutdown else replace(model, shutdown=shutdown(model.base, prices, tuned=True))


def retirements(models: Iterable[TunedModel], now: datetime) -> tuple[Retirement, ...]:
    """The shutdowns of the next 90 days, today included, in the order of their dates."""
    today = now.astimezone(UTC).date()
    groups: dict[tuple[date, str], list[TunedModel]] = {}
    for model in models:
        if model.shutdown is not None and 0 <= (model.shutdown - today).days <= MILESTONES[0]:
            groups.setdefault((model.shutdown, model.org), []).append(model)
    return tuple(
        Retirement(
            org=org,
            day=day,
            days_left=(day - today).days,
            milestone=sum((day - today).days <= milestone for milestone in MILESTONES),
            models=tuple(sorted(group, key=lambda model: model.id)),
        )
        for (day, org), group in sorted(groups.items())
    )
