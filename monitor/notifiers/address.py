"""The addresses to which notifications may be sent, in every spelling."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))  # RFC 6052, RFC 8215
_COMPATIBLE: Final = IPv6Network("::/96")  # deprecated by RFC 4291, still understood by some stacks
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
# Cloud metadata services that are not on a link-local address.
_METADATA: Final = frozenset({ip_address("fd00:ec2::254"), ip_address("100.100.100.200")})


def url_problem(url: str) -> str | None:
    """Why a target's URL cannot be used, without showing it; None if it can."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in {"http", "https"} or not host or not url.isprintable() or " " in url:
        return "must be an http or https URL"
    try:
        return objection(host, plain=parts.scheme == "http")
    except ValueError:  # not an IP address: its addresses are checked at each connection
        return None


def objection(host: str, *, plain: bool, public_only: bool = False) -> str | None:
    """Why nothing may be sent to this IP address (`plain`: without TLS); None if it may. Raises ValueError."""
    spellings = tuple(_spellings(ip_address(host)))
    if any(map(_forbidden, spellings)):
        return "link-local, metadata, multicast and unspecified addresses are refused"
    reached = spellings[1:] or spellings
    if public_only and not all(address.is_global for address in reached):
        return "outbound.public_only allows public addresses only"
    if plain and any(address.is_global for address in reached):
        return "plain http is allowed to loopback and private addresses only"
    return None


def _forbidden(address: Address) -> bool:
    if address.is_link_local or address.is_multicast or address.is_unspecified or address in _METADATA:
        return True
    return isinstance(address, IPv4Address) and (address in _THIS_NETWORK or address == IPv4Address("255.255.255.255"))


def _spellings(address: Address) -> Iterator[Address]:
    """The address itself, then the IPv4 addresses that are embedded in it."""
    yield address
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_unspecified:
        return
    inner = IPv4Address(int(address) & 0xFFFFFFFF)
    if any(address in network for network in (*_NAT64, _COMPATIBLE)):
        yield inner
    yield from filter(None, (address.ipv4_mapped, address.sixtofour))
    yield from address.teredo or ()
