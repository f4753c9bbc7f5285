"""What OpenAI's refusals mean, by status and by the code in their envelope (platform.openai.com, "Error codes")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from monitor.providers._json import decode
from monitor.providers._values import sub, text
from monitor.providers.base import (
    AuthFailed,
    Malformed,
    NotEligible,
    NotFound,
    RateLimited,
    Response,
    SourceError,
    Unavailable,
)

_LONGEST: Final = 300
# What waiting does not cure: the plan's money is spent, fine-tuning is closed to the organisation, its country is.
_SPENT: Final = re.compile(r"insufficient_quota|credit_balance|billing|hard.limit|spend(ing)?.limit", re.IGNORECASE)
_CLOSED: Final = re.compile(r"training_not_available", re.IGNORECASE)
_BARRED: Final = re.compile(r"unsupported_country", re.IGNORECASE)
# OpenAI's deprecations page, "Update to OpenAI's self-serve fine-tuning".
_WOUND_DOWN: Final = (
    "this organisation may not create fine-tuning jobs any more, and from 2027-01-06 on nobody may; "
    "its jobs and models can still be read"
)
_MEANINGS: Final[Mapping[int, tuple[type[SourceError], str]]] = {
    401: (AuthFailed, "the key is refused"),
    402: (NotEligible, "payment is required"),
    403: (AuthFailed, "the key may not do this"),
    408: (Unavailable, "the server gave up waiting"),
    409: (Unavailable, "the server is at odds with itself"),
    429: (RateLimited, "too many requests"),
}


def refusal(response: Response, *, one: bool, what: str = "job") -> SourceError | None:
    """The error that a response is; None for a success. `one`: one job (or `what`) was asked for, not a list."""
    status = response.status
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return Malformed(f"{status}: redirect refused; is base_url right?")
    said, code = _envelope(response)
    kind, meaning = _meaning(status, f"{code} {said}", one=one, what=what)
    return kind(_cut(f"{status}: {meaning}", code, said))


def _meaning(status: int, words: str, *, one: bool, what: str) -> tuple[type[SourceError], str]:
    if status == 403 and _CLOSED.search(words):
        return NotEligible, _WOUND_DOWN
    if status == 403 and _BARRED.search(words):
        return NotEligible, "fine-tuning is not open to this organisation's country"
    if status == 429 and _SPENT.search(words):
        return NotEligible, "the quota is spent"
    if status in (404, 410):
        return (
            (NotFound, f"no such {what}") if one else (Malformed, f"there is no {what} list here; is base_url right?")
        )
    if status >= 500:
        return Unavailable, "the server failed"
    return _MEANINGS.get(status, (Malformed, "the request is refused"))


def _envelope(response: Response) -> tuple[str, str]:
    """Message and code of `{"error": {"message", "type", "code"}}`, or of what gateways make of it."""
    try:
        body = decode(response)
    except Malformed:
        return "", ""
    error = sub(body, "error")
    places = (sub(error, "message"), error, sub(body, "message"), sub(body, "detail"))
    said = next(filter(None, (text(each, _LONGEST) for each in places)), "")
    codes = (text(sub(error, key), 64) for key in ("code", "type"))
    return said, " ".join(code for code in codes if code is not None)


def _cut(meaning: str, code: str, said: str) -> str:
    detail = ": ".join(filter(None, (code, said)))
    return text(f"{meaning} ({detail})" if detail else meaning, _LONGEST) or meaning
