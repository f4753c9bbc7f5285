"""The JSON API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monitor.domain.flow import Reason, Trouble
from monitor.domain.model import EventKind, JobError, Metrics, Status
from monitor.domain.render import job_view
from tests.builders import MINUTE, NOON, SECOND, event, job, tracked
from tests.web.site import Answer, org, site


def data(answer: Answer) -> Any:
    """The `data` of a successful response."""
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    return json.loads(answer.body)["data"]


async def test_jobs_are_listed_newest_first_with_a_cursor_to_the_next_page(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(*(tracked(job(id=f"ftjob-{n}", created_at=NOON - n * MINUTE)) for n in range(5)))
        seen, after = [], ""
        while True:
            answer = await here.get(f"/api/v1/jobs?limit=2{after}")
            seen.append([one["id"] for one in data(answer)])
            following = json.loads(answer.body)["next"]
            if following is None:
                break
            after = f"&after={following}"
        assert seen == [["ftjob-0", "ftjob-1"], ["ftjob-2", "ftjob-3"], ["ftjob-4"]]


async def test_a_job_has_the_fields_of_notifications_and_its_organisation(tmp_path: Path) -> None:
    failed = job(status=Status.FAILED, error=JobError(code="server_error"), metadata={"env": "prod"})
    async with site(tmp_path) as here:
        await here.keep(tracked(failed))
        (shown,) = data(await here.get("/api/v1/jobs"))
    assert {name: shown[name] for name in job_view(failed, None)} == job_view(failed, None)
    assert (shown["org"], shown["provider"], shown["labels"]) == ("research", "openai", {"team": "nlp"})
    assert shown["since"] == "2026-11-22T11:58:00Z"


async def test_a_job_has_a_link_to_its_own_page(tmp_path: Path) -> None:
    async with site(tmp_path, monitor_url="https://monitor.example.com/base") as here:
        await here.keep(tracked(job("a/b")))
        (listed,) = data(await here.get("/api/v1/jobs"))
        alone = data(await here.get("/api/v1/jobs/research/a%2Fb"))
    assert listed["monitor_url"] == alone["monitor_url"] == "https://monitor.example.com/base/jobs/research/a%2Fb"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param("", {"a", "b", "c"}, id="all"),
        pytest.param("?status=failed", {"b"}, id="by status"),
        pytest.param("?org=search", {"c"}, id="by organisation"),
        pytest.param("?org=search&status=failed", set(), id="by both"),
    ],
)
async def test_jobs_can_be_filtered(tmp_path: Path, asked: str, expected: set[str]) -> None:
    async with site(tmp_path, org(), org("search")) as here:
        await here.keep(tracked(job(id="a")), tracked(job(id="b", status=Status.FAILED)))
        await here.keep(tracked(job(id="c", org="search")))
        assert {one["id"] for one in data(await here.get(f"/api/v1/jobs{asked}"))} == expected


async def test_one_job_comes_with_its_transitions_and_deliveries(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(tracked(job(status=Status.FAILED), seq=3), told=("chat",))
        shown = data(await here.get("/api/v1/jobs/research/ftjob-1"))
    assert shown["id"] == "ftjob-1"
    assert shown["transitions"] == [
        {
            "id": "research/ftjob-1/3",
            "seq": 3,
            "kind": "moved",
            "from": None,
            "to": "failed",
            "observed_at": "2026-11-22T11:58:00Z",
        }
    ]
    (delivery,) = shown["deliveries"]
    assert (delivery["key"], delivery["state"]) == ("research/ftjob-1/3@chat", "pending")


async def test_events_are_listed_newest_first_with_what_they_measured(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        started = event("ev-1", NOON - MINUTE, "started", kind=EventKind.STARTED)
        measured = event("ev-2", NOON, "step", kind=EventKind.METRICS, metrics=Metrics(step=1, train_loss=0.5))
        await here.keep(tracked(), events=(started, measured))
        first = await here.get("/api/v1/jobs/research/ftjob-1/events?limit=1")
        assert data(first) == [
            {
                "id": "ev-2",
                "at": "2026-11-22T12:00:00Z",
                "level": "info",
                "kind": "metrics",
                "message": "step",
                "metrics": {"step": 1, "train_loss": 0.5},
                "checkpoint": None,
            }
        ]
        after = json.loads(first.body)["next"]
        (second,) = data(await here.get(f"/api/v1/jobs/research/ftjob-1/events?after={after}"))
        assert (second["id"], second["metrics"]) == ("ev-1", None)


async def test_organisations_show_the_state_of_their_polls(tmp_path: Path) -> None:
    trouble = Trouble(reason=Reason.AUTH, text="the key is refused")
    async with site(tmp_path, org(up=False, trouble=trouble, next_poll_at=NOON + SECOND)) as here:
        assert data(await here.get("/api/v1/orgs")) == [
            {
                "org": "research",
                "provider": "openai",
                "labels": {},
                "up": False,
                "last_success": "2026-11-22T11:59:48Z",
                "next_poll_at": "2026-11-22T12:00:01Z",
                "trouble": {"reason": "auth", "text": "the key is refused"},
                "books": None,
            }
        ]


async def test_deliveries_can_be_filtered_by_state(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(tracked(job(status=Status.FAILED)), told=("chat", "hook"))
        assert {one["notifier"] for one in data(await here.get("/api/v1/deliveries?state=pending"))} == {"chat", "hook"}
        assert data(await here.get("/api/v1/deliveries?state=dead")) == []


@pytest.mark.parametrize("odd", ["a/b", "../../etc", "a%2Fb", "a?b#c", "ä 🦊", "a\\b", '"<x>', "%", ".."], ids=ascii)
async def test_a_percent_encoded_id_may_contain_anything(tmp_path: Path, odd: str) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in odd.encode())
    async with site(tmp_path) as here:
        await here.keep(tracked(job(id=odd)))
        assert data(await here.get(f"/api/v1/jobs/research/{encoded}"))["id"] == odd
        assert data(await here.get(f"/api/v1/jobs/research/{encoded.lower()}"))["id"] == odd
        assert data(await here.get(f"/api/v1/jobs/research/{encoded}/events")) == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/api/v1/jobs?limit=0", 400, id="a limit of nothing"),
        pytest.param("/api/v1/jobs?limit=501", 400, id="a limit too high"),
        pytest.param("/api/v1/jobs?limit=-1", 400, id="a negative limit"),
        pytest.param("/api/v1/jobs?limit=%D9%A1", 400, id="digits of another script"),
        pytest.param("/api/v1/jobs?limit=", 400, id="an empty limit"),
        pytest.param("/api/v1/jobs?limit=1&limit=2", 400, id="two limits"),
        pytest.param("/api/v1/jobs?status=exploded", 400, id="an unknown status"),
        pytest.param("/api/v1/jobs?org=stranger", 400, id="an unknown organisation"),
        pytest.param("/api/v1/jobs?colour=red", 400, id="an unknown parameter"),
        pytest.param("/api/v1/jobs?after=nonsense", 400, id="a cursor that is none"),
        pytest.param("/api/v1/jobs?after=" + "a" * 2000, 400, id="a cursor too long"),
        pytest.param("/api/v1/jobs/research/ftjob-1?x=1", 400, id="a parameter where there is none"),
        pytest.param("/api/v1/deliveries?state=lost", 400, id="an unknown state"),
        pytest.param("/api/v1/jobs/research/nobody", 404, id="no such job"),
        pytest.param("/api/v1/jobs/stranger/ftjob-1", 404, id="no such organisation"),
        pytest.param("/api/v1/jobs/research/nobody/events", 404, id="no such job's events"),
        pytest.param("/api/v1/streams", 404, id="no such address"),
        pytest.param("/api/v1/jobs/%3Cscript%3E", 404, id="a hostile address"),
    ],
)
async def test_an_invalid_query_gets_a_json_error(tmp_path: Path, path: str, status: int) -> None:
    async with site(tmp_path) as here:
        answer = await here.get(path)
        assert answer.status == status
        assert answer.headers["Content-Type"] == "application/json"
        (message,) = json.loads(answer.body)["error"].values()
        assert message
        assert "script" not in message


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_nothing_can_be_changed(tmp_path: Path, method: str) -> None:
    async with site(tmp_path) as here:
        answer = await here.get("/api/v1/jobs", method=method, data=b"x" if method == "POST" else None)
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET,HEAD"
        assert json.loads(answer.body)["error"]["message"]


async def test_a_broken_store_is_a_503_and_not_a_traceback(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        (tmp_path / "monitor.db").rename(tmp_path / "elsewhere.db")
        for path in ("/api/v1/jobs", "/metrics", "/", "/-/ready"):
            answer = await here.get(path)
            assert answer.status == 503, path
            assert "Traceback" not in answer.text
            assert "no-store" in answer.headers["Cache-Control"]
        assert (await here.get("/-/healthy")).status == 200
        (tmp_path / "elsewhere.db").rename(tmp_path / "monitor.db")
