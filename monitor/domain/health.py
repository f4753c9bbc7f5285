"""The health of what is configured, as the store has it, so that all replicas show the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from monitor.domain.flow import Trouble
from monitor.domain.reconcile import Drift
from monitor.domain.snapshot import WatchState

_STORED_LATE: Final = timedelta(minutes=2)  # an unchanged poll's success is stored late; see `WatchState`


@dataclass(slots=True, kw_only=True)
class OrgHealth:
    """The health of one organisation. What is not known yet is None."""

    org: str
    provider: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """The configured labels, which are added to its metrics."""
    up: bool | None = None
    """Whether the last poll succeeded."""
    last_success: datetime | None = None
    trouble: Trouble | None = None
    next_poll_at: datetime | None = None


def poll_interval(last_success: datetime | None, next_poll_at: datetime | None, now: datetime) -> timedelta | None:
    """How often a healthy organisation is polled, to 5 s (1 s up to 10 s); None if unknown or if a success is overdue.

    It is shown instead of the last success, which is stored only every 90 seconds while nothing changes, and would
    suggest that polls are that rare.
    """
    if last_success is None or next_poll_at is None:
        return None
    interval = max(next_poll_at - last_success, timedelta(seconds=1))
    rounded = timedelta(seconds=5) if interval > timedelta(seconds=10) else timedelta(seconds=1)
    return round(interval / rounded) * rounded if now - last_success <= interval + _STORED_LATE else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """The state of a budget in its current period, in US dollars."""

    name: str
    limit: Decimal
    spent: Decimal
    """Computed costs plus the estimates of active jobs."""
    period_end: datetime | None = None
    """When the next period begins; None for a budget without one."""


@dataclass(slots=True, kw_only=True)
class BillingHealth:
    """The state of the import of an organisation's usage and bill; its errors do not affect the polls of jobs."""

    org: str
    last_success: datetime | None = None
    """When usage and bill were last imported up to the current day."""
    trouble: Trouble | None = None
    failures: int = 0
    """How many imports have failed in a row."""
    next_read_at: datetime | None = None
    drifts: tuple[Drift, ...] = ()
    """Billed and computed costs of the settled days of the last month; empty if nothing was billed."""


@dataclass(slots=True, kw_only=True)
class Health:
    """The health of everything that is configured."""

    orgs: dict[str, OrgHealth] = field(default_factory=dict)
    billing: dict[str, BillingHealth] = field(default_factory=dict)
    """The organisations whose usage and bill are imported."""
    notifiers: tuple[str, ...] = ()
    budgets: tuple[BudgetState, ...] = ()
    """Empty until they are first computed."""

    @property
    def waiting(self) -> tuple[str, ...]:
        """The organisations that have not been polled yet."""
        return tuple(name for name, org in self.orgs.items() if org.up is None)

    def seen(self, watching: Mapping[str, WatchState], at: datetime) -> Health:
        """A copy with the stored health of each organisation; entries that are no longer renewed are ignored."""
        current = {name: state for name, state in watching.items() if state.current(at)}
        return replace(
            self,
            orgs={name: _with_org(org, current.get(name)) for name, org in self.orgs.items()},
            billing={name: _with_billing(one, current.get(f"{name}:costs")) for name, one in self.billing.items()},
        )

    def copy(self) -> Health:
        """A copy for another thread, which the watchers do not modify."""
        return replace(
            self,
            orgs={name: replace(org) for name, org in self.orgs.items()},
            billing={name: replace(one) for name, one in self.billing.items()},
        )


def _with_org(org: OrgHealth, state: WatchState | None) -> OrgHealth:
    if state is None:
        return replace(org)
    trouble, next_poll = state.trouble, state.next_poll
    return replace(org, up=state.up, last_success=state.last_success, trouble=trouble, next_poll_at=next_poll)


def _with_billing(one: BillingHealth, state: WatchState | None) -> BillingHealth:
    if state is None:
        return replace(one)
    return replace(one, last_success=state.last_success, trouble=state.trouble, next_read_at=state.next_poll)
