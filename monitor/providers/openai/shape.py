"""How OpenAI's lists are paged and its errors classified, including deviations of servers that copy its API."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from monitor.domain.model import Job
from monitor.providers._json import FastPath, Memo, ParsedPage, Parser, RawPage, parse_items, raw_page
from monitor.providers._refusals import RefusalRule, refusal
from monitor.providers._values import cursor, text
from monitor.providers.base import AuthFailed, Listing, NotEligible, Page, Request, Response

T = TypeVar("T")

LIMIT: Final = 100  # no maximum is documented; 100 works; the default of 20 takes five times the requests
FEW: Final = 20  # items of a first page where few new ones are expected; the next page has LIMIT
# platform.openai.com, "Error codes"; OpenAI's deprecations page, "Update to OpenAI's self-serve fine-tuning".
RULES: Final = (
    RefusalRule(
        re.compile(r"training_not_available", re.IGNORECASE),
        NotEligible,
        "this organisation may not create fine-tuning jobs any more, and from 2027-01-06 on nobody may; "
        "its jobs and models can still be read",
        frozenset({403}),
    ),
    RefusalRule(
        re.compile(r"unsupported_country", re.IGNORECASE),
        NotEligible,
        "fine-tuning is not open to this organisation's country",
        frozenset({403}),
    ),
    # Waiting does not help: the money of the plan is spent.
    RefusalRule(
        re.compile(r"insufficient_quota|credit_balance|billing|hard.limit|spend(ing)?.limit", re.IGNORECASE),
        NotEligible,
        "the quota is spent",
        frozenset({429}),
    ),
    # Without a licence LiteLLM answers 500; to an unknown key it answers 400 "No connected db." (1.108.7).
    RefusalRule(
        re.compile(r"only premium users|litellm.enterprise|litellm_license", re.IGNORECASE),
        NotEligible,
        "this LiteLLM proxy has no licence for fine-tuning jobs; its pass-through at /openai_passthrough needs none",
    ),
    RefusalRule(
        re.compile(
            r"invalid_api_key|incorrect api key|no_db_connection|token_not_found_in_db|expired_key|"
            r"authentication error|invalid.proxy.server.token|access denied due to invalid subscription key",
            re.IGNORECASE,
        ),
        AuthFailed,
        "the key is refused",
    ),
)


def first_page(operation: str, path: str, *, limit: int = LIMIT) -> Request:
    """The request for the first page of a list."""
    return Request(operation=operation, path=path, params=(("limit", str(limit)),))


def job_listing(operation: str, path: str, parse: Parser[Job]) -> Listing[Job]:
    """A list of jobs, whose parsed items are remembered from one read to the next."""
    memo, first = Memo(Job), first_page(operation, path)

    def read(request: Request, response: Response) -> Page[Job]:
        fast_path = partial(memo.page, request=request, first=request == first)
        return read_page(request, response, parse, one=False, fast_path=fast_path)

    return Listing(first=first, read=read, lighten=memo.lighten)


def read_page(
    request: Request,
    response: Response,
    parse: Parser[T],
    *,
    one: bool,
    fast_path: FastPath[T] | None = None,
) -> Page[T]:
    """Parse a page of a list and build the request for the next one. Raises SourceError.

    With `one`, the list belongs to one job, so 404 is NotFound.
    """
    if (error := refusal(response, one=one, rules=RULES)) is not None:
        raise error
    found = fast_path(response, parse) if fast_path is not None else None
    if found is None:
        plain = raw_page(response)
        found = ParsedPage(plain, *parse_items(plain, parse))
    page, items, skipped = found
    more = page.envelope.get("has_more")
    stated = isinstance(more, bool)
    account = next((text(each.get("organization_id"), 128) for each in page.objects[-1:]), None)
    account = response.scrub(account, account.encode()) if account is not None else None
    read = Page(items=items, skipped=skipped, account=account, known=page.known, scrubbed=page.scrubbed)
    short = ("limit", str(FEW)) in request.params
    if not (more if stated else page.count >= (FEW if short else LIMIT)):
        return read
    last = _last_id(page)
    if last is None:
        return replace(read, stuck=True)
    following = request.following(limit=str(LIMIT), after=last) if short else request.following(after=last)
    return replace(read, next=following, guessed=not stated)


def _last_id(page: RawPage) -> str | None:
    """The cursor of the next page: the last item that has an id, in whatever form the server gave it."""
    return next((id_ for each in reversed(page.objects) if (id_ := cursor(each.get("id"))) is not None), None)
