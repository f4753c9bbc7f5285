"""The `notify` commands: real messages to real receivers, explained routes, dead letters, replays."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.domain.model import Basis, Cost, Status
from monitor.web.admin import LIFECYCLE_OFF
from tests.builders import job, tracked
from tests.e2e.receivers import SIGNING, Inbox, webhook
from tests.terminal.asked import answer, answering, asked
from tests.web.site import admin_actions, site
from tests.web.test_admin import FAILED, dead_letter_all, states


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


NOTHING_MORE: dict[str, Any] = {
    "cards": [],
    "name": None,
    "continue": True,
    "not_allowed": [],
    "mention": None,
    "group_wait": None,
    "mute": [],
    "template": None,
}


async def test_a_test_message_arrives_signed_and_is_not_stored(tmp_path: Path) -> None:
    async with webhook() as hook:
        for _ in range(2):
            said = await asked(1, "notify", "test", "hook", "--config", config(tmp_path, hook.url))
            assert (said.exit_code, said.stdout, said.stderr) == (0, "hook: accepted\n", "")
    assert [body["type"] for body in hook.bodies] == ["finetune.test"] * 2
    assert hook.bodies[0]["data"]["notifier"] == "hook"
    assert len(set(hook.ids)) == 2


@pytest.mark.parametrize(
    ("status", "consequence"), [(401, "suspended"), (500, "retried"), (413, "dead letter")], ids=["401", "500", "413"]
)
async def test_a_rejected_message_is_exit_code_1_with_the_reason(tmp_path: Path, status: int, consequence: str) -> None:
    async with webhook(Inbox(answer=lambda body: web.Response(status=status, text="because"))) as hook:
        said = await asked(1, "notify", "test", "hook", "--config", config(tmp_path, hook.url))
    assert (said.exit_code, said.stdout) == (1, "")
    answer, _, then = said.stderr.rpartition(" (")
    assert answer == f"hook: not accepted: the receiver answered {status}: because"
    assert consequence in then
    assert hook.url not in said.stderr


async def test_an_unknown_notifier_is_exit_code_2_and_the_known_are_named(tmp_path: Path) -> None:
    said = await asked(1, "notify", "test", "pager", "--config", config(tmp_path, "http://127.0.0.1:1/"))
    assert (said.exit_code, said.stderr) == (2, "Error: no notifier is named pager; the configuration has: hook, out\n")


async def test_routes_are_explained_for_a_real_job(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(tracked(job(status=Status.FAILED)))
        file = config(tmp_path, "http://127.0.0.1:1/")
        said = await asked(here.port, "notify", "explain", "research", "ftjob-1", "--config", file)
        nobody = await asked(here.port, "notify", "explain", "research", "nobody", "--config", file)
    assert said.stdout.splitlines() == [
        "route 1  matches",
        "  on succeeded failed cancelled stalled → hook",
        "route 2  matches",
        "  on started failed → out, hook",
        "route 3  does not match: model is not o4* or o5*, metadata is not env: prod",
        "  on succeeded failed cancelled stalled → out",
        "",
        "appeared   nobody",
        "started    out, hook",
        "progress   nobody",
        "paused     nobody",
        "resumed    nobody",
        "succeeded  hook",
        "failed     hook, out",
        "cancelled  hook",
        "stalled    hook",
        "moving     nobody",
        "gone       nobody",
    ]
    assert (said.exit_code, nobody.exit_code) == (0, 2)


async def test_a_route_for_a_base_model_is_explained_for_what_was_tuned_from_a_tuned_one(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(tracked(job(model="ft:gpt-4o-2024-08-06:acme::abc")))
        said = await asked(
            here.port, "notify", "explain", "research", "ftjob-1", "--config", config(tmp_path, "http://127.0.0.1:1/")
        )
    assert said.stdout.splitlines()[2] == "route 2  matches"


async def test_routes_are_explained_as_json(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(tracked(job(status=Status.FAILED)))
        file = config(tmp_path, "http://127.0.0.1:1/")
        said = await asked(here.port, "notify", "explain", "research", "ftjob-1", "--config", file, "--json")
    found = json.loads(said.stdout)
    assert (found["org"], found["job"]) == ("research", "ftjob-1")
    assert found["routes"][1:] == [
        NOTHING_MORE | {"route": 2, "matches": True, "why": [], "on": ["started", "failed"], "notify": ["out", "hook"]},
        NOTHING_MORE
        | {
            "route": 3,
            "matches": False,
            "why": ["model is not o4* or o5*", "metadata is not env: prod"],
            "on": ["succeeded", "failed", "cancelled", "stalled"],
            "notify": ["out"],
        },
    ]
    assert (found["recipients"]["failed"], found["recipients"]["paused"]) == (["hook", "out"], [])


JOB_SAYS = """organizations:
  - {name: research, provider: openai, api_key: sk-proj-0123456789abcdef}
