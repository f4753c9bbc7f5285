import pytest

from monitor.notifiers.address import objection

pytestmark = pytest.mark.fault("G31", "D17")


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("169.254.169.254", id="the metadata service"),
        pytest.param("fe80::1", id="link-local"),
        pytest.param("fe80::1%eth0", id="link-local with a zone"),
        pytest.param("::ffff:169.254.169.254", id="mapped into IPv6"),
        pytest.param("::169.254.169.254", id="IPv4-compatible"),
        pytest.param("64:ff9b::a9fe:a9fe", id="through NAT64"),
        pytest.param("64:ff9b:1::a9fe:a9fe", id="through a local NAT64"),
        pytest.param("2002:a9fe:a9fe::1", id="through 6to4"),
        pytest.param("fd00:ec2::254", id="the metadata service on IPv6"),
        pytest.param("100.100.100.200", id="another cloud's metadata service"),
        pytest.param("224.0.0.1", id="multicast"),
        pytest.param("ff02::1", id="multicast on IPv6"),
        pytest.param("0.0.0.0", id="unspecified"),  # noqa: S104 - an address to refuse, not to listen on
        pytest.param("::", id="unspecified on IPv6"),
        pytest.param("0.1.2.3", id="this network"),
        pytest.param("255.255.255.255", id="broadcast"),
    ],
)
def test_an_address_that_no_notification_may_go_to_is_refused_with_and_without_tls(host: str) -> None:
    assert objection(host, plain=False)
    assert objection(host, plain=True)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "fd12::1", "::ffff:10.0.0.1", "100.64.0.7"]
)
def test_loopback_and_private_addresses_are_fine_without_tls(host: str) -> None:
    assert objection(host, plain=True) is None


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_public_addresses_need_tls(host: str) -> None:
    assert objection(host, plain=False) is None
    assert objection(host, plain=True)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "fd12::1", "::ffff:10.0.0.1", "::10.0.0.1", "100.64.0.7",
     "64:ff9b::a00:1", "2002:a00:1::1", "192.0.2.1", "240.0.0.1"],
)  # fmt: skip
def test_public_only_refuses_every_other_address(host: str) -> None:
    assert objection(host, plain=False, public_only=True)


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_only_allows_what_is_public(host: str) -> None:
    assert objection(host, plain=False, public_only=True) is None
