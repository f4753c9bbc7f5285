"""The metrics that the process counts itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from monitor.domain.flow import Reason
from monitor.metrics.process import OPERATIONS, TASKS, ProcessMetrics
from tests.builders import MINUTE, NOON
from tests.metrics.scrapes import Series, health, of, scrape, snapshot

SOURCES = Path(__file__).parents[2] / "monitor"


def counted(process: ProcessMetrics) -> Series:
    """The series of a scrape with these counters."""
    return scrape(snapshot(), state=health(), process=process)


def test_configured_labels_start_at_zero_and_removed_ones_disappear() -> None:
    process = ProcessMetrics()
    process.watch(["research", "search"], ["chat", "hook"])
    process.requested("search", "list_jobs", "200")
    process.failed("hook", "timeout")
    before = counted(process)
    assert before["finetune_org_polls_total"] == {of(org="research"): 0, of(org="search"): 0}
    assert len(before["finetune_org_poll_errors_total"]) == 2 * len(Reason)
    assert before["finetune_notifications_sent_total"] == {of(notifier="chat"): 0, of(notifier="hook"): 0}
    assert before["finetune_notifier_parked"] == {of(notifier="chat"): 0, of(notifier="hook"): 0}
    process.watch(["research"], ["chat"])
    after = counted(process)
    assert after["finetune_org_polls_total"] == {of(org="research"): 0}
    assert after["finetune_notifier_parked"] == {of(notifier="chat"): 0}
    assert "finetune_api_requests_total" not in after
    assert "finetune_notifications_failed_total" not in after


def test_notifications_are_counted_by_the_name_of_their_route() -> None:
    process = ProcessMetrics()
    process.watch([], ["chat"], ["nightly", "old"])
    process.routed("nightly")
    process.routed("gone")
    process.watch([], ["chat"], ["nightly"])
    assert counted(process)["finetune_route_notifications_total"] == {of(route="nightly"): 1, of(route="other"): 1}


def test_templates_that_failed_are_counted_by_their_name() -> None:
    process = ProcessMetrics()
    process.watch([], [], [], ["short", "long"])
    process.template_failed("short")
    process.template_failed("gone")
    process.watch([], [], [], ["short"])
    assert counted(process)["finetune_template_failures_total"] == {of(template="short"): 1, of(template="other"): 1}


def test_a_reload_keeps_what_was_counted() -> None:
    process = ProcessMetrics()
    process.watch(["research"], [])
    process.polled("research", 0.1)
    process.watch(["research", "search"], [])
    assert counted(process)["finetune_org_polls_total"][of(org="research")] == 1


def test_values_outside_the_closed_sets_become_other() -> None:
    process = ProcessMetrics()
    process.watch(["research"], ["chat"])
    process.requested("research", "drop_tables", "<b>")
    process.requested("stranger", "list_jobs", "429")
    process.sent("stranger", 1.0)
    process.dead("chat", "https://hooks.example.com/secret")
    found = counted(process)
    assert found["finetune_api_requests_total"] == {
        of(org="research", operation="other", code="other"): 1,
        of(org="other", operation="list_jobs", code="429"): 1,
    }
    assert found["finetune_notifications_sent_total"][of(notifier="other")] == 1
    assert found["finetune_notifications_dead_total"] == {of(notifier="chat", reason="other"): 1}


def found_in(package: str, pattern: str) -> set[str]:
    """All matches of a pattern in the sources of a package."""
    return {one for path in (SOURCES / package).rglob("*.py") for one in re.findall(pattern, path.read_text())}


def test_every_operation_and_every_task_has_a_label_of_its_own() -> None:
    operations = found_in("providers", r'(?:operation=|first_page\()"(\w+)"')
    assert len(operations) > 10
    assert operations - set(OPERATIONS) == {"list_webhooks"}  # which only a command asks for
    tasks = found_in("app", r'_task\("(\w+)"')
    assert len(tasks) > 4
    assert tasks <= set(TASKS)


@pytest.mark.fault("G17")
def test_the_number_of_reasons_is_bounded() -> None:
    process = ProcessMetrics()
    process.watch([], ["chat"])
    for number in range(1000):
        process.failed("chat", f"reason_{number}")
    found = counted(process)["finetune_notifications_failed_total"]
    assert len(found) == 65
    assert found[of(notifier="chat", reason="other")] == 1000 - 64


def test_a_parked_notifier_is_shown_until_it_is_used_again() -> None:
    process = ProcessMetrics()
    process.watch([], ["chat"])
    process.set_suspended("chat", suspended=True)
    assert counted(process)["finetune_notifier_parked"] == {of(notifier="chat"): 1}
    assert process.suspended == {"chat"}
    process.set_suspended("chat", suspended=False)
    assert counted(process)["finetune_notifier_parked"] == {of(notifier="chat"): 0}
    assert process.suspended == set()


def test_a_notifier_that_is_gone_is_not_parked() -> None:
    process = ProcessMetrics()
    process.watch([], ["chat"])
    process.set_suspended("chat", suspended=True)
    process.watch([], ["hook"])
    assert process.suspended == set()


def test_a_refused_reload_keeps_the_time_of_the_last_good_one() -> None:
    process = ProcessMetrics()
    process.reloaded(ok=True, at=NOON)
    process.reloaded(ok=False, at=NOON + MINUTE)
    found = counted(process)
    assert found["finetune_config_last_reload_successful"] == {of(): 0}
    assert found["finetune_config_last_reload_success_timestamp_seconds"] == {of(): NOON.timestamp()}


def test_times_are_observed_and_never_negative() -> None:
    process = ProcessMetrics()
    process.detected(-3.0)
    process.detected(7.0)
    process.polled("research", 0.3)
    process.poll_began(late=-0.1)
    process.sent("chat", 4.0)
    found = counted(process)
    assert found["finetune_poll_lag_seconds_bucket"][of(le="0.1")] == 1
    assert found["finetune_poll_lag_seconds_sum"] == {of(): 0}
    assert found["finetune_detection_to_delivery_seconds_sum"] == {of(): 4}
    assert found["finetune_detection_delay_seconds_sum"] == {of(): 7}
    assert found["finetune_detection_delay_seconds_bucket"][of(le="0.1")] == 1
    assert found["finetune_poll_duration_seconds_count"] == {of(): 1}


def test_the_counters_are_not_in_the_global_registry() -> None:
    ProcessMetrics()
    ProcessMetrics()
    assert not [metric.name for metric in REGISTRY.collect() if metric.name.startswith("finetune_")]


def test_the_lag_of_the_loop_is_counted_and_never_negative() -> None:
    process = ProcessMetrics()
    process.ticked(-0.1)
    process.ticked(0.3)
    found = counted(process)
    assert found["finetune_monitor_loop_lag_seconds_sum"] == {of(): 0.3}
    assert found["finetune_monitor_loop_lag_seconds_bucket"][of(le="0.2")] == 1


def test_the_tasks_of_the_loop_are_those_of_the_last_count() -> None:
    process = ProcessMetrics()
    process.counted(40)
    process.counted(7)
    assert counted(process)["finetune_monitor_tasks"] == {of(): 7}
