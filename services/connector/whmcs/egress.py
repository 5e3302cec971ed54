"""Decides which addresses the connector may call: public ones, and those that the operator opens. Pure."""

import ipaddress
from collections.abc import Iterable
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Python's ipaddress says of some of these that they are global, but they lead into private networks or are reserved.
_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "5f00::/16", "fec0::/10")
)
# No wide range opens these, because nobody means them by it: this machine, the link, metadata of clouds, groups, and IPv6 forms that
# contain an IPv4 address, behind which any of the others could hide.
_NEVER_BY_RANGE: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/96",  # with :: and ::1
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/32",
        "2002::/16",
        "fd00:ec2::254/128",
        "fe80::/10",
        "ff00::/8",
    )
)


def is_allowed(text: str, allow: Iterable[Network] = (), deny: Iterable[Network] = ()) -> bool:
    """Return whether calls may go to this address: a public one, or one that the operator opens.

    Loopback, link-local, metadata and translated addresses need an exact /32 or /128 in `allow`.
    """
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in allow if network.prefixlen == network.max_prefixlen):
        return True
    if any(address in network for network in (*_NEVER_BY_RANGE, *deny)):
        return False
    if any(address in network for network in allow):
        return True
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_unspecified)
        and not any(address in network for network in _NOT_PUBLIC)
    )
