"""Sockets that the service manager listens on and hands over (systemd's socket activation).

They outlive this process: while it restarts, the kernel keeps the connections that arrive, and the next process takes
them. Two processes on one port (SO_REUSEPORT) would not do: Linux resets the connections that wait at a listener that
is closed, unless net.ipv4.tcp_migrate_req is set.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, MutableMapping, Sequence
from typing import Final

from schemas.errors import FerrymanError

_FIRST: Final = 3
"""The first descriptor that is handed over (SD_LISTEN_FDS_START)."""

_COUNT: Final = re.compile(r"[0-9]{1,4}")


class NotUsable(FerrymanError):
    """What was handed over cannot be used: one line that says what to do."""


def handed_over(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """The sockets that were handed over to this process. Their names in *environ* are taken out, so that no child takes
    them for its own.

    Raises: NotUsable where one of them does not listen for streams.
    """
    count, to = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    if to != str(os.getpid()) or not _COUNT.fullmatch(count):
        return []
    return [_socket(number) for number in range(_FIRST, _FIRST + int(count))]


def _socket(number: int) -> socket.socket:
    try:
        os.set_inheritable(number, False)
        found = socket.socket(fileno=number)
        listens = found.type == socket.SOCK_STREAM and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as exc:
        raise NotUsable(f"descriptor {number}, which was handed over, is no socket: see the socket unit") from exc
    if not listens:
        raise NotUsable(f"the socket {number}, which was handed over, does not listen: use ListenStream= and Accept=no")
    found.setblocking(False)
    return found


def port_of(handed: socket.socket) -> int | None:
    """The port of *handed*, None where it has none."""
    name = handed.getsockname()
    return int(name[1]) if handed.family in (socket.AF_INET, socket.AF_INET6) else None


def at_port(handed: Iterable[socket.socket], port: int) -> list[socket.socket]:
    """Those of *handed* that listen at *port*."""
    return [one for one in handed if port_of(one) == port]


def require_used(handed: Iterable[socket.socket], ports: Sequence[int]) -> None:
    """Raises: NotUsable where one of *handed* is at none of *ports*: what arrives there would wait for ever."""
    for one in handed:
        if port_of(one) not in ports:
            place = port_of(one) or one.getsockname()
            raise NotUsable(
                f"a socket at {place} was handed over, and FERRYMAN_PORT is {ports[0]}: let ListenStream= of the"
                " socket unit and FERRYMAN_PORT (or FERRYMAN_HEALTH_PORT) name the same port"
            )
