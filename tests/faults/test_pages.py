"""The page, the API and the scrape of the real process with odd queries, many clients and hostile names."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from yarl import URL

from tests.e2e.daemon import until
from tests.faults.daemon import INTERVAL, SLACK, watched
from tests.faults.hostile import Hostile
from tests.faults.hostile_words import NASTY, assert_inert
from tests.metrics.scrapes import OPENMETRICS, series
from tests.web.test_pages import Seen

pytestmark = pytest.mark.fault("G32")

PATHS = ("/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/jobs", "/api/v1/orgs", "/api/v1/deliveries", "/nowhere")


async def sent_raw(url: str, head: bytes) -> tuple[int, str]:
    """The status and the whole answer of a raw request."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(head + b"Connection: close\r\n\r\n")
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return int(answer.split()[1]), answer.decode("utf-8", "replace")


@pytest.mark.fault("H01", "H02")
async def test_nasty_names_and_questions_are_inert_on_every_page_and_error(tmp_path: Path) -> None:
    api = Hostile("research")
    for number, name in enumerate(NASTY):
        api.begin(f"ftjob-{number}", "failed" if number % 2 else "running", user_provided_suffix=name, model=f"m{name}",
                  error={"code": name, "message": name, "param": name}, metadata={name: name, "plain": name},
                  fine_tuned_model=name, finished_at=int(time.time()))  # fmt: skip
        api.events[f"ftjob-{number}"] = [{"object": "fine_tuning.job.event", "id": f"ev-{number}", "level": name,
                                          "created_at": int(time.time()), "message": name, "type": name}]  # fmt: skip
    async with watched(tmp_path, api) as seen, aiohttp.ClientSession() as client:
        await until(seen.up)

        async def get(path: str, **headers: str) -> tuple[int, str, str]:
            async with client.get(URL(seen.daemon.url + path, encoded=True), headers=headers) as answer:
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "unsafe" not in answer.headers["Content-Security-Policy"]
                return answer.status, answer.content_type, await answer.text()

        status, kind, html = await get("/")
        assert (status, kind) == (200, "text/html")
        page = Seen(html)
        assert not {"img", "iframe"} & set(page.tags)
        assert (page.tags.count("script"), page.tags.count("form")) == (1, 1), "our own"
        assert_inert(html, breaks="\n")
        for number in range(len(NASTY)):
            for path in (f"/api/v1/jobs/research/ftjob-{number}", f"/api/v1/jobs/research/ftjob-{number}/events"):
                status, kind, text = await get(path)
                assert (status, kind) == (200, "application/json")
                assert_inert(json.dumps(json.loads(text), ensure_ascii=False))
        for name in NASTY:
            word = quote(name, safe="", errors="replace")
            questions = ["org", "status", "after", "limit"]
            for path in (f"/{word}", f"/?{word}={word}", f"/metrics?name[]={word}", f"/api/v1/jobs?{word}=1",
                         *(f"/api/v1/jobs?{question}={word}" for question in questions),
                         f"/api/v1/deliveries?state={word}", f"/api/v1/jobs/{word}/{word}",
                         f"/api/v1/jobs/research/{word}/events?after={word}"):  # fmt: skip
                status, kind, text = await get(path, Referer=f"http://x/{word}", Accept="text/html")
                assert status in {200, 400, 404}, (path, status)
                if status != 200:
                    assert kind in {"text/plain", "application/json"}
                    assert "<" not in text, "a question is not repeated"
                    assert "Traceback" not in text
        assert (await seen.daemon.json("/api/v1/orgs"))["data"][0]["up"] is True


@pytest.mark.fault("H05")
async def test_nothing_but_its_own_addresses_is_served(tmp_path: Path) -> None:
    async with watched(tmp_path, Hostile("research")) as seen:
        for path in (
            "/static/..%2f..%2fmonitor.yaml", "/../monitor.yaml", "/..%2fmonitor.yaml", "//etc/passwd", "/%2e%2e/log",
            "/etc/passwd", "/page.css", "/page.html", "/monitor.db", "/api/v1/../../monitor.yaml", "/.git/config",
            "/%00", "/\\..\\monitor.yaml", "/metrics/../../monitor.yaml", "/favicon.ico", "/debug/pprof", "/docs",
        ):  # fmt: skip
            head = b"GET " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\n"
            status, answer = await sent_raw(seen.daemon.url, head)
            assert status in {400, 404}, path
            assert seen.apis["research"].key not in answer
            assert "organizations" not in answer


