"""The values of metrics that are built from a snapshot."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest

from monitor.domain.flow import Headway, Reason, Tracked, Trouble
from monitor.domain.model import Basis, Batch, Cost, Job, Metrics, Status
from monitor.domain.snapshot import Backlog
from monitor.metrics.process import ProcessMetrics
from tests.builders import HOUR, MINUTE, NOON, job, tracked, trained
from tests.metrics.scrapes import busy, counter, health, of, scrape, snapshot

MINI = "gpt-4o-mini-2024-07-18"
JOB = of(org="research", job_id="ftjob-1")


def test_every_status_of_every_organisation_starts_at_zero() -> None:
    found = scrape(snapshot(counts={("research", Status.FAILED): 3}), state=health("research", "search"))[
        "finetune_jobs"
    ]
    assert len(found) == 2 * len(Status)
    assert found[of(org="research", status="failed")] == 3
    assert sum(found.values()) == 3


def test_batches_have_only_aggregates_and_the_next_expiry() -> None:
    asked = [
        tracked(job(f"batch:{n}", status, batch=Batch(expires_at=at)))
        for n, (status, at) in enumerate(
            [
                (Status.RUNNING, NOON + HOUR),
                (Status.RUNNING, NOON + MINUTE),
                (Status.SUCCEEDED, NOON),
                (Status.RUNNING, None),
            ]
        )
    ]
    counts = {("research", Status.RUNNING): 3, ("research", Status.SUCCEEDED): 1}
    labels = {"model": MINI, "endpoint": "/v1/responses", "status": "succeeded"}
    ended = counter("batches_finished", 2, **labels), counter("batch_cost_nanodollars", 5 * 10**8, model=MINI)
    found = scrape(snapshot(*asked, batches=counts, counters=ended), state=health("research", "search"))
    assert found["finetune_batches"][of(org="research", status="running")] == 3
    assert len(found["finetune_batches"]) == 2 * len(Status)
    assert found["finetune_batch_next_expiry_timestamp_seconds"] == {of(org="research"): (NOON + MINUTE).timestamp()}
    assert found["finetune_batches_finished_total"] == {of(org="research", **labels): 2}
    assert found["finetune_batch_cost_dollars_total"] == {of(org="research", model=MINI): 0.5}
    assert not any("job_id" in dict(labels) for values in found.values() for labels in values)
    assert found["finetune_job_series_dropped"] == {of(): 0}


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


def test_unknown_values_of_a_job_are_absent() -> None:
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
            {"queue": 1800, "run": 1200, "total": 3000},
            id="of an ended job both are final",
        ),
        pytest.param(
            job(status=Status.CANCELLED, finished_at=NOON), {"total": 3600}, id="a job that never started did not run"
        ),
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


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        pytest.param(tracked(headway=Headway(finish=NOON + HOUR)), NOON + HOUR, id="by its recent steps"),
        pytest.param(
            tracked(job(estimated_finish=NOON), headway=Headway(finish=NOON + HOUR)),
            NOON,
            id="the provider's own first",
        ),
        pytest.param(tracked(), None, id="nobody can say"),
    ],
)
def test_the_expected_finish(of: Tracked, expected: datetime | None) -> None:
    found = scrape(snapshot(of)).get("finetune_job_estimated_finish_timestamp_seconds", {})
    assert [*found.values()] == ([expected.timestamp()] if expected is not None else [])


def test_an_ended_job_has_no_estimated_finish() -> None:
    ended = replace(busy(), status=Status.SUCCEEDED, finished_at=NOON)
    assert "finetune_job_estimated_finish_timestamp_seconds" not in scrape(snapshot(tracked(ended)))


def test_stored_counters_are_shown_by_their_labels() -> None:
    sums = (
        counter("jobs_finished", 2, model=MINI, method="supervised", status="succeeded"),
        counter("job_failures", 1, model=MINI, reason="data"),
        counter("trained_tokens", 5000, model=MINI, method="dpo"),
        counter("cost_nanodollars", 2_400_000_000, model=MINI, method="dpo"),
        counter("of_another_version", 9, model=MINI),
    )
    found = scrape(snapshot(counters=sums, unpriced={("research", MINI): 4}))
    mine = of(org="research", model=MINI)
    assert found["finetune_jobs_finished_total"] == {mine | of(method="supervised", status="succeeded"): 2}
    assert found["finetune_job_failures_total"] == {mine | of(reason="data"): 1}
    assert found["finetune_trained_tokens_total"] == {mine | of(method="dpo"): 5000}
    assert found["finetune_cost_dollars_total"] == {mine | of(method="dpo"): 2.4}
    assert found["finetune_unpriced_jobs"] == {mine: 4}


def test_a_histogram_is_rebuilt_from_its_stored_buckets() -> None:
    sums = (
        counter("queue_seconds_bucket", 2, model=MINI, le="30.0"),
        counter("queue_seconds_bucket", 1, model=MINI, le="60.0"),
        counter("queue_seconds_bucket", 1, model=MINI, le="+Inf"),
        counter("queue_milliseconds", 300_500, model=MINI),
    )
    found = scrape(snapshot(counters=sums))
    mine = of(org="research", model=MINI)
    buckets = {dict(labels)["le"]: count for labels, count in found["finetune_queue_duration_seconds_bucket"].items()}
    assert (buckets["10.0"], buckets["30.0"], buckets["60.0"], buckets["259200.0"], buckets["+Inf"]) == (0, 2, 3, 3, 4)
    assert found["finetune_queue_duration_seconds_count"] == {mine: 4}
    assert found["finetune_queue_duration_seconds_sum"] == {mine: 300.5}


def test_observations_under_an_older_bound_move_up_to_the_next() -> None:
    found = scrape(snapshot(counters=(counter("run_seconds_bucket", 1, model=MINI, status="failed", le="50.0"),)))
    buckets = {dict(labels)["le"]: count for labels, count in found["finetune_run_duration_seconds_bucket"].items()}
    assert (buckets["30.0"], buckets["60.0"]) == (0, 1)


def test_an_organisation_that_is_no_longer_configured_has_no_aggregates() -> None:
    sums = (counter("trained_tokens", 1, model=MINI, method="dpo"),)
    assert "finetune_trained_tokens_total" not in scrape(snapshot(counters=sums), state=health("search"))


def test_organisation_labels_are_on_aggregates_and_not_on_single_jobs() -> None:
    process = ProcessMetrics(version="1")
    process.watch(["research", "search"], [])
    state = health(
        "research", "search", labels={"research": {"team": "nlp", "org": "x"}, "search": {"cost-centre": "7"}}
    )
    found = scrape(snapshot(tracked()), state=state, process=process)
    research, search = of(team="nlp", label_org="x", cost_centre=""), of(team="", label_org="", cost_centre="7")
    assert found["finetune_jobs"][of(org="research", status="failed") | research] == 0
    assert found["finetune_jobs"][of(org="search", status="failed") | search] == 0
    assert found["finetune_org_polls_total"][of(org="research") | research] == 0
    assert found["finetune_job_status"] == {JOB | of(status="running"): 1}


def test_unknown_values_of_organisations_and_outbox_are_absent() -> None:
    state = health("research", "search", notifiers=("chat", "hook"))
    state.orgs["research"].up, state.orgs["research"].last_success = True, NOON - MINUTE
    found = scrape(snapshot(backlogs=(Backlog(notifier="hook", pending=3, oldest=NOON - HOUR),)), state=state)
    assert found["finetune_org_up"] == {of(org="research"): 1}
    assert found["finetune_org_last_success_timestamp_seconds"] == {of(org="research"): (NOON - MINUTE).timestamp()}
    assert found["finetune_outbox_pending"] == {of(notifier="chat"): 0, of(notifier="hook"): 3}
    assert found["finetune_outbox_oldest_timestamp_seconds"] == {of(notifier="hook"): (NOON - HOUR).timestamp()}


def test_the_issue_of_an_organisation_is_shown_until_a_poll_succeeds() -> None:
    state = health("research", "search")
    sick = state.orgs["research"]
    sick.up, sick.trouble = False, Trouble(reason=Reason.AUTH, text="the key is refused")
    assert scrape(snapshot(), state=state)["finetune_org_trouble"] == {of(org="research", reason="auth"): 1}
    sick.trouble = Trouble(reason=Reason.UNAVAILABLE, text="HTTP 503")
    assert scrape(snapshot(), state=state)["finetune_org_trouble"] == {of(org="research", reason="unavailable"): 1}
    sick.up = True
    assert "finetune_org_trouble" not in scrape(snapshot(), state=state)


def test_jobs_beyond_the_limit_are_counted() -> None:
    assert scrape(snapshot(dropped=7))["finetune_job_series_dropped"] == {of(): 7}


def test_numbers_that_no_float_can_hold_are_absent() -> None:
    huge = trained(job(trained_tokens=10**400), latest=Metrics(step=10**400))
    found = scrape(snapshot(tracked(huge)))
    assert "finetune_job_trained_tokens" not in found
    assert "finetune_job_step" not in found
