"""Who used which model how much: counted by the minute, as the usage API will want it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UsageKey:
    """One minute of one model in one project; `minute` is the unix second it starts at."""

    org_id: str
    project_id: str
    model: str
    minute: int


@dataclass(frozen=True)
class Tokens:
    """Tokens of one or many requests; the cached ones are among the prompt's."""

    prompt: int
    completion: int
    cached: int = 0
    requests: int = 1

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.cached + other.cached,
            self.requests + other.requests,
        )
