"""Secrets are read late, never shown, and found in every text."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.secret import LARGEST, MASK, Redactor, Secret

pytestmark = pytest.mark.fault("G26")

KEY = "sk-proj-AbCdEf0123456789ghijKLMN"
# Few letters make the parts of a secret look alike, which is where a search goes wrong.
SECRETS = st.text(alphabet="ab", min_size=12, max_size=40) | st.text(min_size=12, max_size=60)


def redactor(*secrets: str) -> Redactor:
    one = Redactor()
    one.add(secrets)
    return one


def holds_a_part(text: str, secret: str) -> bool:
    return any(secret[at : at + 12] in text for at in range(len(secret) - 11))


@given(
    secrets=st.lists(SECRETS.filter(lambda text: "://" not in text), min_size=1, max_size=3),
    spans=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 59), st.integers(12, 60)), min_size=1, max_size=4),
    between=st.lists(st.text(alphabet="ab .", max_size=15), min_size=5, max_size=5),
)
@example(secrets=["aaaaaaaaaaaabcdefgh"], spans=[(0, 1, 12)], between=[""] * 5)
@settings(max_examples=400, deadline=None)
def test_every_part_of_twelve_characters_is_masked(
    secrets: list[str], spans: list[tuple[int, int, int]], between: list[str]
) -> None:
    parts = [secrets[which % len(secrets)][start : start + length] for which, start, length in spans]
    text = "".join(f"{gap}{part}" for gap, part in zip(between, parts, strict=False)) + between[4]
    redacted = redactor(*secrets)(text)
    assert not any(holds_a_part(left, secret) for left in redacted.split(MASK) for secret in secrets)


@given(
    secret=st.text(alphabet="abcdef0123456789", min_size=12, max_size=40),
    text=st.text(alphabet="xyz \n☃", max_size=200),
)
def test_text_without_a_secret_is_unchanged(secret: str, text: str) -> None:
    assert redactor(secret)(text) == text


@given(text=st.text())
def test_no_secrets_no_change(text: str) -> None:
    assert Redactor()(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"Incorrect API key provided: {KEY}.", f"Incorrect API key provided: {MASK}.", id="the whole key"),
        pytest.param(f"key={KEY[5:20]}", f"key={MASK}", id="a part of the key"),
        pytest.param(KEY[:11], KEY[:11], id="eleven characters may stay"),
        pytest.param(KEY * 2, MASK * 2, id="twice, without a gap"),
        pytest.param("the model sk-proj is fine", "the model sk-proj is fine", id="a common beginning"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_a_key_is_masked_where_it_stands(text: str, expected: str) -> None:
    assert redactor(KEY)(text) == expected


@pytest.mark.parametrize("between", ["\u200b", "\u200d", "\u00ad", "\u200e", "\ufeff", "\x7f", "\x00", "\u00a0"])
def test_what_nobody_sees_hides_no_secret(between: str) -> None:
    woven = between.join(KEY[at : at + 4] for at in range(0, len(KEY), 4))
    assert redactor(KEY)(f"é{between} {woven}.") == f"é {MASK}."
    assert redactor(KEY)(f"{woven[:9]} is little") == f"{woven[:9]} is little"


def test_a_short_secret_is_masked_as_a_whole_and_a_tiny_one_is_too_common_to_look_for() -> None:
    assert redactor("hunter2!")("hunter2! hunter") == f"{MASK} hunter"
    assert redactor("abc")("abc") == "abc"


@pytest.mark.parametrize(
    ("url", "text", "expected"),
    [
        pytest.param(
            "https://hooks.slack.com/services/T000/B000/XXXXXXXXXXXX",
            "POST https://hooks.slack.com/services/T000/B000/XXXXXXXXXXXX failed",
            f"POST https://hooks.slack.com/services{MASK} failed",
            id="a Slack hook keeps its host",
        ),
        pytest.param(
            "https://example.com/hook?token=abcdefghijkl",
            "example.com said no to token=abcdefghijkl",
            f"example.com said no to {MASK}",
            id="the query",
        ),
        pytest.param(
            "postgresql://monitor:p%40ssw0rd-1234@db/monitor_db",
            "password p@ssw0rd-1234 of monitor",
            f"password {MASK} of monitor",
            id="a database's password, decoded; its user is no secret",
        ),
        pytest.param(
            "https://abcdefghijkl@example.com/", "user abcdefghijkl", f"user {MASK}", id="a token before the host"
        ),
        pytest.param(
            "https://ana:p%40ss%C3%A9-1234@example.com/",
            "headers: Basic YW5hOnBAc3PDqS0xMjM0",
            f"headers: Basic {MASK}",
            id="user and password, as they are sent",
        ),
        pytest.param("https://example.com/#abcdefghijkl", "abcdefghijkl", MASK, id="the fragment"),
        pytest.param("http://[broken-abcdefgh", "[broken-abcdefgh", MASK, id="what only looks like a URL"),
        pytest.param("abcdefghijkl://mnop", "abcdefghijkl://mnop", MASK, id="a key with a colon and slashes"),
    ],
)
def test_of_a_url_only_what_tells_something_is_masked(url: str, text: str, expected: str) -> None:
    redacted = redactor(url)(text)
    assert redacted == expected or (url.startswith("http://[") and redacted.endswith(MASK))


def test_a_file_is_read_without_the_white_space_around_it_and_its_text_is_learnt(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"\xef\xbb\xbf" + KEY.encode() + b" \r\n")
    one = Redactor()
    secret = Secret(path=file, redactor=one)
    assert one(KEY) == MASK, "from the start, whoever repeats it before it is used"
    assert secret.read() == KEY


def test_a_changed_file_is_read_again_and_the_old_secret_stays_masked(tmp_path: Path) -> None:
    file, fresh, one = tmp_path / "key", tmp_path / "fresh", Redactor()
    file.write_text(KEY, encoding="utf-8")
    secret = Secret(path=file, redactor=one)
    assert secret.read() == KEY
    fresh.write_text("sk-proj-another-key-0123", encoding="utf-8")
    fresh.replace(file)  # as Kubernetes swaps a mounted secret
    assert secret.read() == "sk-proj-another-key-0123"
    assert one(f"{KEY} sk-proj-another-key-0123") == f"{MASK} {MASK}"


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY, encoding="utf-8")
    before = file.stat()
    secret = Secret(path=file)
    secret.read()
    file.write_text(KEY.swapcase(), encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert secret.read() == KEY


def test_a_file_that_is_written_again_after_a_fault_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "key"
    secret = Secret(path=file)
    with pytest.raises(FileNotFoundError):
        secret.read()
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(ValueError, match="empty"):
        secret.read()
    file.write_text(KEY, encoding="utf-8")
    assert secret.read() == KEY


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b" \r\n\t", "is empty", id="white space"),
        pytest.param(b"x" * (LARGEST + 1), "too large", id="endless"),
        pytest.param(b"sk-secret-\xff\xfe-rest", "not UTF-8", id="not text"),
    ],
)
def test_a_file_that_holds_no_secret_is_a_value_error_that_shows_nothing(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=problem) as caught:
        Secret(path=file).read()
    assert "sk-secret" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="plain file"):
        Secret(path=tmp_path / "pipe").read()


def test_no_secret_is_a_value_error() -> None:
    for nothing in (None, ""):
        with pytest.raises(ValueError, match="empty"):
            Secret(nothing).read()


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(KEY)
    assert KEY not in f"{secret} {secret!r} {[secret]} {secret!s:>40}"
    assert not hasattr(secret, "__dict__")


def test_a_line_costs_microseconds_however_many_secrets_there_are() -> None:
    many = Redactor()
    many.add(f"sk-proj-{number:040d}" for number in range(1000))
    began = time.perf_counter()
    for _ in range(1000):
        assert many("poll.failed org=research error=the provider did not answer within 30 s")
    assert time.perf_counter() - began < 1.0
