"""What a provider offers, as values: requests, pure functions that parse their answers, and the errors they raise.

No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from monitor.domain.costs import Bill, Usage
from monitor.domain.flow import Reason, Trouble
from monitor.domain.hosting import Deployment
from monitor.domain.model import Checkpoint, Job, JobEvent, JobKind
from monitor.domain.naming import UNNAMED, Naming
from monitor.domain.retirement import ListedModel

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to make. Path segments from outside are percent-encoded already."""

    operation: str
    """The value of the metric label `operation`: `list_jobs`, `get_job`, `list_events`, `get_file`, …"""
    path: str
    """The path relative to the provider's base URL; a whole URL where the vendor has more than one host."""
    params: tuple[tuple[str, str], ...] = ()
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def following(self, **params: str) -> Request:
        """This request with some parameters replaced, such as the cursor of the next page."""
        kept = tuple((name, value) for name, value in self.params if name not in params)
        return replace(self, params=(*kept, *params.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A complete, decompressed response; the body is at most 8 MiB."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header names are in lower case."""
    body: bytes = b""
    scrub: Callable[[Any, bytes], Any] = field(default=lambda value, raw: value, repr=False, compare=False)
    """Removes our secrets from a value that was parsed from the given bytes."""
    secrets: int = 0
    """The version of the set of secrets: it changes whenever there is another secret to remove."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]
    next: Request | None = None
    """The request for the next page; None at the end."""
    guessed: bool = False
    """Whether `next` is a guess: the page is full, and the server does not say whether it is the last one."""
    stuck: bool = False
    """Whether the server promises another page but gives no cursor for it."""
    account: str | None = None
    """The vendor's name of the organisation that the items belong to, where the answer has it."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """How many items were skipped, or lost a figure that made no sense, by reason: `not_an_object`, `bad_id`,
    `foreign`, `bad_figure`, … The valid ones are in `items`."""
    known: int = 0
    """How many items were skipped because they are known already."""
    scrubbed: bool = False
    """Whether our secrets were removed from each item already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """A request for a single thing, and how to parse its answer."""

    request: Request
    read: Callable[[Response], T]
    """Parse the response. Raises NotFound and other SourceErrors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[T]):
    """A paged list. Its order is not known in advance: the reader detects it."""

    first: Request
    read: Callable[[Request, Response], Page[T]]
    """Parse the response to the request for a page. Raises SourceError."""
    lighten: Callable[[Callable[[T], T]], None] | None = None
    """Replaces each item that is remembered for the next read by what the function returns for it; None if the list
    remembers no items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobList:
    """One list of jobs. A vendor with one list per training method or per location has several."""

    pages: Listing[Job]
    one: Callable[[str], Call[Job]]
    """The request for one job, by its id at the provider."""
    kind: JobKind = JobKind.FINE_TUNING
    """The kind of all jobs on this list."""
    prefix: str = ""
    """The prefix of our ids of its jobs, where another list may use the same ids; `one` takes ids without it."""
    revisited: bool = False
    """Whether active jobs are also requested one by one from time to time: on some servers the list is behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Training files, by the provider's file id."""

    length: Callable[[str], Call[int]]
    """The request for a file's length in bytes, which is at least 1."""
    content: Callable[[str], Call[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket(Generic[T]):
    """The rows of a usage report or a bill for one span of time."""

    start: datetime
    """The start of the span, which identifies the bucket where a list has it twice."""
    items: tuple[T, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Billing:
    """Usage of fine-tuned models and billed costs per day (UTC), for ranges of days that include both ends."""

    auth: Auth
    headers: Mapping[str, str]
    usage: Callable[[date, date], Listing[Bucket[Usage]]]
    """The usage of fine-tuned models, without prices."""
    bill: Callable[[date, date], Listing[Bucket[Bill]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project of an organisation, with its own keys and jobs."""

    id: str
    name: str
    archived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """Lists the organisation's projects, to find those that no configured organisation watches."""

    auth: Auth
    headers: Mapping[str, str]
    projects: Listing[Project]
    answered_for: str
    """The response header, in lower case, that names the project of the API key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployments:
    """The list of deployed models, from which hosting costs are computed. Its host has its own credentials."""

    base_url: str
    auth: Auth
    all: Listing[Deployment]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What a verified webhook of the vendor says: the delivery's id, and which job to poll."""

    id: str
    job: str | None
    """The provider's job id, with our prefix for batches; None if the webhook is about something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """An address that is registered at the vendor to receive webhooks."""

    id: str
    url: str
    event_types: tuple[str, ...] = ()
    secret: str | None = field(default=None, repr=False)
    """The signing secret, which the vendor returns only when it creates it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoints:
    """Manages the registered webhook endpoints, by an operator's command only.

    The only requests that change something.
    """

    all: Listing[WebhookEndpoint]
    register: Callable[[str], Call[WebhookEndpoint]]
    """Register an endpoint by URL."""
    rotate: Callable[[str], Call[WebhookEndpoint]] | None = None
    """Rotate the secret of an endpoint by its id; None if the vendor cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """The vendor's webhooks to `POST /webhooks/{org}`."""

    verify: Callable[[Mapping[str, str], bytes, tuple[str, ...], datetime], Hint]
    """Verify headers (names in lower case) and body against the signing secrets and the time. Raises PushRefused."""
    endpoints: WebhookEndpoints | None = None
    """None if the vendor has no API for endpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request with its final URL, as it is signed."""

    method: str
    url: str
    body: bytes = b""


class Auth(Protocol):
    """How requests are authenticated: pure functions of secrets, which are read anew for each request."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the settings with the secrets it needs, such as `api_key`."""
        ...

    def grant(self, secrets: Mapping[str, str], now: datetime) -> Call[Token] | None:
        """The request for an access token; None if none is needed."""
        ...

    def headers(self, secrets: Mapping[str, str], request: Outgoing, now: datetime) -> Mapping[str, str]:
        """The headers that authenticate a request. Where there is an access token, `secrets` has it as `token`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token that expires."""

    text: str
    seconds: float
    """Seconds for which it is valid from when it was issued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAuth:
    """Authenticates with a key in a header, or with a token that another program keeps fresh in a file."""

    secret: str = "api_key"  # noqa: S105 - the name of a setting
    header: str = "Authorization"
    prefix: str = "Bearer "

    @property
    def secrets(self) -> tuple[str, ...]:
        """The name of the key's setting."""
        return (self.secret,)

    def grant(self, secrets: Mapping[str, str], now: datetime) -> None:
        """None: no access token is needed."""

    def headers(self, secrets: Mapping[str, str], request: Outgoing, now: datetime) -> Mapping[str, str]:  # noqa: ARG002 - the protocol's
        """The key in its header."""
        return {self.header: self.prefix + secrets[self.secret]}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuth:
    """Authenticates with an OAuth access token, which is obtained with the secrets and renewed before it expires."""

    secrets: tuple[str, ...]
    exchange: Callable[[Mapping[str, str], datetime], Call[Token]]

    def grant(self, secrets: Mapping[str, str], now: datetime) -> Call[Token]:
        """The request for an access token."""
        return self.exchange(secrets, now)

    def headers(self, secrets: Mapping[str, str], request: Outgoing, now: datetime) -> Mapping[str, str]:  # noqa: ARG002 - the protocol's
        """The access token as a bearer token."""
        return {"Authorization": f"Bearer {secrets['token']}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One organisation at its provider: what can be requested, and how.

    None stands for what the vendor does not offer.
    """

    name: str
    """The provider's name, such as `openai` or `azure`."""
    base_url: str
    """The base URL, without a trailing slash."""
    auth: Auth
    jobs: tuple[JobList, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that are sent with every request; never secrets."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Query parameters that are sent with every request; never secrets."""
    events: Callable[[str, Container[str], bool], Listing[JobEvent]] | None = None
    """The event stream of a fine-tuning job by the job's id, where events whose ids are in the container may be left
    out, and the first page may be short where few others are expected.

    Reading it raises NotFound if the job has no such stream.
    """
    checkpoints: Callable[[str], Listing[Checkpoint]] | None = None
    """The checkpoints of a job by the job's id. Reading it raises NotFound if there are none."""
    files: Files | None = None
    models: Listing[ListedModel] | None = None
    """The models of the organisation. Reading it raises NotFound if there is no such list."""
    billing: Billing | None = None
    push: Push | None = None
    discovery: Discovery | None = None
    deployments: Deployments | None = None
    project: str | None = None
    """The project whose jobs are requested, where the settings name one."""
    naming: Naming = UNNAMED
    seller: str | None = None
    """The vendor whose published prices apply at this host; None at a server that copies the API."""


class SourceError(Exception):
    """A failed request or poll. Its text is bounded and safe to show; `trouble` is the same as a value."""

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
    """The organisation may not use fine-tuning: its quota is spent, the platform shut down, or a licence missing."""

    reason = Reason.NOT_ELIGIBLE


class RateLimited(SourceError):
    """Too many requests. `retry_after` is in seconds, where the provider gave it."""

    reason = Reason.RATE_LIMITED


class ProviderUnavailable(SourceError):
    """The provider did not answer, or answered with a server error."""

    reason = Reason.UNAVAILABLE


class TimedOut(ProviderUnavailable):
    """The answer was not complete within the deadline."""

    reason = Reason.TIMEOUT


class Malformed(SourceError):
    """The answer is not one of this API; nothing may be concluded from it."""

    reason = Reason.MALFORMED


class NotFound(SourceError):
    """404 for one job or file: the provider does not know it, or no longer."""

    reason = Reason.MALFORMED


class PushRefused(Exception):
    """A webhook whose signature or content is not acceptable. `result` is the value of the counter's label."""

    def __init__(self, result: str, text: str) -> None:
        super().__init__(text)
        self.result = result
