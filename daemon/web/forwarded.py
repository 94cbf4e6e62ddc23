"""What a proxy says of a request, where the proxy is trusted: who has sent it, and by which scheme."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from aiohttp import web

_UNKNOWN: Final = "unknown"


class Forwarded:
    """Reads X-Forwarded-For and X-Forwarded-Proto, of requests that come from *proxies* (FERRYMAN_TRUSTED_PROXIES)."""

    def __init__(self, proxies: Sequence[IPv4Network | IPv6Network]) -> None:
        self._proxies = proxies

    def address(self, request: web.BaseRequest) -> str:
        """The client's address: from the right, the first that is no proxy of ours. What stands further left, anybody
        may have written."""
        found = request.remote or _UNKNOWN
        told = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
        for hop in reversed([hop.strip() for hop in told]):
            if not self._trusts(found) or not _is_address(hop):
                break
            found = hop
        return found

    def is_https(self, request: web.BaseRequest) -> bool:
        """Whether the client has spoken https, to us or to a trusted proxy."""
        if request.secure:
            return True
        return self._trusts(request.remote or "") and request.headers.get("X-Forwarded-Proto", "").lower() == "https"

    def _trusts(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return any(ip in network for network in self._proxies)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
