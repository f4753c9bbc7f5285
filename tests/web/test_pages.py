"""The status page, scrapes and health checks over HTTP."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import gzip
import hashlib
import re
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from monitor.domain.flow import GONE_AFTER, Reason, Tracked, Trouble
from monitor.domain.model import Basis, Cost, JobError, Metrics, Status, TrainingSize
from monitor.domain.snapshot import WatchState
from monitor.web.job_rows import https
from monitor.web.query import accepts_gzip
from monitor.web.style import POLICY
from tests.builders import DAY, HOUR, MINUTE, NOON, SECOND, event, job, tracked, trained
from tests.metrics.scrapes import OPENMETRICS, of, series
from tests.web.site import org, site

NASTY = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{ 7 * 7 }}",
    "</title></style><script>alert(1)</script>",
    "\u202egnp.exe",
    "a\x00b\x1b[31m",
    "&lt;b&gt;",
    "x" * 5000,
    "<!--",
    "]]>",
)


TABLES = {"table", "thead", "tbody", "tr", "th", "td"}
ADDED = TABLES | {"q", "svg", "rect", "details", "summary", "i"}
"""The elements that only a page with jobs has."""


class Seen(HTMLParser):
    """A page as a browser parses it: elements, attributes and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the element and its attributes."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        """Record the text unless it is blank."""
        if self.tags[-1:] not in (["script"], ["style"]):
            self.words.append(data)

    @property
    def text(self) -> str:
        """The words with single spaces."""
        return " ".join(" ".join(self.words).split())


async def test_the_page_shows_jobs_and_organisations(tmp_path: Path) -> None:
    latest = Metrics(step=171, steps=400)
    failed = job(
        id="ftjob-9",
        name="faq",
        status=Status.FAILED,
        started_at=NOON - HOUR,
        finished_at=NOON - MINUTE,
        url="https://platform.openai.com/finetune/ftjob-9",
        error=JobError(code="server_error", message="It broke."),
    )
    trouble = Trouble(reason=Reason.AUTH, text="The key is refused.")
    async with site(tmp_path, org(), org("search", up=False, trouble=trouble), notifiers=("chat", "hook")) as here:
        await here.keep(
            tracked(trained(job(name="support"), latest=latest), stalled=True),
            tracked(failed, cost=Cost(basis=Basis.COMPUTED, usd=Decimal("2.4"))),
            told=("chat",),
        )
        answer = await here.get("/")
    seen = Seen(answer.text)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    for words in (
        "Organisations failing, 1 of 2: search",
        "The key is refused.",
        "support",
        "running stalled",
        "43% step 171 of 400",
        "59m $2.40",
        "It broke.",
        "The provider failed, not your data",
        "12s ago",
        "in 18s",
        "chat 2 0s ago in use",
        "hook 0 – in use",
    ):
        assert words in seen.text
    assert ("href", "https://platform.openai.com/finetune/ftjob-9") in seen.attributes
    assert ("href", "metrics") in seen.attributes


async def test_the_page_says_which_notifiers_reach_nobody(tmp_path: Path) -> None:
    async with site(tmp_path, org(), notifiers=("chat", "hook")) as here:
        await here.keep(tracked(job()), told=("gone",))
        here.process.set_suspended("chat", suspended=True)
        refused = Seen((await here.get("/")).text).text
        here.process.set_suspended("chat", suspended=False)
        mended = Seen((await here.get("/")).text).text
    assert "Delivery to chat is suspended: the receiver rejects messages. They are kept" in refused
    assert "chat 0 – suspended the receiver rejects messages; probed after a minute" in refused
    assert "gone 1 0s ago not configured" in refused
    assert "chat 0 – in use" in mended
    assert "suspended" not in mended


async def test_the_page_says_how_many_organisations_the_timeline_omits(tmp_path: Path) -> None:
    names = [f"org-{number:02}" for number in range(21)]
    async with site(tmp_path, *(org(name) for name in names)) as here:
        for name in names:
            await here.keep(tracked(job(org=name, created_at=NOON - MINUTE)))
        answer = Seen((await here.get("/")).text).text
    assert "And 1 more organisation: choose one above to see its lane" in answer


@pytest.mark.parametrize(("beyond", "end"), [(0, "x"), (1, "…")])
async def test_a_truncated_message_is_marked(tmp_path: Path, beyond: int, end: str) -> None:
    failed = job(status=Status.FAILED, error=JobError(code="invalid_file", message="x" * (300 + beyond)))
    async with site(tmp_path, org()) as here:
        await here.keep(tracked(failed), events=(event("ev-1", message="x" * (500 + beyond)),))
        status, process = [Seen((await here.get(path)).text) for path in ("/", "/jobs/research/ftjob-1")]
    assert "x" * 299 + end in status.words
    assert "x" * 299 + end in process.words
    assert "x" * 499 + end in process.words


@pytest.mark.parametrize(
    ("path", "status"), [("/jobs/research/nobody", 404), ("/jobs/research/nobody?fragment=1", 200)]
)
async def test_an_unknown_job_has_a_404_page_with_a_link_back(tmp_path: Path, path: str, status: int) -> None:
    async with site(tmp_path) as here:
        answer = await here.get(path)
    seen = Seen(answer.text)
    assert (answer.status, answer.headers["Content-Security-Policy"]) == (status, POLICY)
    assert "No such job" in seen.text
    assert "research / nobody" in seen.text
    assert ("href", "../../.") in seen.attributes
    assert ("<!doctype html>" in answer.text) is (status == 404)


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        pytest.param({}, "ok · 0 active polled every 30s", id="a moment ago"),
        pytest.param(
            {"last_success": NOON - timedelta(seconds=85), "next_poll_at": NOON - timedelta(seconds=56)},
            "polled every 30s",
            id="as often as before, though the last of it is stored",
        ),
        pytest.param(
            {"last_success": NOON - 5 * MINUTE, "next_poll_at": NOON - 4.5 * MINUTE},
            "last reached 5m ago , next poll soon",
            id="nobody has said so for long",
        ),
        pytest.param(
            {"up": False, "last_success": NOON - 9 * MINUTE}, "last reached 9m ago , next poll in 18s", id="in trouble"
        ),
        pytest.param(
            {"up": False, "last_success": None}, "never reached, next poll in 18s", id="in trouble from the first"
        ),
    ],
)
async def test_how_fresh_an_organisation_is(tmp_path: Path, over: dict[str, Any], expected: str) -> None:
    async with site(tmp_path, org(**over)) as here:
        assert expected in Seen((await here.get("/")).text).text


async def test_an_empty_monitor_has_a_page_too(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        seen = Seen((await here.get("/")).text)
    for words in ("not polled yet", "No job is active.", "No job has finished in the last 24 h.", "No notifier is"):
        assert words in seen.text


@pytest.mark.parametrize("nasty", NASTY, ids=lambda text: ascii(text[:30]))
async def test_nasty_names_are_inert_on_the_page(tmp_path: Path, nasty: str) -> None:
    error = JobError(code=nasty, message=nasty, param=nasty)
    mine: dict[str, Any] = {
        "name": nasty,
        "model": nasty,
        "url": nasty,
        "error": error,
        "provider": nasty,
        "fine_tuned_model": nasty,
    }
    kept = nasty.replace("\x00", "")  # PostgreSQL's text, and the borders, know no NUL
    trouble = Trouble(reason=Reason.AUTH, text=nasty)
    hostile = org(provider=nasty, labels={"team": nasty}, up=False, trouble=trouble)
    async with site(tmp_path, hostile, notifiers=(nasty,)) as here:
        plain = Seen((await here.get("/")).text)
        await here.keep(tracked(job(id=kept, **mine)), tracked(job(id=f"{kept}-2", status=Status.FAILED, **mine)))
        answer = await here.get("/")
    seen = Seen(answer.text)
    assert seen.tags.count("script") == 1, "our own"
    assert "img" not in seen.tags
    assert set(seen.tags) - set(plain.tags) <= ADDED
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert not [value for name, value in seen.attributes if name == "href" and value.startswith("javascript:")]
    assert "49" not in seen.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", answer.text)
    assert len(answer.body) < 60_000


def past(number: int, **over: Any) -> Tracked:
    """A job that succeeded this many days ago."""
    at = NOON - number * DAY
    fields = {"name": f"past-{number}", "created_at": at - HOUR, "finished_at": at, **over}
    return tracked(job(f"ftjob-past-{number}", Status.SUCCEEDED, **fields))


async def test_jobs_of_long_ago_are_listed_page_by_page(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(tracked(job()), *(past(number) for number in range(2, 42)))
        shown, path = [], "/"
        while path:
            answer = Seen((await here.get(path)).text)
            shown.append(re.findall(r"past-\d+(?= )", " ".join(dict.fromkeys(answer.words))))
            links = [value for name, value in answer.attributes if name == "href" and "older=" in value]
            path = f"/{links[-1]}" if links and len(shown) < 5 else ""
    assert [len(dict.fromkeys(page)) for page in shown] == [15, 15, 10]
    assert [name for page in shown for name in dict.fromkeys(page)] == [f"past-{number}" for number in range(2, 42)]


@pytest.mark.parametrize("asked", ["q=past-20", "q=ftjob-past-20&status=succeeded", "model=odd"])
async def test_a_search_reaches_all_that_is_stored(tmp_path: Path, asked: str) -> None:
    async with site(tmp_path) as here:
        await here.keep(*(past(number, model="odd" if number == 20 else "gpt-4.1") for number in range(2, 42)))
        shown = Seen((await here.get(f"/?{asked}")).text).text
    assert "past-20" in shown
    assert "past-21" not in shown


async def test_a_search_goes_back_a_bounded_number_of_jobs_at_a_time(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(*(past(number) for number in range(2, 1103)))
        first = Seen((await here.get("/?q=past-1101")).text)
        (link,) = (value for name, value in first.attributes if name == "href" and "older=" in value)
        second = Seen((await here.get(f"/{link}")).text)
    assert "No job that matches was found back to 1001d ago ." in first.text
    assert "Search further back" in first.text
    assert "ftjob-past-1101" in second.text


async def test_an_invalid_cursor_is_ignored(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(past(2))
        assert "past-2" in (await here.get("/?older=nonsense")).text


async def test_a_job_that_is_gone_is_labelled_gone_and_not_active(tmp_path: Path) -> None:
    gone = tracked(job("ftjob-9", Status.UNKNOWN, name="lost"), missing=GONE_AFTER, seq=2)
    async with site(tmp_path) as here:
        await here.keep(tracked(job(name="here")), gone)
        everything = Seen((await here.get("/")).text)
        answer = await here.get("/?status=gone")
    assert everything.text.startswith("(1) finetune-monitor")
    assert "not polled yet · 1 active" in everything.text
    assert "lost" in answer.text.partition('id="ended"')[2]
    assert "No active job matches." in answer.text


async def test_a_job_first_seen_ended_has_no_invented_end(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(tracked(job(status=Status.FAILED, created_at=NOON - 14 * HOUR)))
        shown = Seen((await here.get("/")).text).text
    assert "failed before it was first seen" in shown
    assert "0 Failed, last 24 h" in shown or "Failed, last 24 h 0" in shown


async def test_a_job_page_has_its_history_and_notifications_before_the_events(tmp_path: Path) -> None:
    size = TrainingSize(tokens=1200, low=1100, high=1300, examples=40, exact=False)
    chosen = job(epochs=3, hyperparameters={"n_epochs": "3", "batch_size": "8", "beta": "0.1"}, seed=0)
    async with site(tmp_path) as here:
        await here.keep(tracked(chosen, size=size), events=(event("ev-1"),), told=("chat",))
        answer = (await here.get("/jobs/research/ftjob-1")).text
    places = [answer.index(f'id="{name}"') for name in ("details", "transitions", "deliveries", "events")]
    assert places == sorted(places)
    for words in (
        "team: nlp", "Examples 40", "Tokens in one epoch 1,100 to 1,300", "2026-11-22 11:00:00 UTC",
        "Epochs 3", "Hyperparameters batch_size 8, beta 0.1", "Seed 0", "status –",
    ):  # fmt: skip
        assert words in Seen(answer).text


@pytest.mark.parametrize(("name", "shown"), [("support", 1), ("", 0)])
async def test_a_job_page_has_the_id_below_the_title_only_where_the_title_is_a_name(
    tmp_path: Path, name: str, shown: int
) -> None:
    async with site(tmp_path) as here:
        await here.keep(tracked(job(name=name)))
        answer = (await here.get("/jobs/research/ftjob-1")).text
    assert f"<h1><bdi>{name or 'ftjob-1'}</bdi></h1>" in answer
    assert answer.count('<p class="id"><bdi>ftjob-1</bdi>') == shown


async def test_the_policy_names_the_digest_of_the_very_style_on_the_page(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        answer = await here.get("/")
    style = re.search("<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "style=" not in answer.text


@pytest.mark.parametrize(
    ("url", "good"),
    [
        pytest.param("https://platform.openai.com/finetune/ftjob-1", True, id="https"),
        pytest.param("http://example.com/", False, id="http"),
        pytest.param("javascript:alert(1)", False, id="a script"),
        pytest.param("JaVaScRiPt:https://example.com", False, id="a script in disguise"),
        pytest.param("data:text/html,x", False, id="content of its own"),
        pytest.param("//example.com/", False, id="no scheme"),
        pytest.param("https:///path", False, id="no host"),
        pytest.param("https://user@example.com/", False, id="a user in front of the host"),
        pytest.param("https://exam ple.com/", False, id="a blank"),
        pytest.param("https://example.com/\n", False, id="a line end"),
        pytest.param("https://[bad/", False, id="no URL"),
        pytest.param("https://example.com/" + "x" * 3000, False, id="too long"),
        pytest.param(None, False, id="none"),
    ],
)
def test_only_https_links_can_be_followed(url: str | None, good: bool) -> None:
    assert (https(url) == url and url is not None) is good


async def test_a_scrape_shows_what_is_stored(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(tracked())
        here.health.orgs["research"].up = True
        plain = await here.get("/metrics")
        modern = await here.get("/metrics", headers={"Accept": OPENMETRICS})
        filtered = await here.get("/metrics?name[]=finetune_org_up&name%5B%5D=finetune_job_status")
    assert plain.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert modern.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    for answer in (plain, modern):
        found = series(answer.text)
        assert found["finetune_jobs"][of(org="research", status="running", team="nlp")] == 1
        assert found["finetune_org_polls_total"] == {of(org="research", team="nlp"): 0}
        assert found["finetune_job_status"] == {of(org="research", job_id="ftjob-1", status="running"): 1}
    assert set(series(filtered.text)) == {"finetune_org_up", "finetune_job_status"}


async def test_a_scrape_is_compressed_if_accepted(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        packed = await here.get("/metrics", headers={"Accept-Encoding": "deflate, gzip;q=0.9"})
        plain = await here.get("/metrics", headers={"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    inflated, found = series(gzip.decompress(packed.body).decode()), series(plain.text)
    assert inflated.keys() == found.keys()
    assert inflated["finetune_jobs"] == found["finetune_jobs"]
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["Vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("gzip", True, id="gzip"),
        pytest.param("br, GZIP ; q=0.5", True, id="gzip among others"),
        pytest.param("gzip;q=0", False, id="gzip refused"),
        pytest.param("gzip; q=0.0", False, id="gzip refused at length"),
        pytest.param("x-gzip-not, *;q=0", False, id="something else"),
        pytest.param("", False, id="nothing said"),
    ],
)
def test_gzip_is_used_where_it_is_accepted(header: str, expected: bool) -> None:
    assert accepts_gzip(header) is expected


async def test_many_concurrent_scrapes_do_not_block_the_loop(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(*(tracked(job(id=f"ftjob-{n}", created_at=NOON - n * MINUTE)) for n in range(300)))
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(here.get(path)) for path in ["/metrics", "/", "/api/v1/jobs?limit=500"] * 8]
            alive = await here.get("/-/healthy")
        assert alive.status == 200
        assert {task.result().status for task in asked} == {200}


async def test_ready_waits_for_the_first_poll_of_every_organisation(tmp_path: Path) -> None:
    async with site(tmp_path, org(up=None), org("search")) as here:
        waiting = await here.get("/-/ready")
        assert (waiting.status, waiting.text) == (503, "not polled yet: research\n")
        said = WatchState(org="research", up=False, since=NOON, owner="another replica", next_poll=NOON - HOUR)
        await here.store.jobs.record(said)
        assert (await here.get("/-/ready")).status == 503, "nobody watches it any more"
        await here.store.jobs.record(dataclasses.replace(said, next_poll=NOON + MINUTE))
        assert (await here.get("/-/ready")).status == 200
        assert 'finetune_org_up{org="research"} 0' in (await here.get("/metrics")).text


@pytest.mark.parametrize(
    ("promised", "words"),
    [(18 * SECOND, ">in 18s</time>"), (-40 * SECOND, ">soon</span>"), (None, ">soon</span>")],
)
async def test_the_next_poll_is_never_in_the_past(tmp_path: Path, promised: timedelta | None, words: str) -> None:
    due = NOON + promised if promised is not None else None
    async with site(tmp_path, org(up=False, next_poll_at=due)) as here:
        [polls] = re.findall(r'<p class="polls">(.*)', (await here.get("/")).text)
        assert words in polls.split(", next")[1]


async def test_healthy_fails_when_the_loop_is_stuck(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        assert (await here.get("/-/healthy")).text == "ok\n"
        here.alive = False
        assert (await here.get("/-/healthy")).status == 503


async def test_head_is_answered_without_a_body(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        for path in ("/", "/metrics", "/api/v1/orgs"):
            answer = await here.get(path, method="HEAD")
            assert (answer.status, answer.body) == (200, b"")
