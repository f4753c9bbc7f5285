"""Checks query parameters, pages through lists in memory, and parses Accept-Encoding."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, Protocol, TypeVar

import msgspec

from monitor.store import ResultPage

MOST_ITEMS: Final = 500
PAGE: Final = 100  # items per page by default
_LONGEST: Final = 1024
_REFUSED: Final = frozenset({"q=0", "q=0.0", "q=0.00", "q=0.000"})

T = TypeVar("T")
Word = TypeVar("Word", bound=str)


class InvalidQuery(Exception):
    """The request is invalid. The text says why and repeats nothing from the request."""


class NoSuchObject(Exception):
    """The requested object does not exist. The text is safe to show."""


class Parameters(Protocol):
    """Query parameters, where a name may occur several times."""

    def __iter__(self) -> Iterator[str]:
        """The names."""
        ...

    def getall(self, key: str) -> list[str]:
        """All values of one name."""
        ...


def only(parameters: Parameters, *known: str) -> Mapping[str, str]:
    """The parameters by name. Raises InvalidQuery for one that is unknown, repeated or too long."""
    found: dict[str, str] = {}
    for name in parameters:
        if name not in known:
            raise InvalidQuery("unknown parameter; known are: " + (", ".join(known) or "none"))
        values = parameters.getall(name)
        if len(values) > 1:
            raise InvalidQuery(f"the parameter {name} is given more than once")
        if len(values[0]) > _LONGEST:
            raise InvalidQuery(f"the parameter {name} is too long")
        found[name] = values[0]
    return found


def limit(given: Mapping[str, str], otherwise: int) -> int:
    """The page size. Raises InvalidQuery."""
    return whole(given, "limit", otherwise=otherwise, most=MOST_ITEMS)


def whole(given: Mapping[str, str], name: str, *, otherwise: int, most: int) -> int:
    """A whole number from 1 to `most`. Raises InvalidQuery."""
    text = given.get(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= most):
        raise InvalidQuery(f"{name} must be a whole number from 1 to {most}")
    return int(text)


def choice(given: Mapping[str, str], name: str, known: Collection[Word]) -> Word | None:
    """One value of a closed set; None if it is not given. Raises InvalidQuery."""
    text = given.get(name)
    if text is None:
        return None
    for value in known:
        if value == text:
            return value
    raise InvalidQuery(f"{name} must be one of: {', '.join(known)}")


def paged(items: Iterable[T], key: Callable[[T], tuple[str | int, ...]], given: Mapping[str, str]) -> ResultPage[T]:
    """The page of a list in memory that `limit` and `after` ask for, sorted by `key`, which must be unique.

    An item that is added or removed between two pages neither repeats nor hides another one. Raises InvalidQuery.
    """
    most, rest = limit(given, PAGE), sorted(items, key=key)
    if (after := given.get("after")) is not None:
        try:
            last = tuple(msgspec.json.decode(urlsafe_b64decode(after.encode("ascii"))))
            rest = [item for item in rest if key(item) > last]
        except (ValueError, TypeError):
            raise InvalidQuery("after is not a cursor of this list") from None
    shown = tuple(rest[:most])
    following = urlsafe_b64encode(msgspec.json.encode(key(shown[-1]))).decode() if len(rest) > most else None
    return ResultPage(items=shown, next=following)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client with this Accept-Encoding accepts gzip (RFC 9110, section 12.5.3)."""
    for offer in accept_encoding.lower().split(","):
        coding, *parameters = (part.strip() for part in offer.split(";"))
        if coding == "gzip":
            return not {parameter.replace(" ", "") for parameter in parameters} & _REFUSED
    return False
