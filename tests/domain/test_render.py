"""What is told, and that it has the shape of the contract."""

import json
from dataclasses import replace
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.flow import Transition, TransitionKind
from monitor.domain.model import UNKNOWN_COST, Basis, Batch, Cost, FailureClass, Job, JobError, JobKind, Metrics, Status
from monitor.domain.news import EventType, Severity, job_subject
from monitor.domain.pricing import format_cost
from monitor.domain.render import Labelling, best_model, job_view, moment, payload, render, span
from monitor.domain.stall import Stall, StallReason, Usual
from monitor.domain.triage import triage
from monitor.domain.verdict import Verdict, VerdictKind
from tests.builders import HOUR, MINUTE, NOON, SECOND, job, tracked, trained


def moved(after: Status) -> Transition:
    return Transition(
        org="research", job="ftjob-1", seq=3, at=NOON, kind=TransitionKind.MOVED, before=Status.RUNNING, after=after
    )


FAILED = job(
    status=Status.FAILED,
    name="support-bot",
    started_at=NOON - 31 * MINUTE,
    finished_at=NOON - SECOND,
    error=JobError(code="server_error", message="The job failed due to an internal error"),
    metadata={"env": "prod"},
    url="https://platform.openai.com/finetune/ftjob-1",
)


def test_the_payload_is_the_contract_s() -> None:
    message = render(moved(Status.FAILED), tracked(FAILED), EventType.FAILED, Labelling(labels={"team": "search"}))
    assert message.type == "finetune.job.failed"
    assert json.loads(message.data) == payload(
        moved(Status.FAILED), tracked(FAILED), Labelling(labels={"team": "search"})
    )
    assert json.loads(message.data) == {
        "org": "research",
        "provider": "openai",
        "labels": {"team": "search"},
        "transition": {
            "id": "research/ftjob-1/3",
            "seq": 3,
            "from": "running",
            "to": "failed",
            "observed_at": "2026-11-22T12:00:00Z",
        },
        "job": {
            "id": "ftjob-1",
            "kind": "fine_tuning",
            "provider_id": "ftjob-1",
            "name": "support-bot",
            "model": "gpt-4o-mini-2024-07-18",
            "method": "supervised",
            "status": "failed",
            "fine_tuned_model": None,
            "created_at": "2026-11-22T11:00:00Z",
            "started_at": "2026-11-22T11:29:00Z",
            "finished_at": "2026-11-22T11:59:59Z",
            "queue_seconds": 1740,
            "run_seconds": 1859,
            "trained_tokens": None,
            "batch": None,
            "progress": None,
            "cost": {"usd": None, "basis": "unknown"},
            "error": {
                "code": "server_error",
                "message": "The job failed due to an internal error",
                "param": None,
                "class": "provider",
                "hint": triage(FAILED.error).hint,
                "retryable": True,
            },
            "verdict": None,
            "metadata": {"env": "prod"},
            "url": "https://platform.openai.com/finetune/ftjob-1",
            "monitor_url": None,
            "estimated_finish": None,
            "stall": None,
        },
    }


FULL = job(
    status=Status.SUCCEEDED,
    name="bot",
    started_at=NOON - 2 * HOUR,
    finished_at=NOON - 55 * MINUTE,
    created_at=NOON - 2 * HOUR - 31 * SECOND,
    trained_tokens=300_000,
    fine_tuned_model="ft:x",
)


