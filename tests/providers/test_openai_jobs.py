"""OpenAI's job objects: the official examples, and what servers really send."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from monitor.domain.model import FailureClass, FineTuning, Job, JobError, Method, Status
from tests.providers.answers import CREATED, SAMPLES, read_job, response
from tests.providers.answers import job as one


@pytest.mark.parametrize(
    ("name", "status", "method"),
    [
        ("cancelFineTuningJob", Status.CANCELLED, Method.SUPERVISED),
        ("pauseFineTuningJob", Status.PAUSED, Method.SUPERVISED),
        ("resumeFineTuningJob", Status.QUEUED, Method.SUPERVISED),
        ("retrieveFineTuningJob", Status.SUCCEEDED, Method.SUPERVISED),
        ("object_FineTuningJob", Status.SUCCEEDED, Method.SUPERVISED),
        ("createFineTuningJob_default", Status.QUEUED, Method.SUPERVISED),
        ("createFineTuningJob_epochs", Status.QUEUED, Method.SUPERVISED),
        ("createFineTuningJob_validation_file", Status.QUEUED, Method.SUPERVISED),
        ("createFineTuningJob_w_b_integration", Status.QUEUED, Method.SUPERVISED),
        ("createFineTuningJob_dpo", Status.QUEUED, Method.DPO),
        ("createFineTuningJob_reinforcement", Status.VALIDATING, Method.REINFORCEMENT),
    ],
)
def test_every_official_example_of_a_job_is_parsed(name: str, status: Status, method: Method) -> None:
    body = (SAMPLES / f"{name}.json").read_bytes()
    job = read_job(response(body))
    assert (job.status, job.method, job.error) == (status, method, None)
    assert job.id == json.loads(body)["id"]
    assert job.created_at is not None


def test_the_official_ended_job_is_read_in_full() -> None:
    job = read_job(response((SAMPLES / "object_FineTuningJob.json").read_bytes()))
    assert job == Job(
        org="research",
        id="ftjob-abc123",
        provider="openai",
        model="davinci-002",
        method=Method.SUPERVISED,
        status=Status.SUCCEEDED,
        raw_status="succeeded",
        name="custom_suffix",
        created_at=datetime(2023, 8, 21, 23, 36, 54, tzinfo=UTC),
        finished_at=datetime(2023, 8, 21, 23, 39, 50, tzinfo=UTC),
        metadata={"key": "value"},
        url="https://platform.openai.com/finetune/ftjob-abc123",
        tuning=FineTuning(
            fine_tuned_model="ft:davinci-002:my-org:custom_suffix:7q8mpxmy",
            trained_tokens=5768,
            epochs=4,
            training_file="file-abc123",
            result_files=("file-abc123",),
        ),
    )


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("validating_files", Status.VALIDATING),
        ("queued", Status.QUEUED),
        ("running", Status.RUNNING),
        ("paused", Status.PAUSED),
        ("succeeded", Status.SUCCEEDED),
        ("failed", Status.FAILED),
        ("cancelled", Status.CANCELLED),
        ("canceled", Status.CANCELLED),
        ("canceling", Status.CANCELLING),
        ("cancel_requested", Status.CANCELLING),
        ("pending", Status.QUEUED),
        ("notRunning", Status.QUEUED),
        ("pausing", Status.RUNNING),
        ("resuming", Status.QUEUED),
        ("future_status", Status.UNKNOWN),
        ("SUCCEEDED", Status.UNKNOWN),
        ("", Status.UNKNOWN),
        (None, Status.UNKNOWN),
        (7, Status.UNKNOWN),
        (["running"], Status.UNKNOWN),
        ({"name": "running"}, Status.UNKNOWN),
    ],
)
def test_a_status_is_in_the_table_or_unknown(raw: object, status: Status) -> None:
    assert one(status=raw).status is status


@pytest.mark.parametrize(
    ("raw", "shown"),
    [("future_status", "future_status"), (7, "7"), (None, ""), ("x" * 500, "x" * 63 + "…"), ("a\x00\nb", "a b")],
)
def test_an_unknown_status_is_kept_for_people(raw: object, shown: str) -> None:
    assert one(status=raw).raw_status == shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(CREATED, datetime(2024, 7, 23, 20, 0, tzinfo=UTC), id="seconds"),
        pytest.param(float(CREATED), datetime(2024, 7, 23, 20, 0, tzinfo=UTC), id="a float"),
        pytest.param(CREATED + 0.1239, datetime(2024, 7, 23, 20, 0, 0, 123000, tzinfo=UTC), id="to the millisecond"),
        pytest.param(CREATED * 1000, datetime(2024, 7, 23, 20, 0, tzinfo=UTC), id="milliseconds"),
        pytest.param(4_102_444_800, datetime(2100, 1, 1, tzinfo=UTC), id="far in the future, but in seconds"),
        pytest.param(0, None, id="zero is none"),
        pytest.param(-1, None, id="negative"),
        pytest.param(10**22, None, id="absurd"),
        pytest.param(10**400, None, id="beyond what a float holds"),
        pytest.param(True, None, id="a truth value"),
        pytest.param("soon", None, id="words"),
        pytest.param([CREATED], None, id="a list"),
    ],
)
def test_a_timestamp_is_parsed(value: object, expected: datetime | None) -> None:
    job = one(created_at=value, finished_at=value, estimated_finish=value)
    assert (job.created_at, job.finished_at, job.estimated_finish) == (expected,) * 3


@pytest.mark.parametrize(
    ("fields", "epochs"),
    [
        pytest.param({"hyperparameters": {"n_epochs": 3}}, 3, id="a number"),
        pytest.param({"hyperparameters": {"n_epochs": 3.0}}, 3, id="a number written with a fraction"),
        pytest.param({"hyperparameters": {"n_epochs": "auto"}}, None, id="not yet chosen"),
        pytest.param({"hyperparameters": None}, None, id="null, as with DPO"),
        pytest.param({}, None, id="absent, as with reinforcement"),
        pytest.param({"hyperparameters": [1]}, None, id="nonsense"),
        pytest.param(
            {"hyperparameters": None, "method": {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 2}}}},
            2,
            id="inside the method",
        ),
        pytest.param({"method": {"type": ["dpo"], "dpo": {}}}, None, id="a method of no type"),
    ],
)
def test_epochs_are_found(fields: dict[str, object], epochs: int | None) -> None:
    assert one(**fields).tuning.epochs == epochs


def test_hyperparameters_are_kept_by_their_names_and_a_figure_is_not_hidden_by_auto() -> None:
    told = {"n_epochs": "auto", "batch_size": 8, "learning_rate_multiplier": 1.8, "odd": {"a": 1}, "none": None}
    own = {"n_epochs": 3, "batch_size": "auto", "beta": 0.1}
    job = one(hyperparameters=told, method={"type": "dpo", "dpo": {"hyperparameters": own}}, seed=0)
    expected = {"n_epochs": "3", "batch_size": "8", "learning_rate_multiplier": "1.8", "beta": "0.1"}
    assert (job.tuning.hyperparameters, job.tuning.seed) == (expected, 0)
    assert (one(hyperparameters=None, seed="many").tuning.hyperparameters, one(seed="7").tuning.seed) == ({}, 7)
    assert len(one(hyperparameters={f"n{number}": 1 for number in range(50)}).tuning.hyperparameters) == 32


def test_resolved_hyperparameters_are_not_a_change_of_the_job() -> None:
    assert one(hyperparameters={"batch_size": 8}, seed=1) == one()


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (None, Method.SUPERVISED),
        ({"type": "supervised"}, Method.SUPERVISED),
        ({"type": "dpo"}, Method.DPO),
        ({"type": "reinforcement"}, Method.REINFORCEMENT),
        ({"type": "telepathy"}, Method.UNKNOWN),
        ({"type": 7}, Method.UNKNOWN),
        ({"type": ["dpo"]}, Method.UNKNOWN),
        ("dpo", Method.SUPERVISED),
    ],
)
def test_a_method_is_in_the_table_or_unknown(method: object, expected: Method) -> None:
    assert one(method=method).method is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param({}, None, id="an empty object is no error"),
        pytest.param({"code": None, "message": None, "param": None}, None, id="nulls are no error"),
        pytest.param({"code": None, "message": None, "param": None, "error": None}, None, id="nor with one more null"),
        pytest.param(None, None, id="null"),
        pytest.param("", None, id="an empty text"),
        pytest.param("out of memory", JobError(message="out of memory"), id="a bare text"),
        pytest.param(
            {"code": "server_error", "message": "The job failed due to an internal error", "param": None},
            JobError(
                code="server_error",
                message="The job failed due to an internal error",
                failure=FailureClass.PROVIDER,
            ),
            id="as documented",
        ),
        pytest.param({"code": 500, "message": {"a": 1}}, JobError(code="500"), id="of odd types"),
        pytest.param({"message": "x" * 10**6}, JobError(message="x" * 1999 + "…"), id="a megabyte is cut"),
        pytest.param(
            {"message": "a\x00b\x1b[31mred\r\nnext\u202ereversed\ud800"},
            JobError(message="ab[31mred nextreversed"),
            id="without control characters",
        ),
        pytest.param([1], None, id="a list"),
    ],
)
def test_an_empty_error_is_no_error(error: object, expected: JobError | None) -> None:
    assert one(error=error).error == expected


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        (5768, 5768),
        (5768.0, 5768),
        (0, None),
        (-3, None),
        (None, None),
        ("5768", 5768),
        ("57x", None),
        (1.5, None),
        (10**30, None),
    ],
)
def test_trained_tokens_are_a_count_or_unknown(value: object, tokens: int | None) -> None:
    assert one(trained_tokens=value).tuning.trained_tokens == tokens


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        pytest.param({"user_provided_suffix": "support-bot"}, "support-bot", id="the suffix"),
        pytest.param({"fine_tuned_model": "ft:gpt-4o-mini:acme:bot:7p4l"}, "bot", id="the suffix in the model"),
        pytest.param({"fine_tuned_model": "ft:gpt-4o-mini:openai::7p4lURel"}, None, id="a model without one"),
        pytest.param({"fine_tuned_model": "my:own:model:of:mine"}, None, id="a model of another form"),
        pytest.param({"user_provided_suffix": "x" * 200}, "x" * 127 + "…", id="cut"),
        pytest.param({}, None, id="none"),
    ],
)
def test_a_job_is_named_by_its_suffix(fields: dict[str, object], name: str | None) -> None:
    assert one(**fields).name == name


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, {}),
        ([], {}),
        ({"env": "prod", "n": 3, "none": None, "deep": {"a": 1}}, {"env": "prod", "n": "3"}),
        ({"k" * 100: "v" * 1000}, {"k" * 63 + "…": "v" * 511 + "…"}),
        ({str(n): "x" for n in range(100)}, {str(n): "x" for n in range(16)}),
        ({"__proto__": "x"}, {"__proto__": "x"}),
    ],
)
def test_metadata_is_bounded(metadata: object, expected: dict[str, str]) -> None:
    assert one(metadata=metadata).metadata == expected


def test_result_files_may_be_null_or_invalid() -> None:
    assert one(result_files=None).tuning.result_files == ()
    assert one(result_files=["file-1", None, {"id": "x"}, "file-2"]).tuning.result_files == ("file-1", "file-2")


def test_unknown_fields_are_ignored() -> None:
    assert one(__proto__={"status": "failed"}, brand_new=[1, 2]).status is Status.RUNNING


@pytest.mark.parametrize(("told", "shared"), [(True, True), (False, False), (None, False), ("true", False), (1, False)])
def test_a_job_says_whether_its_data_is_shared(told: object, shared: bool) -> None:
    assert one(shared_with_openai=told).tuning.shared is shared
    assert one().tuning.shared is False
