"""Where the process listens: an address as people write it, and the socket of the one that means every address."""

from __future__ import annotations

import socket
from typing import Final

EVERY_ADDRESS: Final = "::"
"""As FERRYMAN_HOST: every address of the machine, those of IPv6 and those of IPv4."""


def place(host: str, port: int) -> str:
    """*host* and *port* as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def from_here(host: str, port: int) -> str:
    """*host* and *port* as a program of this machine reaches them: one address, where the process listens at every."""
    return place({"0.0.0.0": "127.0.0.1", EVERY_ADDRESS: "::1"}.get(host, host), port)  # noqa: S104 - a comparison


def dual_stack(port: int, backlog: int) -> socket.socket | None:
    """A socket that listens on *port* at every address, of IPv6 and of IPv4; None where the system has no such sockets.

    Raises OSError when the port is in use or not ours.
    """
    if not socket.has_dualstack_ipv6():
        return None
    address = (EVERY_ADDRESS, port)
    return socket.create_server(address, family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True)
