"""That the store fails is logged once, however often a watcher tries, and once more when it works again."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.log import get_logger
from monitor.store import StoreUnavailable, Unstorable

log = get_logger()


@dataclass(slots=True)
class StoreTrouble:
    """How one watcher fares with the store."""

    failing: bool = False

    def failed(self, error: StoreUnavailable | Unstorable, **of: str) -> None:
        """A try failed. `of` says whose it was."""
        if not self.failing:
            log.error("store.failed", **of, error=str(error))
        self.failing = True

    def worked(self, **of: str) -> None:
        """A try succeeded."""
        if self.failing:
            log.info("store.recovered", **of)
        self.failing = False
