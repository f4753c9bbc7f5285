"""What is configured, with how watching it goes as the store knows it: so readers on every replica say the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from monitor.domain.flow import Trouble
from monitor.domain.reconcile import Drift
from monitor.domain.snapshot import WatchState


@dataclass(slots=True, kw_only=True)
class OrgHealth:
    """One organisation. What is not known yet is None."""

    org: str
    provider: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """From the configuration; they are labels of aggregates."""
    up: bool | None = None
    """Whether the last poll saw what it wanted to see."""
    last_success: datetime | None = None
    trouble: Trouble | None = None
    next_poll_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """What a budget has come to in its present period, in US dollars."""

    name: str
    limit: Decimal
    spent: Decimal
    """Computed costs, and estimates of active jobs."""
    period_end: datetime | None = None
    """When the next period begins; None where none does."""


@dataclass(slots=True, kw_only=True)
class AccountHealth:
    """How the reading of one organisation's books goes: their trouble is not the trouble of its jobs."""

    org: str
    last_success: datetime | None = None
    """When usage and bill were last read up to the day."""
    trouble: Trouble | None = None
    failures: int = 0
    """How many readings in a row have failed."""
    next_read_at: datetime | None = None
    drifts: tuple[Drift, ...] = ()
    """What was billed and computed on the settled days of the last month; empty where nothing was billed."""


@dataclass(slots=True, kw_only=True)
class Health:
    """Every configured organisation, the names of the configured notifiers, and what the budgets have come to."""

    orgs: dict[str, OrgHealth] = field(default_factory=dict)
    accounts: dict[str, AccountHealth] = field(default_factory=dict)
    """Those organisations whose books are read."""
    notifiers: tuple[str, ...] = ()
    budgets: tuple[BudgetState, ...] = ()
    """Empty until they were added up."""

    @property
    def ready(self) -> bool:
        """Whether every organisation was asked at least once, so that what is shown is not a half."""
        return not self.waiting

    @property
    def waiting(self) -> tuple[str, ...]:
        """The organisations whose first poll is still to come."""
        return tuple(name for name, org in self.orgs.items() if org.up is None)

    def seen(self, watching: Mapping[str, WatchState], at: datetime) -> Health:
        """A copy for readers, with what whoever watches has last said; nothing of what nobody watches any more."""
        current = {name: state for name, state in watching.items() if state.current(at)}
        return replace(
            self,
            orgs={name: _with_org(org, current.get(name)) for name, org in self.orgs.items()},
            accounts={name: _with_account(one, current.get(f"{name}:costs")) for name, one in self.accounts.items()},
        )

    def copy(self) -> Health:
        """As it is now: for a reader in another thread, while the watchers write on."""
        return replace(
            self,
            orgs={name: replace(org) for name, org in self.orgs.items()},
            accounts={name: replace(one) for name, one in self.accounts.items()},
        )


def _with_org(org: OrgHealth, state: WatchState | None) -> OrgHealth:
    if state is None:
        return replace(org)
    trouble, next_poll = state.trouble, state.next_poll
    return replace(org, up=state.up, last_success=state.last_success, trouble=trouble, next_poll_at=next_poll)


def _with_account(one: AccountHealth, state: WatchState | None) -> AccountHealth:
    if state is None:
        return replace(one)
    return replace(one, last_success=state.last_success, trouble=state.trouble, next_read_at=state.next_poll)
