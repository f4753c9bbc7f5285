"""What a client takes, by its headers."""

from __future__ import annotations

from collections.abc import Sequence


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the client takes gzip (RFC 9110, section 12.5.3)."""
    for offer in accept_encoding.lower().split(","):
        coding, *parameters = (part.strip() for part in offer.split(";"))
        if coding == "gzip":
            return not _refused(parameters)
    return False


def _refused(parameters: Sequence[str]) -> bool:
    return any(parameter.replace(" ", "") in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for parameter in parameters)
