"""Subjects of news: each has keys of its own, whatever ids servers choose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.news import EventType, Subject, SubjectKind, job_subject, parse_subject


@pytest.mark.parametrize(
    ("subject", "key"),
    [
        (job_subject("research", "ftjob-1"), "research/ftjob-1"),
        (job_subject("research", "projects/1/tuningJobs/2"), "research/projects/1/tuningJobs/2"),
        (Subject(kind=SubjectKind.BATCH, org="research", id="batch:batch_1"), "research/batch:batch_1"),
        (job_subject("research", "batch:batch_1"), "research/batch:batch_1"),
        (job_subject("research", "batch:outage"), "research/batch:outage"),
        (Subject(kind=SubjectKind.BUDGET, org=None, id="search/2026-11"), "budget:search/2026-11"),
        (Subject(kind=SubjectKind.SHUTDOWN, org="research", id="2027-01-14"), "research/shutdown:2027-01-14"),
        (Subject(kind=SubjectKind.ORGANIZATION, org="research", id="outage"), "research/outage"),
        (Subject(kind=SubjectKind.NOTIFIER, org=None, id="ops/outage"), "notifier:ops/outage"),
        (job_subject("research", "outage"), "research/job:outage"),
        (job_subject("research", "shutdown:2027-01-14"), "research/job:shutdown:2027-01-14"),
        (job_subject("research", "job:batch:batch_1"), "research/job:job:batch:batch_1"),
        (job_subject("research", "job:outage"), "research/job:job:outage"),
    ],
)
def test_keys_are_those_of_the_contract_and_collide_with_nothing(subject: Subject, key: str) -> None:
    assert subject.key == key
    assert parse_subject(key) == subject


@given(
    st.builds(
        job_subject,
        st.sampled_from(["research", "a"]),
        st.one_of(
            st.text(min_size=1),
            st.sampled_from(["outage", "job:", "shutdown:", "batch:x", "job:outage", "test:1", "budget:x/2026"]),
        ),
    )
)
def test_a_job_s_key_is_nobody_else_s(subject: Subject) -> None:
    assert parse_subject(subject.key) == subject


def test_types_are_those_of_the_contract() -> None:
    subject = job_subject("research", "ftjob-1")
    assert subject.type_of(EventType.FAILED) == "finetune.job.failed"
    batch = job_subject("research", "batch:b")
    assert batch.type_of(EventType.SUCCEEDED) == "finetune.batch.succeeded"
