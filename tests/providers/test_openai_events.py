"""OpenAI's event streams: kinds, levels and metrics, from data or from messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.model import Checkpoint, EventKind, JobEvent, Metrics
from monitor.providers.base import NotFound
from tests.providers.answers import OPENAI, SAMPLES, left_out, read_events, response
from tests.providers.answers import cursor as cursor_of
from tests.providers.answers import event as one
from tests.providers.answers import events as listed


def test_the_official_page_is_parsed() -> None:
    page = read_events(response((SAMPLES / "listFineTuningEvents.json").read_bytes()))
    assert cursor_of(page) == "ft-event-tyiGuB72evQncpH87xe505Sv"
    assert page.items[0] == JobEvent(
        org="research",
        job="ftjob-1",
        id="ft-event-ddTJfwuMVpfLXseO0Am0Gqjm",
        at=datetime(2024, 7, 23, 20, 0, tzinfo=UTC),
        level="info",
        message="Fine tuning job successfully completed",
    )


def test_the_official_event_is_parsed() -> None:
    event = one(**json.loads((SAMPLES / "object_FineTuningJobEvent.json").read_bytes()))
    assert (event.id, event.message, event.metrics) == ("ftevent-abc123", "Created fine-tuning job", None)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Created fine-tuning job: ftjob-1", EventKind.MESSAGE),
        ("Validating training file: file-1 and validation file: file-2", EventKind.MESSAGE),
        ("Files validated, moving job to queued state", EventKind.MESSAGE),
        ("Fine-tuning job started", EventKind.STARTED),
        ("Fine tuning job started", EventKind.STARTED),
        ("Fine-tune started", EventKind.STARTED),
        ("fine-tuning job has started.", EventKind.STARTED),
        ("Training started", EventKind.STARTED),
        ("Job started.", EventKind.STARTED),
        ("Fine-tuning job restarted", EventKind.MESSAGE),
        ("Not started", EventKind.MESSAGE),
        ("Checkpoint created at step 100 with Snapshot ID: ft:x:ckpt-step-100", EventKind.CHECKPOINT),
        ("Step 297/300: training loss=0.00", EventKind.METRICS),
        ("New fine-tuned model created: ft:x", EventKind.MESSAGE),
        ("The job has successfully completed", EventKind.MESSAGE),
        ("Job enqueued. Waiting for jobs ahead to complete.", EventKind.MESSAGE),
        ("", EventKind.MESSAGE),
    ],
)
def test_a_message_tells_what_happened(message: str, kind: EventKind) -> None:
    assert one(message=message).kind is kind


def test_moderation_checks_have_a_type_of_their_own() -> None:
    assert one(type="moderation_checks", data={"blocked": True}).kind is EventKind.MODERATION


@pytest.mark.parametrize(
    ("level", "expected"),
    [("info", "info"), ("warn", "warn"), ("warning", "warn"), ("error", "error"), ("FATAL", "info"), (None, "info")],
)
def test_a_level_is_one_of_three(level: object, expected: str) -> None:
    assert one(level=level).level == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            {
                "step": 300,
                "total_steps": 300,
                "train_loss": 0.00136,
                "valid_loss": 5.7e-05,
                "full_valid_loss": 0.053,
                "train_mean_token_accuracy": 1.0,
                "valid_mean_token_accuracy": 1.0,
                "full_valid_mean_token_accuracy": 0.67,
            },
            Metrics(
                step=300,
                steps=300,
                train_loss=0.00136,
                valid_loss=0.053,
                train_accuracy=1.0,
                valid_accuracy=0.67,
            ),
            id="supervised, the end of an epoch: the full validation set counts",
        ),
        pytest.param(
            {"step": 10, "total_steps": 300, "train_loss": 0.5, "valid_loss": 0.6, "full_valid_loss": None},
            Metrics(step=10, steps=300, train_loss=0.5, valid_loss=0.6),
            id="supervised, an evaluation step",
        ),
        pytest.param({"step": 1, "train_loss": 0.5}, Metrics(step=1, train_loss=0.5), id="the oldest have no total"),
        pytest.param(
            {
                "step": 10,
                "total_steps": 20,
                "train_mean_reward": 0.42,
                "full_valid_mean_reward": 0.68,
                "scores": {"train_reward_mean": 0.1, "valid_reward_mean": 0.2},
                "timing": {"step": {"eval": 3.1, "sampling": 20.0, "full_iteration": 61.5}},
            },
            Metrics(step=10, steps=20, train_reward=0.42, valid_reward=0.68, loop_seconds=61.5),
            id="reinforcement",
        ),
        pytest.param(
            {"step": 10, "scores": {"train_reward_mean": 0.1, "valid_reward_mean": 0.2}},
            Metrics(step=10, train_reward=0.1, valid_reward=0.2),
            id="reinforcement, scores alone",
        ),
        pytest.param(
            {"step": 10, "timing": {"step": {"full_iteration": 1e290}}}, Metrics(step=10), id="a step of many ages"
        ),
        pytest.param({"train_mean_reward": 0.0}, Metrics(train_reward=0.0), id="zero is a reward"),
        pytest.param({"step": 0, "total_steps": 0}, Metrics(step=0), id="no step yet, and no total"),
        pytest.param({"step": "ten", "train_loss": "low", "timing": [], "scores": 3}, None, id="figures that are none"),
        pytest.param({"step": -1, "timing": {"step": {"full_iteration": -5}}}, None, id="negative steps and times"),
        pytest.param({"step": 2.0, "train_loss": 1}, Metrics(step=2, train_loss=1.0), id="numbers in odd clothes"),
        pytest.param({"valid_loss": float("inf")}, None, id="not finite"),
        pytest.param({"step": 3, "train_loss": float("nan")}, Metrics(step=3, lost=True), id="no number"),
        pytest.param({"step": 3, "train_loss": "Infinity"}, Metrics(step=3, lost=True), id="infinite, as text"),
        pytest.param({"step": 3, "train_loss": "-nan "}, Metrics(step=3, lost=True), id="no number, as text"),
        pytest.param({"step": 3, "train_loss": None}, Metrics(step=3), id="null is not told"),
        pytest.param({"step": 3, "train_loss": "nano"}, Metrics(step=3), id="and no word is a number"),
    ],
)
def test_metrics_come_from_the_data(data: object, expected: Metrics | None) -> None:
    event = one(type="metrics", data=data)
    assert event.metrics == expected


@pytest.mark.parametrize("data", [{}, None, [], "none"])
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Step 297/300: training loss=0.01", Metrics(step=297, steps=300, train_loss=0.01)),
        (
            "Step 300/300: training loss=0.00, validation loss=0.10, full validation loss=0.05",
            Metrics(step=300, steps=300, train_loss=0.0, valid_loss=0.05),
        ),
        (
            "Step 10/20 , train mean reward=0.42, full validation mean reward=0.68, full validation mean parse error=0",
            Metrics(step=10, steps=20, train_reward=0.42, valid_reward=0.68),
        ),
        ("Step 3/9: training loss=1.5e-05", Metrics(step=3, steps=9, train_loss=1.5e-05)),
        ("Step 3/9: training loss=nan", Metrics(step=3, steps=9, lost=True)),
        ("Step 3/9: training loss=-inf, validation loss=nan", Metrics(step=3, steps=9, lost=True)),
        ("Step 3/9: training loss=nano", Metrics(step=3, steps=9)),
        ("Step 3/9", Metrics(step=3, steps=9)),
        ("Step by step", None),
    ],
)
def test_without_data_metrics_come_from_the_message(data: object, message: str, expected: Metrics | None) -> None:
    assert one(data=data, message=message).metrics == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Checkpoint created at step 100 with Snapshot ID: ft:gpt-4o-mini:org::a:ckpt-step-100",
            Checkpoint(step=100, name="ft:gpt-4o-mini:org::a:ckpt-step-100"),
        ),
        ("Checkpoint created at step 100", None),
        ("Step 1/2 with Snapshot ID: x", None),
    ],
)
def test_a_checkpoint_has_its_step_and_its_name(message: str, expected: Checkpoint | None) -> None:
    assert one(message=message).checkpoint == expected


def test_the_constants_that_json_does_not_have_say_that_the_loss_is_lost() -> None:
    item = b'{"id": "e", "created_at": 1, "message": "Step 1/2", "data": {"step": 1, "train_loss": %s}}'
    for said in (b"NaN", b"Infinity", b"-Infinity", b"1e999"):
        (event,) = read_events(response(b'{"data": [' + item % said + b"]}")).items
        assert event.metrics == Metrics(step=1, lost=True)


def test_data_takes_precedence_over_the_rounded_message() -> None:
    event = one(data={"step": 3, "train_loss": 0.00136}, message="Step 3/9: training loss=0.00")
    assert event.metrics == Metrics(step=3, train_loss=0.00136)


@pytest.mark.parametrize("missing", [{}, {"id": None}, {"id": ""}, {"id": {}}, {"id": "x" * 300}, {"id": "a\x00"}])
def test_an_event_without_a_usable_id_gets_one_from_its_content(missing: dict[str, object]) -> None:
    event = {"created_at": 1_721_764_800, "message": "Step 1/9", **missing}
    first, again = listed(event).items[0], listed(event).items[0]
    other = listed({**event, "message": "Step 2/9"}).items[0]
    assert first.id == again.id != other.id
    assert len(first.id) < 64


def test_a_numeric_event_id_is_a_text() -> None:
    assert one(id=42).id == "42"


def test_invalid_events_are_counted() -> None:
    page = listed({"id": "ftevent-1"}, None, "x", 3, {}, {"data": {"step": 1}}, {"id": "ftevent-2"})
    assert ([event.id for event in page.items], left_out(page)) == (["ftevent-1", "ftevent-2"], 5)


def test_a_message_is_truncated_and_cleaned() -> None:
    assert one(message="a\x00\nb" + "x" * 10**6).message == "a b" + "x" * 1996 + "…"
    assert one(message={"a": 1}).message == ""


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.lists(st.integers())
FIGURES = st.dictionaries(st.sampled_from(["step", "total_steps", "train_loss", "scores", "timing"]), VALUES)


@given(
    items=st.lists(
        st.dictionaries(st.sampled_from(["id", "created_at", "level", "type", "message", "data"]), VALUES | FIGURES)
    )
)
def test_every_event_is_parsed_or_counted(items: list[object]) -> None:
    page = listed(*items)
    assert len(page.items) + left_out(page) == len(items)


@given(words=st.text(alphabet="Step 0123456789/:=.,-e trainglossmw", max_size=200))
def test_no_message_is_slow_to_parse_or_fails(words: str) -> None:
    assert one(message="Step 1/2: " + words).metrics is not None


def test_the_list_of_checkpoints_names_them_by_step() -> None:
    assert OPENAI.checkpoints is not None
    listing = OPENAI.checkpoints("ftjob-1/..")
    assert listing.first.path == "/fine_tuning/jobs/ftjob-1%2F../checkpoints"
    good = {"id": "ftckpt_1", "step_number": 88, "fine_tuned_model_checkpoint": "ft:gpt-4o-mini:org::a:ckpt-step-88"}
    answer = {"object": "list", "data": [good, {**good, "step_number": None}, {"id": "ftckpt_3"}], "has_more": False}
    page = listing.read(listing.first, response(answer))
    assert page.items == (Checkpoint(step=88, name="ft:gpt-4o-mini:org::a:ckpt-step-88"),)
    with pytest.raises(NotFound):
        listing.read(listing.first, response({"error": {"message": "no"}}, status=404))
