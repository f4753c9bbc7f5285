"""Text from outside on the page, in the API and in scrapes stays text."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.domain.model import Job
from monitor.web import api, status_page
from tests.builders import NOON, tracked
from tests.faults.hostile_words import ITEMS, NASTY, assert_inert, health, many, plainly, seen
from tests.metrics.scrapes import OPENMETRICS, series, snapshot, text
from tests.providers import answers
from tests.web.test_pages import Seen

pytestmark = pytest.mark.fault("G32")


@pytest.mark.fault("H01")
@many
@given(item=ITEMS)
@example(item={"id": "x", "status": "failed", "model": "x", "error": {"code": "x", "message": "\ufeff"}})
def test_the_page_has_the_elements_it_would_have_with_plain_names(item: dict[str, Any]) -> None:
    one = seen(item)
    if one is None:
        return
    html = status_page.render(snapshot(one), health()).decode()
    shown = Seen(html)
    plain = Seen(status_page.render(snapshot(replace(one, job=plainly(one.job))), health()).decode())
    assert shown.tags == plain.tags
    assert [name for name, _ in shown.attributes] == [name for name, _ in plain.attributes]
    for name, value in shown.attributes:
        assert name not in {"style", "srcdoc"}
        assert not name.startswith("on")
        if name in {"href", "src"}:
            assert re.match(
                r"(\.|metrics|(api/v1|jobs)/[!-~]*|#\w+|data:image/svg\+xml,.*|https://platform\.openai\.com/.*)$",
                value,
            )
    assert_inert(html, breaks="\n")


@pytest.mark.fault("H03")
@many
@given(item=ITEMS)
def test_the_json_api_shows_what_the_border_let_in_and_nothing_executes(item: dict[str, Any]) -> None:
    one = seen(item)
    if one is None:
        return
    shown = json.loads(api.encoded(api.job(one, health(), NOON)))["data"]
    assert (shown["id"], shown["model"], shown["metadata"]) == (one.job.id, one.job.model, one.job.metadata)
    assert_inert(json.dumps(shown, ensure_ascii=False))


@pytest.mark.fault("H04")
@many
@given(item=ITEMS, accept=st.sampled_from(["", OPENMETRICS]))
def test_a_scrape_reads_back_with_the_series_of_plain_names(item: dict[str, Any], accept: str) -> None:
    one = seen(item)
    if one is None:
        return
    found = series(text(snapshot(one), accept=accept))
    (info,) = found["finetune_job_info"]
    labels = dict(info)
    assert set(labels) == {"org", "job_id", "provider", "model", "method", "fine_tuned_model", "name"}
    assert max(map(len, labels.values())) <= 256
    assert set(found) == set(series(text(snapshot(replace(one, job=plainly(one.job))), accept=accept)))


@pytest.mark.fault("H04")
def test_promtool_reads_all_of_it_at_once() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    jobs = [tracked(Job(**{**_fields(name), "id": f"{name}-{n}"})) for n, name in enumerate(NASTY)]
    exposition = text(snapshot(*jobs))
    done = subprocess.run([promtool, "check", "metrics"], input=exposition, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _fields(name: str) -> dict[str, Any]:
    plain: Job = answers.job()
    return {
        **{field: getattr(plain, field) for field in plain.__slots__},
        "name": name,
        "model": name,
        "org": "research",
    }
