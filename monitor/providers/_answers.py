"""Parses the two common forms of answer: a list page with a next-page token, and a single object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from monitor.providers._json import Parsed, Parser, obj, parse_items, raw_page
from monitor.providers._refusals import RefusalRule, granted, refusal
from monitor.providers._values import cursor
from monitor.providers.base import Malformed, Page, Request, Response

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
