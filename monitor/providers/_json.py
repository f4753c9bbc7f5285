"""Parses JSON answers without trusting them: the result is a value, or Malformed is raised."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from monitor.packing import Packer
from monitor.providers._values import cursor
from monitor.providers.base import Malformed, Request, Response

T = TypeVar("T")

_MOST_ITEMS: Final = 10_000
_REMEMBERED: Final = 500  # items of a list
_MOST_VALUES: Final = 400_000  # 8 MiB of `[],[],` would become 200 MB of objects; a real page of that size has 150 000
_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_INTEGER: Final = 30  # digits; Python refuses to parse 4300 and more

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPage:
    """A page of a list whose items are not parsed yet."""

    objects: tuple[Object, ...]
    """The items that are JSON objects. From a fast path only the last one, whose id is the cursor of the next page."""
    skipped: int
    """How many items are not JSON objects."""
    count: int
    """How many items the page has, valid or not."""
    envelope: Object
    """The other keys of the page, such as `has_more`."""
    known: int = 0
    """How many items were skipped because their ids are known already."""
    scrubbed: bool = False
    """Whether our secrets were removed from each item already."""


def decode(response: Response) -> object:
    """Decode the body. Raises Malformed.

    It tolerates what does not change the meaning: a byte order mark is dropped, an integer of more than 30 digits
    becomes None, and NaN and the infinities, which JSON does not have, become their names as text.
    """
    body = response.body.removeprefix(_BOM)
    if body.count(b",") > _MOST_VALUES:
        raise Malformed(f"the answer has more than {_MOST_VALUES} values")
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise Malformed("the answer is nested too deeply") from None
    except ValueError:  # msgspec's errors are ValueErrors; it rejects NaN, 1e999 and lone surrogates
        return _decode_leniently(body)


def _decode_leniently(body: bytes) -> object:
    try:
        return json.loads(body, parse_int=_integer, parse_constant=str)
    except RecursionError:
        raise Malformed("the answer is nested too deeply") from None
    except ValueError:
        raise Malformed(_not_json(body)) from None


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else None


def _not_json(body: bytes) -> str:
    start = body[:64].lstrip()
    if not start:
        return "the answer is empty"
    return "the answer is HTML, not JSON" if start.startswith(b"<") else "the answer is not complete JSON"


def obj(response: Response) -> Object:
    """Decode the body, which must be a JSON object. Raises Malformed."""
    value = decode(response)
    if not isinstance(value, dict):
        raise Malformed("the answer is not an object")
    return value


def raw_page(response: Response, key: str = "data", *, optional: bool = False) -> RawPage:
    """Decode a page: an object with a list under `key`. Raises Malformed.

    With `optional`, a missing list is empty, as in proto3's JSON.
    """
    page = obj(response)
    items = page.get(key)
    if items is None and optional:
        items = []
    if not isinstance(items, list):
        raise Malformed(f"the answer is not a list: it has no `{key}`")
    if len(items) > _MOST_ITEMS:
        raise Malformed(f"the page has more than {_MOST_ITEMS} items")
    objects = tuple(item for item in items if isinstance(item, dict))
    return RawPage(objects=objects, skipped=len(items) - len(objects), count=len(items), envelope=page)


Skip = str
"""Why an item was skipped, as the value of a metric's label, such as `bad_id`."""


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """A parsed item. `left_out` is how many of its figures made no sense and were dropped."""

    item: T
    left_out: int = 0


Parser = Callable[[Object], Parsed[T] | Skip]
"""Parses one item, or says why it is skipped."""


def parse_items(page: RawPage, parse: Parser[T]) -> tuple[tuple[T, ...], dict[str, int]]:
    """Parse the items of a page. Returns the valid ones and how many were skipped, by reason.

    One bad item does not hide the others.
    """
    return _collected((parse(each) for each in page.objects), page.skipped)


def _collected(found: Iterable[Parsed[T] | Skip], no_objects: int = 0) -> tuple[tuple[T, ...], dict[str, int]]:
    items: list[T] = []
    skipped = {"not_an_object": no_objects, "bad_figure": 0}
    for each in found:
        if isinstance(each, Parsed):
            items.append(each.item)
            skipped["bad_figure"] += each.left_out
        else:
            skipped[each] = skipped.get(each, 0) + 1
    return tuple(items), {reason: count for reason, count in skipped.items() if count}


FastPath = Callable[[Response, Parser[T]], "ParsedPage[T] | None"]
"""Parses a page faster than `raw_page` and `parse_items`; returns None for an irregular page, which these two then
read.

Its result equals theirs except for the items that it skips as known.
"""


class ParsedPage(NamedTuple, Generic[T]):
    """A page with its parsed items, and how many were skipped, by reason."""

    page: RawPage
    items: tuple[T, ...]
    skipped: dict[str, int]