@pytest.mark.fault("G34", "H07")
async def test_a_rebound_host_an_iframe_and_a_foreign_post_get_nothing(tmp_path: Path) -> None:
    async with watched(tmp_path, Hostile("research")) as seen:
        for path in PATHS:
            for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "evil.example:10877"):
                status, answer = await sent_raw(seen.daemon.url, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n".encode())
                assert status == 403
                assert "research" not in answer
                assert "evil" not in answer
            status, answer = await sent_raw(seen.daemon.url, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode())
            assert status in {200, 404, 503}
            assert "X-Frame-Options: DENY" in answer
            assert "frame-ancestors 'none'" in answer
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nContent-Length: 0\r\n"
            status, answer = await sent_raw(seen.daemon.url, head.encode())
            assert status in {403, 404, 405}
            assert "Access-Control" not in answer


@pytest.mark.fault("H06")
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_five_hundred_readers_some_slow_and_a_scrape_each_100_ms_leave_polls_on_time(tmp_path: Path) -> None:
    api = Hostile("research")
    for number in range(60):
        api.begin(f"ftjob-{number}", user_provided_suffix=f"job {number}")
    async with watched(tmp_path, api, poll={"events_interval": "1h"}) as seen:
        await until(seen.up)
        await seen.polled("research", 5)
        place, began = urlsplit(seen.daemon.url), time.monotonic()
        lazy = [await asyncio.open_connection(place.hostname, place.port) for _ in range(100)]
        for _, writer in lazy:
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")  # and never read
        scrapes: list[float] = []

        async def scrape() -> None:
            async with aiohttp.ClientSession() as client:
                while True:
                    start = time.monotonic()
                    async with client.get(seen.daemon.url + "/metrics", headers={"Accept": OPENMETRICS}) as answer:
                        assert answer.status == 200
                        await answer.read()
                    scrapes.append(time.monotonic() - start)
                    await asyncio.sleep(0.1)

        scraping = asyncio.create_task(scrape())
        readers = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.readers", seen.daemon.url, "500", stdout=asyncio.subprocess.PIPE
        )  # fmt: skip
        said = json.loads((await readers.communicate())[0])
        gap = seen.gap("research", began - INTERVAL - SLACK)
        late = await seen.ends("research", "ftjob-7", within=10)
        scraping.cancel()
        for _, writer in lazy:
            writer.close()
    assert said["statuses"] == {"200": 500}
    print(f"500 pages in {said['seconds']:.1f} s; longest poll gap {gap:.2f} s; slowest scrape {max(scrapes):.2f} s; "
          f"end told after {late:.2f} s; healthy within {max(seen.answers):.3f} s; {seen.rss} MB")  # fmt: skip
    assert gap < INTERVAL + SLACK
    assert late < INTERVAL + 2 * SLACK


def promtool_says(promtool: str, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)


@pytest.mark.fault("G33", "H04")
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_ten_thousand_hostile_names_are_a_valid_and_bounded_scrape(tmp_path: Path) -> None:
    api = Hostile("research")
    for number in range(10_000):
        name = NASTY[number % len(NASTY)]
        api.begin(f"ftjob-{number}", user_provided_suffix=f"{name}{number}", model=f"{name} {number}")
    async with watched(
        tmp_path, api, metrics={"max_jobs": 500}, poll={"timeout": "30s", "events_interval": "1h"}
    ) as seen:
        await until(seen.up, 90)
        _, text = await seen.daemon.get("/metrics")
        found = series(text)
        assert len(found["finetune_job_info"]) == 500
        (dropped,) = found["finetune_job_series_dropped"].values()
        assert dropped == 9_500
        assert sum(found["finetune_jobs"].values()) == 10_000
        assert len(text) < 3_000_000
        assert max(len(dict(labels).get("model", "")) for labels in found["finetune_job_info"]) <= 128
        promtool = shutil.which("promtool")
        if promtool is not None:
            done = await asyncio.to_thread(promtool_says, promtool, text)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert not re.search(r"Traceback", seen.daemon.log)
