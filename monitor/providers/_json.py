"""Reads JSON that nobody promised to be good: whatever comes, it is a value or Malformed."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from monitor.providers._values import cursor
from monitor.providers.base import Malformed, Response

T = TypeVar("T")

_MOST_ITEMS: Final = 10_000
_MOST_VALUES: Final = 400_000  # 8 MiB of `[],[],` would be 200 MB of objects; a real page of that size has 150 000
_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_INTEGER: Final = 30  # digits; Python refuses to read 4300 and more

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPage:
    """A page of a list, before its items are understood."""

    objects: tuple[Object, ...]
    """The last alone, where what the others mean is remembered."""
    skipped: int
    """Items that are no objects."""
    count: int
    """How many items it has, whatever they are."""
    envelope: Object
    """What is said beside the items."""
    known: int = 0
    """Items that were left out because they are known."""
    scrubbed: bool = False
    """Whether secrets were taken out of each item already."""


def decode(response: Response) -> object:
    """The body as plain values. Raises Malformed.

    Lenient about what changes no meaning: a byte order mark is dropped, integers without end are None, and NaN and the
    infinities, which JSON does not have, are their names.
    """
    body = response.body.removeprefix(_BOM)
    if body.count(b",") > _MOST_VALUES:
        raise Malformed(f"the answer has more than {_MOST_VALUES} values")
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise Malformed("the answer is nested too deeply") from None
    except ValueError:  # msgspec's errors are ValueErrors; it refuses NaN, 1e999 and lone surrogates
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
    """The body, which has to be an object."""
    value = decode(response)
    if not isinstance(value, dict):
        raise Malformed("the answer is not an object")
    return value


def raw_page(response: Response, key: str = "data", *, optional: bool = False) -> RawPage:
    """The body, which has to be a page: an object with a list under this key. Raises Malformed.

    `optional`: an empty list may be left out, as proto3's JSON does.
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
"""Why an item is left out: a word for a metric's label."""


@dataclass(frozen=True, slots=True)
class Partial(Generic[T]):
    """An item that was understood, without so many figures that make no sense."""

    item: T
    left_out: int = 0


def understood(
    page: RawPage, understand: Callable[[Object], Partial[T] | Skip]
) -> tuple[tuple[T, ...], dict[str, int]]:
    """The items that make sense, and how many of the others there are, by reason.

    One bad item does not hide its siblings.
    """
    return _summed((understand(each) for each in page.objects), page.skipped)


def _summed(found: Iterable[Partial[T] | Skip], no_objects: int = 0) -> tuple[tuple[T, ...], dict[str, int]]:
    items: list[T] = []
    skipped = {"not_an_object": no_objects, "bad_figure": 0}
    for each in found:
        if isinstance(each, Partial):
            items.append(each.item)
            skipped["bad_figure"] += each.left_out
        else:
            skipped[each] = skipped.get(each, 0) + 1
    return tuple(items), {reason: count for reason, count in skipped.items() if count}


Quick = Callable[[Response, Callable[[Object], Partial[T] | Skip]], "Understood[T] | None"]
"""A quicker way to a page and what its items mean; None for one that is not in order, which is read in the plain way.

What it gives is what the plain way gives, but for what it leaves out.
"""


class Understood(NamedTuple, Generic[T]):
    """A page and what its items mean."""

    page: RawPage
    items: tuple[T, ...]
    skipped: dict[str, int]


class Memo(Generic[T]):
    """What the items of a page meant when it was last read: of a page that changed, few items did.

    To compare the bytes of an item costs a hundredth of understanding it. They are compared by their hash, which Python
    keys anew in each process, so that nobody can choose two that are equal.
    """

    def __init__(self) -> None:
        self._known: dict[int, Partial[T] | Skip] = {}
        self._secrets = 0

    def page(self, response: Response, understand: Callable[[Object], Partial[T] | Skip]) -> Understood[T] | None:
        """A page of which only items that were not there before are understood: a `Quick`."""
        if response.secrets != self._secrets:  # what was scrubbed before may hold a secret that is new
            self._known, self._secrets = {}, response.secrets
        try:
            envelope, raws = _taken_apart(response)
            last = msgspec.json.decode(raws[-1]) if raws else {}
            if not isinstance(last, dict) or (raws and cursor(last.get("id")) is None):
                return None  # the page behind it is asked for with another item's id
            places = [hash(bytes(raw)) for raw in raws]
            self._known = dict(self._read(zip(places, raws, strict=True), response, understand))
        except (ValueError, KeyError, RecursionError):  # msgspec's errors are ValueErrors
            return None
        page = RawPage(
            objects=(last,) if raws else (), skipped=0, count=len(raws), envelope=envelope, scrubbed=True
        )  # fmt: skip
        return Understood(page, *_summed(map(self._known.__getitem__, places)))

    def _read(
        self,
        raws: Iterable[tuple[int, msgspec.Raw]],
        response: Response,
        understand: Callable[[Object], Partial[T] | Skip],
    ) -> Iterator[tuple[int, Partial[T] | Skip]]:
        for place, raw in raws:
            found = self._known.get(place)
            yield place, found if found is not None else _understood_alone(raw, response, understand)


def unknown(
    known: Container[str], response: Response, understand: Callable[[Object], Partial[T] | Skip]
) -> Understood[T] | None:
    """A page of which only items that are not known by their ids are understood: a `Quick`."""
    try:
        parts = _parts(response.body)
        ids = [item.id for item in _identified(parts[_KEY])]
        if not (ids and ids[-1]):
            return None
        fresh = [place for place, id_ in enumerate(ids) if id_ not in known]
        envelope, raws = _taken_apart(response) if fresh else (_envelope(parts), [])
        found = [_understood_alone(raws[place], response, understand) for place in fresh]
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
    return Understood(page, *_summed(found))


def _taken_apart(response: Response) -> tuple[Object, list[msgspec.Raw]]:
    """The envelope and the items, as bytes. Raises ValueError or KeyError where they are not in order."""
    parts = _parts(response.body)
    raws = _items(parts[_KEY])
    if len(raws) > _MOST_ITEMS or response.body.count(b",") > _MOST_VALUES:
        raise ValueError("the page is too large")
    return _envelope(parts), raws


def _envelope(parts: Mapping[str, msgspec.Raw]) -> Object:
    return {name: msgspec.json.decode(raw) for name, raw in parts.items() if name != _KEY}


def _understood_alone(
    raw: msgspec.Raw, response: Response, understand: Callable[[Object], Partial[T] | Skip]
) -> Partial[T] | Skip:
    """What one item means, without secrets."""
    item = msgspec.json.decode(raw)
    if not isinstance(item, dict):
        return "not_an_object"
    found: Partial[T] | Skip = response.scrub(understand(item), bytes(raw))
    return found


class _Identified(msgspec.Struct):
    """An item that is known by its id."""

    id: str


_KEY: Final = "data"
_parts: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_identified: Final = msgspec.json.Decoder(list[_Identified]).decode
