"""Retries of lists that are read a few times a day. The first failure and the recovery are logged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from monitor.domain.flow import Trouble
from monitor.domain.pace import Pace, next_delay
from monitor.log import get_logger
from monitor.providers.base import SourceError
from monitor.tracebacks import cut_traceback

log = get_logger()

_RETRY: Final = 60.0  # seconds: the base of the backoff


@dataclass(slots=True, kw_only=True)
class ListRetries:
    """The consecutive failures to read one list of an organisation."""

    failed: str
    """The log event of the first failure, such as `models.not_listed`."""
    recovered: str
    """The log event of the first success after failures, such as `models.listed_again`."""
    lasting: tuple[type[SourceError], ...] = ()
    """Errors that will not pass soon: after one of them, the list is read again at its usual time."""
    failures: int = 0

    async def attempt(
        self, read: Callable[[], Awaitable[None]], *, org: str, interval: float, jitter: Callable[[], float]
    ) -> float:
        """Read the list. Returns the seconds until the next read: a backoff after a failure, otherwise `interval`.

        Raises what `read` raises, except for SourceError.
        """
        trouble: Trouble | None = None
        try:
            await read()
        except SourceError as error:
            self._failed(org, error.trouble)
            trouble = None if isinstance(error, self.lasting) else error.trouble
            cut_traceback(error)
        else:
            self._succeeded(org)
        pace = Pace(interval=min(_RETRY, interval), idle_interval=interval)
        return next_delay(pace, active=False, failures=self.failures, trouble=trouble, jitter=jitter())

    def _failed(self, org: str, trouble: Trouble) -> None:
        self.failures += 1
        if self.failures == 1:
            log.warning(self.failed, org=org, reason=trouble.reason, error=trouble.text)

    def _succeeded(self, org: str) -> None:
        if self.failures:
            log.info(self.recovered, org=org, failures=self.failures)
        self.failures = 0
