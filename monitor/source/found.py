"""The jobs that a poll has found: plain objects while there are few, packed when there are thousands."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, overload

from monitor.domain.flow import SLICE, ManyJobs
from monitor.domain.model import Job
from monitor.packing import Packer

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class FoundJob:
    """A job, with the fields that are needed during the poll."""

    __slots__ = ("_kept", "created_at", "status", "summary_only")

    def __init__(self, job: Job, packer: Packer[Job] | None) -> None:
        self._kept = job if packer is None else packer.pack(job)
        self.created_at = job.created_at
        self.status = job.status
        self.summary_only = job.summary_only

    def job(self, packer: Packer[Job]) -> Job:
        """The job itself."""
        return packer.unpack(self._kept) if isinstance(self._kept, bytes) else self._kept


class FoundJobs:
    """Jobs by id, in the order in which they were found."""

    def __init__(self) -> None:
        self._jobs: dict[str, FoundJob] = {}
        self._packer = Packer(Job)

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._jobs

    def __getitem__(self, id_: str) -> Job:
        return self._jobs[id_].job(self._packer)

    def __setitem__(self, id_: str, job: Job) -> None:
        self._jobs[id_] = FoundJob(job, self._packer if len(self._jobs) >= SLICE else None)

    def keys(self) -> Collection[str]:
        """The ids."""
        return self._jobs.keys()

    def get(self, id_: str) -> FoundJob | None:
        """The job with this id, if it was found."""
        return self._jobs.get(id_)

    def items(self) -> Iterable[tuple[str, FoundJob]]:
        """All jobs, by id."""
        return self._jobs.items()

    def chosen(self, ids: Sequence[str]) -> Sequence[Job]:
        """The jobs with these ids: a tuple if they fit into one commit, otherwise a PackedSequence."""
        if len(ids) <= SLICE:
            return tuple(self[id_] for id_ in ids)
        return PackedSequence({id_: self._jobs[id_] for id_ in ids}, self._packer)


class PackedSequence(ManyJobs):
    """Jobs, oldest first, each unpacked when it is accessed."""

    def __init__(self, jobs: dict[str, FoundJob], packer: Packer[Job]) -> None:
        self._jobs = jobs
        self._packer = packer
        self._order = sorted(jobs, key=lambda id_: jobs[id_].created_at or _LONG_AGO)

    @property
    def ids(self) -> Collection[str]:
        """The ids of all of them."""
        return self._jobs.keys()

    def without(self, ids: Collection[str]) -> ManyJobs:
        """The jobs with other ids."""
        return PackedSequence({id_: found for id_, found in self._jobs.items() if id_ not in ids}, self._packer)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, at: int) -> Job: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Job]: ...

    def __getitem__(self, at: int | slice) -> Job | Sequence[Job]:
        if isinstance(at, slice):
            return tuple(self._jobs[id_].job(self._packer) for id_ in self._order[at])
        return self._jobs[self._order[at]].job(self._packer)

    def __iter__(self) -> Iterator[Job]:
        return (self._jobs[id_].job(self._packer) for id_ in self._order)
