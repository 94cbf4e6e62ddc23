"""Addresses as they are printed, and the one that means all of them."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from aiohttp import ClientSession

from daemon.telemetry.metrics import Metrics
from daemon.web.application import health_application
from daemon.web.metrics import METRICS
from daemon.web.place import place
from daemon.web.server import serving


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1:8080"), ("::", "[::]:8080"), ("::1", "[::1]:8080"), ("example.org", "example.org:8080")],
)
def test_an_address_is_printed_as_in_a_url(host: str, shown: str) -> None:
    assert place(host, 8080) == shown


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
async def test_every_address_means_those_of_ipv4_too() -> None:
    class Ready:
        def ready(self) -> dict[str, Any]:
            return {"ready": True}

    app = health_application(Ready(), Metrics(METRICS))
    async with serving(app, "::", 0, drain_s=1) as port, ClientSession() as session:
        for host in ("127.0.0.1", "[::1]"):
            async with session.get(f"http://{host}:{port}/livez") as answer:
                assert answer.status == 200
