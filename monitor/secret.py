"""Secrets that are read when they are needed and never shown, and the redactor that removes them from texts."""

from __future__ import annotations

import json
import re
import stat
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

MASK: Final = "[redacted]"
LARGEST: Final = 64 * 1024  # bytes: the largest file that is read as a secret
_PART: Final = 12  # characters: parts of a secret of at least this length are masked
_CHUNK: Final = 6  # characters: every part of 11 or more characters contains one whole aligned chunk
_BETWEEN: Final = bytes(32 if not 0x21 <= byte < 0x7F or byte in b'",:{}[]\\' else byte for byte in range(256))
"""A translation table that replaces the separators of JSON text by spaces."""
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_MOST_CLEAN: Final = 8_000  # words that are remembered as harmless, such as the names of fields
_SECRETIVE: Final = re.compile(r"auth|key|token|secret|passw|cookie|credential|signature|session", re.IGNORECASE)
_URLS: Final = ("http", "https", "postgres", "postgresql")


class Secret:
    """A secret from a text, or from a file that is read again whenever it changes."""

    __slots__ = ("_check", "_path", "_redactor", "_stamp", "_value")

    def __init__(
        self,
        value: str | None = None,
        *,
        path: Path | None = None,
        redactor: Redactor | None = None,
        check: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`check` raises ValueError for a file content that is not a valid secret. A `redactor` learns the secret."""
        self._value = value
        self._path = path
        self._redactor = redactor
        self._check = check
        self._stamp: tuple[int, int, int] | None = None
        if value and redactor is not None:
            redactor.add([value])
        if path is not None and redactor is not None:
            with suppress(OSError, ValueError):  # the redactor has to know the present secret before its first use
                self.read()

    def read(self) -> str:
        """The present secret. Raises OSError, or ValueError if it is empty or invalid."""
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
    """The stripped text of a secret's file. Raises OSError, or ValueError if it cannot be a secret."""
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
    """Masks every part of a known secret that is at least 12 characters long, or the whole of a shorter one.

    Secrets are indexed by their aligned chunks of 6 characters.
    """

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self.version = 0
        """A number that grows whenever secrets are added."""
        self._places: dict[str, list[tuple[str, int]]] = {}
        """The secrets and offsets of each chunk."""
        self._chunks: set[bytes] = set()
        """Encoded chunks that a word of JSON text can contain."""
        self._odd: set[bytes] = set()
        """Encoded chunks with separators, which no word can contain."""
        self._clean: set[bytes] = set()
        """Words that are known to contain no chunk."""

    def add(self, secrets: Iterable[str]) -> None:
        """Add secrets. See `_hidden` for the secret parts of a URL. Parts of less than 6 characters are ignored."""
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
        """Whether a JSON response may contain a part of a secret, in any JSON spelling.

        Checking the words of the raw response takes a tenth of the time of checking each parsed value, and words that
        were checked before are skipped.
        """
        if not body.isascii() or any(sign in body for sign in (b"\\", b"\0", b"\x7f")):
            body = _plain(body)
        words = set(body.translate(_BETWEEN).split()) - self._clean
        harmless = {word for word in words if not self._has_chunk(word)}
        if len(self._clean) + len(harmless) > _MOST_CLEAN:
            self._clean.clear()
        self._clean.update(islice(harmless, _MOST_CLEAN))
        return len(harmless) < len(words) or any(chunk in body for chunk in self._odd)

    def _has_chunk(self, word: bytes) -> bool:
        chunks = self._chunks
        return any(word[at : at + _CHUNK] in chunks for at in range(len(word) - _CHUNK + 1))

    def __call__(self, text: str) -> str:
        """The text with secrets masked, including those that are interrupted by invisible characters."""
        masked = self._mask(text)
        if masked.isprintable():
            return masked
        shown = "".join(filter(str.isprintable, masked))
        without = self._mask(shown)
        return masked if without == shown else without

    def _mask(self, text: str) -> str:
        # One dictionary lookup per character takes the same time for a thousand secrets as for one.
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
    """Whether the value of a header or parameter must be kept secret, by its name or by the look of the value.

    A long value with letters and digits counts as secret. `X-Scope: fine-tuning` does not: masking it would hide the
    same words in the provider's answers.
    """
    if _SECRETIVE.search(name):
        return True
    return len(value) >= _PART and bool(re.search(r"[0-9]", value)) and bool(re.search(r"[A-Za-z]", value))


def _plain(body: bytes) -> bytes:
    """JSON text in UTF-8, without escapes and without invisible characters."""
    text = body.decode(json.detect_encoding(body), "replace")
    if "\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    unseen = {ord(letter): None for letter in set(text) if not letter.isprintable() and letter not in "\t\n\r"}
    return (text.translate(unseen) if unseen else text).encode("utf-8", "replace")


def _unescaped(found: re.Match[str]) -> str:
    code, letter = found.groups()
    return chr(int(code, 16)) if code else _ESCAPES.get(letter, letter)


def _hidden(secret: str) -> Iterator[str]:
    """The parts of a secret to mask: all of it, or for a URL its credentials, path, query and fragment."""
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
    if token:
        yield _as_sent(unquote(token), unquote(url.password or ""))


def _as_sent(user: str, password: str) -> str:
    """The credentials of a URL in the spelling of the header that they are sent in, which anybody can read."""
    return b64encode(f"{user}:{password}".encode()).decode().rstrip("=")


def _extent(text: str, at: int, secret: str, start: int) -> tuple[int, int]:
    """The start and the end in the text of the longest match with a secret around a matching chunk."""
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
