"""Access tokens by OAuth 2: the token request and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from monitor.providers._json import obj
from monitor.providers._refusals import granted
from monitor.providers._values import number
from monitor.providers.base import AuthFailed, Call, Malformed, Request, Response, SourceError, Token

_SHORTEST = 60.0  # Seconds. A server that does not say how long a token is valid is asked again after that time.


def token_call(url: str, form: Mapping[str, str]) -> Call[Token]:
    """Build the token request (RFC 6749, section 4.4, and RFC 7523, section 2.1)."""
    request = Request(
        operation="get_token",
        path=url,
        method="POST",
        headers=(("Content-Type", "application/x-www-form-urlencoded"),),
        body=urlencode(form).encode(),
    )
    return Call(request=request, read=read_token)


def read_token(response: Response) -> Token:
    """Parse a token response. Raises AuthFailed if the credentials are refused, and other SourceErrors."""
    if response.status in (400, 401, 403):
        try:
            granted(response, what="token")
        except SourceError as error:  # RFC 6749, section 5.2: refused credentials are answered with 400
            raise AuthFailed(f"no access token: {error}") from None
    body = obj(granted(response, what="token"))
    text = body.get("access_token")
    if not isinstance(text, str) or not text.isascii() or not text.isprintable() or not 0 < len(text) <= 16_384:
        raise Malformed("the answer holds no access token")
    return Token(text=text, seconds=max(number(body.get("expires_in")) or 0.0, _SHORTEST))
