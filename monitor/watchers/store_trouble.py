"""Logs the failure and the recovery of the store once, however often a watcher retries."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.log import get_logger
from monitor.store import StoreUnavailable, Unstorable
from monitor.tracebacks import cut_traceback

log = get_logger()


@dataclass(slots=True)
class StoreTrouble:
    """Whether the store fails for one watcher."""

    failing: bool = False

    def failed(self, error: StoreUnavailable | Unstorable, **fields: str) -> None:
        """Note a failure. `fields` are added to the log event."""
        if not self.failing:
            log.error("store.failed", **fields, error=str(error))
        self.failing = True
        cut_traceback(error)

    def worked(self, **fields: str) -> None:
        """Note a success. `fields` are added to the log event."""
        if self.failing:
            log.info("store.recovered", **fields)
        self.failing = False
