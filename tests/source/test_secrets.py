"""The key goes to its own server and nowhere else, and no text shows it, even where the server repeats it."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.domain.flow import Known, Observation
from monitor.providers.base import AuthFailed, Malformed, ProviderUnavailable, SourceError
from monitor.providers.openai import provider
from monitor.secret import Secret
from monitor.source import transport
from tests import builders as b
from tests.builders import NOON
from tests.source.servers import KEY, Api, answering, asking, body, event, job, listing, refusal, serving, source

NEVER = Known(org="research")


async def failed_check(url: str, **over: Any) -> SourceError:
    async with asking(url, **over) as asked:
        with pytest.raises(SourceError) as caught:
            await asked.source.check()
    return caught.value


def leaks(text: str) -> bool:
    return any(KEY[start : start + 12] in text for start in range(len(KEY) - 11))


async def test_a_request_carries_the_key_the_account_and_our_name() -> None:
    api = Api()
    async with serving(api) as url, asking(url, vendor=provider("research", url, project="proj_abc")) as asked:
        await asked.source.check()
    (headers,) = api.headers
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["OpenAI-Project"] == "proj_abc"
    assert headers["User-Agent"].startswith("finetune-monitor/")
    assert headers["Accept-Encoding"] == "gzip, deflate"
    assert "OpenAI-Organization" not in headers


@pytest.mark.fault("U27")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    elsewhere = Api()
    async with serving(elsewhere) as other:
        away = answering(lambda: web.Response(status=status, headers={"Location": f"{other}/fine_tuning/jobs"}))
        async with serving(away) as url:
            assert type(await failed_check(url)) is Malformed
    assert elsewhere.asked == []


async def test_no_cookie_is_sent_back_nor_to_others() -> None:
    api = Api(faults={"jobs": answering(body(listing(), Set_Cookie="session=1; Path=/"))})
    other = Api()
    async with serving(api) as url, serving(other) as other_url, transport() as shared:
        for each in (url, url, other_url):
            # By name: cookies of bare addresses are kept by no client.
            asked = source(each.replace("127.0.0.1", "localhost"), transport=shared)
            await asked.source.check()
    assert [headers.get("Cookie") for headers in api.headers + other.headers] == [None, None, None]


async def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api, proxy = Api(), Api()
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    netrc.chmod(0o600)
    async with serving(api) as url, serving(proxy) as proxy_url:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "OPENAI_BASE_URL"):
            monkeypatch.setenv(name, proxy_url)
        for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS"):
            monkeypatch.setenv(name, "X-From: environment")
        monkeypatch.setenv("NETRC", str(netrc))
        async with asking(url) as asked:
            await asked.source.check()
    assert proxy.asked == []
    assert api.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert "environment" not in str(api.headers)
    assert "OpenAI-Organization" not in api.headers[0]


async def test_a_configured_proxy_is_used() -> None:
    proxy = Api()
    async with serving(proxy) as proxy_url, asking("http://api.invalid/v1", proxy=proxy_url) as asked:
        await asked.source.check()
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("part", [KEY, KEY[:14], KEY[9:21], KEY[-12:]])
async def test_a_key_that_the_server_repeats_is_not_shown_in_an_error(part: str) -> None:
    said = refusal(401, f"Incorrect API key provided: {part}.", X_Echo=KEY)
    async with serving(answering(lambda: said)) as url:
        error = await failed_check(url)
    assert isinstance(error, AuthFailed)
    assert "[redacted]" in str(error)
    assert part not in str(error)


async def test_a_key_that_the_server_repeats_is_not_shown_in_what_is_seen() -> None:
    odd = job(
        "ftjob-1",
        error={"code": "x", "message": f"bad key {KEY}"},
        metadata={"key": KEY, KEY: "value"},
        user_provided_suffix=KEY[3:20],
        result_files=[KEY],
        model=KEY,
        status=KEY,
    )
    api = Api(jobs=[odd], events={"ftjob-1": [event("ev-1", message=f"with {KEY}"), event(KEY)]})
    async with serving(api) as url, asking(url) as asked:
        seen = await asked.source.observe(b.known(version=5), NOON)
        told = await asked.source.tail(b.known(b.tracked(b.job("ftjob-1"))), ["ftjob-1"], NOON)
    assert len(seen.jobs) == len(told.reads) == 1
    assert not leaks(repr(seen) + repr(told))
    assert "[redacted]" in repr(seen)
    assert "[redacted]" in repr(told)


async def test_the_names_of_the_configuration_stay_whatever_the_key_looks_like() -> None:
    org = KEY[8:24]
    async with serving(Api(jobs=[job("ftjob-1", user_provided_suffix=KEY)])) as url, asking(url, org=org) as asked:
        seen: Observation = await asked.source.observe(b.known(version=5), NOON)
    assert [(one.org, one.provider, one.name) for one in seen.jobs] == [(org, "openai", "[redacted]")]


def woven(between: str) -> str:
    return between.join(KEY[at : at + 4] for at in range(0, len(KEY), 4))


@pytest.mark.parametrize(
    "spelt",
    [
        pytest.param(lambda text: text.replace("KEY", KEY).encode("utf-16"), id="UTF-16"),
        pytest.param(lambda text: text.replace("KEY", KEY).encode("utf-16-le"), id="UTF-16 without a mark"),
        pytest.param(lambda text: text.replace("KEY", KEY).encode("utf-32-be"), id="UTF-32 without a mark"),
        pytest.param(lambda text: text.replace("KEY", woven("\\b")).encode(), id="with escapes that are dropped"),
        pytest.param(
            lambda text: text.replace("KEY", woven("\x7f")).encode(), id="with an invisible character of ASCII"
        ),
        pytest.param(lambda text: text.replace("KEY", woven("\u200e")).encode(), id="with marks that are dropped"),
        pytest.param(lambda text: text.replace("KEY", woven("\u200b")).encode(), id="with what is dropped when shown"),
    ],
)
async def test_a_key_is_not_shown_in_whatever_spelling_the_server_repeats_it(spelt: Callable[[str], bytes]) -> None:
    said = spelt(listing(job("ftjob-1", "succeeded", user_provided_suffix="KEY", model="KEY")).decode())
    async with serving(answering(body(said))) as url, asking(url) as asked:
        seen: Observation = await asked.source.observe(NEVER, NOON)
    shown = [seen.jobs[0].model, seen.jobs[0].name or ""]
    assert not leaks("".join(filter(str.isprintable, "\n".join(shown))))
    assert shown == ["[redacted]"] * 2


async def test_a_key_from_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "key"
    api = Api()
    async with serving(api) as url, asking(url, secret=Secret(path=path)) as asked:
        for key in ("sk-first", "sk-second-one"):
            path.write_text(f" {key}\r\n")
            await asked.source.check()
        path.unlink()
        with pytest.raises(AuthFailed, match="No such file"):
            await asked.source.check()
    assert [headers["Authorization"] for headers in api.headers] == ["Bearer sk-first", "Bearer sk-second-one"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" \n", id="blank"),
        pytest.param(b"\xff\xfe\x00secret-not-text", id="not text"),
        pytest.param(b"sk-secret-part\nX-Evil: yes", id="two lines"),
        pytest.param("sk-secret-part-ключ".encode(), id="other letters"),
        pytest.param(b"sk-secret-part two", id="two words"),
    ],
)
async def test_a_key_that_cannot_be_one_goes_nowhere(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    api = Api()
    async with serving(api) as url:
        error = await failed_check(url, secret=Secret(path=path))
    assert isinstance(error, AuthFailed)
    assert "secret-" not in str(error)
    assert api.asked == []


async def test_a_directory_is_no_key_file(tmp_path: Path) -> None:
    async with serving(Api()) as url:
        assert isinstance(await failed_check(url, secret=Secret(path=tmp_path)), AuthFailed)


def self_signed(folder: Path) -> ssl.SSLContext:
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", *files]
    subprocess.run(made, check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return tls


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_a_certificate_that_nobody_signed_is_refused(tmp_path: Path) -> None:
    tls = self_signed(tmp_path)
    api = Api()
    async with serving(api, tls) as url:
        error = await failed_check(url)
    assert isinstance(error, ProviderUnavailable)
    assert "certificate" in str(error)
    assert api.asked == []


async def test_a_source_shows_no_key_of_its_own() -> None:
    async with asking("http://api.invalid/v1") as asked:
        assert not leaks(repr(asked.source))
