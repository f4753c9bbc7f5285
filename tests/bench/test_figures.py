"""What the bench prints, and that its load server is a provider that OpenAI's own package understands."""

from __future__ import annotations

import gzip
import json
import signal
import threading
from collections.abc import Iterator

import pytest
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

from tests.bench.__main__ import README, measured
from tests.bench.figures import BEGIN, END, Figure, between, kept, line, quantile, table
from tests.bench.load import PAGE, Load
from tests.bench.sections import SECTIONS, TINY, Section, Size, worst


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


def test_a_section_that_hangs_or_fails_is_broken_off_and_says_so() -> None:
    def hangs(_size: Size) -> Iterator[Figure]:
        yield Figure(name="x", value=1, most=2)
        threading.Event().wait()

    def fails(_size: Size) -> Iterator[Figure]:
        yield Figure(name="x", value=1 / len(""))

    before = signal.getsignal(signal.SIGALRM)
    first, last = measured(Section(of=hangs, names=("P1", "P2"), most=9), TINY, 0.05)
    assert (first.verdict, last.verdict, last.name) == ("ok", "short", "P1/P2: not measured")
    assert "0.05 s" in last.note
    (broken,) = measured(Section(of=fails, names=("P3",), most=9), TINY, 9)
    assert (broken.verdict, broken.shown) == ("short", "never")
    assert signal.getsignal(signal.SIGALRM) is before


def test_every_row_of_targets_has_a_section() -> None:
    names = [name for section in SECTIONS for name in section.names]
    assert len(set(names)) == len(names)
    assert {f"P{number}" for number in range(1, 15)} | {"cold", "history"} <= set(names)


def test_the_readme_has_a_table_of_figures_made_from_what_was_kept() -> None:
    figures = [
        Figure(name="P1 CPU", value=0.05, unit="×", most=0.08, note="1 : 2"),
        Figure(name="never | told", value=float("inf"), unit="s", most=10),
        Figure(name="for information", value=3),
    ]
    of = {"date": "2026-11-28", "cpu": "C", "cores": "2", "memory": "4 GB", "system": "S", "python": "3", "sqlite": "4",
          "load": "0.1"}  # fmt: skip
    found = json.loads(json.dumps(kept(figures, size={}, of=of)))
    text = between(f"a\n{BEGIN}\nof the run before\n{END}\nb", table(found))
    assert text.startswith(f"a\n{BEGIN}\n")
    assert text.endswith(f"{END}\nb")
    assert "| P1 CPU | 0.050 × | ≤ 0.08 | ok |" in text
    assert "| never \\| told | never s | ≤ 10 | short |" in text
    assert "of the run before" not in text
    assert "for information" not in text
    assert "2 cores of C" in text
    assert between(README.read_text(encoding="utf-8"), "x").count(BEGIN) == 1
    with pytest.raises(ValueError, match="no place"):
        between("nothing", "x")


def test_a_quantile_is_a_value_that_so_many_do_not_exceed() -> None:
    assert [quantile([3, 1, 2, 4], share) for share in (0.0, 0.5, 0.99)] == [1, 3, 4]


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
