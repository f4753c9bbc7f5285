"""Secrets: values that are read late and never shown, and the redactor that keeps them out of every text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

MASK: Final = "[redacted]"
_PART: Final = 12  # a leak is any part this long
_CHUNK: Final = 6  # every part of 11 or more characters holds one whole aligned chunk


class Secret:
    """A secret given as text or as a file that is read again whenever it changes."""

    __slots__ = ("_path", "_redactor", "_stamp", "_value")

    def __init__(self, value: str | None = None, *, path: Path | None = None, redactor: Redactor | None = None) -> None:
        self._value = value
        self._path = path
        self._redactor = redactor
        self._stamp: tuple[int, int, int] | None = None
        if value and redactor is not None:
            redactor.add([value])

    def read(self) -> str:
        """The secret now. Raises OSError or ValueError (empty file) when its file gives none."""
        if self._path is not None:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp != self._stamp:
                self._value = self._path.read_text(encoding="utf-8").strip()
                self._stamp = stamp
                if self._redactor is not None:
                    self._redactor.add([self._value])
        if not self._value:
            raise ValueError("the secret is empty")
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"


class Redactor:
    """Replaces every part of a known secret, 12 characters or longer, by a mask."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._places: dict[str, list[tuple[str, int]]] = {}
        self._pattern: re.Pattern[str] | None = None

    def add(self, secrets: Iterable[str]) -> None:
        """Learn secrets; of a URL only what follows its host. Under six characters they are too common to look for."""
        fresh = {part for secret in secrets for part in _hidden(secret) if len(part) >= _CHUNK} - self._secrets
        for secret in fresh:
            self._secrets.add(secret)
            for start in range(0, len(secret) - _CHUNK + 1, _CHUNK):
                self._places.setdefault(secret[start : start + _CHUNK], []).append((secret, start))
        if fresh:
            self._pattern = re.compile("|".join(map(re.escape, self._places)))

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        if self._pattern is None or self._pattern.search(text) is None:
            return text
        spans = [span for hit in self._pattern.finditer(text) for span in self._spans(text, hit)]
        return _masked(text, spans)

    def _spans(self, text: str, hit: re.Match[str]) -> Iterable[tuple[int, int]]:
        for secret, start in self._places[hit.group()]:
            left, right = _extent(text, hit.start(), secret, start)
            if right - left >= min(_PART, len(secret)):
                yield left, right


def _hidden(secret: str) -> tuple[str, ...]:
    """The parts of a secret that nobody may see: a URL's scheme and host say nothing."""
    if "://" not in secret:
        return (secret,)
    url = urlsplit(secret)
    return tuple(filter(None, (url.password, url.path.removeprefix("/services"), url.query)))


def _extent(text: str, at: int, secret: str, start: int) -> tuple[int, int]:
    """How far the text agrees with the secret around a hit of one chunk."""
    left, right = 0, _CHUNK
    while left < min(at, start) and text[at - left - 1] == secret[start - left - 1]:
        left += 1
    while at + right < len(text) and start + right < len(secret) and text[at + right] == secret[start + right]:
        right += 1
    return at - left, at + right


def _masked(text: str, spans: list[tuple[int, int]]) -> str:
    parts, end = [], 0
    for left, right in sorted(spans):
        if left >= end:
            parts += [text[end:left], MASK]
        end = max(end, right)
    return "".join([*parts, text[end:]])
