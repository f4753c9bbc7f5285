"""Classifies error responses by status, by the vendor's error codes, and by the words of the message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from monitor.providers._json import decode
from monitor.providers._values import sub, text
from monitor.providers.base import (
    AuthFailed,
    Malformed,
    NotEligible,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    Response,
    SourceError,
)

_LONGEST: Final = 300
_MEANINGS: Final[Mapping[int, tuple[type[SourceError], str]]] = {
    401: (AuthFailed, "the key is refused"),
    402: (NotEligible, "payment is required"),
    403: (AuthFailed, "the key may not do this"),
    408: (ProviderUnavailable, "the server timed out waiting for the request"),
    409: (ProviderUnavailable, "the server reports a conflict"),
    429: (RateLimited, "too many requests"),
}
_KEYS: Final = ("code", "type", "status", "reason")


@dataclass(frozen=True, slots=True)
class RefusalRule:
    """Classifies error responses whose code or message matches; with `statuses`, only those with such a status."""

    words: re.Pattern[str]
    kind: type[SourceError]
    meaning: str
    statuses: frozenset[int] = frozenset()

    def fits(self, status: int, words: str) -> bool:
        """Whether this rule applies to a response with this status and these words."""
        return (not self.statuses or status in self.statuses) and self.words.search(words) is not None


def refusal(
    response: Response, *, one: bool, what: str = "job", rules: Iterable[RefusalRule] = ()
) -> SourceError | None:
    """The error that a response stands for; None for a success.

    With `one`, a single `what` was requested and not a list: 404 is then NotFound and not Malformed.
    """
    status = response.status
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return Malformed(f"{status}: redirect refused; is base_url right?")
    message, code = _envelope(response)
    kind, meaning = _meaning(status, f"{code} {message}", one=one, what=what, rules=rules)
    return kind(_cut(f"{status}: {meaning}", code, message))


def granted(response: Response, *, what: str, rules: Iterable[RefusalRule] = ()) -> Response:
    """The response, if it is a success; otherwise raises a SourceError. For requests of a single `what`."""
    if (error := refusal(response, one=True, what=what, rules=rules)) is not None:
        raise error
    return response


def _meaning(
    status: int, words: str, *, one: bool, what: str, rules: Iterable[RefusalRule]
) -> tuple[type[SourceError], str]:
    for rule in rules:
        if rule.fits(status, words):
            return rule.kind, rule.meaning
    if status in (404, 410):
        if one:
            return NotFound, f"no such {what}"
        return Malformed, f"there is no {what} list here; is base_url right?"
    if status >= 500:
        return ProviderUnavailable, "the server failed"
    return _MEANINGS.get(status, (Malformed, "the request is refused"))


def _envelope(response: Response) -> tuple[str, str]:
    """The message and the codes of `{"error": {"message", "type", "code"}}` and of its variants.

    Google: `{"error": {"code": 403, "message", "status"}}`. AWS: `{"message"}`, with the code in a header. OAuth:
    `{"error": "invalid_client", "error_description"}`. grpc-gateway: `{"code": 5, "message"}`.
    """
    try:
        body = decode(response)
    except Malformed:
        return "", response.headers.get("x-amzn-errortype", "")
    error = sub(body, "error")
    places = (
        sub(error, "message"), sub(body, "error_description"), error,
        sub(body, "message"), sub(body, "Message"), sub(body, "detail"),
    )  # fmt: skip
    message = next(filter(None, (text(each, _LONGEST) for each in places)), "")
    codes = [text(sub(error, key), 64) for key in _KEYS]
    if isinstance(error, str) and sub(body, "error_description") is not None:
        codes.append(text(error, 64))
    codes.append(text(response.headers.get("x-amzn-errortype"), 64))
    return message, " ".join(code for code in codes if code is not None)


def _cut(meaning: str, code: str, message: str) -> str:
    detail = ": ".join(filter(None, (code, message)))
    return text(f"{meaning} ({detail})" if detail else meaning, _LONGEST) or meaning
