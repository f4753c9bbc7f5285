"""What the bench prints, and that its load server is a provider that OpenAI's own package understands."""

from __future__ import annotations

import gzip
import json

import pytest
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

from tests.bench.__main__ import Figure, line, worst
from tests.bench.load import PAGE, Load


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        pytest.param(Figure(name="x", value=0.12, most=0.12), "ok", id="at most, just so"),
        pytest.param(Figure(name="x", value=0.13, most=0.12), "short", id="too much"),
        pytest.param(Figure(name="x", value=5, least=5), "ok", id="at least, just so"),
        pytest.param(Figure(name="x", value=4.9, least=5), "short", id="too little"),
        pytest.param(Figure(name="x", value=float("inf"), most=10), "short", id="never"),
        pytest.param(Figure(name="x", value=4.9), "", id="nothing was promised"),
    ],
)
def test_a_figure_is_held_against_its_target(figure: Figure, verdict: str) -> None:
    assert figure.verdict == verdict
    assert ("short" in line(figure)) is (verdict == "short")


def test_the_worst_lag_is_that_of_the_last_bucket_that_grew() -> None:
    before = {0.01: 100.0, 0.1: 103.0, 1.0: 103.0, float("inf"): 103.0}
    after = {0.01: 150.0, 0.1: 155.0, 1.0: 155.0, float("inf"): 155.0}
    assert worst(before, after) == 0.1


def test_the_load_is_what_the_provider_would_list() -> None:
    load = Load(orgs=1, jobs=250, active=2, events=150, period=0.0, latency=0.0)
    seen, after = [], ""
    while True:
        page = json.loads(gzip.decompress(load.page("o0", after)))
        seen += [FineTuningJob.model_validate(job, strict=True) for job in page["data"]]
        if not page["has_more"]:
            break
        after = seen[-1].id
    assert [job.status for job in seen] == ["running"] * 2 + ["succeeded"] * 248
    events, after = [], ""
    for _ in range(2):
        page = json.loads(gzip.decompress(load.events_page("o0", seen[0].id, after, PAGE)))
        events += [FineTuningJobEvent.model_validate(event, strict=True) for event in page["data"]]
        after = events[-1].id
    assert (len(events), len({event.id for event in events}), page["has_more"]) == (150, 150, False)
    load.end(1)
    first = json.loads(gzip.decompress(load.page("o0", "")))["data"]
    assert len(first) == PAGE
    assert sum(job["status"] == "running" for job in first) == 1
