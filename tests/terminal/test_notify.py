"""The `notify` commands: a real message to a real receiver, routes explained, dead letters listed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web

from monitor.domain.model import Status
from tests.builders import job, tracked
from tests.e2e.receivers import SIGNING, Inbox, webhook
from tests.terminal.asked import answer, answering, asked
from tests.web.site import site


def config(folder: Path, hook: str) -> str:
    """A configuration with a webhook and three routes."""
    file = folder / "monitor.yaml"
    file.write_text(f"""organizations:
  - {{name: research, provider: openai, api_key: sk-proj-0123456789abcdef, labels: {{team: nlp}}}}
notifiers:
  - {{name: hook, type: webhook, url: "{hook}", secret: {SIGNING}}}
  - {{name: out, type: console}}
routes:
  - {{notify: [hook]}}
  - {{match: {{model: "gpt-4o*", labels: {{team: nlp}}}}, on: [started, failed], notify: [out, hook]}}
  - {{match: {{org: [research], provider: openai, model: ["o4*", "o5*"], metadata: {{env: prod}}}}, notify: [out]}}
""")
    return str(file)


async def test_a_test_message_arrives_signed_and_is_no_news(tmp_path: Path) -> None:
    async with webhook() as hook:
        for _ in range(2):
            said = await asked(1, "notify", "test", "hook", "--config", config(tmp_path, hook.url))
            assert (said.exit_code, said.stdout, said.stderr) == (0, "hook: accepted\n", "")
    assert [body["type"] for body in hook.bodies] == ["finetune.test"] * 2
    assert hook.bodies[0]["data"]["notifier"] == "hook"
    assert len(set(hook.ids)) == 2


@pytest.mark.parametrize(
    ("status", "told"), [(401, "target: "), (500, "transient: "), (400, "message: ")], ids=["401", "500", "400"]
)
async def test_a_message_that_is_not_accepted_is_exit_code_1_with_the_reason(
    tmp_path: Path, status: int, told: str
) -> None:
    async with webhook(Inbox(answer=lambda body: web.Response(status=status))) as hook:
        said = await asked(1, "notify", "test", "hook", "--config", config(tmp_path, hook.url))
    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr.startswith(f"hook: not accepted ({told}")
    assert hook.url not in said.stderr


async def test_an_unknown_notifier_is_exit_code_2_and_the_known_are_named(tmp_path: Path) -> None:
    said = await asked(1, "notify", "test", "pager", "--config", config(tmp_path, "http://127.0.0.1:1/"))
    assert (said.exit_code, said.stderr) == (2, "pager: there is no such notifier; there are: hook, out\n")


async def test_routes_are_explained_for_a_real_job(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(tracked(job(status=Status.FAILED)))
        file = config(tmp_path, "http://127.0.0.1:1/")
        said = await asked(here.port, "notify", "explain", "research", "ftjob-1", "--config", file)
        nobody = await asked(here.port, "notify", "explain", "research", "nobody", "--config", file)
    assert said.stdout.splitlines() == [
        "route 1  fits",
        "  on succeeded failed cancelled stalled → hook",
        "route 2  fits",
        "  on started failed → out, hook",
        "route 3  does not fit: model is not o4* or o5*, metadata is not env: prod",
        "  on succeeded failed cancelled stalled → out",
        "",
        "appeared   nobody",
        "started    out, hook",
        "paused     nobody",
        "resumed    nobody",
        "succeeded  hook",
        "failed     hook, out",
        "cancelled  hook",
        "stalled    hook",
    ]
    assert (said.exit_code, nobody.exit_code) == (0, 2)


async def test_dead_letters_are_listed() -> None:
    letter = {"key": "research/a/3@hook", "notifier": "hook", "seq": 3, "state": "dead", "attempts": 9}
    letter |= {"settled_at": "2026-11-22T10:00:00Z", "reason": "http_400", "title": "a\x1b[2J failed"}
    asked_for = []

    def give(request: str) -> bytes:
        asked_for.append(request.split()[1])
        return answer({"data": [letter], "next": None})

    async with answering(give) as port:
        said, programs = await asked(port, "notify", "dead"), await asked(port, "notify", "dead", "--json")
    assert said.stdout.splitlines()[1].split() == [
        "research/a/3@hook", "9", "2026-11-22", "10:00:00Z", "http_400", "a[2J", "failed",
    ]  # fmt: skip
    assert json.loads(programs.stdout) == letter
    assert asked_for == ["/api/v1/deliveries?state=dead&limit=500"] * 2
    async with answering(answer({"data": [], "next": None})) as port:
        assert (await asked(port, "notify", "dead")).stdout == "There are none.\n"
