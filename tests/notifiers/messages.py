"""Messages full of text that would do harm, and the largest that could come."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from monitor.domain.news import EventType, Message, Severity, job_subject
from tests.notifiers.receivers import message

MARKUP = st.sampled_from("<>&@#|!*_~`:[](){}\\\"'\n\t \u202e\u2066\u200b\x00\x1b\ud83d🎉é")
HOSTILE = st.text(st.one_of(MARKUP, st.characters()), max_size=60) | st.builds(
    lambda text, times: text * times,
    st.text(st.one_of(MARKUP, st.characters()), min_size=1, max_size=9),
    st.integers(1, 900),
)
MESSAGES = st.builds(
    message,
    title=HOSTILE,
    subject=st.builds(job_subject, HOSTILE, HOSTILE),
    event_type=st.none() | st.sampled_from(EventType),
    severity=st.sampled_from(Severity),
    facts=st.lists(st.tuples(HOSTILE, HOSTILE), max_size=30).map(tuple),
    error=st.none() | HOSTILE,
    hint=st.none() | HOSTILE,
    link=st.none() | HOSTILE | HOSTILE.map("https://example.com/{}".format),
    monitor_url=st.none() | HOSTILE | HOSTILE.map("http://monitor.internal/{}".format),
)
few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def huge(char: str) -> Message:
    """A megabyte of one character in every field."""
    text = char * 1_000_000
    link = "https://example.com/" + "x" * 970
    shown = message(title=text, subject=job_subject(text, text), error=text, hint=text, link=link, monitor_url=link)
    return replace(shown, facts=(*((f"{text}{n}", text) for n in range(3)), *((f"Fact {n}", text) for n in range(60)),
                                 *(("Model", text) for _ in range(60))))  # fmt: skip


HUGE = ("x", "&", "\\", "ﷺ", "🦊")
