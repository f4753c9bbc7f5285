"""Requests and error texts, character by character, since people and metrics read them."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import pytest

from monitor.domain.model import FineTuning, Job, JobError, JobEvent, Method, Status
from monitor.providers.base import (
    AuthFailed,
    Malformed,
    NotEligible,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    Request,
    SourceError,
)
from monitor.providers.openai.calls import events as _events
from tests.providers.answers import (
    CREATED,
    OPENAI,
    event,
    events,
    job,
    jobs,
    left_out,
    read_job,
    read_jobs,
    response,
)

AT = datetime.fromtimestamp(CREATED, UTC)


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (
            lambda: OPENAI.jobs[0].pages.first,
            Request(operation="list_jobs", path="/fine_tuning/jobs", params=(("limit", "100"),)),
        ),
        (
            lambda: OPENAI.jobs[0].pages.first.following(after="ftjob-9"),
            Request(operation="list_jobs", path="/fine_tuning/jobs", params=(("limit", "100"), ("after", "ftjob-9"))),
        ),
        (lambda: OPENAI.jobs[0].one("a/b c").request, Request(operation="get_job", path="/fine_tuning/jobs/a%2Fb%20c")),
        (
            lambda: _events("research", "a/b").first.following(after="ev?1"),
            Request(
                operation="list_events",
                path="/fine_tuning/jobs/a%2Fb/events",
                params=(("limit", "100"), ("after", "ev?1")),
            ),
        ),
    ],
    ids=lambda value: value.operation if isinstance(value, Request) else None,
)
def test_it_asks(ask: Callable[[], Request], expected: Request) -> None:
    assert ask() == expected


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "the answer is empty"),
        (b" \r\n ", "the answer is empty"),
        (b" <!doctype html>", "the answer is HTML, not JSON"),
        (b'{"data": [', "the answer is not complete JSON"),
        (b"null", "the answer is not an object"),
        (b"{}", "the answer is not a list: it has no `data`"),
        (b"[" * 200_000, "the answer is nested too deeply"),
        (b'{"data": NaN, "x": ' + b"[" * 200_000, "the answer is nested too deeply"),
        (b'{"data":[' + b"1," * 10_000 + b"1]}", "the page has more than 10000 items"),
        (b'{"data":[' + b"1," * 400_001 + b"1]}", "the answer has more than 400000 values"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:12].decode(),
)
def test_an_invalid_response_is_explained(body: bytes, text: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_jobs(response(body))
    assert str(caught.value) == text


def test_a_page_may_have_as_many_items_as_the_bound() -> None:
    assert left_out(read_jobs(response(b'{"data":[' + b"1," * 9_999 + b"1]}"))) == 10_000


def test_what_is_no_job_says_so() -> None:
    with pytest.raises(Malformed, match=r"^the answer is not a job: it has no usable id$"):
        read_job(response({"id": ""}))


@pytest.mark.parametrize(
    ("status", "code", "one", "kind", "text"),
    [
        (301, "", False, Malformed, "301: redirect refused; is base_url right?"),
        (399, "", False, Malformed, "399: redirect refused; is base_url right?"),
        (400, "", False, Malformed, "400: the request is refused"),
        (401, "x", False, AuthFailed, "401: the key is refused (x)"),
        (402, "", False, NotEligible, "402: payment is required"),
        (403, "", False, AuthFailed, "403: the key may not do this"),
        (
            403,
            "training_not_available",
            False,
            NotEligible,
            (
                "403: this organisation may not create fine-tuning jobs any more, and from 2027-01-06 on nobody may; "
                "its jobs and models can still be read (training_not_available)"
            ),
        ),
        (
            403,
            "unsupported_country_region_territory",
            False,
            NotEligible,
            "403: fine-tuning is not open to this organisation's country (unsupported_country_region_territory)",
        ),
        (404, "", False, Malformed, "404: there is no job list here; is base_url right?"),
        (410, "", False, Malformed, "410: there is no job list here; is base_url right?"),
        (404, "", True, NotFound, "404: no such job"),
        (410, "", True, NotFound, "410: no such job"),
        (408, "", False, ProviderUnavailable, "408: the server timed out waiting for the request"),
        (409, "", False, ProviderUnavailable, "409: the server reports a conflict"),
        (411, "", True, Malformed, "411: the request is refused"),
        (429, "", False, RateLimited, "429: too many requests"),
        (429, "insufficient_quota", False, NotEligible, "429: the quota is spent (insufficient_quota)"),
        (499, "", False, Malformed, "499: the request is refused"),
        (500, "", False, ProviderUnavailable, "500: the server failed"),
        (599, "", True, ProviderUnavailable, "599: the server failed"),
    ],
)
def test_a_refusal_says(status: int, code: str, one: bool, kind: type[SourceError], text: str) -> None:
    answer = response({"error": {"code": code}}, status)
    with pytest.raises(SourceError) as caught:
        read_job(answer) if one else read_jobs(answer)
    assert type(caught.value) is kind
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"error": {"message": "m", "code": "c", "type": "t"}}, "c t: m"),
        ({"error": {"message": "m", "code": "c"}}, "c: m"),
        ({"error": {"message": "m", "type": "t"}}, "t: m"),
        ({"error": {"message": "m"}}, "m"),
        ({"error": "words"}, "words"),
        ({"message": "words"}, "words"),
        ({"detail": "words"}, "words"),
        ({"error": {"code": "c" * 65}}, "c" * 63 + "…"),
    ],
)
def test_an_error_quotes_the_server(body: object, detail: str) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        read_jobs(response(body, 500))
    assert str(caught.value) == f"500: the server failed ({detail})"


def test_a_long_server_message_is_truncated() -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        read_jobs(response({"error": {"message": "m" * 9999}}, 500))
    assert len(str(caught.value)) == 300
    assert str(caught.value).endswith("m…")


def test_every_field_of_a_job_is_read() -> None:
    assert job(
        model="gpt-4o-mini-2024-07-18",
        method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 3}}},
        status="failed",
        user_provided_suffix="bot",
        fine_tuned_model="ft:x",
        finished_at=CREATED + 9,
        estimated_finish=CREATED + 5,
        trained_tokens=7,
        training_file="file-1",
        validation_file="file-2",
        result_files=["file-3"],
        error={"code": "c", "message": "m", "param": "p"},
        metadata={"env": "prod"},
    ) == Job(
        org="research",
        id="ftjob-1",
        provider="openai",
        model="gpt-4o-mini-2024-07-18",
        method=Method.DPO,
        status=Status.FAILED,
        raw_status="failed",
        name="bot",
        created_at=AT,
        finished_at=datetime.fromtimestamp(CREATED + 9, UTC),
        estimated_finish=datetime.fromtimestamp(CREATED + 5, UTC),
        error=JobError(code="c", message="m", param="p"),
        metadata={"env": "prod"},
        url="https://platform.openai.com/finetune/ftjob-1",
        tuning=FineTuning(
            fine_tuned_model="ft:x",
            trained_tokens=7,
            epochs=3,
            training_file="file-1",
            validation_file="file-2",
            result_files=("file-3",),
        ),
    )


def test_a_job_with_only_an_id() -> None:
    (found,) = jobs({"id": 7}).items
    assert found == Job(
        org="research",
        id="7",
        provider="openai",
        model="unknown",
        method=Method.SUPERVISED,
        status=Status.UNKNOWN,
        url="https://platform.openai.com/finetune/7",
    )


@pytest.mark.parametrize(
    ("field", "read", "limit"),
    [
        ("model", lambda one: one.model, 256),
        ("fine_tuned_model", lambda one: one.tuning.fine_tuned_model, 256),
        ("user_provided_suffix", lambda one: one.name, 128),
        ("training_file", lambda one: one.tuning.training_file, 256),
        ("validation_file", lambda one: one.tuning.validation_file, 256),
        ("status", lambda one: one.raw_status, 64),
    ],
)
def test_a_text_that_is_too_long_is_truncated(field: str, read: Any, limit: int) -> None:
    assert read(job(**{field: "x" * limit})) == "x" * limit
    assert read(job(**{field: "x" * (limit + 1)})) == "x" * (limit - 1) + "…"


def test_an_event_without_an_id_is_identified_by_its_content() -> None:
    told: list[dict[str, Any]] = [
        {},
        {"created_at": CREATED + 1},
        {"type": "moderation_checks"},
        {"message": "other"},
        {"data": {"step": 1}},
    ]
    ids = [event(**{"id": None, **one}).id for one in told]
    assert all(one != other for one, other in combinations(ids, 2))
    assert ids == [event(**{"id": None, **one}).id for one in told]
    assert all(id_.startswith("content-") and len(id_) == 40 for id_ in ids)


def test_an_event_with_few_fields() -> None:
    assert left_out(events({})) == 1
    assert left_out(events({"message": "x"}, {"created_at": CREATED}, {"id": "e"})) == 0
    assert events({"id": "e"}).items == (
        JobEvent(org="research", job="ftjob-1", id="e", at=None, level="info", message=""),
    )
