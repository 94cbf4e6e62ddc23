"""Sockets that a service manager hands over: whose they are, and whether they can be used."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from daemon.telemetry.metrics import Metrics
from daemon.web import handed
from daemon.web.connections import Connections
from daemon.web.handed import NotUsable, at_port, handed_over, require_used
from daemon.web.metrics import METRICS
from daemon.web.server import CONNECTIONS, serving


def environment(number: int | str = 1, pid: int | None = None) -> dict[str, str]:
    mine = {"LISTEN_FDS": str(number), "LISTEN_PID": str(pid or os.getpid()), "LISTEN_FDNAMES": "ferryman.socket"}
    return mine | {"PATH": "/bin"}


def test_nothing_is_taken_that_was_not_handed_over_to_this_process() -> None:
    for environ in (environment(pid=1), environment("x"), environment("9" * 5000), environment(0), {"PATH": "/bin"}):
        assert handed_over(environ) == []
        assert environ == {"PATH": "/bin"}, "no child may take them for its own"


def test_a_socket_that_listens_is_taken_and_no_child_inherits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        number = os.dup(given.fileno())
        monkeypatch.setattr(handed, "_FIRST", number)
        (found,) = handed_over(environment())
        with found:
            assert (found.getsockname(), found.get_inheritable()) == (given.getsockname(), False)
            port = given.getsockname()[1]
            assert at_port([found], port) == [found]
            assert at_port([found], port + 1) == []
            require_used([found], [1, port])
            with pytest.raises(NotUsable, match=f"a socket at {port} was handed over, and FERRYMAN_PORT is 1"):
                require_used([found], [1])


def test_what_does_not_listen_is_refused_with_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as given, (tmp_path / "file").open("w") as file:
        for number, advice in ((os.dup(given.fileno()), "Accept=no"), (file.fileno(), "is no socket")):
            monkeypatch.setattr(handed, "_FIRST", number)
            with pytest.raises(NotUsable, match=advice):
                handed_over(environment())


def test_a_socket_without_a_port_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(str(tmp_path / "s"))
        with pytest.raises(NotUsable, match="the same port"):
            require_used([given], [8080])


async def test_a_socket_that_was_left_is_served_again_by_the_same_process() -> None:
    """Promise: a process that is put together anew, for another number of partitions, takes what waits at it."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        given.setblocking(False)
        for _ in range(2):
            app = web.Application()
            app[CONNECTIONS] = Connections(Metrics(METRICS))
            async with (
                serving(app, "127.0.0.1", 1, drain_s=1, handed=[given]) as port,
                ClientSession() as session,
                session.get(f"http://127.0.0.1:{port}/") as answer,
            ):
                assert answer.status == 404
