"""The fast paths to a page return the same as the plain way."""

from __future__ import annotations

import json
import tracemalloc
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain.model import Job
from monitor.providers._json import FastPath, Memo, unknown
from monitor.providers.base import Malformed, Page, Request, Response
from monitor.providers.openai.events import parse_event
from monitor.providers.openai.jobs import Origin, parse_job
from monitor.providers.openai.shape import read_page
from monitor.secret import MASK, Redactor
from monitor.source.client import scrubbed

LISTED = Request(operation="list", path="/list", params=(("limit", "100"),))
IDS = st.sampled_from([*(f"ev-{number}" for number in range(6)), "", " odd ", 7, None, "é\u0000"])
ITEMS: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries(
        {"id": IDS},
        optional={
            "created_at": st.sampled_from([1_700_000_000, 0, "x", None, 1.5]),
            "message": st.sampled_from(["Step 3/9: training loss=0.50", "sk-secret-0123456789 leaks", "", 5]),
            "data": st.sampled_from([{"step": 3, "train_loss": 0.5}, {}, None, [1]]),
            "status": st.sampled_from(["running", "succeeded", "odd", None]),
        },
    ),
    st.sampled_from([None, 3, "text", [], [{}]]),
)
PAGES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"data": st.lists(ITEMS, max_size=6)}, optional={"has_more": st.sampled_from([True, False, None, "x"])}
)


def body(page: Any) -> bytes:
    return json.dumps(page).encode()


def read(content: bytes, understand: Any, fast_path: FastPath[Any] | None, **over: Any) -> Page[Any] | str:
    try:
        return read_page(LISTED, Response(status=200, body=content, **over), understand, one=True, fast_path=fast_path)
    except Malformed as error:
        return str(error)


def without(page: Page[Any] | str, known: frozenset[str]) -> Any:
    """The fields of a page without its known items."""
    if isinstance(page, str):
        return page
    return tuple(item for item in page.items if item.id not in known), page.next, page.guessed, page.stuck


@given(PAGES, st.frozensets(st.sampled_from([f"ev-{number}" for number in range(6)]), min_size=1))
@settings(max_examples=60)
def test_new_events_are_parsed_the_same_by_the_fast_path(page: Any, known: frozenset[str]) -> None:
    content, understand = body(page), partial(parse_event, "o", "ftjob-1")
    plain, fast_path = read(content, understand, None), read(content, understand, partial(unknown, known))
    assert without(fast_path, known) == without(plain, known)


@given(st.lists(st.tuples(PAGES, st.booleans()), min_size=2, max_size=4))
@settings(max_examples=60)
def test_a_mostly_cached_page_is_parsed_the_same_as_without_the_cache(pages: Any) -> None:
    memo, of = Memo(Job), partial(parse_job, Origin(org="o", provider="openai"))
    for page, first in pages:
        plain, fast_path = read(body(page), of, None), read(body(page), of, partial(memo.page, first=first))
        assert without(fast_path, frozenset()) == without(plain, frozenset())
        if not isinstance(plain, str) and not isinstance(fast_path, str):
            assert fast_path.skipped == plain.skipped


def test_what_was_on_any_page_of_a_list_is_not_parsed_again_when_the_list_is_read_again() -> None:
    memo, parsed = Memo(Job), list[Any]()

    def of(item: Any) -> Any:
        parsed.append(item["id"])
        return parse_job(Origin(org="o", provider="openai"), item)

    for changed in ("a1", "b2"):
        pages = [[{"id": f"{page}{number}"} for number in range(3)] for page in "ab"]
        for items in pages:
            for item in items:
                item["status"] = "failed" if item["id"] == changed else "running"
            first = items is pages[0]
            read(body({"data": items, "has_more": first}), of, partial(memo.page, first=first))
    assert parsed == ["a0", "a1", "a2", "b0", "b1", "b2", "a1", "b2"], "as their status changed"


def test_a_list_that_is_read_from_where_it_ended_is_remembered_too() -> None:
    memo, parsed = Memo(Job), list[Any]()

    def of(item: Any) -> Any:
        parsed.append(item["id"])
        return parse_job(Origin(org="o", provider="openai"), item)

    request = Request(operation="list_jobs", path="/jobs", params=(("after", "a"),))
    for _ in range(3):
        content = body({"data": [{"id": "b", "status": "running"}], "has_more": False})
        read(content, of, partial(memo.page, request=request, first=False))
    assert parsed == ["b"]


def test_a_new_secret_clears_the_parsed_item_cache() -> None:
    redactor, memo = Redactor(), Memo(Job)
    of = partial(parse_job, Origin(org="o", provider="openai"))
    content = body({"data": [{"id": "a", "status": "running", "suffix": "sk-0123456789abcdef"}], "has_more": False})

    def name() -> str:
        def scrub(value: Any, raw: bytes) -> Any:
            return scrubbed(value, redactor) if redactor.suspects(raw) else value

        page = read(content, of, memo.page, scrub=scrub, secrets=redactor.version)
        assert isinstance(page, Page)
        assert page.scrubbed
        return str(page.items[0].name)

    assert [name(), name()] == ["sk-0123456789abcdef"] * 2
    redactor.add(["sk-0123456789abcdef"])
    assert [name(), name()] == [MASK] * 2


@pytest.mark.parametrize("fast_path", [Memo(Job).page, partial(unknown, frozenset({"a"}))], ids=["memo", "unknown"])
@pytest.mark.parametrize("item", [b"[]", b'{"id":"a"}', b'{"":{}}'])
def test_a_page_of_far_too_many_values_is_refused_before_anything_is_decoded(
    fast_path: FastPath[Any], item: bytes
) -> None:
    content = b'{"data":[' + (item + b",") * 500_000 + item + b"]}"
    tracemalloc.start()
    try:
        answer = read(content, lambda item: "bad_id", fast_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer == "the answer has more than 400000 values"
    assert peak < 1_000_000
