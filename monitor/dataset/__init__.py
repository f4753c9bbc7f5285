"""Training files: whether each line is an example, and how many tokens they hold."""

from monitor.dataset.block import RECORD, Reading, Tally, examine, lines_of
from monitor.dataset.example import BadExample, Format, expected_format, format_of, parsed
from monitor.dataset.limits import MIN_EXAMPLES, example_limit
from monitor.dataset.measuring import Measure, band, guess, measure
from monitor.dataset.vocabulary import Vocabulary, available, vocabulary_of

__all__ = [
    "MIN_EXAMPLES",
    "RECORD",
    "BadExample",
    "Format",
    "Measure",
    "Reading",
    "Tally",
    "Vocabulary",
    "available",
    "band",
    "examine",
    "example_limit",
    "expected_format",
    "format_of",
    "guess",
    "lines_of",
    "measure",
    "parsed",
    "vocabulary_of",
]
