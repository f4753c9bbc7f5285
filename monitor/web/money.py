"""Money on the status page: budgets, the month so far, and the models that end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Final

from monitor.domain.render import span
from monitor.domain.snapshot import Snapshot
from monitor.metrics.health import Health
from monitor.metrics.labels import clean

_MOST_MODELS: Final = 10
_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A budget as a line."""

    name: str
    spent: str
    limit: str
    share: float
    """1 and more when it is used up."""
    state: str
    """`calm`, `near` or `over`."""
    ends: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgRef:
    """What one organisation has cost this month: three numbers that are never added up."""

    org: str
    computed: str | None
    usage: str | None
    billed: str | None
    trouble: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShutdown:
    """A model that will be shut down."""

    id: str
    org: str
    base: str
    day: str
    words: str
    soon: bool


def budgets(health: Health, snapshot: Snapshot) -> list[Budget]:
    """The budgets, the fullest first."""
    found = []
    for one in sorted(health.budgets, key=lambda one: -one.spent / one.limit):
        share = float(one.spent / one.limit)
        found.append(
            Budget(
                name=clean(one.name, 64),
                spent=_dollars(one.spent),
                limit=_dollars(one.limit),
                share=share,
                state="over" if share >= 1 else "near" if share >= 0.8 else "calm",
                ends=f"in {span(one.period_end - snapshot.at)}" if one.period_end is not None else None,
            )
        )
    return found


def accounts(health: Health, snapshot: Snapshot) -> list[OrgRef]:
    """The organisations of which any of the numbers is known."""
    computed, usage = snapshot.trained, snapshot.used
    billed: dict[str, Decimal] = {}
    for (org, _), usd in snapshot.billed.items():
        billed[org] = billed.get(org, Decimal(0)) + usd
    found = []
    for org in health.orgs:
        books = health.accounts.get(org)
        trouble = books.trouble if books is not None else None
        if org in computed or org in usage or org in billed or trouble is not None:
            found.append(
                OrgRef(
                    org=clean(org, 64),
                    computed=_maybe(computed.get(org)),
                    usage=_maybe(usage.get(org)),
                    billed=_maybe(billed.get(org)),
                    trouble=clean(trouble.text, 300) if trouble is not None else None,
                )
            )
    return found


def shutdowns(snapshot: Snapshot) -> tuple[list[ModelShutdown], int]:
    """The models that will end, the next to go first, and how many more there are."""
    today = snapshot.at.astimezone(UTC).date()
    dated = sorted(
        (one.shutdown, one.org, one.id, one.base)
        for one in snapshot.models
        if one.shutdown is not None and one.shutdown > today
    )
    shown = [
        ModelShutdown(
            id=clean(id_, 120),
            org=clean(org, 64),
            base=clean(base, 80),
            day=day.isoformat(),
            words=_days((day - today).days),
            soon=(day - today).days <= 30,
        )
        for day, org, id_, base in dated[:_MOST_MODELS]
    ]
    return shown, max(len(dated) - _MOST_MODELS, 0)


def _days(left: int) -> str:
    return "tomorrow" if left == 1 else f"in {left} days"


def _maybe(usd: Decimal | None) -> str | None:
    return None if usd is None else _dollars(usd)


def _dollars(usd: Decimal) -> str:
    sign = "-" if usd < 0 else ""
    return f"{sign}${abs(usd).quantize(_CENT):,}"
