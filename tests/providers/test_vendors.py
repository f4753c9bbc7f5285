"""The providers besides OpenAI: how answers are parsed, and which requests are made."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from monitor.domain.model import Checkpoint, EventKind, FailureClass, Job, Method, Metrics, Status
from monitor.domain.pricing import Rate, price
from monitor.providers import OrganizationSettings, bedrock, fireworks, together, vertex
from monitor.providers.base import (
    AuthFailed,
    KeyAuth,
    Malformed,
    NotEligible,
    NotFound,
    Outgoing,
    Page,
    Provider,
    ProviderUnavailable,
    RateLimited,
    Response,
    SourceError,
)
from monitor.providers.openai.jobs import STATUSES
from tests.providers.answers import SAMPLES, cursor, read_events, read_jobs, read_models, response

ADAPTER: TypeAdapter[Any] = TypeAdapter(OrganizationSettings)
LEAST: dict[str, dict[str, Any]] = {
    "azure": {"base_url": "https://acme.openai.azure.com/openai/v1", "api_key": "k"},
    "together": {"api_key": "k"},
    "fireworks": {"api_key": "k", "account": "acme"},
    "vertex": {"project": "acme", "locations": ["us-central1"], "token_file": "/t"},
    "bedrock": {"region": "us-east-1", "api_key": "k"},
}
KEYS = {
    "together": "data",
    "fireworks": "supervisedFineTuningJobs",
    "vertex": "tuningJobs",
    "bedrock": "modelCustomizationJobSummaries",
    "azure": "data",
}
AT = datetime(2026, 11, 27, 5, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def vendor(provider: str, **over: Any) -> Provider:
    fields = {"name": "research", "provider": provider, **LEAST[provider], **over}
    found: Provider = ADAPTER.validate_python(
        {key: value for key, value in fields.items() if value is not None}
    ).vendor()
    return found


def sample(provider: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SAMPLES / f"{provider}.json").read_text())
    assert found["source"]
    return found


def listed(provider: str, *items: object, number: int = 0, key: str = "") -> Page[Job]:
    of = vendor(provider)
    pages = of.jobs[number].pages
    return pages.read(pages.first, response({key or KEYS[provider]: list(items)}))


def one(provider: str, item: object, **where: Any) -> Job:
    [found] = listed(provider, item, **where).items
    return found


def test_an_azure_job_has_names_nulls_and_no_cost_where_it_failed() -> None:
    of, told = vendor("azure"), sample("azure")
    [job] = read_jobs(response({"data": [told["job"]]}), of).items
    assert (job.provider, job.base, job.name, job.tuning.result_files) == (
        "azure",
        "gpt-4o-mini-2024-07-18",
        "team",
        (),
    )
    assert (job.status, job.tuning.trained_tokens, job.reported_usd) == (Status.SUCCEEDED, 1_000_000, None)
    base = Rate(models=(job.base,), methods=frozenset(Method), provider="azure", per_million=Decimal(3))
    tiers = (replace(base, tier="developer", per_million=Decimal(1)), replace(base, tier="global"))
    assert price(job, tiers).usd == Decimal(3), "the price is that of its tier"
    [failed] = read_jobs(response({"data": [{**told["job"], "status": "failed"}]}), of).items
    assert failed.reported_usd == 0, "failed jobs are not charged"
    [event] = read_events(response({"data": [told["event"]]}), of=of).items
    assert event.level == "warn"
    [model] = read_models(response({"data": [told["model"]]}), of).items
    assert (model.base, model.shutdown) == ("gpt-4o-mini-2024-07-18", date(2027, 5, 9))


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("created", Status.QUEUED), ("creating", Status.QUEUED), ("pending", Status.QUEUED),
        ("notRunning", Status.QUEUED), ("validating_files", Status.VALIDATING), ("running", Status.RUNNING),
        ("pausing", Status.RUNNING), ("paused", Status.PAUSED), ("resuming", Status.QUEUED),
        ("canceling", Status.CANCELLING), ("cancelling", Status.CANCELLING), ("canceled", Status.CANCELLED),
        ("cancelled", Status.CANCELLED), ("succeeded", Status.SUCCEEDED), ("failed", Status.FAILED),
    ],
)  # fmt: skip
def test_statuses_of_azure_and_of_compatible_servers_are_known(word: str, status: Status) -> None:
    assert STATUSES[word] is status


def test_azure_requests_have_an_api_version_and_its_own_header() -> None:
    dated = vendor("azure", base_url=None, endpoint="https://acme.openai.azure.com", api_version="2025-04-01-preview")
    assert dated.base_url == "https://acme.openai.azure.com/openai"
    assert dated.query == {"api-version": "2025-04-01-preview"}
    asked = Outgoing(method="GET", url=dated.base_url)
    assert dated.auth.headers({"api_key": "k"}, asked, AT) == {"api-key": "k"}
    assert vendor("azure", api_key=None, token_file="/t").auth == KeyAuth(secret="token")


def test_entra_gives_a_token_for_client_credentials() -> None:
    entra = {"tenant_id": "t", "client_id": "c", "client_secret": "s"}
    auth = vendor("azure", api_key=None, entra=entra).auth
    grant = auth.grant({"client_secret": "s"}, AT)
    assert grant is not None
    assert grant.request.path == "https://login.microsoftonline.com/t/oauth2/v2.0/token"
    assert b"scope=https%3A%2F%2Fai.azure.com%2F.default" in grant.request.body
    token = grant.read(response({"access_token": "eyJ", "expires_in": "3599", "token_type": "Bearer"}))
    assert (token.text, token.seconds) == ("eyJ", 3599)
    with pytest.raises(AuthFailed, match="invalid_client"):
        grant.read(response({"error": "invalid_client", "error_description": "AADSTS7000215"}, 401))
    with pytest.raises(Malformed):
        grant.read(response({}))
    with pytest.raises(ProviderUnavailable):
        grant.read(response({}, 503))


@pytest.mark.parametrize(
    ("provider", "item", "expected"),
    [
        (
            "together",
            {"id": "a", "n_epochs": 3, "learning_rate": 1e-5, "training_type": {"type": "Lora", "lora_r": 8}},
            {"n_epochs": "3", "learning_rate": "1e-05", "type": "Lora", "lora_r": "8"},
        ),
        ("fireworks", {"name": "a/b", "baseModel": "m", "epochs": 2, "loraRank": 8}, {"epochs": "2", "loraRank": "8"}),
        ("bedrock", {"jobArn": "a", "hyperParameters": {"epochCount": "2"}}, {"epochCount": "2"}),
        (
            "vertex",
            {"name": "a/b", "supervisedTuningSpec": {"hyperParameters": {"epochCount": "3", "adapterSize": "FOUR"}}},
            {"epochCount": "3", "adapterSize": "FOUR"},
        ),
    ],
)  # fmt: skip
def test_hyperparameters_have_the_vendor_s_names(provider: str, item: dict[str, Any], expected: dict[str, str]) -> None:
    assert one(provider, item).tuning.hyperparameters == expected


def test_a_together_job_has_its_price() -> None:
    told = sample("together")
    job = one("together", told["job"])
    assert (job.status, job.reported_usd, job.tuning.trained_tokens, job.tuning.epochs) == (
        Status.SUCCEEDED, Decimal("0.576"), 1_200_000, 3,
    )  # fmt: skip
    assert job.finished_at == AT + 70 * MINUTE
    assert job.started_at is None, "what is told is the start of the last stage"
    assert job.url == "https://api.together.ai/fine-tuning/ft-3f2b8e6c-4a1d"
    running = one("together", told["running"])
    assert running.started_at == AT + 5 * MINUTE
    assert running.estimated_finish == AT + 65 * MINUTE, "the seconds count from the start of the stage"
    assert running.reported_usd is None


def test_togethers_events_have_hashes_and_any_spelling() -> None:
    page = read_events(response({"data": sample("together")["events"]}), of=vendor("together"))
    assert [(event.id, event.level, event.kind) for event in page.items] == [
        ("a1", "info", EventKind.STARTED),
        ("a2", "warn", EventKind.MESSAGE),
        ("a3", "info", EventKind.CHECKPOINT),
        ("a4", "error", EventKind.MESSAGE),
    ]
    assert [event.metrics for event in page.items] == [
        Metrics(steps=300), Metrics(step=100, steps=300), Metrics(step=100), None,
    ]  # fmt: skip
    named = {**sample("together")["events"][2], "checkpoint_path": "s3://together/ckpt-100"}
    [saved] = read_events(response({"data": [named]}), of=vendor("together")).items
    assert saved.checkpoint == Checkpoint(step=100, name="s3://together/ckpt-100")
    assert page.items[2].checkpoint is None, "it has no name"
    [known, *_] = read_events(response({"data": sample("together")["events"]}), {"a1"}, vendor("together")).items
    assert (known.id, known.message) == ("a1", "")


@pytest.mark.parametrize(
    ("word", "failure"),
    [("error", FailureClass.PROVIDER), ("user_error", FailureClass.FILE), ("cancelled", FailureClass.QUOTA)],
)
def test_who_can_fix_a_failure_at_together(word: str, failure: FailureClass) -> None:
    job = one("together", {"id": "ft-1", "status": word})
    assert job.error is not None
    assert (job.status.final, job.error.failure) == (True, failure)
    assert job.error.message or job.error.hint, "its word alone does not tell a reader what to do"


def test_a_supervised_fireworks_job_has_an_estimate_of_its_cost() -> None:
    job = one("fireworks", sample("fireworks")["supervised"])
    assert (job.id, job.name, job.method, job.status) == ("x7k2p9", "support", Method.SUPERVISED, Status.SUCCEEDED)
    assert (job.reported_usd, job.reported_progress, job.error) == (Decimal("12.34"), 1.0, None)
    assert (job.model, job.tuning.epochs) == ("accounts/fireworks/models/llama-v3p1-8b-instruct", 2)
    assert "0123456789abcdef" not in repr(job)


def test_the_other_fireworks_jobs_have_their_settings_elsewhere() -> None:
    told = sample("fireworks")
    dpo = one("fireworks", told["dpo"], number=1, key="dpoJobs")
    assert (dpo.method, dpo.model, dpo.reported_usd, dpo.reported_progress) == (
        Method.DPO, "accounts/fireworks/models/qwen3-8b", None, None,
    )  # fmt: skip
    failed = one("fireworks", told["reinforcement"], number=2, key="reinforcementFineTuningJobs")
    assert (failed.status, failed.method) == (Status.FAILED, Method.REINFORCEMENT)
    assert failed.error is not None
    assert (failed.error.code, failed.error.failure) == ("INTERNAL", FailureClass.PROVIDER)


@pytest.mark.parametrize(
    ("money", "usd"),
    [
        ({"currencyCode": "USD", "nanos": 500_000_000}, Decimal("0.5")),
        ({"currencyCode": "USD", "units": "3"}, Decimal(3)),
        ({"currencyCode": "USD"}, Decimal(0)),
        ({"currencyCode": "EUR", "units": "3"}, None),
        ({"currencyCode": "USD", "units": "-1", "nanos": -5}, None),
        ({"currencyCode": "USD", "units": "many"}, None),
        (None, None),
    ],
)
def test_money_is_units_and_nanos(money: object, usd: Decimal | None) -> None:
    assert one("fireworks", {**sample("fireworks")["supervised"], "estimatedCost": money}).reported_usd == usd


@pytest.mark.parametrize(
    ("number", "key", "expected"),
    [(0, "supervisedFineTuningJobs", "same"), (1, "dpoJobs", "dpo:same"),
     (2, "reinforcementFineTuningJobs", "reinforcement:same")],
)  # fmt: skip
def test_fireworks_jobs_of_two_lists_may_have_the_same_id_there(number: int, key: str, expected: str) -> None:
    job = one("fireworks", {"name": f"accounts/acme/{key}/same"}, number=number, key=key)
    assert (job.id, job.provider_id, job.url) == (
        expected,
        "same",
        "https://app.fireworks.ai/dashboard/fine-tuning/same",
    )
    of = vendor("fireworks").jobs[number]
    assert of.prefix + "same" == expected
    assert of.one("same").request.path == f"/accounts/acme/{key}/same"


def test_a_fireworks_job_cannot_pass_for_one_of_another_list() -> None:
    pages = vendor("fireworks").jobs[0].pages
    page = pages.read(pages.first, response({"supervisedFineTuningJobs": [{"name": "accounts/acme/x/dpo:same"}]}))
    assert (page.items, page.skipped) == ((), {"bad_id": 1})


def test_the_three_lists_of_fireworks_are_requested_newest_first() -> None:
    firsts = [each.pages.first for each in vendor("fireworks").jobs]
    assert [each.path.rpartition("/")[2] for each in firsts] == list(fireworks.LISTS)
    assert all(("orderBy", "create_time desc") in each.params for each in firsts)


def test_a_vertex_job_is_parsed_from_proto_json() -> None:
    job = one("vertex", sample("vertex")["job"])
    assert (job.id, job.status, job.model, job.method) == (
        "7012345678901234567", Status.SUCCEEDED, "gemini-2.5-flash", Method.SUPERVISED,
    )  # fmt: skip
    assert job.created_at == AT.replace(microsecond=123_000)
    assert (job.tuning.epochs, job.tuning.trained_tokens) == (3, 1_200_000), "billable tokens are those of one epoch"
    assert (job.started_at, job.taken_up_at) == (None, AT + 2 * MINUTE), "waiting for capacity is not running"
    assert (job.training.latest, job.metadata) == (Metrics(step=300, steps=300), {"team": "search"})


def test_tokens_and_epochs_of_a_vertex_job_whose_product_makes_no_sense_are_no_trained_tokens() -> None:
    job = sample("vertex")["job"]
    spec = {"hyperParameters": {"epochCount": str(10**15)}}
    stats = {"supervisedTuningDataStats": {"totalBillableTokenCount": str(10**15)}}
    assert one("vertex", job | {"supervisedTuningSpec": spec, "tuningDataStats": stats}).tuning.trained_tokens is None


def test_a_vertex_job_waiting_for_capacity_is_queued() -> None:
    job = one("vertex", sample("vertex")["waiting"])
    assert (job.status, job.raw_status, job.started_at) == (Status.QUEUED, "WAITING_FOR_CAPACITY", None)
    assert job.method is Method.DPO


def test_a_cancelled_vertex_job_has_an_error_too() -> None:
    job = one("vertex", sample("vertex")["cancelled"])
    assert job.error is not None
    assert (job.status, job.error.code, job.method) == (Status.CANCELLED, "CANCELLED", Method.UNKNOWN)


def test_the_account_is_the_one_that_the_arns_of_bedrocks_jobs_name() -> None:
    pages = vendor("bedrock").jobs[0].pages
    arn = "arn:aws:bedrock:us-east-1:123456789012:model-customization-job/x"
    found = [
        pages.read(pages.first, response({"modelCustomizationJobSummaries": [{"jobArn": id_}]})).account
        for id_ in (arn, "no arn")
    ]
    assert found == ["123456789012", None]


def test_an_empty_list_at_vertex_is_an_empty_object() -> None:
    pages = vendor("vertex").jobs[0].pages
    assert pages.read(pages.first, response({})).items == ()


def test_vertex_has_a_host_for_each_location_except_global() -> None:
    of = vendor("vertex", locations=["us-central1", "global"])
    assert [each.pages.first.path.partition("/v1beta1")[0] for each in of.jobs] == [
        "https://us-central1-aiplatform.googleapis.com",
        "https://aiplatform.googleapis.com",
    ]
    local = vendor("vertex", base_url="http://127.0.0.1:1/vertex")
    assert local.jobs[0].pages.first.path == "/v1beta1/projects/acme/locations/us-central1/tuningJobs"


def test_a_bedrock_job_has_phases_instead_of_a_queue() -> None:
    job = one("bedrock", sample("bedrock")["summary"])
    assert (job.status, job.model, job.name) == (Status.SUCCEEDED, "amazon.nova-micro-v1:0:128k", "support-bot")
    assert (job.started_at, job.finished_at) == (AT + 5 * MINUTE, AT + 60 * MINUTE)
    assert (job.tuning.fine_tuned_model, job.reported_usd) == ("support", None)


@pytest.mark.parametrize(
    ("phases", "status"),
    [
        pytest.param(("InProgress", "NotStarted", "NotStarted"), Status.VALIDATING, id="validation"),
        pytest.param(("Completed", "NotStarted", "NotStarted"), Status.QUEUED, id="between the phases"),
        pytest.param(("Completed", "InProgress", "NotStarted"), Status.QUEUED, id="the data is processed"),
        pytest.param(("Completed", "Completed", "InProgress"), Status.RUNNING, id="training"),
    ],
)
def test_the_queue_at_bedrock_ends_when_training_begins(phases: tuple[str, str, str], status: Status) -> None:
    names = ("validationDetails", "dataProcessingDetails", "trainingDetails")
    details = {name: {"status": phase} for name, phase in zip(names, phases, strict=True)}
    assert one("bedrock", {"jobArn": "a", "status": "InProgress", "statusDetails": details}).status is status


def test_fields_of_the_end_are_ignored_for_a_running_bedrock_job() -> None:
    job = one("bedrock", sample("bedrock")["premature"])
    assert (job.status, job.finished_at, job.error, job.training.latest) == (Status.RUNNING, None, None, Metrics())
    assert job.created_at == AT, "a time without a zone is UTC"


def test_a_bedrock_job_alone_says_why_it_failed() -> None:
    of, told = vendor("bedrock"), sample("bedrock")["details"]
    call = of.jobs[0].one(told["jobArn"])
    assert call.request.path.endswith("%2Fabc123def456")
    job = call.read(response(told))
    assert job.error is not None
    assert (job.error.message, job.tuning.epochs) == ("The training data has an invalid format.", 2)


@pytest.mark.parametrize(
    ("provider", "envelope", "expected"),
    [
        pytest.param("fireworks", {"nextPageToken": "t2"}, "pageToken=t2", id="fireworks"),
        pytest.param("fireworks", {"nextPageToken": ""}, None, id="the end at fireworks"),
        pytest.param("vertex", {"nextPageToken": "a+b/="}, "pageToken=a+b/=", id="vertex"),
        pytest.param("vertex", {}, None, id="the end at vertex"),
        pytest.param("bedrock", {"nextToken": "x"}, "nextToken=x", id="bedrock"),
        pytest.param("bedrock", {}, None, id="the end at bedrock"),
        pytest.param("together", {"has_more": True}, None, id="together has one page"),
    ],
)
def test_a_list_continues_at_its_cursor(provider: str, envelope: dict[str, Any], expected: str | None) -> None:
    pages = vendor(provider).jobs[0].pages
    page = pages.read(pages.first, response({KEYS[provider]: [], **envelope}))
    if expected is None:
        assert (page.next, page.stuck) == (None, False)
    else:
        name, _, token = expected.partition("=")
        assert cursor(page, name) == token


@pytest.mark.parametrize("provider", list(KEYS))
@pytest.mark.parametrize("bad", [None, 7, [], {}, {"id": "", "name": "", "jobArn": ""}, {"id": {}, "name": 7.5}])
def test_an_invalid_item_does_not_hide_the_others(provider: str, bad: object) -> None:
    good = {"id": "ft-1", "name": "a/b/ft-1", "jobArn": "ft-1"}
    page = listed(provider, good, bad, good)
    assert [job.id for job in page.items][:1] == ["ft-1"]
    assert sum(page.skipped.values()) >= (0 if isinstance(bad, dict) and bad.get("name") == 7.5 else 1)


@pytest.mark.parametrize("provider", list(KEYS))
def test_an_unlisted_status_is_unknown(provider: str) -> None:
    told = {"id": "x", "name": "a/x", "jobArn": "x", "status": "Dancing", "state": "JOB_STATE_DANCING"}
    job = one(provider, told)
    assert (job.status, job.raw_status.lower()) == (Status.UNKNOWN, "dancing")


def aws(status: int, kind: str, message: str = "no") -> Response:
    body = json.dumps({"message": message}).encode()
    return Response(status=status, body=body, headers={"x-amzn-errortype": f"{kind}:http://internal.amazon.com/"})


@pytest.mark.parametrize(
    ("provider", "answer", "error"),
    [
        pytest.param("azure", response(sample("azure")["denied"], 401), AuthFailed, id="azure: a wrong key"),
        pytest.param("azure", response(sample("azure")["refusal"], 400), Malformed, id="azure: a bad request"),
        pytest.param("together", response({"error": {"message": "no", "code": "invalid_api_key"}}, 401), AuthFailed,
                     id="together: a wrong key"),
        pytest.param("fireworks", response({"code": 16, "message": "no", "details": []}, 401), AuthFailed,
                     id="fireworks: a wrong key"),
        pytest.param("fireworks", response({"code": 8, "message": "slow down"}, 429), RateLimited,
                     id="fireworks: too fast"),
        pytest.param("vertex", response({"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}}, 403),
                     AuthFailed, id="vertex: no permission"),
        pytest.param("vertex", response({"error": {"code": 429, "message": "q", "status": "RESOURCE_EXHAUSTED"}}, 429),
                     RateLimited, id="vertex: too fast"),
        pytest.param("bedrock", aws(403, "AccessDeniedException"), AuthFailed, id="bedrock: no permission"),
        pytest.param("bedrock", aws(403, "ExpiredTokenException"), AuthFailed, id="bedrock: the session is over"),
        pytest.param("bedrock", aws(400, "ThrottlingException"), RateLimited, id="bedrock: too fast, with 400"),
        pytest.param("bedrock", aws(429, "ThrottlingException"), RateLimited, id="bedrock: too fast"),
        pytest.param("bedrock", aws(400, "ValidationException"), Malformed, id="bedrock: a bad request"),
        pytest.param("bedrock", aws(500, "InternalServerException"), ProviderUnavailable, id="bedrock: down"),
    ],
)  # fmt: skip
def test_an_error_says_who_has_to_act(provider: str, answer: Response, error: type[SourceError]) -> None:
    pages = vendor(provider).jobs[0].pages
    with pytest.raises(error) as caught:
        pages.read(pages.first, answer)
    assert type(caught.value) is error


@pytest.mark.parametrize("provider", list(KEYS))
def test_a_job_that_is_gone_is_not_found(provider: str) -> None:
    with pytest.raises(NotFound):
        vendor(provider).jobs[0].one("x").read(response({"error": {"message": "gone"}}, 404))


def test_a_400_of_moto_can_mean_that_a_job_is_not_found() -> None:
    with pytest.raises(NotFound):
        vendor("bedrock").jobs[0].one("x").read(aws(400, "ResourceNotFoundException"))


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        pytest.param(
            {"error": {"message": "Only premium users can use this endpoint + …", "code": "500"}},
            NotEligible, "no licence", id="LiteLLM without a licence",
        ),
        pytest.param({"error": {"message": "No connected db.", "type": "no_db_connection", "code": "400"}},
                     AuthFailed, "key is refused", id="a key that LiteLLM does not know"),
        pytest.param({"error": {"message": "Authentication Error, Invalid proxy server token passed"}},
                     AuthFailed, "key is refused", id="the same with a database"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 401, 500])
def test_errors_of_gateways_are_classified(body: object, error: type[SourceError], words: str, status: int) -> None:
    with pytest.raises(error, match=words) as caught:
        read_jobs(response(body, status))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            response({"hyperparameters": {}, "created_at": None, "status": "queued"}), id="Portkey invents one"
        ),
        pytest.param(response({"error": {}}, 404), id="404"),
        pytest.param(response({}, 405), id="405"),
        pytest.param(response(b"", 501), id="501"),
    ],
)
def test_a_compatible_server_without_events_has_none(answer: Response) -> None:
    with pytest.raises(NotFound):
        read_events(answer)


@pytest.mark.parametrize("answer", [response({"data": 5}), response(b"<html>", 200)])
def test_an_invalid_event_list_is_not_taken_for_an_empty_one(answer: Response) -> None:
    with pytest.raises(Malformed):
        read_events(answer)


def test_other_names_of_rewards_steps_and_errors_are_known() -> None:
    mantle = {"step": 4, "total_steps": 67, "critic_rewards_mean": 0.4375}
    page = read_events(
        response(
            {
                "data": [
                    {"id": "e1", "message": "Step 4/67: training metrics", "type": "metrics", "data": mantle},
                    {"id": "e2", "level": "error", "message": "The job failed.", "data": {
                        "error_code": "invalid_n_examples", "error_param": "training_file"}},
                ]
            }
        )
    )  # fmt: skip
    assert page.items[0].metrics == Metrics(step=4, steps=67, train_reward=0.4375)
    assert page.items[1].message == "The job failed. (invalid_n_examples, training_file)"
    [job] = read_jobs(response({"data": [{"id": "x", "trained_steps": 30, "total_steps": 120}]})).items
    assert job.progress == 0.25, "Nebius tells the steps in the job"


def words(kind: Any) -> set[str]:
    return {str(word) for word in get_args(kind)}


def of_openai() -> set[str]:
    from openai.types.fine_tuning import FineTuningJob  # noqa: PLC0415 - takes seconds

    return words(FineTuningJob.model_fields["status"].annotation)


def of_fireworks() -> set[str]:
    from fireworks.types.supervised_fine_tuning_job import SupervisedFineTuningJob  # noqa: PLC0415 - takes seconds

    return {
        word.removeprefix("JOB_STATE_")
        for part in get_args(SupervisedFineTuningJob.model_fields["state"].annotation)
        for word in words(part)
    } - {"UNSPECIFIED"}


def of_vertex() -> set[str]:
    from google.genai.types import JobState  # noqa: PLC0415 - takes seconds

    return {state.value.removeprefix("JOB_STATE_") for state in JobState} - {"UNSPECIFIED"}


def of_vertex_details() -> set[str]:
    from google.genai.types import TuningJobState  # noqa: PLC0415 - takes seconds

    return {state.value.removeprefix("TUNING_JOB_STATE_") for state in TuningJobState} - {"UNSPECIFIED"}


def of_bedrock() -> set[str]:
    import botocore.session  # noqa: PLC0415 - takes seconds

    model = botocore.session.get_session().get_service_model("bedrock")
    return set(model.shape_for("ModelCustomizationJobStatus").enum)


def of_together() -> set[str]:
    """The statuses of `together` 3.1.1, lib/types/fine_tuning.py, which is not a dependency of the tests."""
    return {
        "pending", "queued", "running", "compressing", "uploading", "cancel_requested", "cancelled", "error",
        "user_error", "completed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("table", "enum"),
    [
        pytest.param(STATUSES, of_openai, id="openai"),
        pytest.param(together.STATUSES, of_together, id="together"),
        pytest.param(fireworks.STATUSES, of_fireworks, id="fireworks"),
        pytest.param(vertex.STATUSES, of_vertex, id="vertex"),
        pytest.param(vertex.DETAILS, of_vertex_details, id="vertex in detail"),
        pytest.param(bedrock.STATUSES, of_bedrock, id="bedrock"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_status_of_the_sdk_is_in_the_table(table: dict[str, Status], enum: Callable[[], set[str]]) -> None:
    assert enum() - table.keys() == set()


@pytest.mark.parametrize(
    ("provider", "over", "words"),
    [
        pytest.param("azure", {"endpoint": "https://a.b"}, "either base_url", id="azure: two addresses"),
        pytest.param("azure", {"base_url": None, "endpoint": "https://a.b"}, "belong together", id="azure: no version"),
        pytest.param("azure", {"api_key": None}, "one of api_key, entra", id="azure: no credentials"),
        pytest.param("azure", {"token_file": "/t"}, "one of api_key, entra", id="azure: two of them"),
        pytest.param("vertex", {"token_file": None}, "one of credentials_file", id="vertex: no credentials"),
        pytest.param("vertex", {"metadata": True}, "one of credentials_file", id="vertex: two of them"),
        pytest.param("vertex", {"locations": ["../x"]}, "a location is a name", id="vertex: no location"),
        pytest.param("bedrock", {"api_key": None}, "give api_key", id="bedrock: no credentials"),
        pytest.param("bedrock", {"access_key_id": "a"}, "give api_key", id="bedrock: half of another"),
        pytest.param("fireworks", {"account": None}, "required", id="fireworks: no account"),
    ],
)
def test_settings_that_exclude_each_other_are_explained(provider: str, over: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=f"(?i){words}"):
        vendor(provider, **over)


@pytest.mark.parametrize("provider", list(LEAST))
def test_settings_never_show_a_secret(provider: str) -> None:
    fields = {**LEAST[provider], **({"api_key": "verysecret"} if "api_key" in LEAST[provider] else {})}
    found = ADAPTER.validate_python(
        {"name": "research", "provider": provider, **fields, "query": {"sig": "verysecret"}}
    )
    assert "verysecret" not in repr(found)
