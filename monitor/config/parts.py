"""What several parts of the settings are made of: lists of names, and which jobs something is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from monitor.domain.routing import Match


class Part(BaseModel):
    """What all parts of the settings have in common."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


def listed(value: object) -> object:
    """One word stands for a list of one."""
    return [value] if isinstance(value, str) else value


Word = Annotated[str, Field(min_length=1, max_length=256)]
Words = Annotated[tuple[Word, ...], BeforeValidator(listed, json_schema_input_type=Word | tuple[Word, ...])]


class JobMatch(Part):
    """Which jobs something is for. What is not given matches everything; all that is given must hold."""

    org: Words = ()
    """Names of organisations."""
    provider: Words = ()
    """Names of providers."""
    model: Words = ()
    """Shell patterns for the base model or the fine-tuned one, such as `gpt-4o*`."""
    labels: Mapping[str, str] = Field(default_factory=dict)
    """Labels of the organisation."""
    metadata: Mapping[str, str] = Field(default_factory=dict)
    """The job's own metadata."""

    @property
    def match(self) -> Match:
        """The same as the domain understands it."""
        return Match(
            orgs=frozenset(self.org),
            providers=frozenset(self.provider),
            models=self.model,
            labels=self.labels,
            metadata=self.metadata,
        )
