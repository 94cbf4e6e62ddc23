"""Which connections are taken: a number in all, a share for each address, and a reserve for addresses that have few.

So a single address can neither shut out other senders nor the checks of health. A refused connection is counted; it
gets no line in the log.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Final

from daemon.telemetry.metrics import Metrics

MOST: Final = 3000
MOST_OF_ONE: Final = 1500
"""More than the 1,000 that may wait for records with one token, so that pushes of the same address still come in."""

RESERVE: Final = 100
"""How many of MOST are for addresses that have fewer than FEW."""

FEW: Final = 4


class Connections:
    """Counts the connections of one server."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._of: Counter[str] = Counter()
        self._total = 0

    def enter(self, address: str) -> bool:
        """Whether a connection of *address* may come in; then it counts until `leave`."""
        have = self._of[address]
        if have >= MOST_OF_ONE or self._total >= (MOST if have < FEW else MOST - RESERVE):
            self._metrics.inc(
                "ferryman_connections_refused_total", {"reason": "share" if have >= MOST_OF_ONE else "all"}
            )
            return False
        self._of[address] += 1
        self._total += 1
        return True

    def leave(self, address: str) -> None:
        """A connection of *address* has ended."""
        self._total -= 1
        self._of[address] -= 1
        if not self._of[address]:
            del self._of[address]


def address_of(peer: object) -> str:
    """The address that shares are counted by, of a socket's *peer*: one host has a whole /64 of IPv6."""
    if not isinstance(peer, tuple):
        return ""
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return str(peer[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(peer[0])
