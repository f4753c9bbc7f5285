"""The address that the server listens on (`127.0.0.1:10877`, `:10877`), and its public URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,252})")
_LISTEN: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on. An empty host means all interfaces, port 0 any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(text: object) -> Address:
    """Parse `HOST:PORT`, `[IPV6]:PORT` or `:PORT`. Raises ValueError."""
    if isinstance(text, Address):
        return text
    found = _LISTEN.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found["port"]) > 65535:
        raise ValueError("should be HOST:PORT, such as 127.0.0.1:10877 or [::1]:10877")
    if found["six"]:
        try:
            return Address(str(IPv6Address(found["six"])), int(found["port"]))
        except ValueError:
            raise ValueError("should have an IPv6 address between the brackets") from None
    if found["host"] and not _HOST.fullmatch(found["host"]):
        raise ValueError("should have a host name or an IP address before the colon")
    return Address(found["host"], int(found["port"]))


Listen = Annotated[
    Address,
    BeforeValidator(address),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*):[0-9]{1,5}$"}),
]


def _public(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isascii() or not text.isprintable():
        raise ValueError("should be an address such as https://monitor.example.com")
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise ValueError("should have no user, query or fragment")
    return text.rstrip("/")


PublicUrl = Annotated[str, AfterValidator(_public), Field(json_schema_extra={"format": "uri"})]
