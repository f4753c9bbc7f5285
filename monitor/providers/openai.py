"""OpenAI's fine-tuning API, and all servers that copy it: how to ask, and what the answers mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr

from monitor.domain.model import Job, JobEvent
from monitor.domain.retirement import ListedModel
from monitor.providers import _openai_events, _openai_models
from monitor.providers._json import Listing, Object, listing, obj
from monitor.providers._openai_admin import OpenAIAccounts
from monitor.providers._openai_errors import refusal
from monitor.providers._openai_jobs import understand as _understood
from monitor.providers._settings import BaseUrl, Organization
from monitor.providers._values import cursor, whole
from monitor.providers.base import Accounts, Malformed, Page, Request, Response

T = TypeVar("T")

_HOST: Final = "api.openai.com"  # and `eu.api.openai.com` and so on, where data residency is agreed
_PAGE_URL: Final = "https://platform.openai.com/finetune/"
_LIMIT: Final = (
    100  # no maximum is documented; 100 is seen in the wild, the default of 20 costs five times the requests
)
_ACCOUNT: Final = r"^[A-Za-z0-9_.:-]{1,128}$"


class OpenAISettings(Organization):
    """An organisation at OpenAI, or at a server with the same API."""

    provider: Literal["openai"]
    """OpenAI, or whoever speaks its language at `base_url`."""
    base_url: BaseUrl = "https://api.openai.com/v1"
    """Where the API is. The key is sent nowhere else."""
    organization: str | None = Field(default=None, pattern=_ACCOUNT)
    """The OpenAI-Organization header, for keys of users in several organisations."""
    project: str | None = Field(default=None, pattern=_ACCOUNT)
    """The OpenAI-Project header."""
    admin_key: SecretStr | None = None
    """An admin key, for billed costs and usage."""
    admin_key_file: Path | None = None
    """A file with the admin key."""

    def dialect(self) -> OpenAI:
        """How to speak with this organisation's server."""
        return OpenAI(base_url=self.base_url, organization=self.organization, project=self.project)

    def accounts(self) -> Accounts | None:
        """How to read this organisation's books, where there is an admin key for them."""
        if self.admin_key is None and self.admin_key_file is None:
            return None
        return OpenAIAccounts(base_url=self.base_url, organization=self.organization, project=self.project)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAI:
    """OpenAI's language, as the official specification has it and as servers really speak it."""

    provider = "openai"
    has_events = True

    base_url: str
    organization: str | None = None
    project: str | None = None

    def headers(self, key: str) -> Mapping[str, str]:
        """The key, and which organisation and project it is used for."""
        wanted = {
            "Accept": "application/json",
            "Authorization": f"Bearer {key}",
            "OpenAI-Organization": self.organization,
            "OpenAI-Project": self.project,
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def list_jobs(self, after: str | None) -> Request:
        """A page of jobs, newest first; `after` is the id of the last job of the page before."""
        return Request(operation="list_jobs", path="/fine_tuning/jobs", params=_params(after))

    def read_jobs(self, org: str, response: Response) -> Page[Job]:
        """A page of jobs. Raises SourceError."""
        url = self._page_url()
        return _page(
            response,
            lambda item: None if self._foreign(item) else _understood(org, item, provider=self.provider, page_url=url),
            one=False,
        )

    def get_job(self, job_id: str) -> Request:
        """One job."""
        return Request(operation="get_job", path=f"/fine_tuning/jobs/{quote(job_id, safe='')}")

    def read_job(self, org: str, response: Response) -> Job:
        """One job. Raises NotFound and other SourceErrors."""
        if (error := refusal(response, one=True)) is not None:
            raise error
        item = obj(response)
        job = _understood(org, item, provider=self.provider, page_url=self._page_url())
        if job is None:
            raise Malformed("the answer is not a job: it has no usable id")
        if self._foreign(item):
            raise Malformed("the answer is a job of another organisation")
        return job

    def list_events(self, job_id: str, after: str | None) -> Request:
        """A page of one job's events, newest first."""
        path = f"/fine_tuning/jobs/{quote(job_id, safe='')}/events"
        return Request(operation="list_events", path=path, params=_params(after))

    def read_events(self, org: str, job_id: str, response: Response) -> Page[JobEvent]:
        """A page of events. Raises SourceError, NotFound for a job that is not there."""
        return _page(response, lambda item: _openai_events.understand(org, job_id, item), one=True)

    def list_models(self, after: str | None) -> Request:
        """All models, base models and the organisation's own; only copies of the API have more than one page."""
        return Request(operation="list_models", path="/models", params=() if after is None else (("after", after),))

    def read_models(self, response: Response) -> Page[ListedModel]:
        """A page of models. Raises SourceError, NotFound where there is no such list."""
        return _openai_models.read(response)

    def get_file(self, file_id: str) -> Request:
        """What is known of one file."""
        return Request(operation="get_file", path=f"/files/{quote(file_id, safe='')}")

    def read_file(self, response: Response) -> int:
        """The file's length in bytes, at least 1. Raises NotFound and other SourceErrors."""
        length = whole(obj(_granted(response)).get("bytes"))
        if length is None:
            raise Malformed("the answer is not a file: it has no length")
        return length

    def get_content(self, file_id: str) -> Request:
        """The content of one file."""
        return Request(operation="get_content", path=f"/files/{quote(file_id, safe='')}/content")

    def read_content(self, response: Response) -> bytes:
        """The content. Raises NotFound and other SourceErrors."""
        return _granted(response).body

    def _foreign(self, item: Object) -> bool:
        """Whether a job says that it belongs to another organisation than the configured one."""
        ours, theirs = self.organization or "", item.get("organization_id")
        said = isinstance(theirs, str) and theirs.startswith("org-") and ours.startswith("org-")
        return said and theirs != ours

    def _page_url(self) -> str | None:
        host = urlsplit(self.base_url).hostname or ""
        return _PAGE_URL if host == _HOST or host.endswith("." + _HOST) else None


def _granted(response: Response) -> Response:
    """The answer about a file, where it is none of refusal. Raises SourceError."""
    if (error := refusal(response, one=True, what="file")) is not None:
        raise error
    return response


def _params(after: str | None) -> tuple[tuple[str, str], ...]:
    limit = (("limit", str(_LIMIT)),)
    return limit if after is None else (*limit, ("after", after))


def _page(response: Response, understand: Callable[[Object], T | None], *, one: bool) -> Page[T]:
    """What a list says. Items that make no sense are counted, not raised: one bad item does not hide its siblings."""
    if (error := refusal(response, one=one)) is not None:
        raise error
    page = listing(response)
    items = tuple(item for each in page.objects if (item := understand(each)) is not None)
    skipped = page.skipped + len(page.objects) - len(items)
    return Page(items=items, next=_next(page), skipped=skipped)


def _next(page: Listing) -> str | None:
    """The last item's id where more is promised; empty where there is no id to ask on with.

    Servers that leave `has_more` out are asked on as long as their pages are full.
    """
    more = page.has_more if isinstance(page.has_more, bool) else page.count >= _LIMIT
    if not more:
        return None
    return next((id_ for each in reversed(page.objects) if (id_ := cursor(each.get("id"))) is not None), "")