@pytest.mark.parametrize(
    ("of", "over", "word", "facts"),
    [
        pytest.param(
            FULL,
            {"cost": Cost(basis=Basis.COMPUTED, usd=Decimal("2.4"))},
            "succeeded",
            (
                ("Organisation", "research"),
                ("Model", "gpt-4o-mini-2024-07-18"),
                ("Fine-tuned model", "ft:x"),
                ("Duration", "1h 5m"),
                ("Queued for", "31s"),
                ("Trained tokens", "300,000"),
                ("Cost", "$2.40"),
                ("Job", "ftjob-1"),
            ),
            id="all that is known of a success, whose progress says nothing",
        ),
        pytest.param(
            trained(job(), latest=Metrics(step=42, steps=99)),
            {
                "stall": Stall(reason=StallReason.NO_STEP, since=NOON - HOUR - MINUTE, usual=Usual(run=HOUR, ran=7)),
                "cost": Cost(basis=Basis.ESTIMATED, usd=Decimal(7)),
            },
            "stalled",
            (
                ("Organisation", "research"),
                ("Model", "gpt-4o-mini-2024-07-18"),
                ("Stalled since", "10:59 UTC, for 1h 1m"),
                ("Why", "stuck at step 42 of 99"),
                ("Usual", "the last 7 jobs with this model ran for 1h (median)"),
                ("Progress", "42%"),
                ("Cost", "about $7.00"),
                ("Job", "ftjob-1"),
            ),
            id="a stall says since when, why, and what is usual",
        ),
        pytest.param(
            job(status=Status.CANCELLED),
            {"cost": UNKNOWN_COST},
            "cancelled",
            (
                ("Organisation", "research"),
                ("Model", "gpt-4o-mini-2024-07-18"),
                ("Cost", "unknown"),
                ("Job", "ftjob-1"),
            ),
            id="what is not known is left out, but for the cost",
        ),
    ],
)
def test_people_read(of: Job, over: dict[str, Any], word: str, facts: tuple[tuple[str, str], ...]) -> None:
    assert render(moved(of.status), tracked(of, **over), EventType(word), Labelling()).facts == facts


@pytest.mark.parametrize(
    ("of", "stall", "why"),
    [
        pytest.param(
            job(status=Status.QUEUED),
            Stall(reason=StallReason.QUEUED, since=NOON - HOUR, usual=Usual(queue=20 * MINUTE, queued=43, run=HOUR)),
            {
                "Why": "it has been queued for longer than usual",
                "Usual": "95% of the last 43 jobs with this model waited 20m at most",
            },
            id="a queue",
        ),
        pytest.param(
            job(status=Status.VALIDATING),
            Stall(reason=StallReason.SILENT, since=NOON - HOUR),
            {"Why": "no sign of life"},
            id="silence",
        ),
        pytest.param(
            trained(job(), latest=Metrics(step=42)),
            Stall(reason=StallReason.NO_STEP, since=NOON - HOUR),
            {"Why": "stuck at step 42"},
            id="a step, nobody knows of how many",
        ),
        pytest.param(
            job(reported_progress=0.2),
            Stall(reason=StallReason.NO_STEP, since=NOON - HOUR),
            {"Why": "no progress"},
            id="a share that stays",
        ),
        pytest.param(
            job(),
            Stall(reason=StallReason.SLIPPING, since=NOON - HOUR, promised=NOON - MINUTE),
            {"Why": "its expected finish keeps moving back (first: 11:59 UTC)"},
            id="an end that slips",
        ),
    ],
)
def test_a_stall_says_why_and_what_to_look_at(of: Job, stall: Stall, why: dict[str, str]) -> None:
    message = render(moved(of.status), tracked(of, stalled=True, stall=stall), EventType.STALLED, Labelling())
    facts = dict(message.facts)
    assert facts["Stalled since"] == "11:00 UTC, for 1h"
    assert {label: facts[label] for label in ("Why", "Usual") if label in facts} == why
    assert message.hint
    view = json.loads(message.data)["job"]["stall"]
    assert (view["reason"], view["since"]) == (stall.reason, "2026-11-22T11:00:00Z")
    assert (view["usual_seconds"], view["usual_jobs"]) == ((1200, 43) if stall.usual.queue else (None, 0))


def test_a_stall_that_an_older_version_found_has_no_reason() -> None:
    message = render(moved(Status.RUNNING), tracked(stalled=True), EventType.STALLED, Labelling())
    assert "Why" not in dict(message.facts)
    assert message.hint is None


