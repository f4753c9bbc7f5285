"""A configuration file becomes settings."""

from __future__ import annotations

from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from monitor.config import Address, ConfigError, load, overridden, settings_from
from monitor.domain.model import FailureClass, JobKind, Method, Status
from monitor.domain.mutes import MuteTime, Window
from monitor.domain.routing import DEFAULT_ON, AllowedChannel, Match, MentionFrom, NotifyFrom, Rule
from tests.builders import on
from tests.config.conftest import ORGANIZATION, Folder

TREE = {"organizations": [{"name": "research", "provider": "openai", "api_key": "sk-test-0123456789"}]}


def test_one_organisation_is_enough_and_everything_else_has_its_documented_default(folder: Folder) -> None:
    settings = folder.write(ORGANIZATION).load()
    assert [one.name for one in settings.organizations] == ["research"]
    assert settings.model_dump(mode="json", exclude={"organizations"}) == {
        "poll": {
            "interval": "30s",
            "idle_interval": "5m",
            "events_interval": "1m",
            "costs_interval": "1h",
            "models_interval": "6h",
            "timeout": "30s",
            "max_requests_per_second": 5.0,
            "lookback": "30d",
        },
        "stall": {"validating": "1h", "queued": "6h", "running": "1h"},
        "store": {"url": "**********", "url_file": None, "lease": "30s", "retention": "90d"},
        "server": {
            "listen": "127.0.0.1:10877",
            "hosts": [],
            "web_config_file": None,
            "external_url": None,
            "enable_lifecycle": False,
        },
        "delivery": {"timeout": "15s", "retry_base": "5s", "retry_max": "10m", "max_age": "3d", "down_after": "15m"},
        "outbound": {"public_only": False},
        "metrics": {"job_retention": "1d", "max_jobs": 5000},
        "notifiers": [],
        "mute_times": {},
        "routes": [],
        "templates": {},
        "digests": [],
        "pricing": {"file": None, "sellers": []},
        "budgets": [],
        "log": {"level": "info", "format": "json"},
    }


def test_the_same_file_gives_equal_settings_which_do_not_show_their_secrets(folder: Folder) -> None:
    folder.write(ORGANIZATION)
    assert folder.load() == folder.load()
    assert "0123456789" not in repr(folder.load()) + folder.load().model_dump_json()


def test_a_tree_gives_the_settings_of_the_file_that_says_the_same_and_is_left_as_it_was(folder: Folder) -> None:
    before = repr(TREE)
    assert settings_from(TREE) == folder.write(ORGANIZATION).load()
    assert repr(TREE) == before


def test_a_wrong_tree_is_refused_with_all_its_problems() -> None:
    with pytest.raises(ConfigError, match=r"organizations\.0\.provider[\s\S]*poll\.interval"):
        settings_from({"organizations": [{"name": "a", "api_key": "sk-a"}], "poll": {"interval": "0s"}})


def test_a_file_that_cannot_be_read_is_an_os_error_and_no_problem_of_its_content(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.yaml", {})
    with pytest.raises(IsADirectoryError):
        load(tmp_path, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("500ms", timedelta(milliseconds=500), id="milliseconds"),
        pytest.param("30s", timedelta(seconds=30), id="seconds"),
        pytest.param("5m", timedelta(minutes=5), id="minutes"),
        pytest.param("6h", timedelta(hours=6), id="hours"),
        pytest.param("1d", timedelta(days=1), id="days"),
    ],
)
def test_durations_are_read(folder: Folder, text: str, expected: timedelta) -> None:
    assert folder.write(
        f"{ORGANIZATION}delivery: {{retry_base: 100ms, retry_max: {text}}}"
    ).load().delivery.retry_max == (expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("127.0.0.1:10877", Address("127.0.0.1", 10877), id="an IPv4 address"),
        pytest.param('"[::]:9090"', Address("::", 9090), id="an IPv6 address in brackets"),
        pytest.param("localhost:0", Address("localhost", 0), id="any free port of a name"),
        pytest.param('":8080"', Address("", 8080), id="every interface"),
    ],
)
def test_listen_addresses_are_read(folder: Folder, text: str, expected: Address) -> None:
    assert folder.write(f"{ORGANIZATION}server: {{listen: {text}}}").load().server.listen == expected


