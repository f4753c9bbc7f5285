"""When fine-tuned models stop answering: the inventory of what is listed, and the milestones before the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

from monitor.domain.costs import TunedModel
from monitor.domain.pricing import Prices, base_model, shutdown

MILESTONES: Final = (90, 30, 7, 1)
"""Days before the end at which it is told; the first is number 1."""
_SNAPSHOT: Final = ":ckpt-step-"
_KINSHIP: Final = 4  # parts of `ft:BASE:ORG:NAME:ID` that a model has in common with the snapshots of its training


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One line of a provider's list of models, base models among them."""

    id: str
    shutdown: date | None = None
    """The first day it does not answer any more; None where the list does not say."""


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
    days = {one.id: one.shutdown for one in listed}
    tuned = [name for name in days if name.startswith("ft:") and name.count(":") > 1]
    whole = {_family(name) for name in tuned if _SNAPSHOT not in name}
    return tuple(
        TunedModel(
            org=org,
            id=name,
            base=base_model(name),
            shutdown=days[name] or days.get(base_model(name)) or shutdown(name, prices),
            listed=True,
        )
        for name in tuned
        if _SNAPSHOT not in name or _family(name) not in whole
    )


def dated(models: Iterable[TunedModel], prices: Prices) -> Iterator[TunedModel]:
    """The models, with the packaged day where they have none of their own."""
    for model in models:
        yield model if model.shutdown else replace(model, shutdown=shutdown(f"ft:{model.base}", prices))


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


def _family(name: str) -> tuple[str, ...]:
    return tuple(name.split(":")[:_KINSHIP])
