"""What the metrics of a snapshot say."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from monitor.domain.flow import Backlog, Reason
from monitor.domain.model import Basis, Cost, Job, Method, Metrics, Status
from monitor.metrics.own import Own
from tests.builders import HOUR, MINUTE, NOON, SECOND, job, tracked, trained
from tests.metrics.scrapes import OPENMETRICS, Series, health, of, scrape, series, snapshot, tally, text

MINI = "gpt-4o-mini-2024-07-18"
JOB = of(org="research", job_id="ftjob-1")


def busy() -> Job:
    """A job of which everything is known."""
    latest = Metrics(
        step=42,
        steps=100,
        train_loss=0.7,
        valid_loss=0.8,
        train_accuracy=0.9,
        valid_accuracy=0.85,
        train_reward=1.5,
        valid_reward=1.25,
    )
    return trained(
        job(started_at=NOON - 30 * MINUTE, estimated_finish=NOON + HOUR, name="support", trained_tokens=1234),
        latest=latest,
    )


def test_every_status_of_every_organisation_starts_at_zero() -> None:
    found = scrape(snapshot(counts={("research", Status.FAILED): 3}), state=health("research", "search"))[
        "finetune_jobs"
    ]
    assert len(found) == 2 * len(Status)
    assert found[of(org="research", status="failed")] == 3
    assert sum(found.values()) == 3


def test_a_running_job_has_all_its_series() -> None:
    found = scrape(snapshot(tracked(busy(), cost=Cost(basis=Basis.COMPUTED, usd=Decimal("2.40")))))
    mine = {name: values[JOB] for name, values in found.items() if JOB in values}
    assert mine == {
        "finetune_job_created_timestamp_seconds": (NOON - HOUR).timestamp(),
        "finetune_job_started_timestamp_seconds": (NOON - 30 * MINUTE).timestamp(),
        "finetune_job_estimated_finish_timestamp_seconds": (NOON + HOUR).timestamp(),
        "finetune_job_last_activity_timestamp_seconds": (NOON - 2 * MINUTE).timestamp(),
        "finetune_job_progress_ratio": 0.42,
        "finetune_job_step": 42,
        "finetune_job_steps": 100,
        "finetune_job_train_loss": 0.7,
        "finetune_job_valid_loss": 0.8,
        "finetune_job_train_accuracy_ratio": 0.9,
        "finetune_job_valid_accuracy_ratio": 0.85,
        "finetune_job_train_reward": 1.5,
        "finetune_job_valid_reward": 1.25,
        "finetune_job_trained_tokens": 1234,
        "finetune_job_cost_dollars": 2.4,
    }
    assert found["finetune_job_status"] == {JOB | of(status="running"): 1}
    assert found["finetune_job_info"] == {
        JOB | of(provider="openai", model=MINI, method="supervised", fine_tuned_model="", name="support"): 1
    }


def test_what_is_not_known_of_a_job_is_absent() -> None:
    found = scrape(snapshot(tracked(job(created_at=None, status=Status.QUEUED))))
    assert {name for name, values in found.items() if any(labels >= JOB for labels in values)} == {
        "finetune_job_info",
        "finetune_job_status",
        "finetune_job_last_activity_timestamp_seconds",
    }


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        pytest.param(job(status=Status.QUEUED), {"queue": 3600}, id="a waiting job has queued so far"),
        pytest.param(
            job(started_at=NOON - MINUTE), {"queue": 3540, "run": 60}, id="a running job has queued and runs so far"
        ),
        pytest.param(job(), {}, id="of a running job whose start is unknown nothing is said"),
        pytest.param(
            job(status=Status.FAILED, started_at=NOON - 30 * MINUTE, finished_at=NOON - 10 * MINUTE),
            {"queue": 1800, "run": 1200},
            id="of an ended job both are final",
        ),
        pytest.param(job(status=Status.CANCELLED, finished_at=NOON), {}, id="a job that never started did not run"),
        pytest.param(
            job(status=Status.SUCCEEDED, started_at=NOON - MINUTE),
            {"queue": 3540},
            id="an end without a time is no run time",
        ),
        pytest.param(
            job(status=Status.PAUSED, started_at=NOON - MINUTE), {"queue": 3540, "run": 60}, id="a pause runs on"
        ),
        pytest.param(job(created_at=NOON + HOUR, status=Status.QUEUED), {"queue": 0}, id="no time is negative"),
    ],
)
def test_durations_are_so_far_or_final(one: Job, expected: dict[str, float]) -> None:
    found = scrape(snapshot(tracked(one))).get("finetune_job_duration_seconds", {})
    assert {dict(labels)["phase"]: seconds for labels, seconds in found.items()} == expected


def test_an_estimate_is_not_a_cost() -> None:
    found = scrape(snapshot(tracked(cost=Cost(basis=Basis.ESTIMATED, usd=Decimal("1.5")))))
    assert found["finetune_job_estimated_cost_dollars"] == {JOB: 1.5}
    assert "finetune_job_cost_dollars" not in found


def test_an_ended_job_has_no_estimated_finish() -> None:
    ended = replace(busy(), status=Status.SUCCEEDED, finished_at=NOON)
    assert "finetune_job_estimated_finish_timestamp_seconds" not in scrape(snapshot(tracked(ended)))


def test_stored_counters_are_shown_by_their_labels() -> None:
    sums = (
        tally("jobs_finished", 2, model=MINI, method="supervised", status="succeeded"),
        tally("job_failures", 1, model=MINI, reason="data"),
        tally("trained_tokens", 5000, model=MINI, method="dpo"),
        tally("cost_nanodollars", 2_400_000_000, model=MINI, method="dpo"),
        tally("of_another_version", 9, model=MINI),
    )
    found = scrape(snapshot(tallies=sums, unpriced={("research", MINI): 4}))
    mine = of(org="research", model=MINI)
    assert found["finetune_jobs_finished_total"] == {mine | of(method="supervised", status="succeeded"): 2}
    assert found["finetune_job_failures_total"] == {mine | of(reason="data"): 1}
    assert found["finetune_trained_tokens_total"] == {mine | of(method="dpo"): 5000}
    assert found["finetune_cost_dollars_total"] == {mine | of(method="dpo"): 2.4}
    assert found["finetune_unpriced_jobs"] == {mine: 4}


def test_a_histogram_is_rebuilt_from_its_stored_buckets() -> None:
    sums = (
        tally("queue_seconds_bucket", 2, model=MINI, le="30.0"),
        tally("queue_seconds_bucket", 1, model=MINI, le="60.0"),
        tally("queue_seconds_bucket", 1, model=MINI, le="+Inf"),
        tally("queue_milliseconds", 300_500, model=MINI),
    )
    found = scrape(snapshot(tallies=sums))
    mine = of(org="research", model=MINI)
    buckets = {dict(labels)["le"]: count for labels, count in found["finetune_queue_duration_seconds_bucket"].items()}
    assert (buckets["10.0"], buckets["30.0"], buckets["60.0"], buckets["259200.0"], buckets["+Inf"]) == (0, 2, 3, 3, 4)
    assert found["finetune_queue_duration_seconds_count"] == {mine: 4}
    assert found["finetune_queue_duration_seconds_sum"] == {mine: 300.5}


def test_observations_under_an_older_bound_move_up_to_the_next() -> None:
    found = scrape(
        snapshot(tallies=(tally("run_seconds_bucket", 1, model=MINI, status="failed", le="50.0"),)), names=["x"]
    )
    assert found == {}
    found = scrape(snapshot(tallies=(tally("run_seconds_bucket", 1, model=MINI, status="failed", le="50.0"),)))
    buckets = {dict(labels)["le"]: count for labels, count in found["finetune_run_duration_seconds_bucket"].items()}
    assert (buckets["30.0"], buckets["60.0"]) == (0, 1)


def test_an_organisation_that_is_no_longer_configured_has_no_aggregates() -> None:
    sums = (tally("trained_tokens", 1, model=MINI, method="dpo"),)
    assert "finetune_trained_tokens_total" not in scrape(snapshot(tallies=sums), state=health("search"))


def test_organisation_labels_are_on_aggregates_and_not_on_single_jobs() -> None:
    own = Own(version="1")
    own.watch(["research", "search"], [])
    state = health(
        "research", "search", labels={"research": {"team": "nlp", "org": "x"}, "search": {"cost-centre": "7"}}
    )
    found = scrape(snapshot(tracked()), state=state, own=own)
    research, search = of(team="nlp", label_org="x", cost_centre=""), of(team="", label_org="", cost_centre="7")
    assert found["finetune_jobs"][of(org="research", status="failed") | research] == 0
    assert found["finetune_jobs"][of(org="search", status="failed") | search] == 0
    assert found["finetune_org_polls_total"][of(org="research") | research] == 0
    assert found["finetune_job_status"] == {JOB | of(status="running"): 1}


def test_organisations_and_outbox_are_told_as_far_as_they_are_known() -> None:
    state = health("research", "search", notifiers=("chat", "hook"))
    state.orgs["research"].up, state.orgs["research"].last_success = True, NOON - MINUTE
    found = scrape(snapshot(backlogs=(Backlog(notifier="hook", pending=3, oldest=NOON - HOUR),)), state=state)
    assert found["finetune_org_up"] == {of(org="research"): 1}
    assert found["finetune_org_last_success_timestamp_seconds"] == {of(org="research"): (NOON - MINUTE).timestamp()}
    assert found["finetune_outbox_pending"] == {of(notifier="chat"): 0, of(notifier="hook"): 3}
    assert found["finetune_outbox_oldest_timestamp_seconds"] == {of(notifier="hook"): (NOON - HOUR).timestamp()}


def test_jobs_beyond_the_limit_are_counted() -> None:
    assert scrape(snapshot(dropped=7))["finetune_job_series_dropped"] == {of(): 7}


def test_numbers_that_no_float_can_hold_are_absent() -> None:
    huge = trained(job(trained_tokens=10**400), latest=Metrics(step=10**400))
    found = scrape(snapshot(tracked(huge)))
    assert "finetune_job_trained_tokens" not in found
    assert "finetune_job_step" not in found


def full() -> tuple[str, str]:
    """A scrape in both formats in which every family has series."""
    own = Own(version="1.2.3", revision="abc")
    own.watch(["research"], ["chat"])
    own.polled("research", 0.2)
    own.poll_failed("research", Reason.AUTH)
    own.requested("research", "list_jobs", "200")
    own.detected(3.0)
    own.sent("chat")
    own.failed("chat", "timeout")
    own.dead("chat", "invalid_blocks")
    own.reloaded(ok=True, at=NOON)
    ended = job(id="ftjob-2", status=Status.SUCCEEDED, method=Method.DPO, finished_at=NOON - SECOND)
    cost = Cost(basis=Basis.COMPUTED, usd=Decimal("2.40"))
    sums = (
        tally("jobs_finished", 1, model=MINI, method="dpo", status="succeeded"),
        tally("job_failures", 1, model=MINI, reason="data"),
        tally("trained_tokens", 5000, model=MINI, method="dpo"),
        tally("cost_nanodollars", 1, model=MINI, method="dpo"),
        tally("queue_seconds_bucket", 1, model=MINI, le="60.0"),
        tally("queue_milliseconds", 45_000, model=MINI),
        tally("run_seconds_bucket", 1, model=MINI, status="succeeded", le="+Inf"),
        tally("run_milliseconds", 999_000_000, model=MINI, status="succeeded"),
    )
    estimate = tracked(busy(), cost=Cost(basis=Basis.ESTIMATED, usd=Decimal(1)))
    backlogs = (Backlog(notifier="chat", pending=1, oldest=NOON),)
    shown = snapshot(
        estimate, tracked(ended, cost=cost), tallies=sums, backlogs=backlogs, unpriced={("research", MINI): 1}
    )
    state = health("research", labels={"research": {"team": "nlp"}}, notifiers=("chat",))
    state.orgs["research"].up, state.orgs["research"].last_success = False, NOON - timedelta(days=1)
    return text(shown, state=state, own=own), text(shown, state=state, own=own, accept=OPENMETRICS)


def test_promtool_has_nothing_to_say_about_a_full_scrape() -> None:
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


def test_both_formats_say_the_same() -> None:
    def sorted_series(of: Series) -> Series:
        return {name: dict(sorted(values.items(), key=str)) for name, values in sorted(of.items())}

    plain, modern = full()
    assert sorted_series(series(plain)) == sorted_series(series(modern))
