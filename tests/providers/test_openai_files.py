"""OpenAI's files: their length and content, and errors."""

from __future__ import annotations

import pytest

from monitor.providers.base import AuthFailed, Malformed, NotFound, ProviderUnavailable, Request, Response, SourceError
from monitor.providers.openai.calls import FILES
from tests.providers.answers import response

FILE = {"id": "file-1", "object": "file", "bytes": 120_000, "filename": "examples.jsonl", "purpose": "fine-tune"}


def test_files_are_requested_by_id() -> None:
    assert FILES.length("file-1").request == Request(operation="get_file", path="/files/file-1")
    assert FILES.content("a/b c?").request == Request(operation="get_content", path="/files/a%2Fb%20c%3F/content")
    assert FILES.length("../x").request.path == "/files/..%2Fx"


def test_a_file_has_a_length() -> None:
    assert FILES.length("file-1").read(response(FILE)) == 120_000


@pytest.mark.parametrize("length", [None, 0, -1, "many", True, 1.5, [], 10**16])
def test_a_file_without_a_length_is_malformed(length: object) -> None:
    with pytest.raises(Malformed, match="the answer is not a file: it has no length"):
        FILES.length("file-1").read(response({**FILE, "bytes": length}))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{"])
def test_a_file_that_is_not_an_object_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        FILES.length("file-1").read(response(body))


@pytest.mark.parametrize("body", [b'{"messages": []}\n', b"", b"\xff\x00", b"<html>"])
def test_file_content_is_returned_unchanged(body: bytes) -> None:
    assert FILES.content("file-1").read(Response(status=200, body=body)) == body


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (301, Malformed, "301: redirect refused; is base_url right?"),
        (401, AuthFailed, "401: the key is refused"),
        (403, AuthFailed, "403: the key may not do this"),
        (404, NotFound, "404: no such file"),
        (410, NotFound, "410: no such file"),
        (500, ProviderUnavailable, "500: the server failed"),
    ],
)
def test_an_error_status_is_raised(status: int, kind: type[SourceError], said: str) -> None:
    for read in (FILES.length("file-1").read, FILES.content("file-1").read):
        with pytest.raises(SourceError) as caught:
            read(Response(status=status))
        assert type(caught.value) is kind
        assert str(caught.value) == said
