"""Which training files to read, so that active jobs have an estimate: each once, and ever more seldom when refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from monitor.domain.flow import Known, Tracked
from monitor.domain.model import TrainingSize
from monitor.domain.pricing import Rates, rate_of

_TRIES: Final = 3  # refusals, after which it is left alone
_RETRY: Final = 60.0  # seconds until it is tried again where the provider failed
_REST: Final = 3600.0  # and where it refused
_KEPT: Final = 256

Reading = tuple[str, str]
"""A file and the model whose tokens are counted."""


@dataclass(slots=True)
class Sizes:
    """The memory of one watcher; what was read is kept with the jobs, so that nothing here needs to survive."""

    not_before: float = 0.0
    """Monotonic seconds: the provider refuses this key all files, or wants to be left alone."""
    read: dict[Reading, TrainingSize] = field(default_factory=dict)
    _tries: dict[Reading, tuple[int, float]] = field(default_factory=dict)
    """How often it was refused, and when it may be tried again."""

    def known(self, wanted: Mapping[str, Reading]) -> dict[str, TrainingSize]:
        """By job, the sizes that were read already."""
        return {job: self.read[reading] for job, reading in wanted.items() if reading in self.read}

    def due(self, wanted: Mapping[str, Reading], monotonic: float) -> Reading | None:
        """A file to read now. What nobody wants any more is forgotten."""
        self._tries = {reading: self._tries[reading] for reading in wanted.values() if reading in self._tries}
        if monotonic < self.not_before:
            return None
        return next((reading for reading in wanted.values() if self._may(reading, monotonic)), None)

    def failed(self, reading: Reading, monotonic: float, *, refused: bool) -> None:
        """It could not be read: the provider refused it, or failed."""
        tries, _ = self._tries.get(reading, (0, 0.0))
        self._tries[reading] = (tries + refused, monotonic + (_REST if refused else _RETRY))

    def refused(self, monotonic: float) -> None:
        """The answer to one file was one for all files."""
        self.not_before = monotonic + _REST

    def learn(self, reading: Reading, size: TrainingSize) -> None:
        """It was read."""
        while len(self.read) >= _KEPT:
            self.read.pop(next(iter(self.read)))
        self.read[reading] = size

    def _may(self, reading: Reading, monotonic: float) -> bool:
        tries, due = self._tries.get(reading, (0, 0.0))
        return tries < _TRIES and monotonic >= due


def wanted(known: Known, rates: Rates) -> dict[str, Reading]:
    """By job, newest first, the files of the active jobs that are priced by tokens and whose size is not known."""
    lacking = (one for one in known.jobs.values() if one.size is None and one.job.training_file is not None)
    newest = sorted((one for one in lacking if one.active), key=lambda one: one.since, reverse=True)
    return {
        one.job.id: (one.job.training_file, one.job.model)
        for one in newest
        if one.job.training_file is not None and _by_tokens(one, rates)
    }


def _by_tokens(tracked: Tracked, rates: Rates) -> bool:
    rate = rate_of(tracked.job, rates)
    return rate is not None and rate.per_million is not None