@pytest.mark.parametrize(
    ("latest", "facts"),
    [
        pytest.param(
            Metrics(step=100, steps=100, train_loss=0.35741, valid_loss=0.41),
            {"Final loss": "0.3574", "Final validation loss": "0.41"},
            id="the last step",
        ),
        pytest.param(Metrics(step=90, steps=100, train_loss=0.5), {"Loss": "0.5 at step 90"}, id="an earlier step"),
        pytest.param(Metrics(train_reward=0.75), {"Final reward": "0.75"}, id="a reward, and no steps"),
        pytest.param(Metrics(), {}, id="nothing measured"),
    ],
)
def test_a_success_says_what_was_measured_last(latest: Metrics, facts: dict[str, str]) -> None:
    done = trained(job(status=Status.SUCCEEDED), latest=latest)
    message = render(moved(Status.SUCCEEDED), tracked(done), EventType.SUCCEEDED, Labelling())
    assert {label: value for label, value in message.facts if "oss" in label or "eward" in label} == facts


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.SUCCEEDED])
def test_a_model_that_a_provider_names_too_early_is_not_announced(status: Status) -> None:
    message = render(moved(status), tracked(job(status=status, fine_tuned_model="ft:x")), EventType.MOVING, Labelling())
    assert "Fine-tuned model" not in dict(message.facts)
    assert json.loads(message.data)["job"]["fine_tuned_model"] is None


def test_what_runs_says_when_it_is_expected_to_finish() -> None:
    message = render(moved(Status.RUNNING), tracked(job(estimated_finish=NOON + HOUR)), EventType.MOVING, Labelling())
    assert dict(message.facts)["Expected finish"] == "13:00 UTC, in 1h"
    assert json.loads(message.data)["job"]["estimated_finish"] == "2026-11-22T13:00:00Z"
    late = render(moved(Status.RUNNING), tracked(job(estimated_finish=NOON)), EventType.MOVING, Labelling())
    assert "Expected finish" not in dict(late.facts)


@pytest.mark.parametrize(
    ("word", "title", "severity"),
    [
        ("appeared", "bot appeared", Severity.INFO),
        ("started", "bot started", Severity.INFO),
        ("paused", "bot is paused", Severity.WARNING),
        ("resumed", "bot resumed", Severity.INFO),
        ("succeeded", "bot succeeded", Severity.GOOD),
        ("failed", "bot failed", Severity.BAD),
        ("cancelled", "bot was cancelled", Severity.WARNING),
        ("stalled", "bot has stalled", Severity.WARNING),
    ],
)
def test_each_word_has_its_title_and_severity(word: str, title: str, severity: Severity) -> None:
    message = render(moved(Status.RUNNING), tracked(job(name="bot", url="https://x/")), EventType(word), Labelling())
    assert (message.type, message.title, message.severity) == (f"finetune.job.{word}", title, severity)
    assert (message.at, message.subject, message.event_type) == (NOON, job_subject("research", "ftjob-1"), word)
    assert (message.link, message.error, message.hint) == ("https://x/", None, None)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (JobError(code="server_error", message="internal"), "server_error: internal"),
        (JobError(message="internal"), "internal"),
        (JobError(code="server_error"), "server_error"),
        (JobError(param="training_file"), "no reason given"),
        (None, "no reason given"),
    ],
)
def test_a_failure_is_told_with_its_reason_and_the_next_step(error: JobError | None, words: str) -> None:
    message = render(
        moved(Status.FAILED), tracked(job(status=Status.FAILED, error=error)), EventType.FAILED, Labelling()
    )
    assert (message.error, message.hint) == (words, triage(error).hint)


def test_the_next_step_after_a_failed_batch_is_a_new_batch() -> None:
    failed = job("batch:1", status=Status.FAILED, error=JobError(code="x", failure=FailureClass.FILE), batch=Batch())
    message = render(moved(Status.FAILED), tracked(failed), EventType.FAILED, Labelling())
    assert message.hint == triage(failed.error, JobKind.BATCH).hint
    assert message.hint.endswith("create a new batch.")
    assert job_view(failed, None)["error"]["hint"] == message.hint


def test_only_a_failure_has_an_error() -> None:
    healthy = job(error=JobError(code="x"))
    message = render(moved(Status.RUNNING), tracked(healthy), EventType.STALLED, Labelling())
    assert (message.error, message.hint) == (None, None)
    assert job_view(healthy, None)["error"] is None


@pytest.mark.fault("D13")
def test_texts_of_the_payload_stay_as_they_are() -> None:
    message = render(moved(Status.RUNNING), tracked(job(name="grüße 🎈")), EventType.STARTED, Labelling())
    assert "grüße 🎈" in message.data


