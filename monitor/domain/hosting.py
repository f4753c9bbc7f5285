"""Computes the cost of hosting fine-tuned models: the time for which each was deployed, times a price per hour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

_CONTINUES: Final = timedelta(hours=1)
"""A deployment without a creation time that is missing for longer than this counts as a new one when it is back."""
_HOUR: Final = Decimal(3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A deployment of a model, as the provider lists it."""

    name: str
    model: str
    created_at: datetime | None = None
    usd_per_hour: Decimal | None = None
    """What it costs per hour, in US dollars; None if it is not charged by the hour."""

    @property
    def id(self) -> str:
        """Its name, which is unique at its resource."""
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosting:
    """The time for which one deployment is known to have existed."""

    org: str
    deployment: str
    model: str
    since: datetime
    """Its creation, or when it was first seen where the provider does not say."""
    until: datetime
    """When it was last seen."""
    usd_per_hour: Decimal
    """The price when it was last seen, which holds for all of the time."""

    def usd(self, start: datetime, end: datetime) -> Decimal:
        """The cost between two moments, in US dollars."""
        inside = min(self.until, end) - max(self.since, start)
        return max(Decimal(0), self.usd_per_hour * Decimal(inside // timedelta(seconds=1)) / _HOUR)


def observe(org: str, known: Iterable[Hosting], found: Iterable[Deployment], now: datetime) -> Iterator[Hosting]:
    """Extend what is known of each deployment up to now, and begin with those that are new.

    A deployment that is not found keeps the time at which it was last seen: it is not known when it was deleted.
    """
    latest: dict[str, Hosting] = {}
    for one in known:
        if one.deployment not in latest or latest[one.deployment].until < one.until:
            latest[one.deployment] = one
    for seen in found:
        if seen.usd_per_hour is None:
            continue
        was = latest.get(seen.name)
        if was is not None and _same(was, seen, now):
            yield replace(was, until=now, usd_per_hour=seen.usd_per_hour)
        else:
            since = min(seen.created_at or now, now)
            yield Hosting(
                org=org,
                deployment=seen.name,
                model=seen.model,
                since=since,
                until=now,
                usd_per_hour=seen.usd_per_hour,
            )


def _same(was: Hosting, seen: Deployment, now: datetime) -> bool:
    if was.model != seen.model:
        return False
    if seen.created_at is not None:
        return seen.created_at <= was.since
    return now - was.until <= _CONTINUES


def daily(hostings: Iterable[Hosting], since: date, until: date) -> Mapping[tuple[str, date], Decimal]:
    """The cost of each organisation on each UTC day from `since` to `until`, where there is any."""
    found: dict[tuple[str, date], Decimal] = {}
    for one in hostings:
        day = max(since, one.since.astimezone(UTC).date())
        while day <= min(until, one.until.astimezone(UTC).date()):
            start = datetime.combine(day, time(), UTC)
            if usd := one.usd(start, start + timedelta(days=1)):
                found[one.org, day] = found.get((one.org, day), Decimal(0)) + usd
            day += timedelta(days=1)
    return found
