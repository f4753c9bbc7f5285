"""The query of the status page: filters, order and pages."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from multidict import MultiDict

from monitor.domain.flow import Tracked
from monitor.domain.model import Basis, Cost, Metrics, Status
from monitor.web.page_query import PageQuery, page_of, parse_page_query
from tests.builders import MINUTE, NOON, job, tracked, trained
from tests.web.site import org, site
from tests.web.test_pages import NASTY, Seen

JOBS = (
    tracked(job("a", name="Support", created_at=NOON)),
    tracked(job("b", Status.FAILED, name="triage", model="gpt-4.1", finished_at=NOON - MINUTE)),
    tracked(trained(job("c", org="search", name="router"), latest=Metrics(step=9, steps=10)), stalled=True),
    tracked(job("d", Status.SUCCEEDED, fine_tuned_model="ft:tone", finished_at=NOON - 2 * MINUTE),
            cost=Cost(basis=Basis.COMPUTED, usd=Decimal(2))),
)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        pytest.param(PageQuery(), "abdc", id="everything, newest first"),
        pytest.param(PageQuery(sort="oldest"), "cdba", id="oldest first"),
        pytest.param(PageQuery(sort="name"), "dcab", id="by name, whatever its case, or id"),
        pytest.param(PageQuery(sort="progress"), "dcab", id="what has gone furthest first"),
        pytest.param(PageQuery(sort="cost"), "dabc", id="the dearest first, unknown costs last"),
        pytest.param(PageQuery(org="search"), "c", id="an organisation"),
        pytest.param(PageQuery(status="failed"), "b", id="a status"),
        pytest.param(PageQuery(status="stalled"), "c", id="what has stalled"),
        pytest.param(PageQuery(model="gpt-4.1"), "b", id="a model"),
        pytest.param(PageQuery(q="SUPPORT"), "a", id="a word in a name"),
        pytest.param(PageQuery(q="ft: tone"), "d", id="all of the words"),
        pytest.param(PageQuery(q="ft: support"), "", id="no job has all of the words"),
        pytest.param(PageQuery(org="search", status="failed"), "", id="filters are added up"),
    ],
)
def test_which_jobs_pass_a_filter(query: PageQuery, ids: str) -> None:
    assert "".join(one.job.id for one in query.chosen(JOBS)) == ids


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        pytest.param({}, PageQuery(), id="nothing"),
        pytest.param(
            {"org": "search", "active": "3"}, PageQuery(org="search", active=3), id="an organisation, third page"
        ),
        pytest.param({"status": "nonsense", "sort": "nonsense"}, PageQuery(), id="what there is not"),
        pytest.param({"active": "-1", "ended": "²"}, PageQuery(), id="what is no number"),
        pytest.param({"active": "99999"}, PageQuery(active=10_000), id="too far"),
        pytest.param({"q": " x " * 500}, PageQuery(q=(" x " * 500)[:200].strip()), id="too long"),
        pytest.param({"q": "a\x1b[31m\u202e"}, PageQuery(q="a[31m"), id="what cannot be seen"),
        pytest.param({"anything": "else"}, PageQuery(), id="a parameter that is not known"),
    ],
)
def test_the_valid_parts_of_a_query_are_used(asked: dict[str, str], query: PageQuery) -> None:
    assert parse_page_query(MultiDict(asked)) == query


def test_urls_contain_only_what_differs_from_the_default() -> None:
    assert PageQuery().address() == "."
    assert PageQuery(org="a b", active=2).address(active=3) == "?org=a+b&active=3"
    assert PageQuery(active=2).address(active=1) == "."


@pytest.mark.parametrize(("asked", "number", "shown"), [(1, 1, 50), (3, 3, 20), (9, 3, 20)])
def test_long_tables_are_paged(asked: int, number: int, shown: int) -> None:
    jobs: list[Tracked] = [tracked(job(f"j{n}")) for n in range(120)]
    page = page_of(PageQuery(active=asked), "active", jobs)
    assert (page.number, len(page.shown), page.pages, page.total) == (number, shown, 3, 120)
    assert (page.before is None, page.after is None) == (number == 1, number == 3)


@pytest.mark.parametrize("nasty", NASTY, ids=lambda text: ascii(text[:30]))
async def test_nasty_names_are_inert_under_every_filter_order_and_page(tmp_path: Path, nasty: str) -> None:
    kept = nasty.replace("\x00", "")
    async with site(tmp_path, org(), notifiers=("chat",)) as here:
        await here.keep(*(tracked(job(f"{kept}{n}", name=nasty, model=nasty)) for n in range(50, 110)), told=("chat",))
        names = ("org", "status", "model", "q", "sort", "active", "fragment")
        values = ("%3Cscript%3E", "%22%3E%3Cimg+src%3Dx%3E%00%E2%80%AE{{7*7}}", "2", "name")
        paths = [f"/?{name}={value}" for name in names for value in values]
        first = Seen((await here.get("/")).text)
        jobs = [value for name, value in first.attributes if name == "href" and value.startswith("jobs/")]
        assert jobs
        for path in [*paths, f"/{jobs[0]}", f"/{jobs[0]}?fragment=1"]:
            answer = await here.get(path)
            assert answer.status == 200, path
            seen = Seen(answer.text)
            assert seen.tags.count("script") == ("fragment" not in path), path
            assert "img" not in seen.tags
            assert not [name for name, _ in seen.attributes if name.startswith("on")]
            assert not [value for name, value in seen.attributes if name == "href" and value.startswith("javascript:")]
            assert "49" not in seen.text
