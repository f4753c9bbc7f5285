"""Keeps the known jobs of an organisation in memory in a packed form: a few hundred bytes each instead of thousands."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, KeysView, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from monitor.domain.event_ids import NONE_YET, RecentIds
from monitor.domain.flow import KeptJobs, Standing, Tracked
from monitor.domain.model import JobKind, kind_of
from monitor.packing import Packer

_UNPACKED: Final = 256  # unpacked jobs in the cache, for all organisations: a poll reads the same job several times


class _PackedJob:
    """A packed job with its standing, which can be read without unpacking it."""

    __slots__ = ("gone", "ids", "in_question", "packed", "status", "summary_only", "unmeasured")

    def __init__(self, tracked: Tracked, packer: Packer[Tracked]) -> None:
        self.packed = packer.pack(replace(tracked, recent_ids=NONE_YET))
        self.ids = tracked.recent_ids.packed  # hashes cannot be compressed
        self.status = tracked.status
        self.gone = tracked.gone
        self.in_question = tracked.in_question
        self.summary_only = tracked.summary_only
        self.unmeasured = tracked.unmeasured

    @property
    def active(self) -> bool:
        """Whether the job is neither over nor gone from the provider."""
        return not self.status.final and not self.gone

    @property
    def known_events(self) -> int:
        """The number of its latest events whose ids are known."""
        return len(RecentIds(self.ids))


class PackedJobs(KeptJobs):
    """The packed jobs of one organisation, by id."""

    __slots__ = ("_jobs", "_packer")

    def __init__(self, jobs: dict[str, _PackedJob], packer: Packer[Tracked]) -> None:
        self._jobs = jobs
        self._packer = packer

    @classmethod
    def pack(cls, jobs: Iterable[Tracked]) -> PackedJobs:
        """Pack these jobs."""
        packer = Packer(Tracked)
        return cls({one.job.id: _PackedJob(one, packer) for one in jobs}, packer)

    def __getitem__(self, id_: str) -> Tracked:
        found = self._jobs[id_]
        return _unpacked(self._packer, found.packed, found.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._jobs

    def keys(self) -> KeysView[str]:
        """The ids of the jobs."""
        return self._jobs.keys()

    def standings(self) -> Iterable[tuple[str, Standing]]:
        """The standing of every job, by id."""
        return self._jobs.items()

    def standing(self, id_: str) -> Standing | None:
        """The standing of one job; None if there is no such job."""
        return self._jobs.get(id_)

    def of(self, kinds: Container[JobKind]) -> PackedJobs:
        """The jobs of these kinds."""
        return PackedJobs({id_: one for id_, one in self._jobs.items() if kind_of(id_) in kinds}, self._packer)

    def changed(self, jobs: Mapping[str, Tracked], without: Iterable[str] = ()) -> PackedJobs:
        """A copy with some jobs added or replaced, and others removed. Unchanged jobs are not packed again."""
        kept = self._jobs.copy()
        for id_ in without:
            kept.pop(id_, None)
        kept |= {id_: _PackedJob(one, self._packer) for id_, one in jobs.items()}
        return PackedJobs(kept, self._packer)


@lru_cache(maxsize=_UNPACKED)
def _unpacked(packer: Packer[Tracked], packed: bytes, ids: bytes) -> Tracked:
    tracked = packer.unpack(packed)
    return replace(tracked, recent_ids=RecentIds(ids)) if ids else tracked
