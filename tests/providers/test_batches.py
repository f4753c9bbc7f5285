"""Batches of OpenAI, Azure and Bedrock: how answers are parsed, and which requests are made."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import openai.types
import pytest
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook

from monitor.domain.model import Batch, FailureClass, Job, JobError, JobKind, Method, Status, TokenCount
from monitor.domain.triage import triage
from monitor.providers.base import Malformed, NotFound, Page, Provider
from monitor.providers.bedrock import BATCH_STATUSES
from monitor.providers.openai.batches import STATUSES
from tests.providers.answers import SAMPLES, response
from tests.providers.test_vendors import ADAPTER, LEAST

BOTH = ("fine_tuning", "batch")
TOLD = json.loads((SAMPLES / "batches.json").read_text())
AT = datetime.fromtimestamp(1_795_752_000, UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes here").decode()


def vendor(provider: str = "openai", watch: tuple[str, ...] = BOTH, **over: Any) -> Provider:
    fields = {"api_key": "k"} if provider == "openai" else LEAST[provider]
    found: Provider = ADAPTER.validate_python(
        {"name": "research", "provider": provider, "watch": watch, **fields, **over}
    ).vendor()
    return found


def listed(provider: str, *items: object, **envelope: Any) -> Page[Job]:
    pages = vendor(provider).jobs[1].pages
    key = "invocationJobSummaries" if provider == "bedrock" else "data"
    return pages.read(pages.first, response({key: list(items), **envelope}))


def one(provider: str = "openai", **over: Any) -> Job:
    [found] = listed(provider, {**TOLD[provider], **over}).items
    return found


def test_a_batch_of_openai_has_counts_files_tokens_and_a_name() -> None:
    assert one() == Job(
        org="research",
        id="batch:batch_abc123",
        provider="openai",
        model="ft:gpt-4o-mini-2024-07-18:acme:support:a1b2c3d4",
        base_model="gpt-4o-mini-2024-07-18",
        method=Method.UNKNOWN,
        status=Status.SUCCEEDED,
        raw_status="completed",
        name="nightly eval job",
        created_at=AT,
        started_at=AT + MINUTE,
        finished_at=AT + HOUR + MINUTE,
        metadata={"description": "nightly eval job", "team": "search"},
        url="https://platform.openai.com/batches/batch_abc123",
        batch=Batch(
            endpoint="/v1/chat/completions",
            total=1000,
            completed=990,
            failed=10,
            input_file="file-in",
            output_file="file-out",
            error_file="file-errors",
            expires_at=AT + DAY,
            tokens=TokenCount(input=400_000, cached_input=100_000, output=90_000),
        ),
    )
    assert (one().kind, one().provider_id) == (JobKind.BATCH, "batch_abc123")


def test_a_batch_of_azure_has_blobs_and_is_followed_by_its_counts() -> None:
    job = one("azure")
    assert (job.provider, job.model, job.url, job.progress) == ("azure", "unknown", None, 0.25)
    assert job.batch is not None
    files = (job.batch.input_file, job.batch.output_file, job.batch.error_file)
    assert files == ("https://acme.blob.core.windows.net/in/a.jsonl", None, None)


def test_a_batch_of_bedrock_has_no_tokens() -> None:
    job = one("bedrock")
    assert (job.model, job.name, job.status) == ("amazon.nova-micro-v1:0", "nightly", Status.SUCCEEDED)
    assert job.created_at == datetime(2026, 11, 27, 5, 0, 0, 123_000, tzinfo=UTC)
    assert job.total_time == HOUR - timedelta(milliseconds=123)
    assert job.batch == Batch(
        endpoint="InvokeModel",
        total=100,
        completed=98,
        failed=2,
        input_file="s3://acme/in.jsonl",
        output_file="s3://acme/out/",
        expires_at=datetime(2026, 11, 28, 5, tzinfo=UTC),
    )


@pytest.mark.parametrize("provider", ["openai", "azure"])
@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("validating", Status.VALIDATING), ("in_progress", Status.RUNNING), ("finalizing", Status.RUNNING),
        ("completed", Status.SUCCEEDED), ("failed", Status.FAILED), ("expired", Status.FAILED),
        ("cancelling", Status.CANCELLING), ("cancelled", Status.CANCELLED), ("canceling", Status.CANCELLING),
        ("canceled", Status.CANCELLED), ("else", Status.UNKNOWN), (None, Status.UNKNOWN), (7, Status.UNKNOWN),
    ],
)  # fmt: skip
def test_every_batch_status_of_openai_is_mapped(provider: str, word: object, status: Status) -> None:
    ends = dict.fromkeys(("completed_at", "failed_at", "expired_at", "cancelled_at"), 1795760000)
    job = one(provider, status=word, **ends)
    assert (job.status, job.finished_at is not None) == (status, status.final)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Submitted", Status.QUEUED), ("Validating", Status.VALIDATING), ("Scheduled", Status.QUEUED),
        ("InProgress", Status.RUNNING), ("Stopping", Status.CANCELLING), ("Completed", Status.SUCCEEDED),
        ("PartiallyCompleted", Status.SUCCEEDED), ("Failed", Status.FAILED), ("Expired", Status.FAILED),
        ("Stopped", Status.CANCELLED), ("Else", Status.UNKNOWN),
    ],
)  # fmt: skip
def test_every_batch_status_of_bedrock_is_mapped(word: str, status: Status) -> None:
    job = one("bedrock", status=word)
    assert (job.status, job.finished_at is not None) == (status, status.final)


def of_openai() -> set[str]:
    return set(get_args(openai.types.Batch.model_fields["status"].annotation))


def of_bedrock() -> set[str]:
    import botocore.session  # noqa: PLC0415 - takes seconds

    model = botocore.session.get_session().get_service_model("bedrock")
    return set(model.shape_for("ModelInvocationJobStatus").enum)


@pytest.mark.parametrize(
    ("table", "enum"),
    [pytest.param(STATUSES, of_openai, id="openai"), pytest.param(BATCH_STATUSES, of_bedrock, id="bedrock")],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_status_of_the_sdk_is_in_the_table(table: dict[str, Status], enum: Callable[[], set[str]]) -> None:
    assert enum() - table.keys() == set()


def errors(**first: object) -> dict[str, Any]:
    return {"object": "list", "data": [first, {"code": "another"}]}


@pytest.mark.parametrize(
    ("told", "message", "cls", "hint"),
    [
        pytest.param(errors(code="invalid_json_line", message="No JSON.", line=3, param="body"), "line 3: No JSON.",
                     FailureClass.FILE, "input file", id="a line of the input"),
        pytest.param(errors(code="empty_file", message="No lines.", line=None), "No lines.",
                     FailureClass.FILE, "input file", id="the input as a whole"),
        pytest.param(errors(code="model_not_found", message="No model.", line=1), "line 1: No model.",
                     FailureClass.SETTINGS, "create a new batch", id="the model"),
        pytest.param(errors(code="token_limit_exceeded", message="Enqueued."), "Enqueued.",
                     FailureClass.QUOTA, "unfinished batches", id="the limit of waiting tokens"),
        pytest.param(errors(line=4), None, FailureClass.UNKNOWN, "console", id="no words"),
        pytest.param({"data": []}, None, FailureClass.UNKNOWN, "console", id="an empty list"),
        pytest.param(None, None, FailureClass.UNKNOWN, "console", id="nothing"),
    ],
)  # fmt: skip
def test_a_batch_that_failed_says_why(told: object, message: str | None, cls: FailureClass, hint: str) -> None:
    error = one(status="failed", errors=told).error
    assert error is not None
    found = triage(error, JobKind.BATCH)
    assert (error.message, found.cls) == (message, cls)
    assert hint in found.hint
    assert one(status="completed", errors=told).error is None, "of others it is not believed"


@pytest.mark.parametrize(("provider", "word"), [("openai", "expired"), ("azure", "expired"), ("bedrock", "Expired")])
def test_a_batch_whose_time_ran_out_says_so(provider: str, word: str) -> None:
    error = one(provider, status=word, errors=None).error
    assert error is not None
    assert (error.code, error.failure, triage(error).retryable) == ("expired", FailureClass.PROVIDER, True)


def test_a_batch_of_bedrock_says_why_it_failed() -> None:
    assert one("bedrock", status="Failed", message="No access.").error == JobError(message="No access.")
    assert one("bedrock", status="InProgress", message="Queued.").error is None


@pytest.mark.parametrize(
    ("over", "tokens"),
    [
        pytest.param({"usage": None}, None, id="not told"),
        pytest.param({"usage": {"input_tokens": 0, "output_tokens": 0}}, None, id="answers that cost nothing"),
        pytest.param({"usage": {"input_tokens": 0, "output_tokens": 0},
                      "request_counts": {"total": 9, "completed": 0, "failed": 9}}, TokenCount(), id="no answers"),
        pytest.param({"usage": {"input_tokens": 5, "output_tokens": 1}}, TokenCount(input=5, output=1), id="no cache"),
        pytest.param({"usage": {"input_tokens": 5, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 9}}},
                     TokenCount(cached_input=5, output=1), id="more from the cache than there are"),
        pytest.param({"usage": {"input_tokens": 5}}, None, id="half of it"),
        pytest.param({"usage": {"input_tokens": -5, "output_tokens": 1}}, None, id="nonsense"),
    ],
)  # fmt: skip
def test_tokens_are_those_reported(over: dict[str, Any], tokens: TokenCount | None) -> None:
    batch = one(**over).batch
    assert batch is not None
    assert batch.tokens == tokens


@pytest.mark.parametrize("counts", [None, {}, {"total": 0, "completed": 0, "failed": 0}, {"total": "x"}, 7])
def test_requests_are_unknown_until_they_are_counted(counts: object) -> None:
    job = one(status="validating", request_counts=counts)
    assert job.batch is not None
    assert (job.batch.total, job.batch.completed, job.batch.failed, job.progress) == (None, None, None, None)


def test_an_invalid_item_does_not_hide_the_others() -> None:
    for provider, key in (("openai", "id"), ("azure", "id"), ("bedrock", "jobArn")):
        good = TOLD[provider]
        page = listed(provider, {**good, key: ""}, None, good, {**good, "created_at": "x", "submitTime": "x"})
        assert len(page.items) == 2
        assert page.skipped == {"bad_id": 1, "not_an_object": 1, "bad_figure": 1}


def test_batches_have_their_own_paths() -> None:
    arn = TOLD["bedrock"]["jobArn"]
    for provider, first, id_, alone in (
        ("openai", "/batches", "batch_1/..", "/batches/batch_1%2F.."),
        ("azure", "/batches", "batch_1", "/batches/batch_1"),
        (
            "bedrock",
            "/model-invocation-jobs",
            arn,
            f"/model-invocation-job/{arn.replace(':', '%3A').replace('/', '%2F')}",
        ),
    ):
        jobs, batches = vendor(provider).jobs
        assert (jobs.kind, batches.kind) == (JobKind.FINE_TUNING, JobKind.BATCH)
        assert (batches.pages.first.path, batches.pages.first.operation) == (first, "list_batches")
        call = batches.one(id_)
        assert (call.request.path, call.request.operation) == (alone, "get_batch")
        assert call.read(response(TOLD[provider])) == one(provider)
        with pytest.raises(NotFound):
            call.read(response({"error": {"message": "no"}}, 404))
        with pytest.raises(Malformed, match="not a batch"):
            call.read(response({}))


@pytest.mark.parametrize("provider", ["openai", "azure", "bedrock"])
@pytest.mark.parametrize(
    ("watch", "kinds"),
    [
        (("fine_tuning",), [JobKind.FINE_TUNING]),
        (("batch",), [JobKind.BATCH]),
        (BOTH, [JobKind.FINE_TUNING, JobKind.BATCH]),
    ],
)
def test_only_watched_kinds_are_listed(provider: str, watch: tuple[str, ...], kinds: list[JobKind]) -> None:
    assert [each.kind for each in vendor(provider, watch).jobs] == kinds


@pytest.mark.parametrize("provider", ["together", "fireworks", "vertex"])
def test_a_provider_without_batches_says_so(provider: str) -> None:
    with pytest.raises(ValidationError, match="no list of batches"):
        vendor(provider)


@pytest.mark.parametrize("provider", ["openai", "azure", "bedrock", "together", "fireworks", "vertex"])
def test_ids_of_jobs_and_batches_cannot_collide(provider: str) -> None:
    """Its id would be that of a batch in the monitor."""
    keys = {"together": "data", "fireworks": "supervisedFineTuningJobs", "vertex": "tuningJobs", "bedrock":
            "modelCustomizationJobSummaries"}  # fmt: skip
    pages = vendor(provider, ("fine_tuning",)).jobs[0].pages
    items = [{"id": id_, "name": f"a/b/{id_}", "jobArn": id_} for id_ in ("batch:1", "1", "Batch:1")]
    page = pages.read(pages.first, response({keys.get(provider, "data"): items}))
    assert [job.id for job in page.items] == ["1", "Batch:1"]
    assert page.skipped["bad_id"] == 1


@pytest.mark.parametrize("type_", ["batch.completed", "batch.failed", "batch.expired", "batch.cancelled"])
@pytest.mark.parametrize(
    ("watch", "job"), [(BOTH, "batch:batch_1"), (("batch",), "batch:batch_1"), (("fine_tuning",), None)]
)
def test_webhooks_hint_at_batches_where_they_are_watched(type_: str, watch: tuple[str, ...], job: str | None) -> None:
    push = vendor(watch=watch, webhook_secret=SECRET).push
    assert push is not None
    body = json.dumps({"id": "evt_1", "type": type_, "data": {"id": "batch_1"}})
    headers = {
        "webhook-id": "wh_1",
        "webhook-timestamp": str(int(AT.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("wh_1", AT, body),
    }
    assert push.verify(headers, body.encode(), (SECRET,), AT).job == job


def test_webhooks_are_registered_for_what_is_watched() -> None:
    push = vendor(watch=("batch",)).push
    assert push is not None
    assert push.endpoints is not None
    body = json.loads(push.endpoints.register("https://monitor.example.com/webhooks/research").request.body)
    assert {type_.partition(".")[0] for type_ in body["event_types"]} == {"batch"}


def test_an_endpoint_without_an_id_is_skipped() -> None:
    push = vendor().push
    assert push is not None
    assert push.endpoints is not None
    pages = push.endpoints.all
    page = pages.read(pages.first, response({"data": [{"url": "https://a.example.com"}, {"id": "we_1", "url": ""}]}))
    assert ([one.id for one in page.items], page.skipped) == (["we_1"], {"bad_id": 1})
