"""A secret is given once, in one way, and can be read; what is wrong with it is said without it."""

from __future__ import annotations

import os

import pytest

from tests.config.conftest import ORGANIZATION, Folder

pytestmark = pytest.mark.fault("G24", "F03")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param("api_key: ''", "api_key: is empty", id="empty"),
        pytest.param("api_key:", "api_key: is empty", id="null"),
        pytest.param("api_key: '  '", "api_key: is empty", id="white space"),
        pytest.param("api_key: sk-0 123", "api_key: contains white space or control characters", id="two words"),
        pytest.param('api_key: "sk-0\\n123"', "api_key: contains white space or control", id="a header injected"),
        pytest.param("api_key: '${EMPTY}'", "api_key: is empty", id="an empty variable"),
        pytest.param("api_key: sk-0\n    webhook_secret: whsec_", "webhook_secret: is empty", id="only a prefix"),
        pytest.param("api_key: sk-0\n    webhook_secret: []", "webhook_secret: is empty", id="an empty list"),
        pytest.param(
            "api_key: sk-0\n    webhook_secret: [MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, '']",
            "webhook_secret.1: is empty",
            id="one of several",
        ),
        pytest.param("api_key: sk-0\n    api_key_file: good", "give either api_key or api_key_file", id="both ways"),
        pytest.param("api_key: 12345678", "api_key: should be text; put it in quotes", id="a number"),
        pytest.param("labels: {}", "api_key: is required (api_key or api_key_file)", id="no way"),
        pytest.param("api_key_file: absent", "api_key_file: there is no such file in /", id="no file"),
        pytest.param("api_key_file: a/b", "api_key_file: there is no such file or folder", id="no folder"),
        pytest.param("api_key_file: .", "api_key_file: the secret's file is not a plain file", id="a folder"),
        pytest.param("api_key_file: ''", "api_key_file: the secret's file is not a plain file", id="no file name"),
        pytest.param('api_key_file: "a\\0b"', "api_key_file: the name of the file is invalid", id="a NUL in its name"),
        pytest.param("api_key_file: empty", "api_key_file: the secret in the file is empty", id="an empty file"),
        pytest.param("api_key_file: two", "api_key_file: the secret in the file contains white", id="two lines"),
        pytest.param("api_key_file: large", "api_key_file: the secret's file is too large", id="a large file"),
        pytest.param("api_key_file: pipe", "api_key_file: the secret's file is not a plain file", id="a pipe"),
    ],
)
def test_a_secret_is_given_once_and_can_be_read(folder: Folder, given: str, problem: str) -> None:
    for name, text in {"good": "sk-0", "empty": " \r\n", "two": "sk-0\nsk-1", "large": "x" * 70_000}.items():
        folder.secret(name, text)
    os.mkfifo(folder.path / "pipe")
    folder.write(f"organizations:\n  - name: a\n    provider: openai\n    {given}\n")
    (found,) = folder.problems({"EMPTY": ""})
    assert problem in found


@pytest.mark.fault("P16")
@pytest.mark.parametrize(
    ("given", "text", "problem"),
    [
        pytest.param("type: webhook, url_file: file", "ws://10.0.0.1/hook", "must be an http", id="another scheme"),
        pytest.param("type: webhook, url_file: file", "//10.0.0.1/hook", "must be an http", id="no scheme"),
        pytest.param("type: webhook, url_file: file", "http://8.8.8.8/hook", "plain http is allowed", id="plain"),
        pytest.param("type: webhook, url_file: file", "hook", "must be an http", id="no URL"),
        pytest.param("type: slack, webhook_url_file: file", "xoxb-1-2-3", "must be an http", id="a token as a URL"),
        pytest.param(
            "type: webhook, url: 'https://a.example/', secret_file: file", "no*base64", "must be base64", id="no key"
        ),
        pytest.param(
            "type: webhook, url: 'https://a.example/', secret_file: [file]", "no*base64", "must be base64", id="of many"
        ),
    ],
)
def test_what_a_file_holds_is_held_to_what_the_text_would_be(
    folder: Folder, given: str, text: str, problem: str
) -> None:
    folder.secret("file", text)
    folder.write(
        "organizations: [{name: a, provider: openai, api_key: sk-0}]\n"
        f"notifiers: [{{name: n, {given}}}]\nroutes: [{{notify: [n]}}]\n"
    )
    (found,) = folder.problems()
    assert "_file" in found
    assert f"the secret in the file {problem}" in found
    assert text not in found


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_secret_file_that_may_not_be_read_is_a_problem(folder: Folder) -> None:
    folder.secret("key", "sk-0", mode=0)
    folder.write("organizations: [{name: a, provider: openai, api_key_file: key}]")
    assert folder.problems() == [
        "1:45 organizations.0.api_key_file: the file cannot be read (Permission denied)",
    ]


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o644, True), (0o640, True)], ids=oct)
def test_a_secret_file_that_others_can_read_is_worth_a_warning(folder: Folder, mode: int, *, warned: bool) -> None:
    folder.secret("key", "sk-0", mode=mode)
    folder.write("organizations: [{name: a, provider: openai, api_key_file: key}]")
    text = "1:45 organizations.0.api_key_file: the file can be read by other users; chmod 600 would keep it private"
    assert folder.warnings() == ([text] if warned else [])


def test_each_of_several_secret_files_is_looked_at_in_the_folder_of_the_configuration(folder: Folder) -> None:
    good = folder.secret("good", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    hook = "{name: ops, type: webhook, url: 'https://ops.example.com/hook', secret_file: [good, %s]}"
    folder.write(f"{ORGANIZATION}routes: [{{notify: ops}}]\nnotifiers:\n  - {hook % 'absent'}")
    assert folder.problems() == [f"4:89 notifiers.0.secret_file.1: there is no such file in {folder.path}"]
    folder.write(f"{ORGANIZATION}routes: [{{notify: ops}}]\nnotifiers:\n  - {hook % 'good'}")
    assert folder.load().notifiers[0].model_dump()["secret_file"] == (good, good)
