"""Pages of OpenAI's lists, whose cursor is the id of the last item."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from monitor.simulator import errors

T = TypeVar("T")
_MOST = 10_000


def cut(
    items: Sequence[T], query: Mapping[str, str], *, default: int, name: Callable[[T], str]
) -> tuple[Sequence[T], bool]:
    """The page of `items` that a query requests, and whether there are more.

    Raises ApiError 400 for a limit that is not a number from 1 to 10000, and 404 for an unknown `after`.
    """
    limit, after, start = _limit(query, default), query.get("after"), 0
    if after is not None:
        start = next((index + 1 for index, item in enumerate(items) if name(item) == after), 0)
        if not start:
            raise errors.no_such_job(after, "after") if after.startswith("ftjob") else _unknown(after)
    end = start + limit
    return items[start:end], end < len(items)


def named(shown: Sequence[Mapping[str, Any]], *, more: bool) -> dict[str, Any]:
    """A page with the ids of its first and last item, as in the lists of checkpoints, files and batches."""
    ends = {"first_id": shown[0]["id"] if shown else None, "last_id": shown[-1]["id"] if shown else None}
    return {"object": "list", "data": list(shown), **ends, "has_more": more}


def _limit(query: Mapping[str, str], default: int) -> int:
    text = query.get("limit", str(default))
    try:
        limit = int(text)
    except ValueError:
        raise errors.bad_type("limit", "an integer", text) from None
    if limit < 1:
        message = f"Invalid 'limit': integer below minimum value. Expected a value >= 1, but got {limit} instead."
        raise errors.bad("limit", message, "integer_below_min_value")
    if limit > _MOST:
        message = f"Invalid 'limit': integer above maximum value. Expected a value <= {_MOST}, but got {limit} instead."
        raise errors.bad("limit", message, "integer_above_max_value")
    return limit


def _unknown(cursor: str) -> errors.ApiError:
    return errors.ApiError(404, f"Could not find '{cursor}'", param="after", code="not_found")
