"""The endpoints that change something: only if the operator enabled them, and never for pages of other sites."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monitor.domain.model import Status
from monitor.store import Stores
from tests.builders import MINUTE, job, tracked
from tests.web.site import Answer, Site, admin_actions, site

RELOAD, REQUEUE, REPLAY = "/-/reload", "/-/requeue", "/-/replay?since=24h"
FAILED = tracked(job(status=Status.FAILED, name="tone"), seq=3)
CONTRACT = "this needs server.enable_lifecycle: true in the daemon's configuration"


async def post(here: Site, path: str, **headers: str) -> Answer:
    return await here.get(path, method="POST", headers=headers)


def said(answer: Answer) -> str:
    """The message of an error response: JSON where the path answers in JSON."""
    if answer.headers["Content-Type"].startswith("application/json"):
        return str(json.loads(answer.text)["error"]["message"])
    return answer.text.removesuffix("\n")


async def dead_letter_all(store: Stores, notifier: str = "ops") -> None:
    """Turn the pending deliveries of a notifier into dead letters."""
    for one in await store.outbox.claim(notifier, owner="me", limit=9, lease=MINUTE):
        await store.outbox.dead_letter(one, reason="http_400")


async def states(here: Site) -> dict[str, str]:
    """The states in the outbox by key."""
    return {one.key: one.state for one in (await here.store.reader.deliveries()).items}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (RELOAD, f"{CONTRACT}; SIGHUP reloads too"),
        (REQUEUE, CONTRACT),
        (REPLAY, CONTRACT),
        ("/-/replay?since=never", CONTRACT),
    ],
)
async def test_without_the_setting_nothing_can_be_changed(tmp_path: Path, path: str, told: str) -> None:
    async with site(tmp_path) as here:
        await here.keep(FAILED, told=("ops",))
        await dead_letter_all(here.store)
        answer = await post(here, path)
        assert (answer.status, said(answer)) == (403, told)
        assert await states(here) == {"research/ftjob-1/3@ops": "dead"}


@pytest.mark.parametrize("path", [RELOAD, REQUEUE, REPLAY])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "https://evil.example"}, id="another origin"),
        pytest.param({"Origin": "null"}, id="an origin that is hidden"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="another site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="another host of the site"),
        pytest.param({"Host": "evil.example"}, id="a rebound name"),
    ],
)
async def test_a_page_of_another_site_changes_nothing(tmp_path: Path, path: str, headers: dict[str, str]) -> None:
    async with site(tmp_path, changes=admin_actions) as here:
        await here.keep(FAILED, told=("ops",))
        await dead_letter_all(here.store)
        answer = await post(here, path, **headers)
        assert answer.status == 403
        assert "evil" not in answer.text
        assert await states(here) == {"research/ftjob-1/3@ops": "dead"}


@pytest.mark.parametrize("path", [RELOAD, REQUEUE, REPLAY])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_only_a_post_changes_anything(tmp_path: Path, path: str, method: str) -> None:
    async with site(tmp_path, changes=admin_actions) as here:
        answer = await here.get(path, method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert method == "HEAD" or said(answer) == "this address accepts only POST"


async def test_a_reload_reports_configuration_problems(tmp_path: Path) -> None:
    async with site(tmp_path, changes=admin_actions) as here:
        answer = await post(
            here, RELOAD, **{"Sec-Fetch-Site": "same-origin", "Origin": f"http://127.0.0.1:{here.port}"}
        )
    assert answer.status == 500
    assert answer.text.splitlines()[1:] == ["line 1: wrong", "line 2: wrong"]


async def test_dead_letters_are_requeued_and_counted(tmp_path: Path) -> None:
    async with site(tmp_path, changes=admin_actions) as here:
        await here.keep(FAILED, told=("ops", "chat"))
        await dead_letter_all(here.store)
        answers = [await post(here, REQUEUE), await post(here, REQUEUE)]
        assert [answer.status for answer in answers] == [200, 200]
        assert [json.loads(answer.text) for answer in answers] == [{"data": {"requeued": n}} for n in (1, 0)]
        assert await states(here) == dict.fromkeys(("research/ftjob-1/3@ops", "research/ftjob-1/3@chat"), "pending")


async def test_a_replay_reports_repeated_and_new_deliveries(tmp_path: Path) -> None:
    of_it = {"org": "research", "job": "ftjob-1", "seq": 3, "type": "finetune.job.failed"}
    again = {**of_it, "key": "research/ftjob-1/3@ops", "notifier": "ops", "title": "ftjob-1 failed", "new": False}
    new = {**of_it, "key": "research/ftjob-1/3@chat", "notifier": "chat", "title": "tone failed", "new": True}
    told: dict[str, Any] = {"again": 1, "new": 1, "waiting": 0, "deliveries": [again, new]}
    async with site(tmp_path, changes=admin_actions) as here:
        await here.keep(FAILED, told=("ops",))
        await dead_letter_all(here.store)
        dry = await post(here, f"{REPLAY}&dry_run=true")
        assert (dry.status, json.loads(dry.text)["data"]) == (200, {"dry_run": True, **told})
        assert await states(here) == {"research/ftjob-1/3@ops": "dead"}
        real = await post(here, f"{REPLAY}&dry_run=false")
        assert json.loads(real.text)["data"] == {"dry_run": False, **told}
        assert await states(here) == {again["key"]: "pending", new["key"]: "pending"}
        twice = json.loads((await post(here, REPLAY)).text)["data"]
        assert twice == {"dry_run": False, "again": 0, "new": 0, "waiting": 2, "deliveries": []}


async def test_a_replay_can_be_limited_to_one_notifier(tmp_path: Path) -> None:
    async with site(tmp_path, changes=admin_actions) as here:
        await here.keep(FAILED)
        answer = await post(here, f"{REPLAY}&notifier=chat")
        assert [one["key"] for one in json.loads(answer.text)["data"]["deliveries"]] == ["research/ftjob-1/3@chat"]
        assert await states(here) == {"research/ftjob-1/3@chat": "pending"}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        pytest.param("replay", "since should be a duration such as 500ms, 30s, 5m, 6h or 30d", id="no time"),
        pytest.param("replay?since=", "since should be a duration such as 500ms, 30s, 5m, 6h or 30d", id="nothing"),
        pytest.param("replay?since=1w", "since should be a duration such as 500ms, 30s, 5m, 6h or 30d", id="a week"),
        pytest.param("replay?since=-1h", "since should be a duration such as 500ms, 30s, 5m, 6h or 30d", id="negative"),
        pytest.param("replay?since=0s", "since should be longer than 0", id="no time at all"),
        pytest.param("replay?since=91d", "since must be at most 90d, which is store.retention", id="before memory"),
        pytest.param("replay?since=999999999d", "since must be at most 90d, which is store.retention", id="for ever"),
        pytest.param("replay?since=1h&since=2h", "the parameter since is given more than once", id="twice"),
        pytest.param("replay?since=1h&notifier=x", "notifier must be one of: ops, chat", id="an unknown notifier"),
        pytest.param("replay?since=1h&dry_run=1", "dry_run must be one of: true, false", id="no answer to a question"),
        pytest.param(
            "replay?since=1h&org=x",
            "unknown parameter; known are: since, notifier, dry_run",
            id="an unknown parameter",
        ),
        pytest.param(
            "requeue?key=x",
            "unknown parameter; known are: none",
            id="an unknown parameter of a requeue",
        ),
    ],
)
async def test_an_invalid_request_changes_nothing_and_is_explained(tmp_path: Path, path: str, told: str) -> None:
    async with site(tmp_path, changes=admin_actions) as here:
        await here.keep(FAILED, told=("ops",))
        await dead_letter_all(here.store)
        answer = await post(here, f"/-/{path}")
        assert (answer.status, said(answer)) == (400, told)
        assert await states(here) == {"research/ftjob-1/3@ops": "dead"}


async def test_a_replay_reaches_back_as_far_as_the_retention(tmp_path: Path) -> None:
    async with site(tmp_path, changes=admin_actions) as here:
        assert (await post(here, "/-/replay?since=90d")).status == 200
