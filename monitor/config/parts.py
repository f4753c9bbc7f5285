"""Common parts of the settings: lists of names, and conditions on jobs."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from monitor.domain.routing import Match

_LEAST: Final = Decimal("1e-9")


class Part(BaseModel):
    """The base class of all settings."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        defer_build=True,
        allow_inf_nan=False,
    )


def listed(value: object) -> object:
    """Accept a single text in place of a list with one item."""
    return [value] if isinstance(value, str) else value


def countable(amount: Decimal) -> Decimal:
    """Refuse an amount below a nano-dollar, which is what costs are counted in: its percentages have no end."""
    if 0 < amount < _LEAST:
        raise ValueError("should be at least 1e-9")
    return amount


Word = Annotated[str, Field(min_length=1, max_length=256)]
Words = Annotated[tuple[Word, ...], BeforeValidator(listed, json_schema_input_type=Word | tuple[Word, ...])]


class JobMatch(Part):
    """Conditions on jobs. All given conditions must be met; without any, every job matches."""

    org: Words = ()
    """Names of organisations."""
    provider: Words = ()
    """Names of providers."""
    model: Words = ()
    """Shell patterns for the base model or the fine-tuned model, such as `gpt-4o*`."""
    labels: Mapping[str, str] = Field(default_factory=dict)
    """Labels that the organisation must have."""
    metadata: Mapping[str, str] = Field(default_factory=dict)
    """Metadata that the job must have."""

    @property
    def match(self) -> Match:
        """The conditions as a domain value."""
        return Match(
            orgs=frozenset(self.org),
            providers=frozenset(self.provider),
            models=self.model,
            labels=self.labels,
            metadata=self.metadata,
        )
