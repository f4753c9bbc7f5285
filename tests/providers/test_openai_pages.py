"""OpenAI's pages of jobs: pagination, and which irregularities are tolerated."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.providers.base import Malformed, SourceError
from monitor.providers.openai import provider
from monitor.providers.openai.calls import events
from tests.providers.answers import OPENAI, SAMPLES, left_out, page_of, read_job, read_jobs, response
from tests.providers.answers import cursor as cursor_of
from tests.providers.answers import jobs as listed


def test_the_cursor_of_the_official_page_is_its_last_job() -> None:
    page = read_jobs(response((SAMPLES / "listPaginatedFineTuningJobs.json").read_bytes()))
    assert ([job.id for job in page.items], cursor_of(page), left_out(page)) == (["ftjob-abc123"], "ftjob-abc123", 0)


@pytest.mark.parametrize("bad", [None, "ftjob-2", 7, [], {}, {"id": None}, {"id": ""}, {"id": True}, {"id": {}}])
def test_an_invalid_item_is_counted_and_the_others_are_kept(bad: object) -> None:
    page = listed({"id": "ftjob-1"}, bad, {"id": "ftjob-3"})
    assert ([job.id for job in page.items], left_out(page)) == (["ftjob-1", "ftjob-3"], 1)


@pytest.mark.parametrize("odd", ["..", ".", "x" * 257, "a\x00b", "a\nb", " a", "a\ud800"])
def test_an_id_that_cannot_be_kept_unchanged_is_invalid(odd: str) -> None:
    assert left_out(listed({"id": odd})) == 1


def test_a_numeric_id_becomes_text() -> None:
    assert listed({"id": 42}).items[0].id == "42"


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.openai.com/v1", "https://platform.openai.com/finetune/ftjob-1"),
        ("https://eu.api.openai.com/v1", "https://platform.openai.com/finetune/ftjob-1"),
        ("https://api.openai.com.evil.example/v1", None),
        ("http://127.0.0.1:8000/v1", None),
    ],
)
def test_only_openais_own_jobs_have_a_page_there(base_url: str, url: str | None) -> None:
    page = read_jobs(page_of({"id": "ftjob-1"}), provider("research", base_url))
    assert page.items[0].url == url


def test_an_odd_id_is_quoted_in_links_and_paths() -> None:
    assert (
        listed({"id": '../a b?"<x>#/é'}).items[0].url
        == "https://platform.openai.com/finetune/..%2Fa%20b%3F%22%3Cx%3E%23%2F%C3%A9"
    )
    assert OPENAI.jobs[0].one("../x").request.path == "/fine_tuning/jobs/..%2Fx"
    assert events("research", "a/b?c").first.path == "/fine_tuning/jobs/a%2Fb%3Fc/events"


FULL = [{"id": n + 1} for n in range(100)]


@pytest.mark.parametrize(
    ("page", "cursor"),
    [
        pytest.param({"data": [{"id": "a"}, {"id": "b"}], "has_more": True}, "b", id="the last id"),
        pytest.param({"data": [{"id": "a"}], "has_more": False}, None, id="the end"),
        pytest.param({"data": FULL, "has_more": False}, None, id="the end on a full page"),
        pytest.param({"data": FULL}, "100", id="has_more is missing, the page is full"),
        pytest.param({"data": FULL[:-1]}, None, id="has_more is missing, the page is not full"),
        pytest.param({"data": FULL, "has_more": "yes"}, "100", id="has_more is nonsense, the page is full"),
        pytest.param({"data": [{"id": "a"}, None, "x"], "has_more": True}, "a", id="bad items at the end"),
        pytest.param({"data": [{"id": "a"}, {"id": ".."}], "has_more": True}, "..", id="a cursor needs not be an id"),
        pytest.param({"data": [], "has_more": True}, "", id="more is promised, and no way to get it"),
        pytest.param({"data": [{"id": None}], "has_more": True}, "", id="no id to go on with"),
        pytest.param({"data": [], "has_more": False}, None, id="nothing"),
        pytest.param({"data": []}, None, id="nothing, without has_more"),
    ],
)
def test_a_page_has_the_cursor_of_the_next(page: object, cursor: str | None) -> None:
    assert cursor_of(read_jobs(response(page))) == cursor


def test_the_next_page_is_requested_with_the_cursor() -> None:
    first = OPENAI.jobs[0].pages.first
    assert first.params == (("limit", "100"),)
    page = read_jobs(
        response({"data": [{"id": "ftjob-9"}], "has_more": True}), request=first.following(after="ftjob-8")
    )
    assert page.next is not None
    assert page.next.params == (("limit", "100"), ("after", "ftjob-9"))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"   ", id="white space"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a bare list"),
        pytest.param(b'"x"', id="a text"),
        pytest.param(b"{}", id="an empty object"),
        pytest.param(b'{"data": null, "has_more": false}', id="null as data"),
        pytest.param(b'{"data": {}}', id="an object as data"),
        pytest.param(b"<!doctype html><title>Sign in</title>", id="HTML"),
        pytest.param(b'{"data": [{"id": "ftjob-1"', id="truncated"),
        pytest.param(b'{"data": [{"id": "\xff\xfe"}]}', id="bad UTF-8"),
        pytest.param(b"[" * 100_000, id="100 000 levels"),
        pytest.param(b'{"data":' * 100_000, id="100 000 objects deep"),
        pytest.param(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b',"data":[]}', id="deep in a field nobody reads"),
        pytest.param(b'{"data": [' + b"{}," * 10_000 + b"{}]}", id="10 001 items"),
        pytest.param(b'{"data": [], "x": [' + b"0," * 500_000 + b"0]}", id="half a million values"),
        pytest.param(b"\x00" * 100, id="zeros"),
    ],
)
def test_an_invalid_page_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        read_jobs(response(body))
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'\xef\xbb\xbf{"data": [{"id": "ftjob-1"}]}', id="a byte order mark"),
        pytest.param('{"data": [{"id": "ftjob-1"}]}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"data": [{"id": "ftjob-1", "trained_tokens": NaN}]}', id="NaN"),
        pytest.param(b'{"data": [{"id": "ftjob-1", "created_at": 1e9999}]}', id="infinity"),
        pytest.param(b'{"data": [{"id": "ftjob-1", "seed": ' + b"9" * 5_000 + b"}]}", id="5000 digits"),
        pytest.param(b'{"data": [{"id": "x", "id": "ftjob-1"}]}', id="a key twice"),
        pytest.param(b'{"data": [{"id": "ftjob-1", "model": "\\ud800"}]}', id="half a character"),
        pytest.param(b'{"data": [{"id": "ftjob-1"}]}\n\n', id="white space behind"),
    ],
)
def test_harmless_deviations_of_a_page_are_tolerated(body: bytes) -> None:
    (job,) = read_jobs(response(body)).items
    assert (job.id, job.tuning.trained_tokens, job.created_at) == ("ftjob-1", None, None)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id": null}', b'{"id": ".."}'])
def test_an_invalid_job_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_job(response(body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["id", "status", "created_at", "model", "error", "method", "hyperparameters", "metadata"])


@given(items=st.lists(st.dictionaries(FIELDS, JSON, max_size=8) | JSON, max_size=4))
def test_every_item_of_a_page_is_parsed_or_counted(items: list[object]) -> None:
    page = listed(*items)
    assert len(page.items) + left_out(page) == len(items)
    for job in page.items:
        assert len(job.id) <= 256
        assert all(letter >= " " for letter in job.raw_status + job.model + (job.name or ""))


@given(body=st.binary(max_size=200))
def test_any_bytes_raise_nothing_but_a_source_error(body: bytes) -> None:
    with contextlib.suppress(SourceError):
        read_jobs(response(body))


def test_a_response_for_another_job_is_rejected() -> None:
    ours = provider("research", "https://api.openai.com/v1", organization="org-ours")
    mine = response({"id": "ftjob-1", "status": "running", "organization_id": "org-ours"})
    assert read_job(mine, ours).id == "ftjob-1"
    theirs = response({"id": "ftjob-1", "status": "running", "organization_id": "org-theirs"})
    with pytest.raises(Malformed, match="the answer is a job of another organisation"):
        read_job(theirs, ours)


def test_parsed_items_are_cached_until_they_change() -> None:
    of = provider("research", "https://api.openai.com/v1")
    items = [{"id": f"ftjob-{n}", "status": "running", "trained_tokens": "many"} for n in range(5)]
    first = read_jobs(page_of(*items), of)
    items[2] = {**items[2], "status": "failed"}
    second = read_jobs(page_of(*items), of)
    assert [job.status.value for job in second.items] == ["running", "running", "failed", "running", "running"]
    assert (first.skipped, second.skipped) == ({"bad_figure": 5}, {"bad_figure": 5})
    assert [one is other for one, other in zip(first.items, second.items, strict=True)] == [
        True,
        True,
        False,
        True,
        True,
    ]
    assert left_out(read_jobs(page_of(*items, 7, {"no": "id"}, items[0]), of)) == 2


def test_a_page_that_is_not_strict_json_is_parsed_without_the_cache() -> None:
    of = provider("research", "https://api.openai.com/v1")
    odd = b'{"data": [{"id": "ftjob-1", "trained_tokens": NaN}], "has_more": true}'
    assert [job.id for job in read_jobs(response(odd), of).items] == ["ftjob-1"]
    for body in (b"{}", b'{"data": {}}', b'{"data": [{"id": "\xff"}]}'):
        with pytest.raises(Malformed):
            read_jobs(response(body), of)
