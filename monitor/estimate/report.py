"""The report of an estimate: lines for a terminal, or one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from monitor.dataset import Format, Measure, example_limit, vocabulary_of
from monitor.domain.model import Method
from monitor.domain.money import dollars, rounded
from monitor.domain.pricing import TokenPrices
from monitor.estimate.findings import Findings, Spool
from monitor.estimate.quote import SOURCES, Quote

GOOD, BAD, UNUSABLE = 0, 1, 2

_SHOWN: Final = 20
_OPENAI: Final = {"openai", "azure"}


def verdict(findings: Findings, quote: Quote, today: date) -> tuple[int, str | None]:
    """The exit code, and why the file as a whole is rejected, if it is.

    0: good. 1: it has bad lines, or too few or too many examples. 2: it cannot be read or used for training.
    """
    if findings.unusable is not None:
        return UNUSABLE, findings.unusable
    if quote.closed_by(today):
        return UNUSABLE, f"{quote.base} cannot be trained any more: closed since {quote.closed}"
    if findings.refusal is not None:
        return BAD, findings.refusal
    return (BAD if findings.bad.count else GOOD), None


def as_text(name: str, findings: Findings, quote: Quote, today: date) -> Iterator[str]:
    """The lines to print."""
    _, error = verdict(findings, quote, today)
    problems = [*_listed("", findings.bad, "bad lines"), *_listed("warning: ", findings.warnings, "warnings")]
    if findings.unusable is not None:
        yield f"error: {name}: {findings.unusable}"
        return
    if error is not None:
        problems.append(f"error: {error}")
    yield from problems
    if problems:
        yield ""
    what = f"{findings.examples:,} {findings.rules.format} example{'' if findings.examples == 1 else 's'}"
    yield f"{name}: {what}, {findings.bytes_read:,} bytes"
    if findings.bad.count:
        yield f"Not counted: {findings.bad.count:,} bad line{'' if findings.bad.count == 1 else 's'}."
    if not findings.examples:
        return
    yield ""
    yield _row("tokens per epoch", _tokens(quote.size), _counted(quote))
    if quote.method is not Method.REINFORCEMENT:
        yield _row("epochs", str(quote.epochs), _epochs(quote))
        yield _row("billable tokens", _tokens(quote.billable), "")
    yield from _cost(quote)
    yield from _use(quote)
    yield from _ends(quote, today)
    yield from _notes(findings)


def _listed(prefix: str, spool: Spool, what: str) -> Iterator[str]:
    for line, reason in islice(spool, _SHOWN):
        yield f"{prefix}line {line}: {reason}"
    if spool.count > _SHOWN:
        yield f"{prefix}… and {spool.count - _SHOWN:,} more {what}: --json lists them all"


def _row(label: str, value: str, remark: str) -> str:
    return f"{label:<20} {value:<14} {remark}".rstrip()


def _epochs(quote: Quote) -> str:
    if quote.epochs_given:
        return "as given"
    if quote.provider in _OPENAI:
        return 'estimated for "auto", which OpenAI decides when the job starts; set it with --epochs'
    return "set it with --epochs"


def _tokens(size: Measure) -> str:
    if size.exact:
        return f"{size.tokens:,}"
    return f"about {size.tokens:,} (between {size.low:,} and {size.high:,})"


def _counted(quote: Quote) -> str:
    vocabulary = vocabulary_of(quote.model)
    if quote.size.exact:
        return f"counted with {vocabulary}"
    if vocabulary is None:
        return "estimated from bytes: the model's vocabulary is not known"
    return f'estimated from bytes: install "finetune-monitor[tokens]" to count with {vocabulary}'


def _cost(quote: Quote) -> Iterator[str]:
    label = "training cost"
    if quote.rate is None:
        yield _row(label, "unknown", f"no price known for {quote.method} training of {quote.base}")
        if quote.near:
            yield _row("", "", f"Did you mean {', '.join(quote.near)}?")
        return
    since = f" since {quote.rate.valid_from}" if quote.rate.valid_from else ""
    if quote.rate.per_hour is not None:
        yield _row(label, "unknown", f"billed by the hour: ${dollars(quote.rate.per_hour)}{since}")
        yield _row("", "", "The duration cannot be estimated from a file: compare earlier jobs.")
    elif quote.rate.per_million is not None and quote.usd is not None:
        yield _row(label, _dollars(quote), f"${dollars(quote.rate.per_million)} per million tokens{since}")
    if quote.row is not None:
        yield _row("", "", f"from {quote.row.source}")
        sure = f"confidence {quote.row.confidence}: {SOURCES[quote.row.confidence]}"
        yield _row("", "", f"{sure}; checked on {quote.checked}")


def _dollars(quote: Quote) -> str:
    if quote.low is None or quote.high is None or quote.size.exact:
        return _money(quote.usd)
    return f"about {_money(quote.usd)} (between {_money(quote.low)} and {_money(quote.high)})"


def _money(usd: Decimal | None) -> str:
    if usd is None:
        return "unknown"
    return rounded(usd)


def _use(quote: Quote) -> Iterator[str]:
    if quote.use is None:
        yield _row("inference", "unknown", f"no price known for models fine-tuned from {quote.base}")
        return
    yield _row("inference, 1M tokens", _prices(quote.use.prices), "")
    if quote.use.batch is not None:
        yield _row("  Batch API", _prices(quote.use.batch), "")
    if quote.use.shared is not None:
        yield _row("  data shared", _prices(quote.use.shared), "")


def _prices(prices: TokenPrices) -> str:
    named = (("input", prices.input), ("cached input", prices.cached_input), ("output", prices.output))
    return ", ".join(f"{name} ${dollars(price)}" for name, price in named if price is not None)


def _ends(quote: Quote, today: date) -> Iterator[str]:
    if quote.closed is not None:
        closes = "closed since" if quote.closed_by(today) else "closes on"
        yield _row("training", f"{closes} {quote.closed}", f"for {quote.base}")
    if quote.shutdown is not None:
        ends = "have been shut down since" if quote.shutdown <= today else "shut down on"
        yield _row("fine-tuned models", f"{ends} {quote.shutdown}", "")


def _notes(findings: Findings) -> Iterator[str]:
    notes = []
    if findings.images:
        what = "1 image is" if findings.images == 1 else f"{findings.images:,} images are"
        notes.append(f"{what} not counted: the tokens of an image depend on its size.")
    if findings.rules.format is Format.PREFERENCE:
        notes.append("Both answers and the prompt are counted once; how pairs are billed is not published.")
    if notes:
        yield ""
        yield from notes


def as_json(name: str, findings: Findings, quote: Quote, today: date) -> Iterator[str]:
    """The JSON object in pieces, since its lists may exceed memory. Money is decimal text, days are ISO dates."""
    yield json.dumps(_document(name, findings, quote, today), indent=2).removesuffix("\n}")
    for key, spool in (("bad_lines", findings.bad), ("warnings", findings.warnings)):
        yield f',\n  "{key}": ['
        for number, (line, reason) in enumerate(spool):
            yield f"{',' if number else ''}\n    {json.dumps({'line': line, 'reason': reason})}"
        yield "\n  ]" if spool.count else "]"
    yield "\n}\n"


def _document(name: str, findings: Findings, quote: Quote, today: date) -> dict[str, Any]:
    code, error = verdict(findings, quote, today)
    return {
        "file": name,
        "good": code == GOOD,
        "error": error,
        "bytes": findings.bytes_read,
        "provider": quote.provider,
        "format": findings.rules.format,
        "rules": findings.rules.source,
        "examples": findings.examples,
        "bad_line_count": findings.bad.count,
        "warning_count": findings.warnings.count,
        "duplicate_count": findings.duplicates,
        "images": findings.images,
        "longest_example_tokens": findings.longest,
        "example_token_limit": example_limit(quote.model),
        **_estimate(quote, priced=findings.examples > 0),
    }


def _estimate(quote: Quote, *, priced: bool) -> dict[str, Any]:
    rate, row, use = quote.rate, quote.row, quote.use
    return {
        "model": quote.model,
        "base_model": quote.base,
        "method": quote.method,
        "vocabulary": vocabulary_of(quote.model),
        "tokens_per_epoch": _size(quote.size),
        "epochs": quote.epochs,
        "epochs_basis": "given" if quote.epochs_given else "guess",
        "billable_tokens": _size(quote.billable),
        "training_cost": {
            "usd": _decimal(quote.usd if priced else None),
            "low": _decimal(quote.low if priced else None),
            "high": _decimal(quote.high if priced else None),
            "basis": "estimated" if priced and quote.usd is not None else "unknown",
            "usd_per_million_tokens": _decimal(rate.per_million if rate else None),
            "usd_per_hour": _decimal(rate.per_hour if rate else None),
            "valid_from": _day(rate.valid_from if rate else None),
            "confidence": row.confidence if row else None,
            "source": row.source if row else None,
            "note": row.note if row else None,
            "checked": quote.checked.isoformat(),
        },
        "use_usd_per_million_tokens": {
            "standard": _price_object(use.prices if use else None),
            "batch": _price_object(use.batch if use else None),
            "shared": _price_object(use.shared if use else None),
            "shared_batch": _price_object(use.shared_batch if use else None),
        },
        "training_closed": _day(quote.closed),
        "tuned_model_shutdown": _day(quote.shutdown),
        "similar_models": list(quote.near),
    }


def _size(size: Measure) -> dict[str, Any]:
    return {"tokens": size.tokens, "low": size.low, "high": size.high, "exact": size.exact}


def _price_object(prices: TokenPrices | None) -> dict[str, str | None] | None:
    if prices is None:
        return None
    return {key: _decimal(getattr(prices, key)) for key in ("input", "cached_input", "output")}


def _decimal(usd: Decimal | None) -> str | None:
    return f"{usd:f}" if usd is not None else None


def _day(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None
