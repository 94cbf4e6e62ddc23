"""Whom a proxy may speak for, and who may not speak for anybody."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from daemon.web.forwarded import Forwarded

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def request_of(peer: str | None, *told: str, proto: str = "") -> Any:
    headers = CIMultiDict([("X-Forwarded-For", one) for one in told])
    if proto:
        headers["X-Forwarded-Proto"] = proto
    request = make_mocked_request("GET", "/", headers=headers)
    return request.clone(remote=peer or "")


@pytest.mark.parametrize(
    ("peer", "told", "address"),
    [
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.2.3.4"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["198.51.100.1, junk"], "10.0.0.1"),
        ("10.0.0.1", ["<script>"], "10.0.0.1"),
        ("10.0.0.1", ["10.9.9.9"], "10.9.9.9"),
        (None, ["198.51.100.1"], "unknown"),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(
    peer: str | None, told: list[str], address: str
) -> None:
    assert Forwarded(PROXIES).address(request_of(peer, *told)) == address


@pytest.mark.parametrize(
    ("peer", "proto", "https"),
    [
        ("10.0.0.1", "https", True),
        ("10.0.0.1", "http", False),
        ("10.0.0.1", "", False),
        ("203.0.113.1", "https", False),
    ],
)
def test_a_trusted_proxy_tells_the_scheme(peer: str, proto: str, https: bool) -> None:
    assert Forwarded(PROXIES).is_https(request_of(peer, proto=proto)) is https


def test_without_a_trusted_proxy_nothing_that_is_forwarded_counts() -> None:
    request = request_of("127.0.0.1", "198.51.100.1", proto="https")
    assert (Forwarded(()).address(request), Forwarded(()).is_https(request)) == ("127.0.0.1", False)
