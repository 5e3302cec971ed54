"""Decides which addresses the connector may call: public ones, and those that the operator opens. Pure."""

import ipaddress
from collections.abc import Iterable
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Some versions of Python's ipaddress say that these are global, but they lead into private networks.
_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
        "192.88.99.0/24",
        "168.63.129.16/32",
        "3fff::/20",
        "5f00::/16",
    )
)
_METADATA: Final = (ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200"))


def is_allowed(text: str, allow: Iterable[Network] = (), deny: Iterable[Network] = ()) -> bool:
    """Return whether calls may go to this address. Loopback, link-local and metadata need an exact /32 or /128 in `allow`."""
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in allow if network.prefixlen == network.max_prefixlen):
        return True
    if address.is_loopback or address.is_link_local or address in _METADATA:
        return False
    if any(address in network for network in deny):
        return False
    if any(address in network for network in allow):
        return True
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_unspecified)
        and not any(address in network for network in _NOT_PUBLIC)
    )
