"""The two common forms of answer, a list page with a next-page token and a single object, and lists of jobs of both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from monitor.domain.model import Job
from monitor.providers._json import Parsed, Parser, obj, parse_items, raw_page
from monitor.providers._refusals import RefusalRule, granted, refusal
from monitor.providers._values import cursor
from monitor.providers.base import Call, JobList, Listing, Malformed, Page, Request, Response

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPages:
    """How a vendor pages a list with next-page tokens."""

    key: str
    """The key of the list of items."""
    next_key: str
    """The key of the next page's token in an answer."""
    next_parameter: str
    """The request parameter that takes the token."""
    optional: bool = False
    """Whether the list may be missing when it is empty, as in proto3's JSON."""
    rules: Iterable[RefusalRule] = ()

    def read(self, request: Request, response: Response, parse: Parser[T]) -> Page[T]:
        """Parse a page and build the request for the next one. Raises SourceError."""
        if (error := refusal(response, one=False, rules=self.rules)) is not None:
            raise error
        page = raw_page(response, self.key, optional=self.optional)
        items, skipped = parse_items(page, parse)
        token = cursor(page.envelope.get(self.next_key))
        return Page(
            items=items,
            skipped=skipped,
            next=request.following(**{self.next_parameter: token}) if token is not None else None,
        )


def google_list(
    key: str, path: str, params: tuple[tuple[str, str], ...], parse: Parser[Job], *, prefix: str = ""
) -> JobList:
    """A list of jobs and its single jobs, requested by the conventions of Google's APIs (google.aip.dev/131 and 158).

    `key` is the key of the list in an answer, and `path` is that of the list. An empty list is answered as `{}`.
    """
    pages = TokenPages(key=key, next_key="nextPageToken", next_parameter="pageToken", optional=True)

    def read(request: Request, response: Response) -> Page[Job]:
        return pages.read(request, response, parse)

    def one(job_id: str) -> Call[Job]:
        request = Request(operation="get_job", path=f"{path}/{quote(job_id, safe='')}")
        return Call(request=request, read=lambda response: single(response, parse, named_by="name"))

    first = Request(operation="list_jobs", path=path, params=params)
    return JobList(pages=Listing(first=first, read=read), one=one, prefix=prefix)


def single(
    response: Response,
    parse: Parser[T],
    *,
    what: str = "job",
    named_by: str = "id",
    rules: Iterable[RefusalRule] = (),
) -> T:
    """Parse the single object that was requested. Raises SourceError.

    `named_by` names the field without which it is not such an object, for the error's text.
    """
    found = parse(obj(granted(response, what=what, rules=rules)))
    if not isinstance(found, Parsed):
        raise Malformed(f"the answer is not a {what}: it has no usable {named_by}")
    return found.item
