"""An estimate in words, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import islice

from monitor.dataset import Format, Measure, example_limit, vocabulary_of
from monitor.domain.model import Method
from monitor.domain.pricing import TokenPrices, dollars
from monitor.estimate.findings import Findings
from monitor.estimate.quote import SOURCES, Quote

_SHOWN = 20
_CENT = Decimal("0.01")


def told(name: str, findings: Findings, quote: Quote, today: date) -> Iterator[str]:
    """The lines to print."""
    remarks = [*_problems(findings), *_warnings(findings, quote)]
    yield from remarks
    if remarks:
        yield ""
    what = f"{findings.examples:,} {findings.format} example{'' if findings.examples == 1 else 's'}"
    yield f"{name}: {what}, {findings.bytes_read:,} bytes"
    if findings.bad.count:
        yield f"The bad lines are not in the figures: {findings.bad.count:,} of them."
    yield ""
    yield _row("tokens per epoch", _tokens(quote.size), _how(quote))
    if quote.method is not Method.REINFORCEMENT:
        yield _row("epochs", str(quote.epochs), "as given" if quote.epochs_given else _GUESS)
        yield _row("billable tokens", _tokens(quote.billable), "")
    yield from _cost(quote)
    yield from _use(quote)
    yield from _ends(quote, today)
    yield from _remarks(findings)


_GUESS = 'a guess at what "auto" becomes: OpenAI decides when the job starts; --epochs sets it'


def _row(label: str, value: str, remark: str) -> str:
    return f"{label:<20} {value:<14} {remark}".rstrip()


def _problems(findings: Findings) -> Iterator[str]:
    for line, reason in islice(findings.bad, _SHOWN):
        yield f"line {line}: {reason}"
    if findings.bad.count > _SHOWN:
        yield f"… and {findings.bad.count - _SHOWN:,} more bad lines: --json has them all"
    if findings.refusal:
        yield f"error: {findings.refusal}"


def _warnings(findings: Findings, quote: Quote) -> Iterator[str]:
    limit = example_limit(quote.model)
    for line, tokens in islice(findings.long, _SHOWN):
        yield f"warning: line {line}: has {tokens:,} tokens; {quote.base} takes {limit:,}, and the rest is cut off"
    if findings.long.count > _SHOWN:
        yield f"warning: … and {findings.long.count - _SHOWN:,} more examples are too long"
    counted, pairs = findings.duplicates
    for line, first in pairs[:_SHOWN]:
        yield f"warning: line {line}: is the same as line {first}"
    if counted > _SHOWN:
        yield f"warning: … and {counted - _SHOWN:,} more lines are the same as an earlier one"


def _tokens(size: Measure) -> str:
    if size.exact:
        return f"{size.tokens:,}"
    return f"about {size.tokens:,} (between {size.low:,} and {size.high:,})"


def _how(quote: Quote) -> str:
    vocabulary = vocabulary_of(quote.model)
    if quote.size.exact:
        return f"counted with {vocabulary}"
    if vocabulary is None:
        return "from the bytes: the model's vocabulary is not known"
    return f'from the bytes: install "finetune-monitor[tokens]" to count with {vocabulary}'


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
        yield _row("", "", "A file does not tell how long its training takes: look at earlier jobs.")
    elif quote.rate.per_million is not None and quote.usd is not None:
        yield _row(label, _dollars(quote), f"${dollars(quote.rate.per_million)} per million tokens{since}")
    if quote.row is not None:
        yield _row("", "", f"from {quote.row.source}")
        sure = f"confidence {quote.row.confidence}: {SOURCES[quote.row.confidence]}"
        yield _row("", "", f"{sure}; checked on {quote.checked}")


def _dollars(quote: Quote) -> str:
    if quote.usd is None or quote.low is None or quote.high is None or quote.size.exact:
        return _money(quote.usd)
    return f"about {_money(quote.usd)} (between {_money(quote.low)} and {_money(quote.high)})"


def _money(usd: Decimal | None) -> str:
    if usd is None:
        return "unknown"
    return f"${dollars(usd.quantize(_CENT) if usd >= _CENT else usd)}"


def _use(quote: Quote) -> Iterator[str]:
    if quote.use is None:
        yield _row("in use", "unknown", f"no price known for models tuned from {quote.base}")
        return
    yield _row("in use, per million", _prices(quote.use.prices), "")
    if quote.use.batch is not None:
        yield _row("  Batch API", _prices(quote.use.batch), "")
    if quote.use.shared is not None:
        yield _row("  data shared", _prices(quote.use.shared), "")


def _prices(prices: TokenPrices) -> str:
    named = (("input", prices.input), ("cached input", prices.cached_input), ("output", prices.output))
    return ", ".join(f"{name} ${dollars(price)}" for name, price in named if price is not None)


def _ends(quote: Quote, today: date) -> Iterator[str]:
    if quote.closed is not None:
        closed = "is closed since" if quote.closed <= today else "closes on"
        yield _row("training", f"{closed} {quote.closed}", f"for {quote.base}")
    if quote.shutdown is not None:
        ends = "have been shut down since" if quote.shutdown <= today else "stop answering on"
        yield _row("tuned models", f"{ends} {quote.shutdown}", "")


def _remarks(findings: Findings) -> Iterator[str]:
    remarks = []
    if findings.images:
        remarks.append(f"{findings.images:,} image(s) are not counted: their tokens depend on their size.")
    if findings.format is Format.PREFERENCE:
        remarks.append("Both answers and the prompt are counted once; OpenAI does not say how it counts pairs.")
    if remarks:
        yield ""
        yield from remarks
