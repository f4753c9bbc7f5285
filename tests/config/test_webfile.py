"""The web configuration file: what it may say, and where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.config import ConfigError, web_config
from tests.config.conftest import ORGANIZATION, Folder
from tests.faults.certificates import AUTHORITY, IMPOSTOR, SERVER

HASH = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
FILES = f"cert_file: {SERVER.cert}, key_file: {SERVER.key}"


def problems(folder: Path, text: str) -> list[str]:
    file = folder / "web.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        web_config(file)
    return [str(one).removeprefix(f"{file}:") for one in caught.value.problems]


def test_an_empty_file_asks_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text("# later\n", encoding="utf-8")
    found = web_config(tmp_path / "web.yml")
    assert (found.tls_server_config, dict(found.basic_auth_users)) == (None, {})


def test_paths_are_relative_to_the_file_itself(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "s.crt").write_bytes(SERVER.cert.read_bytes())
    (inner / "s.key").write_bytes(SERVER.key.read_bytes())
    (inner / "web.yml").write_text(
        f"tls_server_config: {{cert_file: s.crt, key_file: s.key}}\nbasic_auth_users: {{prometheus: {HASH}}}\n",
        encoding="utf-8",
    )
    found = web_config(inner / "web.yml")
    assert found.tls_server_config is not None
    assert found.tls_server_config.cert_file == inner / "s.crt"
    assert found.basic_auth_users["prometheus"] == HASH


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("tls_server: {}", '1:1 tls_server: unknown key; did you mean "tls_server_config"?', id="a typo"),
        pytest.param(
            f"tls_server_config:\n  {FILES.replace(', ', chr(10) + '  ')}\n  cipher_suites: []",
            "4:3 tls_server_config.cipher_suites: unknown key",
            id="a key of the toolkit that is not offered",
        ),
        pytest.param("rate_limit: {}", "1:1 rate_limit: unknown key", id="another"),
        pytest.param("tls_server_config: {key_file: x}", "cert_file: is required", id="no certificate"),
        pytest.param(
            f"tls_server_config: {{cert_file: absent, key_file: {SERVER.key}}}",
            "1:21 tls_server_config.cert_file: cannot be read (No such file",
            id="a certificate that is not there",
        ),
        pytest.param(
            f"tls_server_config: {{cert_file: {SERVER.cert}, key_file: {IMPOSTOR.key}}}",
            "tls_server_config.cert_file: is no certificate with its key in key_file",
            id="the key of another",
        ),
        pytest.param(
            f"tls_server_config: {{{FILES}, client_ca_file: {SERVER.key}, "
            "client_auth_type: RequireAndVerifyClientCert}",
            "tls_server_config.client_ca_file: has no certificates",
            id="an authority that is none",
        ),
        pytest.param(
            f"tls_server_config: {{{FILES}, client_ca_file: {AUTHORITY}}}",
            "client_ca_file goes with a client_auth_type that verifies",
            id="an authority that nobody asks",
        ),
        pytest.param(
            f"tls_server_config: {{{FILES}, client_auth_type: RequireAnyClientCert}}",
            "client_auth_type: should be",
            id="a check that checks nothing",
        ),
        pytest.param(f"tls_server_config: {{{FILES}, min_version: TLS10}}", "min_version: should be", id="TLS 1.0"),
        pytest.param(
            f"tls_server_config: {{{FILES}, min_version: TLS13, max_version: TLS12}}",
            "min_version should not be above",
            id="no version at all",
        ),
        pytest.param("basic_auth_users: {a: secret-word}", "should be a bcrypt hash", id="a password in the open"),
        pytest.param(
            f"basic_auth_users: {{a: {HASH.replace('$10$', '$31$')}}}", "a cost from 4 to 16", id="a check of days"
        ),
        pytest.param(f"basic_auth_users: {{'a:b': {HASH}}}", "have no colon", id="a name with a colon"),
        pytest.param("http_server_config: {headers: {X-Mine: a}}", "should be", id="a header that is not offered"),
        pytest.param(
            'http_server_config: {headers: {X-Frame-Options: "a\\r\\nb"}}', "plain ASCII on one line", id="two headers"
        ),
    ],
)
def test_every_rule_has_its_sentence(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(tmp_path, text)
    assert any(problem in one for one in found), found
    assert "secret-word" not in str(found)


def test_the_problems_of_the_file_are_those_of_the_configuration(folder: Folder) -> None:
    (folder.path / "web.yml").write_text("tls: {}\n", encoding="utf-8")
    found = folder.write(ORGANIZATION + "server: {web_config_file: web.yml}").problems()
    assert found == ["web.yml:1:1 tls: unknown key"]
