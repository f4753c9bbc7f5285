"""OpenAI's usage and costs per UTC day, as an admin key may read them.

platform.openai.com/docs/api-reference/usage
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from heapq import nlargest
from typing import Any, Final, TypeVar

from monitor.domain.costs import Bill, Usage
from monitor.domain.model import TokenCount
from monitor.domain.reconcile import LineItemKind
from monitor.providers._json import Object, raw_page
from monitor.providers._refusals import refusal
from monitor.providers._values import cursor, identifier, moment, sub, text, whole
from monitor.providers.base import Bucket, Listing, Malformed, Page, Request, Response
from monitor.providers.openai.naming import NAMING
from monitor.providers.openai.shape import RULES

T = TypeVar("T")
_Rows = tuple[datetime, tuple[Object, ...]]

_PLAIN: Final = (str, int, float)
_USAGE_DAYS: Final = 7  # days per page; OpenAI allows 31, which for a large organisation exceeds 8 MiB
_BILL_DAYS: Final = 31  # days per page; OpenAI allows 180
_MOST_BUCKETS: Final = 5_000
_MOST_ROWS: Final = 2_000  # per day; the smallest beyond it are dropped (usage) or summed up (bill)
_MOST_TOKENS: Final = 10**12  # per model and day
_MOST_DOLLARS: Final = Decimal(10_000_000)  # per line and day
_TUNED_LINE: Final = re.compile(r"fine.?tun", re.IGNORECASE)
_TOKEN_LINE: Final = re.compile(r",\s*(cached[ _-]?)?(input|output)", re.IGNORECASE)
_NANO: Final = Decimal("1e-9")
_LONGEST_LINE: Final = 128
_UNNAMED: Final = "unknown"
_REST: Final = "other"


def line_item_kind(line_item: str) -> LineItemKind:
    """Classify a line item of the bill by its name.

    `ft-gpt-4o-2024-08-06, input` is the use of all models tuned from that base (OpenAI's cookbook). The name of
    training costs is not documented: whatever mentions training or fine-tuning counts as training.
    """
    name = line_item.lower()
    if "training" in name:
        return LineItemKind.TRAINING
    tuned, tokens = _TUNED_LINE.search(name), _TOKEN_LINE.search(name)
    if name.startswith(("ft-", "ft:")) or (tuned and tokens):
        return LineItemKind.INFERENCE
    if tuned:
        return LineItemKind.TRAINING
    return LineItemKind.OTHER if tokens else LineItemKind.UNKNOWN


def usage(org: str, project: str | None, since: date, until: date) -> Listing[Bucket[Usage]]:
    """The daily usage of fine-tuned models by model, project and batch; of `project` only, where one is given."""
    params = _params(since, until, project, most=_USAGE_DAYS, by=("model", "project_id", "batch"))
    first = Request(operation="list_usage", path="/organization/usage/completions", params=params)
    return Listing(first=first, read=partial(_read_usage, org))


def bill(org: str, project: str | None, since: date, until: date) -> Listing[Bucket[Bill]]:
    """The daily bill by project and line item; of `project` only, where one is given.

    Other currencies than USD are skipped.
    """
    params = _params(since, until, project, most=_BILL_DAYS, by=("project_id", "line_item"))
    first = Request(operation="list_costs", path="/organization/costs", params=params)
    return Listing(first=first, read=partial(_read_bill, org))


def _read_usage(org: str, request: Request, response: Response) -> Page[Bucket[Usage]]:
    found = _page(request, response)
    rows = [row for _, each in found.items for row in each]
    if rows and not any(row.get("model") for row in rows):
        raise Malformed("the usage is not grouped by model")
    return _buckets(found, partial(_usages, org))


def _read_bill(org: str, request: Request, response: Response) -> Page[Bucket[Bill]]:
    return _buckets(_page(request, response), partial(_bills, org))


def _buckets(
    found: Page[_Rows], parse: Callable[[date, tuple[Object, ...]], tuple[tuple[T, ...], int]]
) -> Page[Bucket[T]]:
    buckets, skipped = [], sum(found.skipped.values())
    for start, rows in found.items:
        items, left_out = parse(start.date(), rows)
        buckets.append(Bucket(start=start, items=items))
        skipped += left_out
    counted = {"bad_row": skipped} if skipped else {}
    return Page(items=tuple(buckets), next=found.next, stuck=found.stuck, skipped=counted)


def _params(
    since: date, until: date, project: str | None, *, most: int, by: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    # Lists are encoded as OpenAI's own client encodes them: `name[]`.
    wanted = (
        ("start_time", str(_midnight(since))),
        ("end_time", str(_midnight(until + timedelta(days=1)))),
        ("bucket_width", "1d"),
        ("limit", str(min(max((until - since).days + 1, 1), most))),
        *(("group_by[]", name) for name in by),
        ("project_ids[]", project),
    )
    return tuple((name, value) for name, value in wanted if value is not None)


def _page(request: Request, response: Response) -> Page[_Rows]:
    """Parse a page into buckets of rows. Raises Malformed if a bucket has no date or no results."""
    if response.status in (404, 410):
        raise Malformed(f"{response.status}: this server has no usage and no costs; is base_url right?")
    if (error := refusal(response, one=False, rules=RULES)) is not None:
        raise error
    raw = raw_page(response)
    if raw.count > _MOST_BUCKETS:
        raise Malformed(f"the page has more than {_MOST_BUCKETS} buckets")
    page, buckets, skipped = raw.envelope, [], raw.skipped
    for each in raw.objects:
        start, rows = moment(each.get("start_time")), each.get("results", ...)
        if start is None or not (rows is None or isinstance(rows, list)):
            raise Malformed("a bucket has no date or no results")
        found = _distinct(rows or ())
        skipped += sum(not isinstance(row, dict) for row in rows or ())
        buckets.append((start, found))
    more, following = page.get("has_more"), cursor(page.get("next_page"))
    if more is False:
        following = None
    return Page(
        items=tuple(buckets),
        next=None if following is None else request.following(page=following),
        stuck=more is True and following is None,
        skipped={"bad_row": skipped},
    )


def _distinct(rows: Iterable[Any]) -> tuple[Object, ...]:
    """The rows that are objects, without duplicates: two rows with the same values are one row that was sent twice."""
    return tuple({_plain_values(row): row for row in rows if isinstance(row, dict)}.values())


def _plain_values(row: Object) -> frozenset[tuple[str, object]]:
    """The plain values of a row and of its amount, by which duplicates are found."""
    amount = row.get("amount")
    inner = {f"amount.{name}": value for name, value in amount.items()} if isinstance(amount, dict) else {}
    plain = ((name, value) for name, value in {**row, **inner}.items() if value is None or isinstance(value, _PLAIN))
    return frozenset((f"{name}:{type(value).__name__}", value) for name, value in plain)


def _usages(org: str, day: date, rows: Iterable[Object]) -> tuple[tuple[Usage, ...], int]:
    """The day's usage of fine-tuned models, and how many rows were skipped as unreadable or beyond `_MOST_ROWS`."""
    found: dict[tuple[str, str, bool], TokenCount] = {}
    skipped = 0
    for row in rows:
        model = identifier(row.get("model"))
        if model is None or not NAMING.is_tuned(model):
            skipped += model is None
            continue
        tokens = _tokens(row)
        if tokens is None:
            skipped += 1
            continue
        key = (identifier(row.get("project_id")) or "", model, row.get("batch") is True)
        both = _plus(found.get(key, TokenCount()), tokens)
        if _sum(both) > 2 * _MOST_TOKENS:
            skipped += 1
            continue
        found[key] = both
    kept = nlargest(_MOST_ROWS, found.items(), key=lambda one: (_sum(one[1]), one[0]))
    items = tuple(
        Usage(org=org, project=project, model=model, day=day, batch=batch, tokens=tokens)
        for (project, model, batch), tokens in sorted(kept, key=lambda one: one[0])
    )
    return items, skipped + len(found) - len(kept)


def _tokens(row: Object) -> TokenCount | None:
    """The token counts of a row, whose `input_tokens` include the cached ones.

    None if a count is missing or absurd.
    """
    every, output = whole(row.get("input_tokens"), least=0), whole(row.get("output_tokens"), least=0)
    cached = whole(row.get("input_cached_tokens") or 0, least=0)
    if every is None or cached is None or output is None or max(every, output) > _MOST_TOKENS:
        return None
    cached = min(cached, every)
    return TokenCount(input=every - cached, cached_input=cached, output=output)


def _plus(one: TokenCount, other: TokenCount) -> TokenCount:
    return TokenCount(
        input=one.input + other.input,
        cached_input=one.cached_input + other.cached_input,
        output=one.output + other.output,
    )


def _sum(tokens: TokenCount) -> int:
    return tokens.input + tokens.cached_input + tokens.output


def _bills(org: str, day: date, rows: Iterable[Object]) -> tuple[tuple[Bill, ...], int]:
    """The day's bill, and how many rows were skipped.

    The smallest lines beyond `_MOST_ROWS` become one line, `other`.
    """
    skipped = 0
    sums: dict[tuple[str, str], Decimal] = {}
    for row in rows:
        usd = _usd(row.get("amount"))
        if usd is None:
            skipped += 1
            continue
        key = (identifier(row.get("project_id")) or "", text(row.get("line_item"), _LONGEST_LINE) or _UNNAMED)
        total = sums.get(key, Decimal(0)) + usd
        if abs(total) > _MOST_DOLLARS:
            skipped += 1
            continue
        sums[key] = total
    bills, left_out = _lines(org, day, sums)
    return bills, skipped + left_out


def _lines(org: str, day: date, sums: Mapping[tuple[str, str], Decimal]) -> tuple[tuple[Bill, ...], int]:
    """The lines of a day, and how many of the smallest were left out because their sum makes no sense."""
    kept = set(nlargest(_MOST_ROWS, sums, key=lambda key: (abs(sums[key]), key)))
    lines = {key: sums[key] for key in sorted(kept)}
    rest = [usd for key, usd in sums.items() if key not in kept]
    total = sum(rest, Decimal(0))
    plausible = abs(total) <= _MOST_DOLLARS
    if rest and plausible:
        lines["", _REST] = lines.get(("", _REST), Decimal(0)) + total
    bills = (Bill(org=org, project=key[0], line_item=key[1], day=day, usd=usd) for key, usd in lines.items())
    return tuple(bills), 0 if plausible else len(rest)


def _usd(amount: object) -> Decimal | None:
    """An amount in US dollars, rounded to nano-dollars; negative for credits."""
    currency, value = sub(amount, "currency"), sub(amount, "value")
    if not isinstance(currency, str) or currency.lower() != "usd":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or len(str(value)) > 64:
        return None
    try:
        usd = Decimal(str(value))
    except InvalidOperation:
        return None
    return usd.quantize(_NANO) + 0 if usd.is_finite() and abs(usd) <= _MOST_DOLLARS else None


def _midnight(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
