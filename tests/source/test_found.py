"""Thousands of jobs that a poll has found are what a few would be."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from monitor.domain.decide import slices
from monitor.domain.flow import SLICE, ManyJobs
from monitor.domain.model import Job, JobError, Status
from monitor.source.found import FoundJobs
from tests.builders import MINUTE, NOON, job, seen


def jobs(count: int, dice: Random) -> list[Job]:
    return [
        job(
            f"ftjob-{number}", dice.choice([*Status]), error=JobError(message=f"{number} " + "because " * 20),
            created_at=NOON - dice.randrange(50) * MINUTE if number % 7 else None, metadata={"number": str(number)},
        )
        for number in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, SLICE, SLICE + 1, 2 * SLICE + 30])
def test_jobs_that_are_packed_are_committed_as_the_plain_ones(count: int) -> None:
    given = jobs(count, Random(count))
    packed = FoundJobs()
    for one in given:
        packed[one.id] = one
    chosen = packed.chosen([one.id for one in given])
    assert isinstance(chosen, ManyJobs) is (count > SLICE)
    some = {one.id for one in given[::3]}
    whole, many = seen(*given), replace(seen(), jobs=chosen)
    for plain, compact in ((whole, many), (whole.without(some), many.without(some))):
        assert set(compact.ids) == set(plain.ids)
        if len(plain.jobs) > SLICE:
            assert [part.jobs for part in slices(compact)] == [part.jobs for part in slices(plain)]
        else:
            ((part,),) = ([one.jobs for one in slices(compact)],)
            assert {one.id: one for one in part} == {one.id: one for one in plain.jobs}
    assert [(id_, one.status, one.summary_only) for id_, one in packed.items()] == [
        (one.id, one.status, one.summary_only) for one in given
    ]
