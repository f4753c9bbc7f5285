"""An estimate as one JSON object, written out piece by piece: the list of bad lines may be longer than memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from monitor.dataset import Measure, example_limit, vocabulary_of
from monitor.domain.pricing import TokenPrices
from monitor.estimate.findings import Findings
from monitor.estimate.quote import Quote
from monitor.estimate.remembering import Spool


def document(name: str, findings: Findings, quote: Quote) -> Iterator[str]:
    """The object's text in pieces. Money is decimal strings, days are ISO dates, null is not known."""
    head = json.dumps(_head(name, findings, quote), indent=2)
    yield head.removesuffix("\n}")
    yield from _listed("bad_lines", findings.bad, ("line", "reason"))
    yield from _listed("long_lines", findings.long, ("line", "tokens"))
    yield "\n}"


def _listed(key: str, spool: Spool, names: tuple[str, str]) -> Iterator[str]:
    yield f',\n  "{key}": ['
    for number, values in enumerate(spool):
        yield f"{',' if number else ''}\n    {json.dumps(dict(zip(names, values, strict=True)))}"
    yield "\n  ]" if spool.count else "]"


def _head(name: str, findings: Findings, quote: Quote) -> dict[str, Any]:
    counted, pairs = findings.duplicates
    return {
        "file": name,
        "good": not findings.bad.count and findings.refusal is None,
        "error": findings.refusal,
        "bytes": findings.bytes_read,
        "format": findings.format,
        "examples": findings.examples,
        "bad_line_count": findings.bad.count,
        "duplicate_count": counted,
        "duplicates": [{"line": line, "same_as": first} for line, first in pairs],
        "images": findings.images,
        "longest_example_tokens": findings.longest,
        "example_token_limit": example_limit(quote.model),
        **_estimate(quote),
    }


def _estimate(quote: Quote) -> dict[str, Any]:
    rate, row, use = quote.rate, quote.row, quote.use
    return {
        "model": quote.model,
        "base_model": quote.base,
        "method": quote.method,
        "vocabulary": vocabulary_of(quote.model),
        "tokens_per_epoch": _tokens(quote.size),
        "epochs": quote.epochs,
        "epochs_basis": "given" if quote.epochs_given else "guess",
        "billable_tokens": _tokens(quote.billable),
        "training_cost": {
            "usd": _text(quote.usd),
            "low": _text(quote.low),
            "high": _text(quote.high),
            "basis": "estimated" if quote.usd is not None else "unknown",
            "usd_per_million_tokens": _text(rate.per_million if rate else None),
            "usd_per_hour": _text(rate.per_hour if rate else None),
            "valid_from": _day(rate.valid_from if rate else None),
            "confidence": row.confidence if row else None,
            "source": row.source if row else None,
            "note": row.note if row else None,
            "checked": quote.checked.isoformat(),
        },
        "use_usd_per_million_tokens": {
            "standard": _prices(use.prices if use else None),
            "batch": _prices(use.batch if use else None),
            "shared": _prices(use.shared if use else None),
            "shared_batch": _prices(use.shared_batch if use else None),
        },
        "training_closed": _day(quote.closed),
        "tuned_model_shutdown": _day(quote.shutdown),
        "similar_models": list(quote.near),
    }


def _tokens(size: Measure) -> dict[str, Any]:
    return {"tokens": size.tokens, "low": size.low, "high": size.high, "exact": size.exact}


def _prices(prices: TokenPrices | None) -> dict[str, str | None] | None:
    if prices is None:
        return None
    return {
        "input": _text(prices.input),
        "cached_input": _text(prices.cached_input),
        "output": _text(prices.output),
    }


def _text(usd: Decimal | None) -> str | None:
    return f"{usd:f}" if usd is not None else None


def _day(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None