@pytest.mark.parametrize("text", ["[::1]:80", "127.0.0.1:10877", ":1"])
def test_a_listen_address_is_shown_as_it_was_written(text: str) -> None:
    settings = overridden(settings_from(TREE), listen=text)
    assert str(settings.server.listen) == text


def test_the_command_line_overrides_the_file_and_nothing_else() -> None:
    settings = settings_from(TREE)
    changed = overridden(settings, listen="[::1]:0", log_level="debug")
    assert (changed.server.listen, changed.log.level, changed.log.format) == (Address("::1", 0), "debug", "json")
    assert overridden(settings) == settings
    with pytest.raises(ValueError, match="HOST:PORT"):
        overridden(settings, listen="nowhere")
    with pytest.raises(ValueError, match="level"):
        overridden(settings, log_level="loud")


def test_a_route_is_the_rule_of_the_domain(folder: Folder) -> None:
    folder.write(
        f"""{ORGANIZATION}
notifiers: [{{name: out, type: console}}]
routes:
  - match: {{org: [research], provider: openai, model: "gpt-4o*", labels: {{team: search}}, metadata: {{env: prod}}}}
    on: failed
    notify: out
  - notify: [out]
"""
    )
    assert folder.load().rules == (
        Rule(
            match=Match(
                orgs=frozenset({"research"}),
                providers=frozenset({"openai"}),
                models=("gpt-4o*",),
                labels={"team": "search"},
                metadata={"env": "prod"},
            ),
            on=on("failed"),
            notify=("out",),
        ),
        Rule(on=DEFAULT_ON, notify=("out",)),
    )


def test_a_route_has_a_name_and_lets_the_job_say_who_is_notified(folder: Folder) -> None:
    folder.write(
        f"""{ORGANIZATION}
notifiers:
  - {{name: bot, type: slack, token: xoxb-0123456789, channel: "#all"}}
  - {{name: out, type: console}}
routes:
  - name: nightly
    match: {{method: [dpo], kind: fine_tuning, status: failed, error_class: [provider], cost_at_least: 50}}
    notify_from: {{metadata: notify, allow: [out, "slack:#team-*", "bot:#x"]}}
    mention_from: {{metadata: owner, map: {{ana: "<@U1>"}}}}
    continue: false
"""
    )
    assert folder.warnings() == []
    assert folder.load().rules == (
        Rule(
            name="nightly",
            match=Match(
                methods=frozenset({Method.DPO}),
                kinds=frozenset({JobKind.FINE_TUNING}),
                statuses=frozenset({Status.FAILED}),
                error_classes=frozenset({FailureClass.PROVIDER}),
                cost_at_least=Decimal(50),
            ),
            notify_from=NotifyFrom(
                key="notify",
                notifiers=frozenset({"out"}),
                channels=(
                    AllowedChannel(prefix="slack", notifier="bot", pattern="#team-*"),
                    AllowedChannel(prefix="bot", notifier="bot", pattern="#x"),
                ),
            ),
            mention_from=MentionFrom(key="owner", mentions={"ana": "<@U1>"}),
            cards=frozenset({"bot"}),
            last=True,
        ),
    )


def test_routes_wait_for_others_and_are_mute_at_times(folder: Folder) -> None:
    folder.write(
        f"""{ORGANIZATION}
notifiers:
  - {{name: out, type: console}}
  - {{name: pager, type: pagerduty, routing_key: {"0123456789abcdef" * 2}}}
mute_times:
  nights:
    timezone: Europe/Berlin
    windows: [{{days: [mon, fri], from: "22:00", to: "07:00"}}, {{from: "12:30", to: "24:00"}}]
    except: failed
routes:
  - {{notify: [out, pager], group_wait: 30s, mute: [nights]}}
"""
    )
    (rule,) = folder.load().rules
    assert (rule.group_wait, rule.alone) == (timedelta(seconds=30), frozenset({"pager"}))
    assert rule.mutes == (
        MuteTime(
            name="nights",
            zone=ZoneInfo("Europe/Berlin"),
            windows=(
                Window(days=frozenset({0, 4}), start=time(22), end=time(7)),
                Window(days=frozenset(range(7)), start=time(12, 30), end=time(0)),
            ),
            passing=on("failed"),
        ),
    )