@pytest.mark.parametrize(("step", "progress"), [(None, None), (0, 0.0), (1, 0.3333), (3, 1.0), (4, 1.0)])
def test_progress_has_four_decimals(step: int | None, progress: float | None) -> None:
    view = job_view(trained(job(), latest=Metrics(step=step, steps=3)), None)
    assert view["progress"] == progress


def test_times_are_told_in_utc() -> None:
    assert moment(NOON.astimezone(timezone(timedelta(hours=9)))) == "2026-11-22T12:00:00Z"
    assert moment(None) is None


@pytest.mark.parametrize(
    ("usd", "basis", "words"),
    [
        ("2.4", Basis.COMPUTED, "$2.40"),
        ("2.405", Basis.COMPUTED, "$2.40"),
        ("0.01", Basis.COMPUTED, "$0.01"),
        ("0.0096", Basis.COMPUTED, "$0.0096"),
        ("0.007371", Basis.COMPUTED, "$0.0074"),
        ("0", Basis.COMPUTED, "$0.00"),
        ("12", Basis.ESTIMATED, "about $12.00"),
        (None, Basis.UNKNOWN, "unknown"),
    ],
)
def test_a_cost_is_spoken(usd: str | None, basis: Basis, words: str) -> None:
    assert format_cost(Cost(basis=basis, usd=Decimal(usd) if usd is not None else None)) == words


def test_the_payload_has_the_exact_cost() -> None:
    costly = tracked(FAILED, cost=Cost(basis=Basis.COMPUTED, usd=Decimal("2.4")))
    assert payload(moved(Status.FAILED), costly, Labelling())["job"]["cost"] == {"usd": "2.40", "basis": "computed"}
    view = job_view(job(), Cost(basis=Basis.ESTIMATED, usd=Decimal("0.978696")))
    assert view["cost"] == {"usd": "0.978696", "basis": "estimated"}
    assert job_view(job(), UNKNOWN_COST)["cost"] == {"usd": None, "basis": "unknown"}


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=31), "31s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(hours=2, minutes=5, seconds=59), "2h 5m"),
        (timedelta(hours=23, minutes=59, seconds=59), "23h 59m"),
        (timedelta(days=1), "1d"),
        (timedelta(days=20), "20d"),
        (timedelta(hours=1), "1h"),
        (timedelta(days=1, hours=2), "1d 2h"),
        (timedelta(seconds=0.4), "0s"),
        (timedelta(days=3, minutes=5), "3d"),
    ],
)
def test_durations_for_people(time: timedelta, text: str) -> None:
    assert span(time) == text


def test_what_the_curve_says_is_told() -> None:
    verdict = Verdict(kind=VerdictKind.OVERFITS, text="Overfits since step 40.", since_step=40, best_step=40)
    ended = trained(
        replace(FAILED, status=Status.SUCCEEDED), latest=Metrics(step=90, train_loss=0.61234, valid_loss=0.7)
    )
    kept = replace(verdict, best_checkpoint="ft:m:ckpt-step-40")
    message = render(moved(Status.SUCCEEDED), tracked(ended, verdict=kept), EventType.SUCCEEDED, Labelling())
    assert (message.severity, message.hint) == (Severity.WARNING, "Overfits since step 40.")
    assert message.facts[-5:-1] == (
        ("Final loss", "0.6123"),
        ("Final validation loss", "0.7"),
        ("Best step", "40"),
        ("Best checkpoint", "ft:m:ckpt-step-40"),
    )
    told = json.loads(message.data)["job"]["verdict"]
    assert (told["kind"], told["text"], told["since_step"], told["best_step"]) == (
        "overfits", "Overfits since step 40.", 40, 40,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("step", "checkpoint", "text"),
    [
        (240, "ft:m:ckpt-240", "step 240, checkpoint ft:m:ckpt-240"),
        (1_240, None, "step 1,240"),
        (None, "ft:m:ckpt-240", "checkpoint ft:m:ckpt-240"),
        (None, None, None),
    ],
)
def test_what_is_better_than_the_last_model(step: int | None, checkpoint: str | None, text: str | None) -> None:
    verdict = Verdict(kind=VerdictKind.OVERFITS, text="Overfits.", best_step=step, best_checkpoint=checkpoint)
    assert best_model(verdict) == text
