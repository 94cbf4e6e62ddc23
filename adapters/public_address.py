"""Which addresses are of the internet: nothing is fetched from any other.

`ipaddress.is_global` alone will not do. Python 3.11 calls global, among others, NAT64 and 6to4 addresses that hold a
private one, multicast, the deprecated fec0::/10, and 168.63.129.16, by which Azure serves its machines.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_NEVER: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # of carriers; Alibaba's metadata
        "168.63.129.16/32",  # Azure's own service on every machine
        "192.0.0.0/24",  # Oracle's metadata among others
        "192.88.99.0/24",  # relays of 6to4
        "224.0.0.0/3",  # multicast and reserved
        "2001::/23",  # Teredo and other protocols
        "2002::/16",  # 6to4: has any IPv4 address in it
        "3fff::/20",  # for documentation, which Python 3.11 does not know
    )
)
_UNICAST: Final = IPv6Network("2000::/3")
"""All that is given out of IPv6 so far. Outside are the local addresses, and older ways to write an IPv4 one."""

_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Whether *text* is an address of the internet, in its plain form. An IPv4 address in an IPv6 one is looked at as
    itself. What is no address is not public."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        address = _inner(address)
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not any(address in net for net in _NEVER if net.version == address.version)


def _inner(address: IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that is reached by *address*, where there is one."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else address
