"""What a provider's dialect is: requests and responses as values, and the errors of that border. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import ClassVar, Generic, Protocol, TypeVar

from monitor.domain.costs import Bill, Usage
from monitor.domain.flow import Reason, Trouble
from monitor.domain.model import Job, JobEvent
from monitor.domain.retirement import ListedModel

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A GET to make, relative to the base URL. Path segments from outside are already percent-encoded."""

    operation: str
    """`list_jobs`, `get_job`, `list_events`, `get_file`, …: the metric label."""
    path: str
    params: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer, read to its end and inflated; the body is at most 8 MiB."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]
    next: str | None
    """The cursor to hand to the next request; None at the end."""
    skipped: int = 0
    """Items that could not be understood; their siblings are in `items`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket(Generic[T]):
    """What a provider's books have of one span of time."""

    start: datetime
    """Told twice, a bucket that starts at the same moment is the same bucket."""
    items: tuple[T, ...] = ()


class SourceError(Exception):
    """A look that failed. The text is safe to show and bounded; `trouble` is the same as a value."""

    reason: ClassVar[Reason] = Reason.UNAVAILABLE

    def __init__(self, text: str, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after

    @property
    def trouble(self) -> Trouble:
        """This error as a value of the domain."""
        return Trouble(reason=self.reason, text=str(self), retry_after=self.retry_after)


class AuthFailed(SourceError):
    """The key is refused, or may not read fine-tuning jobs."""

    reason = Reason.AUTH


class NotEligible(SourceError):
    """The organisation may not use fine-tuning (quota spent, platform wound down)."""

    reason = Reason.NOT_ELIGIBLE


class RateLimited(SourceError):
    """Too many requests; `retry_after` in seconds where the provider said so."""

    reason = Reason.RATE_LIMITED


class Unavailable(SourceError):
    """The provider did not answer, or answered with a server's error."""

    reason = Reason.UNAVAILABLE


class TimedOut(Unavailable):
    """The answer was not complete within the deadline."""

    reason = Reason.TIMEOUT


class Malformed(SourceError):
    """The answer is not what this API answers; nothing may be concluded from it."""

    reason = Reason.MALFORMED


class NotFound(SourceError):
    """404 for one job or file: the provider does not know it (any more)."""

    reason = Reason.MALFORMED


class Border(Protocol):
    """Where requests go, and how they prove who asks."""

    @property
    def base_url(self) -> str:
        """Where the requests go, without a trailing slash."""
        ...

    def headers(self, key: str) -> Mapping[str, str]:
        """Headers of every request, the credentials among them."""
        ...


class Dialect(Border, Protocol):
    """A vendor's language, pure: what to ask, and what the answers mean."""

    provider: str
    """`openai`, `azure`, …"""
    has_events: bool
    """Whether jobs have an event stream of their own."""

    def list_jobs(self, after: str | None) -> Request:
        """A page of jobs; None asks for the first."""
        ...

    def read_jobs(self, org: str, response: Response) -> Page[Job]:
        """Understand a page of jobs. Raises SourceError."""
        ...

    def get_job(self, job_id: str) -> Request:
        """One job."""
        ...

    def read_job(self, org: str, response: Response) -> Job:
        """Understand one job. Raises NotFound and other SourceErrors."""
        ...

    def list_events(self, job_id: str, after: str | None) -> Request:
        """A page of one job's events, newest first."""
        ...

    def read_events(self, org: str, job_id: str, response: Response) -> Page[JobEvent]:
        """Understand a page of events. Raises SourceError."""
        ...

    def get_file(self, file_id: str) -> Request:
        """What is known of one file."""
        ...

    def read_file(self, response: Response) -> int:
        """The file's length in bytes, at least 1. Raises NotFound and other SourceErrors."""
        ...

    def get_content(self, file_id: str) -> Request:
        """The content of one file."""
        ...

    def read_content(self, response: Response) -> bytes:
        """The content. Raises NotFound and other SourceErrors."""
        ...

    def list_models(self, after: str | None) -> Request:
        """A page of the models that there are; None asks for the first."""
        ...

    def read_models(self, response: Response) -> Page[ListedModel]:
        """Understand a page of models. Raises NotFound where there is no such list, and other SourceErrors."""
        ...


class Accounts(Border, Protocol):
    """A vendor's books, pure: what tuned models were used for, and what was billed. Both days of a range are in it."""

    def list_usage(self, since: date, until: date, page: str | None) -> Request:
        """A page of the daily usage of models; None asks for the first."""
        ...

    def read_usage(self, org: str, response: Response) -> Page[Bucket[Usage]]:
        """Understand a page of usage: tuned models alone, without prices. Raises SourceError."""
        ...

    def list_bills(self, since: date, until: date, page: str | None) -> Request:
        """A page of the daily bill; None asks for the first."""
        ...

    def read_bills(self, org: str, response: Response) -> Page[Bucket[Bill]]:
        """Understand a page of the bill. Raises SourceError."""
        ...
