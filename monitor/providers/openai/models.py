"""Parses OpenAI's list of models: their names and their shutdown dates."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from monitor.domain.retirement import ListedModel
from monitor.providers._json import Object, Parsed, Skip, parse_items, raw_page
from monitor.providers._refusals import refusal
from monitor.providers._values import cursor, identifier, moment, sub
from monitor.providers.base import Listing, NotFound, Page, Request, Response
from monitor.providers.openai.naming import NAMING
from monitor.providers.openai.shape import RULES

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NO_LIST: Final = frozenset({404, 405, 410, 501})  # answers of servers that copy the API without a list of models


def read(request: Request, response: Response) -> Page[ListedModel]:
    """Parse a page. Raises SourceError; NotFound if the server has no such list.

    OpenAI answers with a single page of any length and ignores cursors, so a next page is requested only where
    `has_more` is true.
    """
    if response.status in _NO_LIST:
        raise NotFound(f"{response.status}: there is no list of models here")
    if (error := refusal(response, one=False, what="model", rules=RULES)) is not None:
        raise error
    page = raw_page(response)
    items, skipped = parse_items(page, _model)
    if page.envelope.get("has_more") is not True:
        return Page(items=items, skipped=skipped)
    last = cursor(page.objects[-1].get("id")) if page.objects else None
    if last is None:
        return Page(items=items, skipped=skipped, stuck=True)
    return Page(items=items, skipped=skipped, next=request.following(after=last))


MODELS: Final = Listing(first=Request(operation="list_models", path="/models"), read=read)
"""All models: base models and the organisation's own. Only copies of the API have more than one page."""


def _model(item: Object) -> Parsed[ListedModel] | Skip:
    name = identifier(item.get("id"))
    if name is None:
        return "bad_id"
    model = ListedModel(
        id=name,
        shutdown=_day(item.get("shutdown_date")) or _moment_day(sub(item, "deprecation", "inference")),
        base=NAMING.base_model(name) if NAMING.is_tuned(name) else None,
        family=NAMING.family_of(name),
        snapshot=NAMING.is_snapshot(name),
    )
    return Parsed(model)


def _moment_day(value: object) -> date | None:
    """The day of a moment, which Azure's dated addresses have in place of a date."""
    at = moment(value)
    return None if at is None else at.date()


def _day(value: object) -> date | None:
    """Parse `YYYY-MM-DD`; None for anything else, and for the dates by which servers say that there is none."""
    return _moment_day(value) if isinstance(value, str) and _DAY.fullmatch(value) else None
