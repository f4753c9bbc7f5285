"""AWS Signature Version 4, for requests that read.

docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote, urlsplit

from monitor.providers.base import Outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class SigV4:
    """Signs requests with an access key; with a session token where the credentials are temporary."""

    region: str
    service: str
    secrets: tuple[str, ...] = ("access_key_id", "secret_access_key")

    def grant(self, secrets: Mapping[str, str], now: datetime) -> None:
        """No token is needed."""

    def headers(self, secrets: Mapping[str, str], request: Outgoing, now: datetime) -> Mapping[str, str]:
        """Sign this request. AWS accepts the signature for 15 minutes."""
        stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"
        signed = {"host": urlsplit(request.url).netloc, "x-amz-date": stamp}
        if (session := secrets.get("session_token")) is not None:
            signed["x-amz-security-token"] = session
        names = ";".join(sorted(signed))
        digest = hashlib.sha256(canonical(request, signed, names).encode()).hexdigest()
        key = ("AWS4" + secrets["secret_access_key"]).encode()
        for part in (*scope.split("/"), "\n".join(("AWS4-HMAC-SHA256", stamp, scope, digest))):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        proof = f"Credential={secrets['access_key_id']}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
        sent = {name: text for name, text in signed.items() if name != "host"}
        return {**sent, "Authorization": f"AWS4-HMAC-SHA256 {proof}"}


def canonical(request: Outgoing, signed: Mapping[str, str], names: str) -> str:
    """The canonical request, which both sides hash. The path is encoded a second time, as for all services but S3."""
    parts = urlsplit(request.url)
    pairs = (pair.partition("=") for pair in parts.query.split("&") if pair)
    query = sorted((_encoded(unquote(name)), _encoded(unquote(value))) for name, _, value in pairs)
    headers = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed))
    body = hashlib.sha256(request.body).hexdigest()
    return "\n".join(
        (
            request.method,
            quote(parts.path, safe="/~") or "/",
            "&".join(f"{name}={value}" for name, value in query),
            headers,
            names,
            body,
        )
    )


def _encoded(text: str) -> str:
    return quote(text, safe="~")
