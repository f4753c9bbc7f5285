"""Everything that is wrong is said at once, where it is, in plain words, and without the values."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.domain.news import EventType
from tests.config.conftest import ORGANIZATION, Folder

pytestmark = pytest.mark.fault("G24", "F01", "F07")

WORDS_BUT_LAST = [f'"{word}"' for word in [*EventType][:-1]]

VENDORS = '"openai", "azure", "together", "fireworks", "vertex", "bedrock"'


def test_all_problems_are_told_at_once_in_the_order_of_the_file(folder: Folder) -> None:
    folder.write(
        """organizations:
  - name: research
    provider: openai
    api_kye: sk-very-secret-0123456789
    labels: {team: 5}
  - name: research
    provider: opnai
    api_key: ${UNSET}
poll:
  interval: 5
  timeout: 900s
routes:
  - {match: {org: [serch]}, on: [done], notify: chat}
"""
    )
    assert folder.problems() == [
        "2:5 organizations.0.api_key: is required (api_key or api_key_file)",
        '4:5 organizations.0.api_kye: unknown key; did you mean "api_key"?',
        "5:14 organizations.0.labels.team: should be text; put it in quotes",
        "6:5 organizations.1.name: this name is taken by organizations.0",
        f'7:5 organizations.1.provider: should be one of {VENDORS}; did you mean "openai"?',
        "8:5 organizations.1.api_key: the environment variable UNSET is not set, and there is no default",
        "10:3 poll.interval: should be a duration such as 500ms, 30s, 5m, 6h or 30d",
        "11:3 poll.timeout: should be between 1s and 30s",
        '13:20 routes.0.match.org.0: no organisation has this name; did you mean "research"?',
        f'13:34 routes.0.on.0: should be {", ".join(WORDS_BUT_LAST)} or "notifier_up"; did you mean "gone"?',
        "13:41 routes.0.notify: no notifier has this name",
    ]


@pytest.mark.fault("F06")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "1:1 (file): is empty", id="an empty file"),
        pytest.param(
            "a: {b: ${C}}", '1:9 (file): between { } and [ ] a variable needs quotes: "${NAME}"', id="a bare variable"
        ),
        pytest.param("- a", "1:1 (file): should be a mapping of keys and values", id="a list"),
        pytest.param("{}", "1:1 organizations: is required", id="no organisations"),
        pytest.param("organizations: []", "1:1 organizations: should not be empty", id="an empty list of them"),
        pytest.param(
            "a: [1", "1:6 (file): this is not YAML: expected ',' or ']', but got '<stream end>'", id="a bracket"
        ),
        pytest.param("a: b: c", "1:5 (file): a colon is not expected here", id="a colon too many"),
        pytest.param("\ta: 1", "1:1 (file): a value cannot start with this character", id="a tab"),
        pytest.param("a: *secret", "1:4 (file): an alias (*name) needs its anchor", id="an alias of nothing"),
        pytest.param("a: 1\n---\nb: 2", "2:1 (file): only one document is allowed", id="two documents"),
        pytest.param("a: \0", "1:4 (file): a control character", id="a NUL"),
        pytest.param("a: 1\na: 2", "2:1 a: duplicate key", id="a duplicate key"),
        pytest.param("poll: !!python/object:os.system {}", "1:1 poll: tags (!name) are not allowed", id="a tag"),
        pytest.param("? [a, b]\n: 1", "1:1 (file): a key must be text", id="a list as a key"),
        pytest.param(
            "a: &a [*a]", "1:1 (file): there are too many values, or an alias of itself", id="an endless alias"
        ),
        pytest.param("a: " + "[" * 500, "1:35 (file): the values are nested too deeply", id="endless brackets"),
        pytest.param("a: " + "9" * 5000, "1:1 a: this number cannot be read", id="an endless number"),
        pytest.param("#" * (1024 * 1024 + 1), "1:1 (file): the file is larger than 1 MiB", id="an endless file"),
    ],
)
def test_what_is_not_a_configuration_is_refused_with_its_place(folder: Folder, text: str, problem: str) -> None:
    assert any(one.startswith(problem) for one in folder.write(text).problems())


def test_a_file_that_is_not_utf_8_is_refused(folder: Folder) -> None:
    folder.file.write_bytes(b"a: \xff")
    assert folder.problems() == ["1:1 (file): the file is not UTF-8 text"]


@pytest.mark.fault("F06")
def test_a_bomb_of_aliases_is_refused(folder: Folder) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    folder.write("\n".join(["l0: &l0 [x, x, x, x, x, x, x, x, x]", *levels]))
    assert folder.problems() == ["1:1 (file): there are too many values, or an alias of itself"]


@pytest.mark.fault("F06")
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # in Apprise's imports
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("poll: {intervall: 5s}", 'poll.intervall: unknown key; did you mean "interval"?', id="near a key"),
        pytest.param("xyz: 1", "xyz: unknown key", id="near none"),
        pytest.param("poll: 5", "poll: should be a mapping of keys and values", id="not a mapping"),
        pytest.param("notifiers: {}", "notifiers: should be a list", id="not a list"),
        pytest.param("poll: {max_requests_per_second: 0}", "greater than or equal to 0.01", id="below the bound"),
        pytest.param("poll: {max_requests_per_second: .inf}", "max_requests_per_second: should be", id="infinite"),
        pytest.param("metrics: {max_jobs: 1.5}", "metrics.max_jobs: should be a whole number", id="a fraction"),
        pytest.param("server: {enable_lifecycle: 5}", "enable_lifecycle: should be true or false", id="not a switch"),
        pytest.param("poll: {interval: 0s}", "poll.interval: should be longer than 0", id="no time"),
        pytest.param("poll: {interval: -5s}", "poll.interval: should be a duration", id="negative time"),
        pytest.param("poll: {interval: 1h30m}", "poll.interval: should be a duration", id="two units"),
        pytest.param("server: {listen: '10877'}", "server.listen: should be HOST:PORT", id="no host"),
        pytest.param("server: {listen: 'a:99999'}", "server.listen: should be HOST:PORT", id="no such port"),
        pytest.param("server: {listen: '[::zz]:1'}", "server.listen: should be HOST:PORT", id="no IPv6 letters"),
        pytest.param("server: {listen: '[1:2]:1'}", "server.listen: should have an IPv6 address", id="no IPv6 address"),
        pytest.param("server: {listen: 'a b:1'}", "server.listen: should have a host name", id="no host name"),
        pytest.param(
            "server: {web_config_file: x}", "server.web_config_file: cannot be read (No such", id="no web configuration"
        ),
        pytest.param("store: {url: 'sqlite://'}", "store.url: should be sqlite:///FILE", id="a store in memory"),
        pytest.param("store: {url: 'mysql://h/d'}", "store.url: should be sqlite:///FILE", id="another database"),
        pytest.param(
            "delivery: {retry_base: 1h, retry_max: 1m}", "retry_base should not be longer", id="waits that shrink"
        ),
        pytest.param(
            "notifiers: [{name: a, type: slak}]", 'notifiers.0.type: should be one of "slack"', id="a channel"
        ),
        pytest.param("notifiers: [{name: a, type: slak}]", 'did you mean "slack"?', id="near a channel"),
        pytest.param("routes: [{on: [success], notify: a}]", 'did you mean "succeeded"?', id="near an event"),
        pytest.param("routes: [{on: [hurray], notify: a}]", 'or "notifier_up"', id="near no event"),
        pytest.param(
            "notifiers:\n- {name: a, type: slack, token: xoxb-1}",
            'a token needs a channel, in quotes: "#general"',
            id="a channel that became a comment",
        ),
        pytest.param(
            "notifiers: [{name: a, type: slack, token: 'https://hooks.slack.com/x', channel: a}]",
            "notifiers.0.token: is a URL, not a token",
            id="a webhook as token",
        ),
        pytest.param("notifiers: [{name: a}]", "notifiers.0.type: is required", id="no channel"),
        pytest.param(
            "notifiers: [{name: a, type: console}, {name: a, type: console}]",
            "notifiers.1.name: this name is taken by notifiers.0",
            id="two notifiers of one name",
        ),
        pytest.param(
            "notifiers: [{name: a, type: console}, {name: b, type: console, was: a}]",
            "notifiers.1.was: this name is taken by notifiers.0",
            id="a former name that is in use",
        ),
        pytest.param(
            "budgets: [{name: a, amount: 1, was: [x, y]}, {name: b, amount: 1, was: [z, y]}]",
            "budgets.1.was.1: this name is taken by budgets.0",
            id="two that had one name",
        ),
        pytest.param(
            "notifiers: [{name: ml-bot, type: console}]\nroutes: [{notify: [ml-bto]}]",
            'routes.0.notify.0: no notifier has this name; did you mean "ml-bot"?',
            id="a misspelt notifier",
        ),
        pytest.param(
            "routes: [{match: {provider: azure}, notify: x}]",
            "routes.0.match.provider: no organisation has this provider",
            id="a provider that nobody uses",
        ),
        pytest.param(
            "outbound: {public_only: true}\nnotifiers: [{name: a, type: apprise, url: 'json://h'}]",
            "notifiers.0.type: apprise makes its own connections",
            id="Apprise where addresses are checked",
        ),
        pytest.param("routes: [{notify: []}]", "routes.0.notify: should not be empty", id="a route to nowhere"),
        pytest.param("routes: [{notify: x, mute: [night]}]", "no mute time has this name", id="an unknown mute time"),
        pytest.param(
            "mute_times: {n: {timezone: Europe/Berln, windows: [{from: '22:00', to: '07:00'}]}}",
            "mute_times.n.timezone: no time zone has this name",
            id="an unknown time zone",
        ),
        pytest.param(
            "mute_times: {n: {timezone: UTC, windows: [{from: 22, to: '24:01'}]}}",
            'mute_times.n.windows.0.to: should be a time such as "22:00", in quotes',
            id="no time of the day",
        ),
        pytest.param(
            "digests: [{name: w, cron: '0 0 9 * * MON', timezone: UTC, notify: x}]",
            "digests.0.cron: should have five fields",
            id="a cron expression with seconds",
        ),
        pytest.param(
            "digests: [{name: w, cron: '0 9 30 2 *', timezone: UTC, notify: x}]",
            "digests.0.cron: is not a valid cron expression (Bad day-of-month)",
            id="a day that never comes",
        ),
        pytest.param(
            "digests: [{name: w, cron: '0 9 * * MON', timezone: UTC, notify: x}]",
            "digests.0.notify: no notifier has this name",
            id="a digest for nobody",
        ),
        pytest.param("routes: [{on: failed}]", "routes.0: needs notify, or notify_from", id="a route to nobody"),
        pytest.param(
            "routes: [{contnue: false, notify: x}]", 'unknown key; did you mean "continue"?', id="a misspelt continue"
        ),
        pytest.param(
            "notifiers: [{name: x, type: console}]\nroutes: [{name: a, notify: x}, {name: a, notify: x}]",
            "routes.1.name: this name is taken by routes.0",
            id="two routes of one name",
        ),
        pytest.param(
            "routes: [{notify_from: {metadata: k, allow: [ml]}}]",
            "routes.0.notify_from.allow.0: no notifier has this name",
            id="an allowed notifier that is not there",
        ),
        pytest.param(
            "routes: [{notify_from: {metadata: k, allow: ['slack:#team-*']}}]",
            "routes.0.notify_from.allow.0: should begin with the name of a Slack notifier with a token",
            id="channels to which nobody can post",
        ),
        pytest.param(
            "routes: [{notify_from: {metadata: k, allow: ['slack:team-*']}}]",
            "routes.0.notify_from.allow.0: should be slack:#CHANNEL",
            id="channels without their sign",
        ),
        pytest.param("log: {level: '${}'}", "${ must be followed by NAME}", id="a broken variable"),
        pytest.param("pricing: {file: absent.yaml}", "pricing.file: cannot be read (No such file", id="no price table"),
    ],
)
def test_every_rule_has_its_sentence(folder: Folder, text: str, problem: str) -> None:
    found = folder.write(ORGANIZATION + text).problems()
    assert any(problem in one for one in found), found


@pytest.mark.fault("F06")
@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        pytest.param("", "", True, id="the same account"),
        pytest.param("project: proj_a", "project: proj_b", False, id="two projects"),
        pytest.param("", "base_url: 'https://eu.api.openai.com/v1'", False, id="two addresses"),
        pytest.param("", "base_url: 'https://api.openai.com/v1/'", True, id="the default address, spelt out"),
        pytest.param("organization: org-a", "organization: org-b", False, id="two organisations of one user"),
    ],
)
def test_two_organisations_may_not_watch_the_same_jobs(
    folder: Folder, first: str, second: str, *, refused: bool
) -> None:
    folder.secret("key", "sk-test-0123456789\n")
    folder.write(
        f"""organizations:
  - {{name: a, provider: openai, api_key: sk-test-0123456789, {first}}}
  - {{name: b, provider: openai, api_key_file: key, {second}}}
