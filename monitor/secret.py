"""Secrets: values that are read late and never shown, and the redactor that keeps them out of every text."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

MASK: Final = "[redacted]"
LARGEST: Final = 64 * 1024  # bytes; nothing that large is a secret
_PART: Final = 12  # a leak is any part this long
_CHUNK: Final = 6  # every part of 11 or more characters holds one whole aligned chunk
_BETWEEN: Final = bytes(32 if not 0x21 <= byte < 0x7F or byte in b'",:{}[]\\' else byte for byte in range(256))
"""Turns what stands between the words of JSON's bytes into blanks."""
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_MOST_CLEAN: Final = 50_000  # words that are remembered as harmless: ids come again with every poll
_SECRETIVE: Final = re.compile(r"auth|key|token|secret|passw|cookie|credential|signature|session", re.IGNORECASE)
_URLS: Final = ("http", "https", "postgres", "postgresql")


class Secret:
    """A secret given as text or as a file that is read again whenever it changes."""

    __slots__ = ("_check", "_path", "_redactor", "_stamp", "_value")

    def __init__(
        self,
        value: str | None = None,
        *,
        path: Path | None = None,
        redactor: Redactor | None = None,
        check: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`check` raises ValueError for a file's text that cannot be such a secret."""
        self._value = value
        self._path = path
        self._redactor = redactor
        self._check = check
        self._stamp: tuple[int, int, int] | None = None
        if value and redactor is not None:
            redactor.add([value])
        if path is not None and redactor is not None:
            with suppress(OSError, ValueError):  # what it is now is hidden from the start, not from its first use on
                self.read()

    def read(self) -> str:
        """The secret now. Raises OSError, or ValueError where its file holds none that is good."""
        if self._path is not None:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp != self._stamp:
                text = text_of(self._path)
                if self._redactor is not None:
                    self._redactor.add([text])
                self._check(text)
                self._value, self._stamp = text, stamp
        if not self._value:
            raise ValueError("the secret is empty")
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"


def text_of(path: Path) -> str:
    """A secret file's text without the white space around it. Raises OSError, or ValueError where it cannot be one."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("the secret's file is not a plain file")
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("the secret's file is too large")
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueError("the secret's file is not UTF-8 text") from None  # the cause would carry its bytes


class Redactor:
    """Replaces every part of a known secret, 12 characters or longer, by a mask."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self.version = 0
        """Another number whenever there are more secrets."""
        self._places: dict[str, list[tuple[str, int]]] = {}
        self._chunks: set[bytes] = set()
        """Those of the places, as they would stand in a word."""
        self._odd: set[bytes] = set()
        """Those that no word can hold."""
        self._clean: set[bytes] = set()
        """Words that hold no chunk."""

    def add(self, secrets: Iterable[str]) -> None:
        """Learn secrets; of a URL only what follows its host. Under six characters they are too common to look for."""
        fresh = {part for secret in secrets for part in _hidden(secret) if len(part) >= _CHUNK} - self._secrets
        for secret in fresh:
            self._secrets.add(secret)
            for start in range(0, len(secret) - _CHUNK + 1, _CHUNK):
                self._places.setdefault(secret[start : start + _CHUNK], []).append((secret, start))
                chunk = secret[start : start + _CHUNK].encode("utf-8", "surrogatepass")
                (self._chunks if chunk.translate(_BETWEEN) == chunk else self._odd).add(chunk)
        if fresh:
            self.version += 1
            self._clean.clear()

    def suspects(self, body: bytes) -> bool:
        """Whether an answer may hold a part of a secret, in any spelling that JSON knows.

        To look at the words of the raw answer costs a tenth of looking at every value that is read from it; those that
        were looked at before, nothing.
        """
        if not body.isascii() or any(sign in body for sign in (b"\\", b"\0", b"\x7f")):
            body = _plain(body)
        words = set(body.translate(_BETWEEN).split()) - self._clean
        harmless = {word for word in words if not self._within(word)}
        if len(self._clean) + len(harmless) > _MOST_CLEAN:
            self._clean.clear()
        self._clean |= harmless
        return len(harmless) < len(words) or any(chunk in body for chunk in self._odd)

    def _within(self, word: bytes) -> bool:
        chunks = self._chunks
        return any(word[at : at + _CHUNK] in chunks for at in range(len(word) - _CHUNK + 1))

    def __call__(self, text: str) -> str:
        """The text without the secrets; also without those that would appear once invisible characters are left out."""
        masked = self._visibly(text)
        if masked.isprintable():
            return masked
        shown = "".join(filter(str.isprintable, masked))
        without = self._visibly(shown)
        return masked if without == shown else without

    def _visibly(self, text: str) -> str:
        # One dictionary look-up per character costs the same for a thousand secrets as for one.
        places = self._places
        hits = [at for at in range(len(text) - _CHUNK + 1) if text[at : at + _CHUNK] in places] if places else []
        if not hits:
            return text
        return _masked(text, [span for at in hits for span in self._spans(text, at)])

    def _spans(self, text: str, at: int) -> Iterator[tuple[int, int]]:
        for secret, start in self._places[text[at : at + _CHUNK]]:
            left, right = _extent(text, at, secret, start)
            if right - left >= min(_PART, len(secret)):
                yield left, right


def is_secret(name: str, value: str) -> bool:
    """Whether the value of a header or a parameter has to be kept secret: names tell, else what no word looks like.

    `X-Scope: fine-tuning` is a word of the configuration; to mask it would hide what the provider says.
    """
    if _SECRETIVE.search(name):
        return True
    return len(value) >= _PART and bool(re.search(r"[0-9]", value)) and bool(re.search(r"[A-Za-z]", value))


def _plain(body: bytes) -> bytes:
    """JSON's text without escapes, and without what cannot be seen when it is shown."""
    text = body.decode(json.detect_encoding(body), "replace")
    if "\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    unseen = {ord(letter): None for letter in set(text) if not letter.isprintable() and letter not in "\t\n\r"}
    return (text.translate(unseen) if unseen else text).encode("utf-8", "replace")


def _unescaped(found: re.Match[str]) -> str:
    code, letter = found.groups()
    return chr(int(code, 16)) if code else _ESCAPES.get(letter, letter)


def _hidden(secret: str) -> Iterator[str]:
    """The parts of a secret that nobody may see: a URL's scheme and host say nothing."""
    scheme, separator, _ = secret.partition("://")
    if not separator or scheme.lower() not in _URLS:
        yield secret
        return
    try:
        url = urlsplit(secret)
    except ValueError:  # such as an unclosed bracket: no URL after all
        yield secret
        return
    token = url.username if scheme.lower().startswith("http") else None
    for part in (token, url.password, url.path.removeprefix("/services"), url.query, url.fragment):
        if part:
            yield part
            yield unquote(part)


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
