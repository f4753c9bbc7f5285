"""Several notifications as one message."""

from __future__ import annotations

import json
from typing import Any

from monitor.domain.bundle import bundle
from monitor.domain.news import Delivery, EventType, Message, Severity, Subject, SubjectKind, job_subject
from monitor.notifiers import Attempt
from monitor.notifiers.slack import payload
from tests.builders import MINUTE, NOON


def told(subject: Subject, event: EventType, title: str, severity: Severity, **over: Any) -> Delivery:
    message = Message(
        type=subject.type_of(event), at=NOON, title=title, severity=severity, subject=subject, event_type=event, **over
    )
    return Delivery(subject=subject, seq=2, notifier="chat", message=message)


def ended(name: str, failed: bool = False, org: str = "research", **over: Any) -> Delivery:
    event, severity = (EventType.FAILED, Severity.BAD) if failed else (EventType.SUCCEEDED, Severity.GOOD)
    facts = (("Organisation", org), ("Duration", "31m"), ("Cost", "$2.40"))
    return told(job_subject(org, name), event, f"{name} {event}", severity, facts=facts, data='{"x": 1}', **over)


def test_twenty_jobs_that_end_together_are_counted_and_tabled_the_worst_first() -> None:
    many = [ended(f"job-{n}") for n in range(18)] + [ended("a", True, error="boom"), ended("b", True)]
    message = bundle(many)
    assert message.title == "20 jobs: 18 succeeded, 2 failed"
    assert message.severity is Severity.BAD
    assert message.facts[:3] == (
        ("Failed", "a · 31m · $2.40 · boom"),
        ("Failed", "b · 31m · $2.40"),
        ("Succeeded", "job-0 · 31m · $2.40"),
    )
    assert len(message.facts) == 20
    assert [one["type"] for one in json.loads(message.data)["events"]][-1] == "finetune.job.failed"
    blocks = json.dumps(payload(message, Attempt(key="k", at=NOON)), ensure_ascii=False)
    assert "· research" in blocks
    assert "a · 31m" in blocks
    assert bundle(many) == message


def test_a_provider_that_is_down_for_six_organisations_is_told_in_one_message() -> None:
    orgs = [Subject(kind=SubjectKind.ORGANIZATION, org=f"org-{n}", id="outage") for n in range(6)]
    down = [told(of, EventType.ORG_DOWN, f"{of.org}: the API is down", Severity.BAD) for of in orgs]
    message = bundle(down)
    assert (message.title, message.subject.org) == ("6 organisations down", None)
    assert message.facts[0] == ("Down", "org-0: the API is down")


def test_budgets_and_shutdowns_are_counted_without_a_claim_of_what_became_of_them() -> None:
    budget = Subject(kind=SubjectKind.BUDGET, org=None, id="search/2026-11")
    half = told(budget, EventType.BUDGET, "Budget search is at 54% ($270 of $500 this month)", Severity.WARNING)
    ends = [Subject(kind=SubjectKind.SHUTDOWN, org="research", id=day) for day in ("2026-12-18", "2027-01-14")]
    shutdowns = [told(of, EventType.SHUTDOWN, f"2 models shut down on {of.id}", Severity.WARNING) for of in ends]
    assert bundle(shutdowns).title == "2 shutdowns"
    message = bundle([half, *shutdowns])
    assert message.title == "2 shutdowns, 1 budget alert"
    assert message.facts[0] == ("Budget", "search is at 54% ($270 of $500 this month)")
    assert message.facts[1] == ("Shutdown", "2 models shut down on 2026-12-18 · research")
    assert bundle([half, ended("a")]).title == "2 notifications: 1 budget alert, 1 succeeded"


def test_a_long_table_is_cut_and_a_mixed_one_is_of_notifications() -> None:
    message = bundle([ended(f"job-{n}") for n in range(45)])
    assert (len(message.facts), message.facts[-1]) == (31, ("More", "and 15 more"))
    here = "https://m/jobs/research"
    mixed = bundle([ended("a", monitor_url=f"{here}/a", mention="<@U1>"), ended("a", mention="<@U1>")])
    assert (mixed.title, mixed.monitor_url, mixed.mention) == ("1 job: 2 succeeded", f"{here}/a", "<@U1>")
    assert (
        bundle([ended("a", monitor_url=f"{here}/a"), ended("b", monitor_url=f"{here}/b")]).monitor_url == "https://m/"
    )
    assert mixed.at < NOON + MINUTE


def test_what_no_route_is_about_is_counted_as_other() -> None:
    of = job_subject("research", "a")
    test = Message(type="finetune.test", at=NOON, title="A test", severity=Severity.GOOD, subject=of, event_type=None)
    message = bundle([ended("a"), Delivery(subject=of, seq=3, notifier="chat", message=test)])
    assert message.title == "1 job: 1 succeeded, 1 other"