"""
    )
    if refused:
        assert folder.problems() == ["3:5 organizations.1: has the same key, address and project as organizations.0"]
    else:
        assert [one.name for one in folder.load().organizations] == ["a", "b"]


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        pytest.param("http://api.example.com/v1", True, id="a public name"),
        pytest.param("HTTP://8.8.8.8/v1", True, id="a public address"),
        pytest.param("https://api.example.com/v1", False, id="with TLS"),
        pytest.param("http://localhost:8000/v1", False, id="this machine"),
        pytest.param("http://10.1.2.3/v1", False, id="a private address"),
        pytest.param("http://[::1]:8000/v1", False, id="this machine in IPv6"),
        pytest.param("http://gateway:4000/v1", False, id="a name without a dot"),
        pytest.param("http://llm.ml.svc.cluster.local/v1", False, id="a Kubernetes service"),
    ],
)
def test_a_key_goes_over_plain_http_to_private_hosts_only(folder: Folder, url: str, *, refused: bool) -> None:
    folder.write(f"organizations: [{{name: a, provider: openai, api_key: sk-0, base_url: '{url}'}}]")
    if refused:
        assert folder.problems() == [
            "1:60 organizations.0.base_url: plain http would show the key to the network; use https"
        ]
    else:
        assert folder.load().organizations[0].base_url == url


def test_plain_http_to_a_notifier_whose_name_looks_public_is_worth_a_warning(folder: Folder) -> None:
    hooks = "{name: a, type: webhook, url: 'http://ops.example.com/'}, {name: b, type: webhook, url: 'http://ops/'}"
    folder.write(f"{ORGANIZATION}routes: [{{notify: [a, b]}}]\nnotifiers: [{hooks}]")
    assert folder.warnings() == [
        "3:38 notifiers.0.url: plain http is only used if the host resolves to a private address; use https"
    ]


def test_a_notifier_that_no_route_leads_to_is_worth_a_warning(folder: Folder) -> None:
    folder.write(f"{ORGANIZATION}notifiers: [{{name: out, type: console}}]")
    assert folder.warnings() == ["2:14 notifiers.0.name: no route leads to this notifier"]
    folder.write(f"{ORGANIZATION}notifiers: [{{name: out, type: console}}]\nroutes: [{{notify: out}}]")
    assert folder.warnings() == []


@pytest.mark.parametrize("word", [*EventType])
def test_every_word_can_be_asked_for(folder: Folder, word: str) -> None:
    bot = "{name: out, type: slack, token: xoxb-1, channel: C1}"
    terminal = "{name: terminal, type: console}"
    folder.write(f"{ORGANIZATION}notifiers: [{bot}, {terminal}]\nroutes: [{{notify: [out, terminal], on: {word}}}]")
    assert folder.warnings() == []
    assert folder.load().rules[0].on == {word}


@pytest.mark.parametrize(
    ("notifier", "warned"),
    [
        ("{name: out, type: console}", True),
        ("{name: out, type: slack, token: xoxb-1, channel: C1, mode: messages}", True),
        ("{name: out, type: slack, webhook_url: 'https://hooks.slack.com/services/1'}", True),
        ("{name: out, type: discord, webhook_url: 'https://discord.com/api/webhooks/1/2', mode: messages}", True),
        ("{name: out, type: discord, webhook_url: 'https://discord.com/api/webhooks/1/2'}", False),
    ],
)
def test_progress_for_nobody_who_keeps_cards_is_worth_a_warning(folder: Folder, notifier: str, warned: bool) -> None:
    folder.write(f"{ORGANIZATION}notifiers: [{notifier}]\nroutes: [{{notify: out, on: [failed, progress]}}]")
    assert any("only cards show progress" in text for text in folder.warnings()) is warned
    assert folder.load().rules[0].keeps_card("out") is not warned


@pytest.mark.parametrize(
    ("route", "warned"),
    [
        pytest.param("{notify: [out, mail]}", [], id="the other one tells"),
        pytest.param("{notify: out}", ["only one notifier gets"], id="nobody is left"),
        pytest.param("{notify: [out, mail], match: {org: research}}", ["routes.0.match: notifiers belong"], id="none"),
    ],
)
def test_a_route_by_which_nobody_learns_of_a_notifier_is_worth_a_warning(
    folder: Folder, route: str, warned: list[str]
) -> None:
    both = "[{name: out, type: console}, {name: mail, type: console}]"
    others = "{notify: [out, mail]}"
    folder.write(f"{ORGANIZATION}notifiers: {both}\nroutes: [{route[:-1]}, on: notifier_down}}, {others}]")
    found = folder.warnings()
    assert len(found) == len(warned)
    assert all(text in one for text, one in zip(warned, found, strict=True))


def test_problems_of_a_price_table_are_told_at_their_place_in_that_file(folder: Folder) -> None:
    (folder.path / "prices.yaml").write_text("checked: 2026-11-22\nprices:\n  - {models: [a]}\n", encoding="utf-8")
    folder.write(f"{ORGANIZATION}pricing: {{file: prices.yaml}}")
    assert folder.problems() == [
        "prices.yaml:3:5 prices.0.confidence: is required",
        "prices.yaml:3:5 prices.0.methods: is required",
        "prices.yaml:3:5 prices.0.source: is required",
    ]


def test_the_place_of_a_problem_is_a_clickable_one(folder: Folder, tmp_path: Path) -> None:
    folder.write("poll: 5")
    with pytest.raises(Exception, match="poll") as caught:
        folder.load()
    assert str(caught.value).startswith(f"{tmp_path}/conf.yaml:1:1 ")
