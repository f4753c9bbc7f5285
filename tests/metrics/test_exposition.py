"""The text of a scrape for all kinds of requests and names."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal

import pytest

from monitor.domain.costs import TunedModel
from monitor.domain.flow import Reason, Trouble
from monitor.domain.health import BillingHealth, BudgetState
from monitor.domain.model import Basis, Batch, Cost, Method, Status
from monitor.domain.reconcile import Drift, LineItemKind
from monitor.domain.snapshot import Backlog
from monitor.domain.verdict import Verdict, VerdictKind
from monitor.metrics.exposition import parse_scrape_request
from monitor.metrics.process import ProcessMetrics
from tests.builders import NOON, SECOND, job, tracked
from tests.metrics.scrapes import OPENMETRICS, Series, busy, counter, health, of, scrape, series, snapshot, text

MINI = "gpt-4o-mini-2024-07-18"
NASTY = (
    '"',
    "\\",
    "\n",
    '\\n"} 1\n# EOF\n',
    "a\x00b",
    "\x1b[31mred",
    "\u202eevil",
    "zero\u200bwidth",
    "line\u2028end",
    "\ud800 alone",
    "<script>alert(1)</script>",
    "{org='x'}",
    "é" * 5000,
    "🦊" * 300,
    "",
    " ",
    "# HELP finetune_jobs gone",
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param("", "text/plain", id="nothing said"),
        pytest.param("*/*", "text/plain", id="anything"),
        pytest.param("text/html,application/xhtml+xml", "text/plain", id="a browser"),
        pytest.param(OPENMETRICS, "application/openmetrics-text", id="Prometheus"),
        pytest.param("application/openmetrics-text", "application/openmetrics-text", id="no version"),
        pytest.param("application/openmetrics-text;q=0.2,text/plain;q=0.9", "text/plain", id="plain text is preferred"),
        pytest.param("application/openmetrics-text;q=0", "text/plain", id="OpenMetrics is refused"),
        pytest.param("application/openmetrics-text;version=9.9.9", "text/plain", id="a version we do not speak"),
        pytest.param("application/openmetrics-text;version=abc;q=nan,,;=;", "text/plain", id="nonsense"),
    ],
)
def test_the_format_follows_accept(accept: str, expected: str) -> None:
    _, content_type = parse_scrape_request(accept, compressed=False)
    assert content_type.startswith(expected)
    assert text(snapshot(), accept=accept).endswith("# EOF\n") is (expected == "application/openmetrics-text")


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_name_filter_shows_only_these_series(accept: str) -> None:
    process = ProcessMetrics()
    process.watch(["research"], [])
    names = ["finetune_job_status", "finetune_org_polls_total", "no_such_metric"]
    found = scrape(snapshot(tracked()), process=process, accept=accept, names=names)
    assert set(found) == {"finetune_job_status", "finetune_org_polls_total"}


@pytest.mark.parametrize("name", NASTY, ids=ascii)
@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_hostile_name_stays_inside_its_label(name: str, accept: str) -> None:
    one = job(id=name, model=name, name=name, fine_tuned_model=name, provider=name)
    sums = (
        counter("jobs_finished", model=name, method=name, status=name),
        counter("job_failures", model=name, reason=name),
    )
    shown = snapshot(tracked(one), counters=sums, unpriced={("research", name): 1})
    found = scrape(shown, accept=accept)
    assert set(found) == set(scrape(snapshot(tracked(), counters=sums, unpriced={("research", "m"): 1}), accept=accept))
    (status,) = found["finetune_job_status"]
    assert dict(status)["status"] == "running"
    assert 0 < len(dict(status)["job_id"]) <= 256
    (finished,) = found["finetune_jobs_finished_total"]
    assert (dict(finished)["method"], dict(finished)["status"]) == ("unknown", "unknown")
    assert len(dict(finished)["model"]) <= 128
    assert [dict(labels)["reason"] for labels in found["finetune_job_failures_total"]] == ["other"]


def test_ten_thousand_hostile_jobs_are_valid_and_bounded() -> None:
    nasty = [f"{NASTY[number % len(NASTY)]}{number}" * 3 for number in range(10_000)]
    jobs = [tracked(job(id=name, name=name, model=name, status=Status.FAILED)) for name in nasty]
    sums = tuple(counter("jobs_finished", model=name, method="dpo", status="failed") for name in nasty)
    shown = snapshot(*jobs, counters=sums, unpriced={("research", name): 1 for name in nasty})
    exposition = text(shown)
    assert len(exposition) < 10_000 * 4 * 1100
    found = series(exposition)
    (dropped,) = found["finetune_job_series_dropped"].values()
    assert len(found["finetune_job_status"]) + dropped == 10_000
    assert len(found["finetune_jobs_finished_total"]) == 201
    assert sum(found["finetune_jobs_finished_total"].values()) == 10_000
    assert len(found["finetune_unpriced_jobs"]) <= 201


def test_two_jobs_whose_labels_become_the_same_are_one_series() -> None:
    found = scrape(snapshot(tracked(job(id="a\x00b")), tracked(job(id="ab", status=Status.QUEUED))))
    assert found["finetune_job_status"] == {of(org="research", job_id="ab", status="running"): 1}
    assert found["finetune_job_series_dropped"] == {of(): 1}


def test_the_program_says_which_one_it_is() -> None:
    python = ".".join(str(part) for part in sys.version_info[:3])
    found = scrape(snapshot(), process=ProcessMetrics(version="1.2.3", revision="abc"))
    assert found["finetune_monitor_build_info"] == {of(version="1.2.3", revision="abc", python=python): 1}


WORSE = Verdict(kind=VerdictKind.ENDED_WORSE, text="It ended worse than it began.")


def full() -> tuple[str, str]:
    """A scrape in both formats in which every family has series."""
    process = ProcessMetrics(version="1.2.3", revision="abc")
    process.watch(["research"], ["chat"], ["nightly"], ["short"])
    process.template_failed("short")
    process.polled("research", 0.2)
    process.poll_failed("research", Reason.AUTH)
    process.requested("research", "list_jobs", "200")
    process.detected(3.0)
    process.poll_began(0.1)
    process.skipped("research", "bad_id", 2)
    process.first_seen("research", "poll")
    process.webhook_received("research", "accepted")
    process.sent("chat", 0.4)
    process.failed("chat", "timeout")
    process.dead("chat", "invalid_blocks")
    process.card("chat", "edited")
    process.reloaded(ok=True, at=NOON)
    process.ticked(0.003)
    ended = job(id="ftjob-2", status=Status.SUCCEEDED, method=Method.DPO, finished_at=NOON - SECOND)
    cost = Cost(basis=Basis.COMPUTED, usd=Decimal("2.40"))
    sums = (
        counter("jobs_finished", 1, model=MINI, method="dpo", status="succeeded"),
        counter("job_failures", 1, model=MINI, reason="data"),
        counter("trained_tokens", 5000, model=MINI, method="dpo"),
        counter("cost_nanodollars", 1, model=MINI, method="dpo"),
        counter("queue_seconds_bucket", 1, model=MINI, le="60.0"),
        counter("queue_milliseconds", 45_000, model=MINI),
        counter("run_seconds_bucket", 1, model=MINI, status="succeeded", le="+Inf"),
        counter("run_milliseconds", 999_000_000, model=MINI, status="succeeded"),
        counter("total_seconds_bucket", 1, model=MINI, status="succeeded", le="+Inf"),
        counter("total_milliseconds", 999_000_000, model=MINI, status="succeeded"),
        counter("batches_finished", 1, model=MINI, endpoint="/v1/responses", status="succeeded"),
        counter("batch_seconds_bucket", 1, model=MINI, status="succeeded", le="+Inf"),
        counter("batch_milliseconds", 999_000_000, model=MINI, status="succeeded"),
        counter("batch_requests", 7, model=MINI, result="failed"),
        counter("batch_tokens", 7, model=MINI, kind="output"),
        counter("batch_cost_nanodollars", 7, model=MINI),
        counter("usage_tokens", 7, model=MINI, kind="input"),
        counter("usage_nanodollars", 7, model=MINI, kind="input"),
    )
    estimate = tracked(busy(), cost=Cost(basis=Basis.ESTIMATED, usd=Decimal(1)))
    backlogs = (Backlog(notifier="chat", pending=1, oldest=NOON),)
    asked = tracked(job("batch:b", batch=Batch(expires_at=NOON)))
    shown = snapshot(
        asked, estimate, tracked(ended, cost=cost, verdict=WORSE), counters=sums, backlogs=backlogs,
        unpriced={("research", MINI): 1},
        billed={("research", "ft-gpt-4o, input"): Decimal(1)},
        hosted={("research", MINI): Decimal(1)},
        models=(TunedModel(org="research", id="ft:a", base=MINI, shutdown=NOON.date()),),
        shutdowns={NOON.date(): 1},
    )  # fmt: skip
    state = health("research", labels={"research": {"team": "nlp"}}, notifiers=("chat",))
    state.budgets = (BudgetState(name="search", limit=Decimal(2), spent=Decimal(1)),)
    drifts = (Drift(org="research", kind=LineItemKind.TRAINING, computed=Decimal(1), billed=Decimal(1)),)
    state.billing = {"research": BillingHealth(org="research", drifts=drifts)}
    state.orgs["research"].up, state.orgs["research"].last_success = False, NOON - timedelta(days=1)
    state.orgs["research"].trouble = Trouble(reason=Reason.AUTH, text="the key is refused")
    return text(shown, state=state, process=process), text(shown, state=state, process=process, accept=OPENMETRICS)


def test_promtool_accepts_a_full_scrape() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    plain, _ = full()
    described = {line.split()[2] for line in plain.splitlines() if line.startswith("# TYPE")}
    shown = {line.split("{")[0].split()[0] for line in plain.splitlines() if not line.startswith("#")}
    empty = {name for name in described if not any(one.startswith(name) for one in shown)}
    assert empty == set()
    done = subprocess.run([promtool, "check", "metrics"], input=plain, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_both_formats_have_the_same_samples() -> None:
    def sorted_series(of: Series) -> Series:
        return {name: dict(sorted(values.items(), key=str)) for name, values in sorted(of.items())}

    plain, modern = full()
    plain, modern = (re.sub(r"(?m)^process_.*\n", "", one) for one in (plain, modern))  # time passes between the two
    assert sorted_series(series(plain)) == sorted_series(series(modern))
