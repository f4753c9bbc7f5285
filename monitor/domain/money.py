"""Amounts of US dollars as text: exact for programs, rounded for people."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

CENT: Final = Decimal("0.01")


def dollars(usd: Decimal) -> str:
    """The exact amount with at least two decimals: `2.40`, `0.0123`."""
    whole, _, fraction = f"{usd.normalize():f}".partition(".")
    return f"{whole}.{fraction.ljust(2, '0')}"


def rounded(usd: Decimal) -> str:
    """The amount rounded to cents: `$1,234.50`, `-$2.40`. Amounts below one cent have two digits: `$0.0012`."""
    sign, usd = ("-" if usd < 0 else ""), abs(usd)
    if usd >= CENT or not usd:
        return f"{sign}${usd.quantize(CENT):,}"
    return f"{sign}${dollars(usd.quantize(Decimal(1).scaleb(usd.adjusted() - 1)))}"


def whole(usd: Decimal) -> str:
    """As `rounded`, but whole dollars without cents, as in `$500`."""
    return rounded(usd).removesuffix(".00")
