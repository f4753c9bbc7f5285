"""Finds organisations that share an account at their provider, so that a job belongs only to the first to see it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio

_PATIENCE: Final = 3.0  # seconds: an organisation that cannot be polled delays the others no longer


@dataclass(slots=True)
class Accounts:
    """Which configured organisations are the same account, as far as the provider's answers show it.

    Two API keys of one account may see the same jobs.
    """

    servers: Mapping[str, str] = field(default_factory=dict)
    """The base URL that is polled, by organisation."""
    patience: float = _PATIENCE
    """Seconds to wait for the first polls of the other organisations at the same server."""
    _accounts: dict[str, str | None] = field(default_factory=dict)
    """The account by organisation, of those that were polled once; None if it is unknown."""
    _turns: defaultdict[tuple[str, str], anyio.Lock] = field(default_factory=lambda: defaultdict(anyio.Lock))
    """A lock for each server and account."""
    _all_asked: defaultdict[str, anyio.Event] = field(default_factory=lambda: defaultdict(anyio.Event))
    """Set by server when all of its organisations were polled once."""

    def asked(self, org: str, account: str | None = None) -> None:
        """Note that the organisation was polled, and the account that its jobs name, if they do."""
        if org in self._accounts and account in (None, self._accounts[org]):
            return
        self._accounts[org] = account
        server = self.servers.get(org, "")
        if all(other in self._accounts for other, theirs in self.servers.items() if theirs == server):
            self._all_asked[server].set()

    def others(self, org: str) -> tuple[str, ...]:
        """The other organisations that share the account of this one."""
        account, server = self._accounts.get(org), self.servers.get(org)
        return tuple(
            other
            for other, theirs in self._accounts.items()
            if account is not None and other != org and theirs == account and self.servers.get(other) == server
        )

    def turn(self, org: str) -> anyio.Lock:
        """The lock to hold while jobs of the account are committed, so that no job is taken by two organisations."""
        account = self._accounts.get(org)
        return anyio.Lock() if account is None else self._turns[self.servers.get(org, ""), account]

    async def known(self, org: str) -> None:
        """Wait until all organisations at the same server were polled once, but at most `patience` seconds.

        Before that, it is not known which of them share the account.
        """
        asked = self._all_asked[self.servers.get(org, "")]
        with anyio.move_on_after(self.patience):
            await asked.wait()
        asked.set()
