"""When fine-tuned models stop answering: the inventory of what is listed, and the milestones before the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

from monitor.domain.costs import TunedModel
from monitor.domain.pricing import Prices, shutdown

MILESTONES: Final = (90, 30, 7, 1)
"""Days before the shutdown at which it is announced; the first is number 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One line of a provider's list of models, base models among them."""

    id: str
    shutdown: date | None = None
    """The first day it does not answer any more; None where the list does not say."""
    base: str | None = None
    """What it was tuned from; None where it is itself a base."""
    family: str | None = None
    """What a tuned model and the snapshots of its training have in common."""
    snapshot: bool = False
    """A state of a training before its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """Models of one organisation that stop on the same day, and how near that is."""

    org: str
    day: date
    days_left: int
    """0 on the day itself."""
    milestone: int
    """The latest one that is reached, counted from 1."""
    models: tuple[TunedModel, ...]

    @property
    def subject(self) -> str:
        """Of its notice."""
        return f"shutdown:{self.day.isoformat()}"


def inventory(org: str, listed: Iterable[ListedModel], prices: Prices) -> tuple[TunedModel, ...]:
    """The fine-tuned models of a list that was read whole, each with the day it ends.

    That is its own day, else that of its base on the same list, else the packaged one. Snapshots of a training are
    left out where its model is there: they end together.
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


def dated(models: Iterable[TunedModel], prices: Prices) -> Iterator[TunedModel]:
    """The models, with the packaged day where they have none of their own."""
    for model in models:
        yield model if model.shutdown else replace(model, shutdown=shutdown(model.base, prices, tuned=True))


def retirements(models: Iterable[TunedModel], now: datetime) -> tuple[Retirement, ...]:
    """What stops soon, the nearest first; nothing that has stopped already, nor what is farther than 90 days."""
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
