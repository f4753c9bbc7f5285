"""Real tuning runs, two of each of eleven ways; curves.json says of what and on what."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import accumulate
from pathlib import Path

from monitor.domain.model import Metrics
from tests.builders import NOON


@dataclass(frozen=True, slots=True, kw_only=True)
class RealRun:
    """One run as it was measured."""

    name: str
    kind: str
    valid_before: float
    seconds: tuple[float, ...]
    """By step: since the run began."""
    train_loss: tuple[float, ...]
    evals: tuple[tuple[int, float], ...]

    @property
    def steps(self) -> int:
        """How many there were."""
        return len(self.seconds)

    @property
    def points(self) -> list[Metrics]:
        """Training and validation as one stream."""
        train = [Metrics(step=step, train_loss=loss) for step, loss in enumerate(self.train_loss, 1)]
        return [*train, *(Metrics(step=step, valid_loss=loss) for step, loss in self.evals)]

    @property
    def before(self) -> Metrics:
        """What validation gave before the first step."""
        return Metrics(step=0, valid_loss=self.valid_before)

    def samples(self, slower: int = 1) -> list[tuple[datetime, int]]:
        """When each step was done."""
        return [(NOON + timedelta(seconds=slower * at), step) for step, at in enumerate(self.seconds, 1)]


@cache
def real_runs() -> tuple[RealRun, ...]:
    """All of them."""
    document = json.loads(Path(__file__).with_name("curves.json").read_text("utf-8"))
    return tuple(
        RealRun(
            name=run["name"],
            kind=run["kind"],
            valid_before=run["valid_before"],
            seconds=tuple(ms / 1000 for ms in accumulate(run["ms"])),
            train_loss=tuple(run["train_loss"]),
            evals=tuple((step, loss) for step, loss in run["evals"]),
        )
        for run in document["runs"]
    )


def real_run(name: str) -> RealRun:
    """The one of this name."""
    return next(run for run in real_runs() if run.name == name)
