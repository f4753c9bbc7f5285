"""What OpenAI's list of models says: which there are, and when they stop answering."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from monitor.domain.retirement import ListedModel
from monitor.providers._json import Object, listing
from monitor.providers._openai_errors import refusal
from monitor.providers._values import cursor, identifier
from monitor.providers.base import NotFound, Page, Response

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NO_LIST: Final = frozenset({404, 405, 410, 501})  # what copies of the API say that leave the list out


def read(response: Response) -> Page[ListedModel]:
    """A page of the list. Raises SourceError, NotFound where there is no such list.

    OpenAI's has one page, however long, and ignores cursors: a next one is asked for only where it is promised.
    """
    if response.status in _NO_LIST:
        raise NotFound(f"{response.status}: there is no list of models here")
    if (error := refusal(response, one=False)) is not None:
        raise error
    page = listing(response)
    models = tuple(model for each in page.objects if (model := _understood(each)) is not None)
    last = cursor(page.objects[-1].get("id")) if page.objects else None
    following = (last or "") if page.has_more is True else None
    return Page(items=models, next=following, skipped=page.count - len(models))


def _understood(item: Object) -> ListedModel | None:
    """One model; None where it has no usable id."""
    name = identifier(item.get("id"))
    return None if name is None else ListedModel(id=name, shutdown=_day(item.get("shutdown_date")))


def _day(value: object) -> date | None:
    """A date as `YYYY-MM-DD`; None for null, and for what is none."""
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None
