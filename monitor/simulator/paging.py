"""Pages of a list, newest first, as every list of the API is cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from monitor.simulator import errors

T = TypeVar("T")
MOST = 10_000


@dataclass(frozen=True)
class Cut:
    """Which page is asked for."""

    limit: int
    after: str | None = None


def read_cut(query: Mapping[str, str], *, default: int) -> Cut:
    """The page that a query names; raises ApiError 400 for a limit that is no number from 1 to 10000."""
    text = query.get("limit", str(default))
    try:
        limit = int(text)
    except ValueError:
        raise errors.bad_type("limit", "an integer", text) from None
    if limit < 1:
        message = f"Invalid 'limit': integer below minimum value. Expected a value >= 1, but got {limit} instead."
        raise errors.bad("limit", message, "integer_below_min_value")
    if limit > MOST:
        message = f"Invalid 'limit': integer above maximum value. Expected a value <= {MOST}, but got {limit} instead."
        raise errors.bad("limit", message, "integer_above_max_value")
    return Cut(limit, query.get("after"))


def page(items: Sequence[T], cut: Cut, *, name: Callable[[T], str]) -> tuple[Sequence[T], bool]:
    """At most `cut.limit` items after `cut.after`, and whether there are more; ApiError 404 for an unknown cursor."""
    start = 0
    if cut.after is not None:
        start = next((index + 1 for index, item in enumerate(items) if name(item) == cut.after), 0)
        if not start:
            raise errors.no_such_job(cut.after, "after") if cut.after.startswith("ftjob") else _unknown(cut.after)
    end = start + cut.limit
    return items[start:end], end < len(items)


def _unknown(cursor: str) -> errors.ApiError:
    return errors.ApiError(404, f"Could not find '{cursor}'", param="after", code="not_found")
