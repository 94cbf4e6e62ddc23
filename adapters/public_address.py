"""Which addresses are of the internet: where an address comes from outside, nothing is asked of any other.

`ipaddress.is_global` alone will not do. Python 3.11 calls global, among others, NAT64 and 6to4 addresses that hold a
private one, multicast, the deprecated fec0::/10, and 168.63.129.16, by which Azure serves its machines.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from socket import AF_INET, AddressFamily
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

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
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")


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


def is_private_number(host: str) -> bool:
    """Whether the *host* of a URL is a number and not an address of the internet. No resolver is asked for a number.

    "127.1" and "0x7f.1" are such hosts too, as they are no address in its plain form: every system reads them its own
    way.
    """
    host = host.strip("[]").rstrip(".")
    return (_is_address(host) or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None) and not is_public(host)


class PublicOnly(AbstractResolver):
    """Resolves by *lookup*, and only names of which every address is one of the internet. *refused*: makes the error
    for the others, also where one address of several is not public."""

    def __init__(self, lookup: AbstractResolver, refused: Callable[[], Exception]) -> None:
        self._lookup = lookup
        self._refused = refused

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        """See AbstractResolver. Raises besides: what *refused* makes."""
        found = await self._lookup.resolve(host, port, family)
        if not all(is_public(one["host"]) for one in found):
            raise self._refused()
        return found

    async def close(self) -> None:
        """See AbstractResolver."""
        await self._lookup.close()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _inner(address: IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that is reached by *address*, where there is one."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else address
