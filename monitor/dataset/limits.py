"""How long one training example may be, by model; what is longer is cut off at the end when it is trained."""

from __future__ import annotations

from typing import Final

from monitor.domain.pricing import base_model

# https://platform.openai.com/docs/guides/supervised-fine-tuning and the guide on fine-tuning before it, "token limits".
_LIMITS: Final = (
    ("gpt-4.1", 65_536),
    ("gpt-4o", 65_536),
    ("gpt-4-0613", 8_192),
    ("gpt-3.5-turbo-0613", 4_096),
    ("gpt-3.5-turbo", 16_385),
    ("babbage-002", 16_384),
    ("davinci-002", 16_384),
)

MIN_EXAMPLES: Final = 10
"""OpenAI refuses a file with fewer: `invalid_n_examples`."""


def example_limit(model: str) -> int | None:
    """The most tokens of one example; None where no limit is known."""
    base = base_model(model)
    return next((limit for family, limit in _LIMITS if base.startswith(family)), None)