notifiers:
  - {name: bot, type: slack, token: xoxb-0123456789, channel: "#all"}
  - {name: pager, type: pagerduty, routing_key: 0123456789abcdef0123456789abcdef}
  - {name: out, type: console}
routes:
  - name: asked
    match: {metadata: {env: prod}, cost_at_least: 5, method: supervised}
    on: [failed]
    notify_from: {metadata: notify, allow: [out, "slack:#team-*"]}
    mention_from: {metadata: owner, map: {ana: "<@U012AB3CD>"}}
    continue: false
  - {notify: [bot, pager]}
"""
SAYING = {"env": "prod", "notify": "slack:#team-nlp everybody", "owner": "ana"}


async def test_a_jobs_notify_metadata_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text(JOB_SAYS)
    cost = Cost(basis=Basis.COMPUTED, usd=Decimal(6))
    async with site(tmp_path) as here:
        await here.keep(tracked(job(metadata=SAYING), cost=cost))
        said = await asked(here.port, "notify", "explain", "research", "ftjob-1", "--config", str(file))
        found = json.loads(
            (await asked(here.port, "notify", "explain", "research", "ftjob-1", "--config", str(file), "--json")).stdout
        )
    assert said.stdout.splitlines()[:7] == [
        "route 1 asked  matches",
        "  on failed → bot#team-nlp",
        "  metadata notify names bot#team-nlp",
        "  not allowed: everybody",
        "  metadata owner mentions <@U012AB3CD>",
        "  one message per job, edited in place: bot#team-nlp",
        "  if it matches, later routes are not considered",
    ]
    assert (found["recipients"]["failed"], found["recipients"]["stalled"]) == (["bot#team-nlp"], ["bot", "pager"])
    first = found["routes"][0]
    assert (first["name"], first["continue"], first["not_allowed"]) == ("asked", False, ["everybody"])
    assert (first["cards"], found["routes"][1]["cards"]) == (["bot#team-nlp"], ["bot"])


async def test_the_message_of_a_notifier_is_printed_without_secrets(tmp_path: Path) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text(JOB_SAYS)
    async with site(tmp_path) as here:
        of = tracked(job(metadata=SAYING, name="support"), cost=Cost(basis=Basis.COMPUTED, usd=Decimal(6)))
        await here.keep(of)
        real = await asked(here.port, "notify", "render", "bot", "--job", "research", "ftjob-1", "--config", str(file))
    slack = json.loads(real.stdout)
    assert slack["channel"] == "#team-nlp"
    assert slack["text"].startswith("<@U012AB3CD> ")
    assert "support failed" in slack["text"]
    card = json.loads((await asked(1, "notify", "render", "bot", "--event", "progress", "--config", str(file))).stdout)
    assert {"channel", "ts", "blocks", "attachments"} <= set(card)
    assert "█████████░░░░░░░░░░░ 45%" in card["text"]
    none = await asked(1, "notify", "render", "out", "--event", "progress", "--config", str(file))
    assert (none.exit_code, "has no cards" in none.stderr) == (1, True)
    pager = await asked(1, "notify", "render", "pager", "--event", "stalled", "--config", str(file))
    assert "has stalled" in json.loads(pager.stdout)["payload"]["summary"]
    assert "0123456789abcdef" not in pager.stdout
    printed = await asked(1, "notify", "render", "out", "--event", "succeeded", "--config", str(file))
    assert (printed.exit_code, "sample succeeded" in printed.stdout) == (0, True)
    assert (await asked(1, "notify", "render", "nobody", "--config", str(file))).exit_code == 2


async def test_a_template_is_shown_as_it_would_be_sent_for_any_event(tmp_path: Path) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text("""organizations:
  - {name: research, provider: openai, api_key: sk-proj-0123456789abcdef}
