"""Whatever is in the file: settings or problems, never another exception, and never a secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from monitor.config import ConfigError, settings_from
from monitor.config.interpolate import fill
from monitor.config.yaml import parse

CALM = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

FULL: dict[str, Any] = {
    "organizations": [
        {
            "name": "research",
            "provider": "openai",
            "api_key": "sk-test-0123456789",
            "base_url": "https://api.openai.com/v1",
            "project": "proj_a",
            "webhook_secret": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
            "labels": {"team": "search"},
        }
    ],
    "poll": {"interval": "30s", "max_requests_per_second": 5},
    "stall": {"running": "1h"},
    "store": {"url": "sqlite:///monitor.db"},
    "server": {"listen": "127.0.0.1:10877", "enable_lifecycle": False},
    "delivery": {"max_age": "72h"},
    "metrics": {"max_jobs": 5000},
    "notifiers": [
        {"name": "ops", "type": "webhook", "url": "https://ops.example.com/hook", "headers": {"X-Key": "abcdefghijkl"}},
        {"name": "bot", "type": "slack", "token": "xoxb-0123456789", "channel": "#ml"},
    ],
    "routes": [{"match": {"org": ["research"], "model": "gpt*"}, "on": ["failed"], "notify": ["ops", "bot"]}],
    "log": {"level": "info"},
}


def _ways(tree: Any, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if way:
        yield way
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from _ways(value, (*way, key))


def _replaced(way: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    tree: Any = deepcopy(FULL)
    *outer, last = way
    inner = tree
    for step in outer:
        inner = inner[step]
    inner[last] = value
    return tree  # type: ignore[no-any-return] # it began as a dict


WAYS = st.sampled_from(list(_ways(FULL)))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["", "whsec_", "a\0b", "${"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=6,
)


def test_the_full_tree_is_sound() -> None:
    assert [one.name for one in settings_from(FULL).notifiers] == ["ops", "bot"]


@given(way=WAYS, value=ANYTHING)
@CALM
def test_anything_anywhere_gives_settings_or_problems(way: tuple[str | int, ...], value: Any) -> None:
    with suppress(ConfigError):
        assert settings_from(_replaced(way, value)).organizations


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(content=b"%YAML 9.9\n---\na")
@example(content=b'"\\UFFFFFFFF"')
@example(content=b"a: !!int x")
@example(content=b"a: !!float x")
@example(content=b"&a *a")
@example(content=b"%TAG ! x")
@example(content=b"<<: 5")
@settings(max_examples=400, deadline=None)
def test_any_bytes_give_a_document(content: bytes) -> None:
    read = parse(content, lambda text: text)
    assert all(read.place(issue.loc) >= (1, 1) for issue in read.issues)


YAML_PIECES = st.sampled_from(
    [
        *(
            "a",
            "b: ",
            "- ",
            "\n",
            "  ",
            "[",
            "]",
            "{",
            "}",
            ", ",
            "*a",
            "&a ",
            "!t ",
            "!!str ",
            "'",
            '"',
            "\\",
            "|",
            ">",
        ),
        *("? ", ": ", "<<: ", "# ", "%YAML 1.1\n", "---\n", "...\n", "1", "1.5e9", "0x", "~", "true", "2024-01-01"),
        *("\t", "\ufeff", "é"),
    ]
)


@given(pieces=st.lists(YAML_PIECES, max_size=30))
@settings(max_examples=600, deadline=None)
def test_any_pieces_of_yaml_give_a_document(pieces: list[str]) -> None:
    read = parse("".join(pieces).encode(), lambda text: text)
    assert isinstance(read.tree, dict | list | str | int | Decimal | None)
    assert not isinstance(read.tree, dict) or all(isinstance(key, str) for key in read.tree)


@given(text=st.text(alphabet="${}:-AB x") | st.text())
def test_any_text_is_filled_or_refused(text: str) -> None:
    try:
        filled = fill(text, {"A": "1", "B": ""})
    except ValueError:
        assert "${" in text
    else:
        assert filled == text or "$" in text


SECRETS = [
    ("organizations", 0, "api_key"),
    ("organizations", 0, "webhook_secret", 0),
    ("notifiers", 0, "url"),
    ("notifiers", 0, "secret"),
    ("notifiers", 0, "headers", "X-Key"),
    ("notifiers", 1, "token"),
    ("notifiers", 1, "webhook_url"),
]


@pytest.mark.parametrize(
    "secret_way", SECRETS, ids=".".join(map(str, SECRETS[0])) and (lambda way: ".".join(map(str, way)))
)
@given(
    secret=st.text(
        alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=20, max_size=60
    ),
    way=WAYS,
    value=ANYTHING,
)
@settings(max_examples=40, deadline=None)
def test_no_part_of_a_secret_is_in_any_problem(
    secret_way: tuple[str | int, ...], secret: str, way: tuple[str | int, ...], value: Any
) -> None:
    tree = _replaced(way, value)
    tree["surprise"] = secret  # and where it does not belong
    inner: Any = tree
    try:
        for step in secret_way[:-1]:
            inner = inner[step]
        inner[secret_way[-1]] = secret
    except (KeyError, IndexError, TypeError):
        pass  # what was put there has no such place
    with pytest.raises(ConfigError) as caught:
        settings_from(tree)
    told = str(caught.value)
    assert not any(secret[at : at + 12] in told for at in range(len(secret) - 11))


@given(secret=st.from_regex(r"\A(sk|xoxb|whsec)[-_][A-Za-z0-9_-]{20,40}\Z"))
@example(secret="sk-proj-AbCdEf0123456789ghijKLMN")
def test_a_secret_in_broken_yaml_is_not_echoed(secret: str) -> None:
    for text in (
        f"*{secret}",
        f"a: *{secret}",
        f"!{secret} x",
        f"{secret}: 1\n{secret}: 2",
        f"a: '{secret}",
        f"@{secret}",
    ):
        read = parse(text.encode(), lambda text: text)
        assert read.issues
        assert not any(secret[:12] in issue.text for issue in read.issues)
