"""What a request asks for: its query parameters, checked, with a sentence for whoever got them wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, Protocol, TypeVar

MOST_ITEMS: Final = 500
_LONGEST: Final = 1024

T = TypeVar("T", bound=str)


class BadQuestion(Exception):
    """The request cannot be answered as it was asked. The text says why and repeats nothing from outside."""


class NotThere(Exception):
    """What was asked for does not exist. The text is safe to show."""


class Parameters(Protocol):
    """Query parameters, of which one name may come several times."""

    def __iter__(self) -> Iterator[str]:
        """The names."""
        ...

    def getall(self, key: str) -> list[str]:
        """All values of one name."""
        ...


def only(parameters: Parameters, *known: str) -> Mapping[str, str]:
    """The parameters by name. Raises BadQuestion for one that is not known, is there twice or is too long."""
    found: dict[str, str] = {}
    for name in parameters:
        if name not in known:
            raise BadQuestion("there is a parameter that is not known here; known are: " + (", ".join(known) or "none"))
        values = parameters.getall(name)
        if len(values) > 1:
            raise BadQuestion(f"the parameter {name} is there more than once")
        if len(values[0]) > _LONGEST:
            raise BadQuestion(f"the parameter {name} is too long")
        found[name] = values[0]
    return found


def limit(given: Mapping[str, str], otherwise: int) -> int:
    """How many items. Raises BadQuestion."""
    return whole(given, "limit", otherwise=otherwise, most=MOST_ITEMS)


def whole(given: Mapping[str, str], name: str, *, otherwise: int, most: int) -> int:
    """A number from 1 to `most`. Raises BadQuestion."""
    text = given.get(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= most):
        raise BadQuestion(f"{name} must be a whole number from 1 to {most}")
    return int(text)


def choice(given: Mapping[str, str], name: str, known: Collection[T]) -> T | None:
    """One of a closed set, None where it is not given. Raises BadQuestion."""
    text = given.get(name)
    if text is None:
        return None
    for value in known:
        if value == text:
            return value
    raise BadQuestion(f"{name} must be one of: {', '.join(known)}")