notifiers:
  - {name: hook, type: webhook, url: "http://127.0.0.1:1/"}
  - {name: out, type: console}
templates:
  short: {title: "{{ event }}!", body: '{"text": {{ title }}}'}
routes:
  - {on: [failed, budget, shutdown, org_down, org_up], notify: [hook, out], template: short}
  - {on: [started], notify: [out]}
""")
    for event in ("failed", "budget", "shutdown", "org_down", "org_up"):
        hook = await asked(1, "notify", "render", "hook", "--event", event, "--config", str(file))
        assert "text" in json.loads(hook.stdout), hook.stdout + hook.stderr
        out = await asked(1, "notify", "render", "out", "--event", event, "--config", str(file))
        assert f"{event}!" in out.stdout
    of_no_job = await asked(1, "notify", "render", "out", "--event", "budget", "--job", "a", "b", "--config", str(file))
    assert (of_no_job.exit_code, "budget is not an event of a job" in of_no_job.stderr) == (2, True)


async def test_a_failing_template_shows_the_built_in_text_and_the_error(tmp_path: Path) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text("""organizations:
  - {name: research, provider: openai, api_key: sk-proj-0123456789abcdef}
notifiers: [{name: out, type: console}]
templates: {odd: {title: "{{ 'x' * (job.name or 'x')|length ** 5 }}"}}
routes: [{notify: out, template: odd}]
""")
    async with site(tmp_path) as here:
        await here.keep(tracked(job(status=Status.FAILED, name="a name that is long enough")))
        job_of = ("--job", "research", "ftjob-1")
        asked_for = await asked(here.port, "notify", "render", "out", *job_of, "--config", str(file))
    assert "template odd failed, so this is the built-in text: line 1: " in asked_for.stderr
    assert "a name that is long enough failed" in asked_for.stdout


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
        assert (await asked(port, "notify", "dead")).stdout == "There are no dead letters.\n"


async def test_a_dead_letter_shows_the_receivers_response() -> None:
    letter = {
        "key": "a/b/3@hook",
        "state": "dead",
        "reason": "message_refused",
        "answer": "400 no \x1b[2Jfield",
    }
    async with answering(answer({"data": [letter], "next": None})) as port:
        said = await asked(port, "notify", "dead")
    assert said.stdout.splitlines()[1].rstrip().endswith("message_refused  400 no [2Jfield")


async def test_dead_letters_are_listed_and_requeued(tmp_path: Path) -> None:
    async with site(tmp_path, changes=admin_actions) as here:
        await here.keep(FAILED, told=("ops", "chat"))
        await dead_letter_all(here.store)
        said = await asked(here.port, "notify", "dead", "--requeue")
        assert set((await states(here)).values()) == {"pending"}
        assert said.exit_code == 0
        assert said.stdout.splitlines()[1].split()[0] == "research/ftjob-1/3@ops"
        assert said.stdout.splitlines()[2:] == ["Requeued: 1."]
        assert (
            await asked(here.port, "notify", "dead", "--requeue")
        ).stdout == "There are no dead letters.\nRequeued: 0.\n"
        await dead_letter_all(here.store)
        await dead_letter_all(here.store, "chat")
        programs = [
            json.loads(line)
            for line in (await asked(here.port, "notify", "dead", "--requeue", "--json")).stdout.splitlines()
        ]
    assert {one["key"] for one in programs[:-1]} == {"research/ftjob-1/3@ops", "research/ftjob-1/3@chat"}
    assert programs[-1] == {"requeued": 2}


async def test_a_replay_is_listed_and_counted_and_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    async with site(tmp_path, changes=admin_actions) as here:
        await here.keep(FAILED, told=("ops",))
        await dead_letter_all(here.store)
        dry = await asked(here.port, "notify", "replay", "--since", "24h", "--dry-run")
        assert await states(here) == {"research/ftjob-1/3@ops": "dead"}
        one = await asked(here.port, "notify", "replay", "--since", "24h", "--notifier", "ops", "--json")
        assert await states(here) == {"research/ftjob-1/3@ops": "pending"}
        both = await asked(here.port, "notify", "replay", "--since", "24h")
    assert [line.split() for line in dry.stdout.splitlines()[:3]] == [
        ["KEY", "SENT", "BEFORE", "MESSAGE"],
        ["research/ftjob-1/3@ops", "yes", "ftjob-1", "failed"],
        ["research/ftjob-1/3@chat", "no", "tone", "failed"],
    ]
    assert dry.stdout.splitlines()[3:] == ["Would be sent: 1 again, 1 for the first time; 0 are pending anyway."]
    (line,) = one.stdout.splitlines()
    assert [letter["key"] for letter in json.loads(line)["deliveries"]] == ["research/ftjob-1/3@ops"]
    assert both.stdout.splitlines()[-1] == "Queued: 0 again, 1 for the first time; 1 are pending anyway."
    assert {dry.exit_code, one.exit_code, both.exit_code} == {0}


async def test_a_replay_of_nothing_is_one_line(tmp_path: Path) -> None:
    async with site(tmp_path, changes=admin_actions) as here:
        said = await asked(here.port, "notify", "replay", "--since", "500ms")
    assert (said.exit_code, said.stdout) == (
        0,
        "Queued: 0 again, 0 for the first time; 0 are pending anyway.\n",
    )


@pytest.mark.parametrize("command", [("replay", "--since", "1h"), ("dead", "--requeue")], ids=["replay", "requeue"])
async def test_a_disabled_admin_api_names_the_setting(tmp_path: Path, command: tuple[str, ...]) -> None:
    async with site(tmp_path) as here:
        await here.keep(FAILED, told=("ops",))
        await dead_letter_all(here.store)
        said = await asked(here.port, "notify", *command)
        assert await states(here) == {"research/ftjob-1/3@ops": "dead"}
    assert (said.exit_code, said.stdout) == (2, "")
    assert said.stderr == f"Error: http://127.0.0.1:{here.port}: {LIFECYCLE_OFF}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(("--since", "1w"), "since should be a duration such as 500ms, 30s, 5m, 6h or 30d", id="no time"),
        pytest.param(("--since", "\udcff"), "since should be a duration", id="no text"),
        pytest.param(("--since", "1h", "--notifier", "x"), "notifier must be one of: ops, chat", id="nobody"),
        pytest.param((), "Missing option '--since'", id="nothing"),
    ],
)
async def test_an_invalid_request_is_explained_with_exit_code_2(
    tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    async with site(tmp_path, changes=admin_actions) as here:
        said = await asked(here.port, "notify", "replay", *words)
    assert (said.exit_code, said.stdout) == (2, "")
    assert told in said.stderr


async def test_unlisted_dead_letters_are_counted_and_control_characters_removed() -> None:
    letters = [{"key": "a/b/1@ops", "title": "x\x1b[2J\u202ey", "new": True}]
    told = {"dry_run": True, "again": 1000, "new": 300, "waiting": 2, "deliveries": letters}
    async with answering(answer({"data": told})) as port:
        said = await asked(port, "notify", "replay", "--since", "1h", "--dry-run")
    assert [re.sub(" +", " ", line).rstrip() for line in said.stdout.splitlines()[1:]] == [
        "a/b/1@ops no x[2Jy",
        "and 1,299 more",
        "Would be sent: 1,000 again, 300 for the first time; 2 are pending anyway.",
    ]


async def test_changes_are_posts_without_a_body() -> None:
    requests = []

    def give(request: str) -> bytes:
        requests.append(request)
        return answer({"data": {"again": 0, "new": 0, "waiting": 0, "deliveries": []}})

    async with answering(give) as port:
        await asked(port, "notify", "replay", "--since", "1h", "--notifier", "a b", "--dry-run")
    (request,) = requests
    assert request.splitlines()[0] == "POST /-/replay?since=1h&notifier=a+b&dry_run=true HTTP/1.1"
    assert "Content-Length: 0" in request.splitlines()


FULL = """organizations:
  - {name: research, provider: openai, api_key: sk-proj-0123456789abcdef}