class Memo(Generic[T]):
    """Remembers the parsed items of the list as it was read last, since few items change between two reads.

    Comparing an item's bytes costs a hundredth of parsing it. The bytes are compared by `hash`, which Python keys anew
    in each process, so nobody can construct two items that collide.
    """

    def __init__(self, kind: type[T]) -> None:
        self._known: dict[int, bytes | T | Parsed[T] | Skip] = {}
        """By the hash of an item's bytes: the packed item; the item itself if it was lightened; the item with the names
        of fields that were left out; or the reason why it was skipped."""
        self._before: dict[int, bytes | T | Parsed[T] | Skip] = {}
        """What was read before the present first page, and has not been met again."""
        self._packer = Packer(kind)
        self._secrets = 0
        self._last: Request | None = None

    def page(
        self, response: Response, parse: Parser[T], *, request: Request | None = None, first: bool = True
    ) -> ParsedPage[T] | None:
        """Parse only the items that were not on the list before: a `FastPath`.

        With `first`, the list begins anew, and also with the request of the last page: a list with the oldest job first
        is read from where it ended.
        """
        first = first or (request is not None and request == self._last)
        self._last = request
        if response.secrets != self._secrets:  # items that were parsed before may hold a secret that is new
            self._known, self._before, self._secrets = {}, {}, response.secrets
        try:
            envelope, raws = _split(response)
            last = msgspec.json.decode(raws[-1]) if raws else {}
            if not isinstance(last, dict) or (raws and cursor(last.get("id")) is None):
                return None  # the plain way takes the cursor of the next page from an earlier item
            if first:
                self._before, self._known = self._known, {}
            found = [self._read(raw, response, parse) for raw in raws]
        except (ValueError, KeyError, RecursionError):  # msgspec's errors are ValueErrors
            return None
        page = RawPage(
            objects=(last,) if raws else (), skipped=0, count=len(raws), envelope=envelope, scrubbed=True
        )  # fmt: skip
        return ParsedPage(page, *_collected(found))

    def lighten(self, light: Callable[[T], T]) -> None:
        """Replace each packed item by what `light` returns for it, unless that is the item itself.

        The list has been read to its end by now.
        """
        self._before = {}
        for digest, kept in self._known.items():
            if isinstance(kept, bytes):
                item = self._packer.unpack(kept)
                if (lighter := light(item)) is not item:
                    self._known[digest] = lighter

    def _read(self, raw: msgspec.Raw, response: Response, parse: Parser[T]) -> Parsed[T] | Skip:
        digest = hash(bytes(raw))
        kept = self._before.pop(digest, None)
        found: Parsed[T] | Skip
        if isinstance(kept, bytes):
            found = Parsed(self._packer.unpack(kept))
        elif isinstance(kept, (Parsed, str)):
            found = kept
        elif kept is not None:
            found = Parsed(kept)
        else:
            kept = found = _parse_raw(raw, response, parse)
            if isinstance(found, Parsed) and not found.left_out:
                kept = self._packer.pack(found.item)
        if len(self._known) < _REMEMBERED:
            self._known[digest] = kept
        return found


def unknown(known: Container[str], response: Response, parse: Parser[T]) -> ParsedPage[T] | None:
    """Parse only the items whose ids are not in `known`: a `FastPath`."""
    try:
        parts = _bounded_parts(response)
        ids = [item.id for item in _identified(parts[_KEY])]
        if not (ids and ids[-1]):
            return None
        fresh = [index for index, id_ in enumerate(ids) if id_ not in known]
        envelope, raws = _split(response) if fresh else (_envelope(parts), [])
        raws = [raws[index] for index in fresh]
        # Secrets are looked for in all of them at once, since most of their words are the same.
        found = response.scrub(tuple(_parse(raw, parse) for raw in raws), b",".join(map(bytes, raws)))
    except (ValueError, KeyError, RecursionError):
        return None
    page = RawPage(
        objects=({"id": ids[-1]},),
        skipped=0,
        count=len(ids),
        envelope=envelope,
        known=len(ids) - len(fresh),
        scrubbed=True,
    )
    return ParsedPage(page, *_collected(found))


def _split(response: Response) -> tuple[Object, list[msgspec.Raw]]:
    """Split a page into its envelope and the raw bytes of its items.

    Raises ValueError or KeyError for irregular pages.
    """
    parts = _bounded_parts(response)
    raws = _items(parts[_KEY])
    if len(raws) > _MOST_ITEMS:
        raise ValueError("the page has too many items")
    return _envelope(parts), raws


def _bounded_parts(response: Response) -> Mapping[str, msgspec.Raw]:
    """The raw values of a page by key. Raises ValueError, before anything is decoded, for more than _MOST_VALUES."""
    if response.body.count(b",") > _MOST_VALUES:
        raise ValueError("the page has too many values")
    return _parts(response.body)


def _envelope(parts: Mapping[str, msgspec.Raw]) -> Object:
    return {name: msgspec.json.decode(raw) for name, raw in parts.items() if name != _KEY}


def _parse_raw(raw: msgspec.Raw, response: Response, parse: Parser[T]) -> Parsed[T] | Skip:
    """Parse one item and remove our secrets from it."""
    found: Parsed[T] | Skip = response.scrub(_parse(raw, parse), bytes(raw))
    return found


def _parse(raw: msgspec.Raw, parse: Parser[T]) -> Parsed[T] | Skip:
    item = msgspec.json.decode(raw)
    return parse(item) if isinstance(item, dict) else "not_an_object"


class _Identified(msgspec.Struct):
    """The one field that is decoded of an item to find out whether it is known."""

    id: str


_KEY: Final = "data"
_parts: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_identified: Final = msgspec.json.Decoder(list[_Identified]).decode
