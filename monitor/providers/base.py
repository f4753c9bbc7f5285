"""What a provider is: its capabilities as values of pure functions, and the errors of that border. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from monitor.domain.costs import Bill, Usage
from monitor.domain.flow import Reason, Trouble
from monitor.domain.model import Checkpoint, Job, JobEvent, JobKind
from monitor.domain.naming import UNNAMED, Naming
from monitor.domain.retirement import ListedModel

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to make. Path segments from outside are already percent-encoded."""

    operation: str
    """`list_jobs`, `get_job`, `list_events`, `get_file`, …: the metric label."""
    path: str
    """Relative to the base URL of the provider; or a whole URL, where the vendor has more than one host."""
    params: tuple[tuple[str, str], ...] = ()
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def following(self, **params: str) -> Request:
        """The same request with these parameters set anew: the next page of a list."""
        kept = tuple((name, value) for name, value in self.params if name not in params)
        return replace(self, params=(*kept, *params.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer, read to its end and inflated; the body is at most 8 MiB."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""
    scrub: Callable[[Any, bytes], Any] = field(default=lambda value, raw: value, repr=False, compare=False)
    """Takes our secrets out of a value that was read from these bytes, which is what a part of an answer costs."""
    secrets: int = 0
    """Another number whenever there is another secret to take out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]
    next: Request | None = None
    """How to ask for the page behind it; None at the end."""
    guessed: bool = False
    """That there is more is not said: the page is full, and the server leaves out whether it is the last."""
    stuck: bool = False
    """More is promised, but there is nothing to ask on with."""
    account: str | None = None
    """The vendor's own name of the organisation to which the items belong, where they say it."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """How many items were left out, or lack a figure that made no sense, by reason: `not_an_object`, `bad_id`,
    `foreign`, `bad_figure`, …; what is sound of their siblings is in `items`."""
    known: int = 0
    """How many items were left out because they are known."""
    scrubbed: bool = False
    """Whether our secrets were taken out of each item already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """A request whose answer is one thing."""

    request: Request
    read: Callable[[Response], T]
    """Understands the answer. Raises NotFound and other SourceErrors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[T]):
    """A list that is read page by page. In which order it comes is found out while it is read."""

    first: Request
    read: Callable[[Request, Response], Page[T]]
    """Understands the answer to a request for a page of it. Raises SourceError."""
    few: Request | None = None
    """Like `first`, where few new items are expected: a shorter page; None where the vendor's have one length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobList:
    """One list of jobs. A vendor with a list for each method, or for each location, has several."""

    pages: Listing[Job]
    one: Callable[[str], Call[Job]]
    """One of its jobs, by the id that the provider has given it."""
    kind: JobKind = JobKind.FINE_TUNING
    """What all jobs on it are."""
    revisited: bool = False
    """Active jobs are asked for one by one now and then: there are servers whose jobs get on only when they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Training files, by id."""

    length: Callable[[str], Call[int]]
    """The length in bytes, at least 1."""
    content: Callable[[str], Call[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket(Generic[T]):
    """What a provider's usage or bill has of one span of time."""

    start: datetime
    """Listed twice, a bucket that starts at the same moment is the same bucket."""
    items: tuple[T, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Billing:
    """What tuned models were used for, and what was billed, day by day; both days of a range are in it."""

    auth: Auth
    headers: Mapping[str, str]
    usage: Callable[[date, date], Listing[Bucket[Usage]]]
    """Usage of tuned models alone, without prices."""
    bill: Callable[[date, date], Listing[Bucket[Bill]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A part of an organisation that has keys and jobs of its own."""

    id: str
    name: str
    archived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """Which projects there are, for who wants to be told of those that nobody watches."""

    auth: Auth
    headers: Mapping[str, str]
    projects: Listing[Project]
    answered_for: str
    """The header of an answer, in lower case, that names the project of the key that asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What a webhook of the vendor says, once its signature is good: which job to look at, and the delivery's id."""

    id: str
    job: str | None
    """None where it is about something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """An address to which the vendor sends webhooks."""

    id: str
    url: str
    event_types: tuple[str, ...] = ()
    secret: str | None = field(default=None, repr=False)
    """The signing secret, which the vendor shows once: when it is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoints:
    """The addresses to which the vendor sends webhooks; these alone are ever changed, and by an operator's command."""

    all: Listing[WebhookEndpoint]
    register: Callable[[str], Call[WebhookEndpoint]]
    """By URL."""
    rotate: Callable[[str], Call[WebhookEndpoint]] | None = None
    """By id; None where the vendor gives no new secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """The vendor's webhooks."""

    verify: Callable[[Mapping[str, str], bytes, tuple[str, ...], datetime], Hint]
    """Check headers (lower-case names), body, signing secrets and the time. Raises PushRefused."""
    endpoints: WebhookEndpoints | None = None
    """None where they cannot be asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request as it leaves, for who signs it."""

    method: str
    url: str
    body: bytes = b""


class Auth(Protocol):
    """How a request proves who asks: pure, from secrets that are read when they are needed."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the settings that it needs: `api_key`, …"""
        ...

    def grant(self, secrets: Mapping[str, str], now: datetime) -> Call[Token] | None:
        """How to get an access token; None where none is needed."""
        ...

    def headers(self, secrets: Mapping[str, str], request: Outgoing, now: datetime) -> Mapping[str, str]:
        """The headers that carry the proof; an access token is among the secrets, as `token`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token that ends."""

    text: str
    seconds: float
    """How long it is good for, from when it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAuth:
    """A key, or a token that somebody else keeps fresh in a file, in a header."""

    secret: str = "api_key"  # noqa: S105 - the name of a setting
    header: str = "Authorization"
    prefix: str = "Bearer "

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key alone."""
        return (self.secret,)

    def grant(self, secrets: Mapping[str, str], now: datetime) -> None:
        """No token is needed."""

    def headers(self, secrets: Mapping[str, str], request: Outgoing, now: datetime) -> Mapping[str, str]:  # noqa: ARG002 - the protocol's
        """The key in its header."""
        return {self.header: self.prefix + secrets[self.secret]}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuth:
    """OAuth: secrets are exchanged for an access token, again before it ends."""

    secrets: tuple[str, ...]
    exchange: Callable[[Mapping[str, str], datetime], Call[Token]]

    def grant(self, secrets: Mapping[str, str], now: datetime) -> Call[Token]:
        """The exchange."""
        return self.exchange(secrets, now)

    def headers(self, secrets: Mapping[str, str], request: Outgoing, now: datetime) -> Mapping[str, str]:  # noqa: ARG002 - the protocol's
        """The token as a bearer."""
        return {"Authorization": f"Bearer {secrets['token']}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One organisation at its vendor: what can be asked there, and how. None is what the vendor does not have."""

    name: str
    """`openai`, `azure`, …"""
    base_url: str
    """Without a trailing slash."""
    auth: Auth
    jobs: tuple[JobList, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request; no secrets."""
    query: Mapping[str, str] = field(default_factory=dict)
    """The same of parameters."""
    events: Callable[[str, Container[str]], Listing[JobEvent]] | None = None
    """The event stream of a fine-tuning job, by its id; events that are known may be left out of its pages.

    One that is not there raises NotFound.
    """
    checkpoints: Callable[[str], Listing[Checkpoint]] | None = None
    """The states of a job's model that were kept, by the job's id. Raises NotFound where there are none."""
    files: Files | None = None
    models: Listing[ListedModel] | None = None
    """Raises NotFound where there is no such list."""
    billing: Billing | None = None
    push: Push | None = None
    discovery: Discovery | None = None
    project: str | None = None
    """The project whose jobs are asked for, where the settings name it."""
    naming: Naming = UNNAMED
    seller: str | None = None
    """Whose published prices hold at this host; None at a copy of an API."""


class SourceError(Exception):
    """A request or a poll that failed. The text is safe to show and bounded; `trouble` is the same as a value."""

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
    """The organisation may not use fine-tuning (quota spent, platform wound down, a licence is missing)."""

    reason = Reason.NOT_ELIGIBLE


class RateLimited(SourceError):
    """Too many requests; `retry_after` in seconds where the provider said so."""

    reason = Reason.RATE_LIMITED


class ProviderUnavailable(SourceError):
    """The provider did not answer, or answered with a server's error."""

    reason = Reason.UNAVAILABLE


class TimedOut(ProviderUnavailable):
    """The answer was not complete within the deadline."""

    reason = Reason.TIMEOUT


class Malformed(SourceError):
    """The answer is not what this API answers; nothing may be concluded from it."""

    reason = Reason.MALFORMED


class NotFound(SourceError):
    """404 for one job or file: the provider does not know it (any more)."""

    reason = Reason.MALFORMED


class PushRefused(Exception):
    """A webhook that is not the vendor's, or makes no sense. `result` is the label of the counter."""

    def __init__(self, result: str, text: str) -> None:
        super().__init__(text)
        self.result = result
