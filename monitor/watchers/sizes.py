"""Which training files to read for cost estimates of active jobs: each file once, with few retries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from monitor.domain.flow import Known, Standing, Tracked, standings
from monitor.domain.model import TrainingSize
from monitor.domain.pricing import Rates, rate_of

_TRIES: Final = 3  # refusals after which a file is not tried again
_RETRY: Final = 60.0  # seconds until the next attempt after a failure of the provider
_REST: Final = 3600.0  # seconds until the next attempt after a refusal
_KEPT: Final = 256  # sizes

Reading = tuple[str, str]
"""The id of a training file, and the model whose tokenizer counts its tokens."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What to read for an unmeasured job. The file and the model of a job stay the same once they are known."""

    standing: Standing
    since: datetime
    reading: Reading | None


@dataclass(slots=True)
class Sizes:
    """The training files that one watcher has read or failed to read. It need not survive a restart."""

    not_before: float = 0.0
    """No file is read before this moment, in monotonic seconds, because the provider has refused all files."""
    read: dict[Reading, TrainingSize] = field(default_factory=dict)
    _tries: dict[Reading, tuple[int, float]] = field(default_factory=dict)
    """The number of refusals, and when to try again in monotonic seconds."""
    _wanted: dict[str, _Wanted] = field(default_factory=dict)
    """By job. It may stay for as long as a file cannot be read, and is looked at after every reading of events."""

    def wanted(self, known: Known, rates: Rates) -> dict[str, Reading]:
        """The files of active jobs that are priced by tokens and whose size is unknown, by job id, newest job first."""
        before, self._wanted = self._wanted, {}
        for id_, standing in standings(known.jobs):
            if standing.unmeasured:
                kept = before.get(id_)
                current = kept is not None and (kept.reading is not None or kept.standing is standing)
                self._wanted[id_] = kept if kept is not None and current else _want(standing, known.jobs[id_], rates)
        newest = sorted(self._wanted.items(), key=lambda item: item[1].since, reverse=True)
        return {id_: wanted.reading for id_, wanted in newest if wanted.reading is not None}

    def known(self, wanted: Mapping[str, Reading]) -> dict[str, TrainingSize]:
        """The sizes that were already read, by job id."""
        return {job: self.read[reading] for job, reading in wanted.items() if reading in self.read}

    def due(self, wanted: Mapping[str, Reading], monotonic: float) -> Reading | None:
        """A file to read now, or None. Failures of files that are no longer wanted are forgotten."""
        self._tries = {reading: self._tries[reading] for reading in wanted.values() if reading in self._tries}
        if monotonic < self.not_before:
            return None
        return next((reading for reading in wanted.values() if self._may_read(reading, monotonic)), None)

    def failed(self, reading: Reading, monotonic: float, *, refused: bool) -> None:
        """Note that a file could not be read, because the provider refused it or failed."""
        tries, _ = self._tries.get(reading, (0, 0.0))
        self._tries[reading] = (tries + refused, monotonic + (_REST if refused else _RETRY))

    def refused(self, monotonic: float) -> None:
        """Note that the provider refuses all files for now."""
        self.not_before = monotonic + _REST

    def keep(self, reading: Reading, size: TrainingSize) -> None:
        """Keep the size of a file that was read."""
        while len(self.read) >= _KEPT:
            self.read.pop(next(iter(self.read)))
        self.read[reading] = size

    def _may_read(self, reading: Reading, monotonic: float) -> bool:
        tries, due = self._tries.get(reading, (0, 0.0))
        return tries < _TRIES and monotonic >= due


def _want(standing: Standing, tracked: Tracked, rates: Rates) -> _Wanted:
    file = tracked.job.tuning.training_file
    reading = (file, tracked.job.model) if file is not None and _by_tokens(tracked, rates) else None
    return _Wanted(standing, tracked.since, reading)


def _by_tokens(tracked: Tracked, rates: Rates) -> bool:
    rate = rate_of(tracked.job, rates)
    return rate is not None and rate.per_million is not None
