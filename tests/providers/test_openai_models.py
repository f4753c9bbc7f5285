"""OpenAI's list of models, and those of servers that copy the API."""

from __future__ import annotations

import json
from datetime import date

import pytest

from monitor.domain.retirement import ListedModel
from monitor.providers.base import (
    AuthFailed,
    Malformed,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    Response,
    SourceError,
)
from monitor.providers.openai.models import MODELS
from tests.providers.answers import cursor as cursor_of
from tests.providers.answers import left_out, read_models


def answer(*models: object, status: int = 200, **more: object) -> Response:
    return Response(status=status, body=json.dumps({"object": "list", "data": models, **more}).encode())


def test_one_request_asks_for_all_models() -> None:
    asked = MODELS.first
    assert (asked.operation, asked.path, asked.params) == ("list_models", "/models", ())


def test_a_model_has_a_name_and_perhaps_an_end() -> None:
    page = read_models(
        answer({"id": "gpt-4.1", "object": "model", "shutdown_date": "2027-01-14"}, {"id": "gpt-6"}, {"id": None}, 7)
    )
    assert page.items == (ListedModel(id="gpt-4.1", shutdown=date(2027, 1, 14)), ListedModel(id="gpt-6"))
    assert (left_out(page), cursor_of(page)) == (2, None)


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "soon",
        "2027-1-14",
        "2027-02-30",
        "20270114",
        "2027-01-14T00:00:00Z",
        1799884800,
        True,
        {},
        ["x"],
        "0001-01-01",
        "1970-01-01",
        "9999-12-31",
    ],
)
def test_an_invalid_date_is_no_end(said: object) -> None:
    assert read_models(answer({"id": "m", "shutdown_date": said})).items == (ListedModel(id="m"),)


@pytest.mark.parametrize(
    ("response", "following"),
    [
        pytest.param(answer(*({"id": f"m-{n}"} for n in range(500))), None, id="a long list is one page"),
        pytest.param(answer({"id": "m-1"}, has_more=False), None, id="no more"),
        pytest.param(answer({"id": "m-1"}, has_more=True), "m-1", id="more is promised"),
        pytest.param(answer({"id": "m-1"}, has_more="yes"), None, id="nonsense promises nothing"),
        pytest.param(answer({"id": None}, has_more=True), "", id="more, after nothing that has a name"),
        pytest.param(answer(has_more=True), "", id="more, after nothing"),
    ],
)
def test_a_next_page_is_requested_only_if_announced(response: Response, following: str | None) -> None:
    assert cursor_of(read_models(response)) == following


@pytest.mark.parametrize(
    ("response", "error"),
    [
        pytest.param(answer(status=401), AuthFailed, id="the key is refused"),
        pytest.param(answer(status=403), AuthFailed, id="the key may not list models"),
        pytest.param(answer(status=404), NotFound, id="no list"),
        pytest.param(answer(status=405), NotFound, id="no such method"),
        pytest.param(answer(status=501), NotFound, id="not made yet"),
        pytest.param(answer(status=429), RateLimited, id="too many requests"),
        pytest.param(answer(status=503), ProviderUnavailable, id="down"),
        pytest.param(answer(status=302), Malformed, id="a redirect"),
        pytest.param(Response(status=200, body=b"<html>"), Malformed, id="a page of HTML"),
        pytest.param(Response(status=200, body=b"{}"), Malformed, id="no list in it"),
    ],
)
def test_error_statuses_raise_typed_errors(response: Response, error: type[SourceError]) -> None:
    with pytest.raises(error):
        read_models(response)