notifiers:
  - {name: bot, type: slack, token: xoxb-0123456789, channel: "#all"}
  - {name: pager, type: pagerduty, routing_key: 0123456789abcdef0123456789abcdef}
  - {name: out, type: console}
mute_times:
  always:
    timezone: Europe/Berlin
    windows:
      - {days: [mon, tue, wed, sat], from: "00:00", to: "24:00"}
      - {days: [thu, fri, sun], from: "00:00", to: "24:00"}
    except: [failed]
templates:
  short: {title: "{{ job.name or job.id }}: {{ event }}", text: "on {{ facts.Model }}"}
routes:
  - name: calm
    on: [succeeded, failed, progress]
    notify: [bot, pager]
    group_wait: 30s
    mute: [always]
    template: short
  - {on: [cancelled], notify: [out]}
"""


async def test_cards_groups_mutes_and_templates_are_explained_whole(tmp_path: Path) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text(FULL)
    async with site(tmp_path) as here:
        await here.keep(tracked(job(name="support")))
        command = ("notify", "explain", "research", "ftjob-1", "--config", str(file))
        said = (await asked(here.port, *command)).stdout.splitlines()
        found = json.loads((await asked(here.port, *command, "--json")).stdout)
    assert said[2] == "  one message per job, edited in place: bot"
    grouped = "notifications to one notifier within 30s are sent as one message"
    assert said[3] == f"  {grouped}, except to pager, which do their own grouping"
    windows = "mon–wed sat 00:00–24:00, thu fri sun 00:00–24:00 (Europe/Berlin), except failed; now, until "
    assert said[4].startswith(f"  muted during always: {windows}")
    assert said[5:8] == [
        "  rendered with the template short:",
        "    title  {{ job.name or job.id }}: {{ event }}",
        "    text   on {{ facts.Model }}",
    ]
    lines = {line.split()[0]: line for line in said if line.strip()}
    assert "bot (route 1; in the thread of its card; held back until " in lines["succeeded"]
    assert lines["failed"].endswith(
        "bot (route 1; in the thread of its card; with others within 30s; template short), "
        "pager (route 1; template short)"
    )
    assert lines["cancelled"] == "cancelled  out"
    plain = {"route": 1, "held_until": None, "template": "short", "mention": None}
    assert found["deliveries"]["failed"] == [
        plain | {"to": "bot", "card": True, "group_wait": "30s"},
        plain | {"to": "pager", "card": False, "group_wait": None},
    ]
    assert found["deliveries"]["succeeded"][0]["held_until"] is not None


async def test_a_card_and_a_group_are_rendered_as_they_would_be_sent(tmp_path: Path) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text(FULL)
    card = await asked(1, "notify", "render", "bot", "--event", "progress", "--config", str(file))
    assert "sample: progress" in json.loads(card.stdout)["text"]
    group = await asked(1, "notify", "render", "bot", "--event", "failed", "--together", "3", "--config", str(file))
    assert "3 jobs" in json.loads(group.stdout)["text"]
    assert group.stderr == "bot: in the thread of its card; with others within 30s; template short\n"
    none = await asked(1, "notify", "render", "out", "--event", "failed", "--config", str(file))
    assert none.stderr == "out: no route sends this there; if one did, it would look like this\n"
    both = await asked(1, "notify", "render", "bot", "--event", "progress", "--together", "3", "--config", str(file))
    assert (both.exit_code, "a card is about one job" in both.stderr) == (2, True)
