"""The daemon's address and credentials: URLs, user names and passwords, TLS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.domain.model import Status
from tests.builders import job, tracked
from tests.faults.certificates import AUTHORITY
from tests.faults.server import PASSWORD, files, hashed, protected_server
from tests.terminal.asked import answer, answering, asked


def with_password_in_url(url: str, _folder: Path) -> tuple[str, list[str], dict[str, str]]:
    return url.replace("//", "//ann:korrekt-pferd-%C3%9F-batterie@"), [], {}


def with_password_file(url: str, folder: Path) -> tuple[str, list[str], dict[str, str]]:
    (folder / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    return url, ["--user", "ann", "--password-file", str(folder / "password")], {}


def with_password_variable(url: str, _folder: Path) -> tuple[str, list[str], dict[str, str]]:
    return url, ["--user", "ann"], {"FINETUNE_MONITOR_PASSWORD": PASSWORD}


@pytest.mark.parametrize("known", [with_password_in_url, with_password_file, with_password_variable])
async def test_tls_and_a_password_are_used(
    tmp_path: Path, known: Callable[[str, Path], tuple[str, list[str], dict[str, str]]]
) -> None:
    config = {"tls_server_config": files(tmp_path), "basic_auth_users": {"ann": hashed(PASSWORD)}}
    async with protected_server(tmp_path, **config) as here:
        await here.site.keep(tracked(job(id="ftjob-f", status=Status.FAILED)))
        url, arguments, environ = known(here.url, tmp_path)
        said = await asked(url, "jobs", "--ca-file", str(AUTHORITY), *arguments, **environ)
        assert "ftjob-f" in said.stdout, said.stderr
        distrusted = await asked(url, "jobs", *arguments, **environ)
        nobody = await asked(here.url, "jobs", "--ca-file", str(AUTHORITY))
    assert (distrusted.exit_code, nobody.exit_code) == (2, 2)
    assert "the connection is not trusted" in distrusted.stderr
    assert "a user name and a password are required" in nobody.stderr
    assert "pferd" not in distrusted.stderr


@pytest.mark.parametrize(
    ("url", "arguments", "told"),
    [
        pytest.param("localhost:10877", [], "must begin with http:// or https://", id="no scheme"),
        pytest.param("ftp://localhost", [], "must begin with http:// or https://", id="another scheme"),
        pytest.param("http://", [], "must begin with http:// or https:// and a host", id="no host"),
        pytest.param("http://a:99999", [], "is malformed", id="a port that is none"),
        pytest.param("http://[::1", [], "is malformed", id="half an address"),
        pytest.param("http://a/?b=c", [], "and nothing else", id="a query"),
        pytest.param("http://a", ["--user", "ann"], "needs a password", id="a name alone"),
        pytest.param("http://a", ["--password-file", "/nowhere/x"], "needs a user name", id="a password alone"),
        pytest.param("http://a", ["--user", "a", "--password-file", "/nowhere/x"], "cannot be read", id="no such file"),
        pytest.param("https://a", ["--ca-file", "/nowhere/x"], "cannot be used", id="no such authorities"),
    ],
)  # fmt: skip
async def test_an_unreachable_server_is_explained(url: str, arguments: list[str], told: str) -> None:
    said = await asked(url, "jobs", *arguments)
    assert (said.exit_code, said.stdout) == (2, "")
    assert told in said.stderr


async def test_a_proxys_path_prefix_precedes_every_path() -> None:
    paths = []

    def give(request: str) -> bytes:
        paths.append(request.split()[1])
        return answer({"data": [], "next": None})

    async with answering(give) as port:
        await asked(f"http://127.0.0.1:{port}/team%20a/monitor/", "jobs", "--org", "a b")
    assert paths[:1] == ["/team%20a/monitor/api/v1/jobs?org=a+b&limit=51"]
