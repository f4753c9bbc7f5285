"""What answers of most vendors are: a page with a token of the next one, or one thing alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from monitor.providers._json import Object, Partial, Skip, obj, raw_page, understood
from monitor.providers._refusals import RefusalRule, granted, refusal
from monitor.providers._values import cursor
from monitor.providers.base import Malformed, Page, Request, Response

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPages:
    """How a vendor pages a list."""

    key: str
    """Under which the items stand."""
    told: str
    """What the answer calls the token of the next page."""
    asked: str
    """The parameter that takes it."""
    optional: bool = False
    """Whether an empty list may be left out."""
    rules: Iterable[RefusalRule] = ()

    def read(self, request: Request, response: Response, understand: Callable[[Object], Partial[T] | Skip]) -> Page[T]:
        """What a page says. Raises SourceError."""
        if (error := refusal(response, one=False, rules=self.rules)) is not None:
            raise error
        page = raw_page(response, self.key, optional=self.optional)
        items, skipped = understood(page, understand)
        token = cursor(page.envelope.get(self.told))
        following = request.following(**{self.asked: token}) if token is not None else None
        return Page(items=items, skipped=skipped, next=following)


def single(
    response: Response,
    understand: Callable[[Object], Partial[T] | Skip],
    *,
    what: str = "job",
    named_by: str = "id",
    rules: Iterable[RefusalRule] = (),
) -> T:
    """The one thing that was asked for. `named_by`: what it lacks where it is none. Raises SourceError."""
    found = understand(obj(granted(response, what=what, rules=rules)))
    if not isinstance(found, Partial):
        raise Malformed(f"the answer is not a {what}: it has no usable {named_by}")
    return found.item
