"""The connector calls public addresses, and others only where the operator opens them."""

import pytest

from services.connector.settings import Settings
from services.connector.whmcs.egress import Network, is_allowed


def networks(*texts: str) -> tuple[Network, ...]:
    return Settings.model_validate(
        {
            "database_url": "postgresql://",
            "kafka_bootstrap": "localhost:1",
            "credential_keys_file": "keys",
            "egress_allow_cidrs": ",".join(texts),
        }
    ).egress_allow_cidrs


@pytest.mark.rule("N3")
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.88.99.1",
        "168.63.129.16",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001::1",
        "3fff::1",
        "5f00::1",
        "fec0::1",
        "192.0.0.1",
        "192.0.0.9",
        "192.0.0.170",
        "::7f00:1",
        "::ffff:0:7f00:1",
    ],
)
def test_address_that_is_not_public_is_closed(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.rule("N3")
@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_address_is_open_unless_denied(address: str) -> None:
    assert is_allowed(address)
    assert not is_allowed(address, (), networks("8.8.8.0/24", "1.1.1.1/32", "2606:4700::/32"))


@pytest.mark.rule("N4")
def test_range_opens_private_networks_but_not_loopback() -> None:
    assert is_allowed("10.2.3.4", networks("10.0.0.0/8"))
    assert not is_allowed("127.0.0.1", networks("127.0.0.0/8"))
    assert not is_allowed("169.254.169.254", networks("169.254.0.0/16"))
    assert is_allowed("127.0.0.1", networks("127.0.0.1/32"))


@pytest.mark.rule("N4")
@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "0.1.2.3",
        "127.0.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::a00:1",
        "::ffff:0:a00:1",
        "::ffff:169.254.169.254",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "2002:a00:1::",
        "2001::1",
        "fe80::1",
        "fd00:ec2::254",
        "ff02::1",
    ],
)
def test_wide_range_opens_no_special_address(address: str) -> None:
    wide = networks("0.0.0.0/0", "::/0", "127.0.0.0/8", "169.254.0.0/16", "64:ff9b::/64", "fd00::/8")
    exact = networks(f"{address}/{128 if ':' in address else 32}")

    assert not is_allowed(address, wide)
    assert is_allowed(address, exact) or address.startswith("::ffff:169")


@pytest.mark.rule("N4")
def test_wide_range_opens_networks_of_the_house() -> None:
    assert is_allowed("fec0::1", networks("fec0::/10"))
    assert is_allowed("fd12::1", networks("fd00::/8"))
    assert is_allowed("192.0.0.9", networks("192.0.0.0/24"))
