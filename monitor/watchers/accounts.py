"""Two keys of one account may see the same jobs: each belongs to the organisation that had it first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio

_PATIENCE: Final = 3.0  # seconds; who is not reached by then keeps the others waiting no longer


@dataclass(slots=True)
class Accounts:
    """Which organisations of the configuration are one account at their provider, as far as its answers tell."""

    servers: Mapping[str, str] = field(default_factory=dict)
    """By organisation, where it is asked."""
    patience: float = _PATIENCE
    _accounts: dict[str, str | None] = field(default_factory=dict)
    """By organisation that was asked once."""
    _turns: defaultdict[tuple[str, str], anyio.Lock] = field(default_factory=lambda: defaultdict(anyio.Lock))
    _all_asked: defaultdict[str, anyio.Event] = field(default_factory=lambda: defaultdict(anyio.Event))
    """By server."""

    def asked(self, org: str, account: str | None = None) -> None:
        """The organisation was asked, and its jobs say that they are of this account; None where they do not say."""
        if org in self._accounts and account in (None, self._accounts[org]):
            return
        self._accounts[org] = account
        server = self.servers.get(org, "")
        if all(other in self._accounts for other, theirs in self.servers.items() if theirs == server):
            self._all_asked[server].set()

    def others(self, org: str) -> tuple[str, ...]:
        """The other organisations that are the same account."""
        account, server = self._accounts.get(org), self.servers.get(org)
        return tuple(
            other
            for other, theirs in self._accounts.items()
            if account is not None and other != org and theirs == account and self.servers.get(other) == server
        )

    def turn(self, org: str) -> anyio.Lock:
        """Held while it is decided on the jobs of an account, so that none is taken by two."""
        account = self._accounts.get(org)
        return anyio.Lock() if account is None else self._turns[self.servers.get(org, ""), account]

    async def known(self, org: str) -> None:
        """Wait, for a bounded time and once, until all at its server were asked: before that, others are not known."""
        asked = self._all_asked[self.servers.get(org, "")]
        with anyio.move_on_after(self.patience):
            await asked.wait()
        asked.set()
