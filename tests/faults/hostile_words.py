"""Harmful text from outside, and jobs and messages that are full of it."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from monitor.domain.flow import Tracked, Transition, TransitionKind
from monitor.domain.health import Health
from monitor.domain.model import Job, Status
from monitor.domain.news import EventType, Message, Severity, job_subject
from monitor.domain.render import Labelling, render
from tests.builders import NOON, tracked, tuned
from tests.providers import answers
from tests.web.site import org

NASTY = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "javascript:alert(1)",
    "{{ 7 * 7 }}", "{% include '/etc/passwd' %}", "</title></style><script>", "<!--", "]]>", "&lt;b&gt;", "&", "&amp",
    "<!channel>", "<!here|here>", "<@U012AB3CD>", "<#C024BE7LR>", "<!subteam^S1>", "<!date^1392734382^{date}|x>",
    "<https://evil.example|click>", "https://evil.example", "www.evil.example", "[click](https://evil.example)",
    "@channel", "@here", "*bold* _it_ ~no~ `code`", "> quote", "```", ":smile:",
    "\u202egnp.exe", "a\u2066b\u2069", "\u200f", "zero\u200bwidth\u200d", "\ufeff", "a\x00b", "\x1b[31mred\x1b[0m",
    "\x1b]8;;https://evil.example\x07x\x1b]8;;\x07", "\x1b]0;title\x07", "\x9b2J", "\x07", "\x08\x08", "\x7f",
    "two\nlines", "\r\nSet-Cookie: a=b", "line\u2028end\u2029", "\x85", "\ud800", "\udfff\ud800", "tag\U000e0041",
    '"} 1\n# EOF\n', '\\"', "\\", "\\n", "# HELP finetune_jobs gone", "NaN", "=cmd|' /C calc'!A0", "+1+1", "@SUM(1)",
    "../../etc/passwd", "..%2f..", "%00", "?a=b#c", "a/b", "'; DROP TABLE job; --", "Z̴͑a̸l̶g̷o̴", "🦊" * 50, "ﷺ" * 40, " ",
)  # fmt: skip
ANY = st.one_of(st.sampled_from(NASTY), st.text(max_size=60), st.tuples(st.sampled_from(NASTY), st.text()).map("".join))
ITEMS = st.fixed_dictionaries(
    {"id": ANY, "status": st.sampled_from(["running", "failed", "succeeded", "paused"]), "model": ANY},
    optional={
        "user_provided_suffix": ANY,
        "fine_tuned_model": ANY,
        "error": st.fixed_dictionaries({}, optional={"code": ANY, "message": ANY, "param": ANY}),
        "metadata": st.dictionaries(ANY, ANY, max_size=16),
        "method": st.fixed_dictionaries({"type": ANY}),
        "organization_id": ANY,
        "result_files": st.lists(ANY, max_size=3),
    },
)
many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def seen(item: dict[str, Any]) -> Tracked | None:
    """The item as the provider's parser returns it; None if it rejects it."""
    jobs = answers.jobs({"created_at": answers.CREATED, **item}).items
    return tracked(jobs[0]) if jobs else None


def told(of: Tracked) -> Message:
    """The message of a notification about the job."""
    job = of.job
    moved = Transition(
        org=job.org, job=job.id, seq=2, at=NOON, kind=TransitionKind.MOVED, before=None, after=job.status
    )
    event = EventType.STARTED if job.status is Status.RUNNING else EventType(job.status.value)
    return render(moved, of, event, Labelling(labels={"team": "nlp"}))


def raw(nasty: str, status: Status = Status.FAILED) -> Message:
    """A message with the raw text in every field, as if it had bypassed the parser."""
    return Message(
        type=nasty, at=NOON, title=nasty, severity=Severity.BAD,
        subject=job_subject(nasty, nasty), event_type=EventType(status.value),
        facts=((nasty, nasty),) * 12, error=nasty, hint=nasty, link=nasty, data=json.dumps({"x": nasty}),
    )  # fmt: skip


def health() -> Health:
    return Health(orgs={"research": org()}, notifiers=("chat",))


def plainly(of: Job) -> Job:
    """The same job with harmless names; invisible ones stay empty."""

    def plain(words: str | None) -> str | None:
        return words and ("x" if any(char.isprintable() for char in words[:80]) else "")

    error = of.error
    if error is not None:
        error = replace(error, code=plain(error.code), message=plain(error.message), param=plain(error.param))
    named = replace(of, id="x", model=plain(of.model) or "", name=plain(of.name), error=error)
    return tuned(named, fine_tuned_model=plain(of.tuning.fine_tuned_model))


def assert_inert(text: str, *, breaks: str = "") -> None:
    """Assert that the text contains no control or bidirectional characters."""
    odd = {char for char in text if unicodedata.category(char) in {"Cc", "Cs"} and char not in breaks}
    odd |= {char for char in text if char in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
    assert odd == set()