def test_variables_are_filled_in_after_parsing_so_that_a_value_cannot_change_the_structure(folder: Folder) -> None:
    folder.write("organizations: [{name: a, provider: openai, api_key: '${KEY}', labels: {team: '${TEAM}'}}]")
    settings = folder.load({"KEY": "sk-0123", "TEAM": "x}, name: evil # \n- "})
    assert settings.organizations[0].labels == {"team": "x}, name: evil # \n- "}


@pytest.mark.parametrize(
    ("written", "environ", "expected"),
    [
        pytest.param("${TEAM}", {"TEAM": "search"}, "search", id="set"),
        pytest.param("a-${TEAM}-b", {"TEAM": "search"}, "a-search-b", id="in the middle of a text"),
        pytest.param("${TEAM}", {"TEAM": ""}, "", id="set and empty"),
        pytest.param("${TEAM:-ops}", {}, "ops", id="unset, with a default"),
        pytest.param("${TEAM:-ops}", {"TEAM": ""}, "ops", id="empty, with a default"),
        pytest.param("${TEAM:-}", {}, "", id="an empty default"),
        pytest.param("$$TEAM $${TEAM} $5", {}, "$TEAM ${TEAM} $5", id="dollars that are meant"),
        pytest.param("${TEAM}", {"TEAM": "${TEAM}"}, "${TEAM}", id="what was filled in is not filled again"),
    ],
)
def test_variables_are_filled_from_the_environment(
    folder: Folder, written: str, environ: dict[str, str], expected: str
) -> None:
    folder.write(f"organizations: [{{name: a, provider: openai, api_key: sk-0, labels: {{team: '{written}'}}}}]")
    assert folder.load(environ).organizations[0].labels == {"team": expected}


def test_what_an_unset_variable_leaves_open_is_one_problem_and_no_second(folder: Folder) -> None:
    folder.write(f"{ORGANIZATION}notifiers: [{{name: a, type: slack, webhook_url: '${{HOOK}}'}}]")
    with pytest.raises(ConfigError) as caught:
        folder.load({})
    (problem,) = caught.value.problems
    assert (problem.path, "HOOK is not set" in problem.text) == ("notifiers.0.webhook_url", True)


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ({"listen": "127.0.0.1:10877"}, "http://127.0.0.1:10877"),
        ({"listen": ":10877"}, "http://localhost:10877"),
        ({"listen": "127.0.0.1:0"}, ""),
        ({"listen": "127.0.0.1:0", "external_url": "https://monitor.example.com/"}, "https://monitor.example.com"),
    ],
)
def test_links_begin_with_what_people_reach(server: dict[str, str], url: str) -> None:
    org = {"name": "a", "provider": "openai", "api_key": "sk-0"}
    assert settings_from({"organizations": [org], "server": server}).server.url == url


def test_numbers_and_switches_may_come_from_the_environment(folder: Folder) -> None:
    folder.write(f"{ORGANIZATION}metrics: {{max_jobs: '${{MAX}}'}}\nserver: {{enable_lifecycle: '${{RELOAD}}'}}")
    settings = folder.load({"MAX": "7", "RELOAD": "true"})
    assert (settings.metrics.max_jobs, settings.server.enable_lifecycle) == (7, True)


def test_yaml_is_1_2_with_anchors_and_merge_keys(folder: Folder) -> None:
    folder.write(
        """
organizations:
  - &base {name: a, provider: openai, api_key: sk-0, labels: {country: NO, mode: "0o17"}}
  - {<<: *base, name: b, api_key: sk-1}
"""
    )
    a, b = folder.load().organizations
    assert a.labels == b.labels == {"country": "NO", "mode": "0o17"}
    assert (a.name, b.name) == ("a", "b")


def test_files_are_relative_to_the_folder_of_the_configuration(folder: Folder) -> None:
    folder.secret("key", "sk-in-a-file\n")
    folder.write("organizations: [{name: a, provider: openai, api_key_file: key}]")
    [one] = folder.load().organizations
    assert one.credentials() == {"api_key": (None, folder.path / "key")}


def test_white_space_around_a_secret_is_no_part_of_it(folder: Folder) -> None:
    folder.write("organizations: [{name: a, provider: openai, api_key: '${KEY}'}]")
    [one] = folder.load({"KEY": " sk-0123\r\n"}).organizations
    assert one.credentials() == {"api_key": ("sk-0123", None)}
