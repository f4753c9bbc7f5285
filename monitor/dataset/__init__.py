"""Checks training files against a provider's published rules, and counts their tokens."""

from monitor.dataset.example import TO_CHAT, container, foreign, format_of, parsed
from monitor.dataset.measure import FINGERPRINT, FileStats, Measure, band, examine, guess, lines_of, measure, measured
from monitor.dataset.messages import BadExample
from monitor.dataset.rules import METHODS, PROVIDERS, RULES, Format, Rules, applicable, chosen, example_limit
from monitor.dataset.vocabulary import Vocabulary, available, vocabulary_of

__all__ = [
    "FINGERPRINT", "METHODS", "PROVIDERS", "RULES", "TO_CHAT", "BadExample", "FileStats", "Format", "Measure", "Rules",
    "Vocabulary", "applicable", "available", "band", "chosen", "container", "examine", "example_limit", "foreign",
    "format_of", "guess", "lines_of", "measure", "measured", "parsed", "vocabulary_of",
]  # fmt: skip
