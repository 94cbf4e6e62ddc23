"""What stands before every page: the host by which it is asked, and whether a browser sends what our own pages do."""

from __future__ import annotations

import hmac
import ipaddress
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from daemon.settings.model import Settings
from daemon.web.forwarded import Forwarded

CSRF_FIELD: Final = "csrf"

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # without it Chromium says `Origin: null` of our own forms
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_SECURE: Final = "__Host-ferryman"
_PLAIN: Final = "ferryman"
_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - a comparison
_PORTS: Final = {"http": "80", "https": "443"}


class Gate:
    """Judges requests by FERRYMAN_PUBLIC_URL, FERRYMAN_HOST and FERRYMAN_TRUSTED_PROXIES."""

    def __init__(self, settings: Settings) -> None:
        self._public = urlsplit(settings.ferryman_public_url or "")
        self._listens = settings.ferryman_host
        self.forwarded = Forwarded(settings.ferryman_trusted_proxies)

    def knows_host(self, host: str) -> bool:
        """Whether *host*, as the header Host has it, is a name of this installation. A name of somebody else that leads
        here is one by which a foreign site reaches into this machine (DNS rebinding)."""
        name = _name(host)
        if not name:
            return False
        if self._is_public(host) or _is_loopback(name):
            return True
        if self._public.hostname:
            return False
        return self._listens in _EVERYWHERE or name == self._listens.lower()

    def is_https(self, request: web.BaseRequest) -> bool:
        """Whether the browser speaks https: it says so, or it asks by the name that is served by https alone."""
        return self.forwarded.is_https(request) or (self._public.scheme == "https" and self._is_public(request.host))

    def cookie(self, request: web.BaseRequest) -> str:
        """What the cookie of a session is called for this browser."""
        return _SECURE if self.is_https(request) else _PLAIN

    def _is_public(self, host: str) -> bool:
        public = self._public
        if not public.hostname:
            return False
        wanted = str(public.port or _PORTS.get(public.scheme, ""))
        return _name(host) == public.hostname and (_port(host) or _PORTS.get(public.scheme, "")) == wanted


def is_ours(request: web.BaseRequest) -> bool:
    """Whether a request that changes something comes from a page of ours, as the browser says it. By plain http, to a
    name that is not loopback, browsers send no Sec-Fetch-Site; then Origin tells, without its scheme: TLS may end at a
    proxy."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = urlsplit(request.headers.get("Origin", ""))
    return bool(origin.netloc) and origin.netloc.lower() == request.host.lower()


def csrf_of(token: str) -> str:
    """What the forms of a session carry: only who has its token knows it, and it does not tell the token."""
    return hmac.new(token.encode(), b"csrf", sha256).hexdigest()


def is_csrf(token: str, given: str) -> bool:
    """Whether *given* is that of the session's forms."""
    return hmac.compare_digest(csrf_of(token).encode(), given.encode(errors="replace"))


def _name(host: str) -> str:
    """The name or address in *host*, without its port; "" for what is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _port(host: str) -> str:
    try:
        return str(urlsplit(f"//{host}").port or "")
    except ValueError:
        return "none"


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
