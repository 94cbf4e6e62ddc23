"""One delivery to a subscriber: a POST, and what came of it.

A subscriber is reached on the internet alone, by https: its name is resolved for each connection, all its addresses are
checked, and the connection goes to one of those. Own servers, by their exact origins (scheme, host and port), may have
any address, and http. No redirect is followed, no proxy of the environment used. Errors have no address in them.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from aiohttp import (
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    InvalidURL,
    TCPConnector,
    ThreadedResolver,
)
from aiohttp.abc import AbstractResolver
from yarl import URL

from adapters.http import Permitted, retry_after
from adapters.public_address import PublicOnly, is_private_number
from adapters.subscribers.signing import headers_of
from adapters.webhook_ports import Answer
from schemas.cleaned import cut, visible

DEADLINE_S: Final = 15.0
CONNECT_S: Final = 8.0
BODY_S: Final = 2.0
"""For the answer's body, once its status is known: only its beginning is kept."""

ANSWER_BYTES: Final = 1024
IDLE_S: Final = 4.0
"""Below the five seconds that servers by Node.js keep a connection: few close one under a request."""

LONGEST_URL: Final = 2000

_ABORT: Final = ("webhook-delivery", "abort-message")
"""The header, and its value, by which a receiver says that it never wants this message."""

_OURS: Final = frozenset({errno.ENETUNREACH, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL})


class NotPublic(Exception):
    """The subscriber's name leads into a private network."""


def why_not(url: str, own: Iterable[str] = ()) -> str | None:
    """Why no webhooks go to *url*, None where they may: what can be told without a look at a name. *own*: origins of
    servers of ours."""
    return _why_not(url, _origins(own))


@lru_cache(maxsize=1024)
def _why_not(url: str, own: frozenset[URL]) -> str | None:
    try:
        parsed = URL(url)
        port = parsed.port
    except ValueError:
        return "it is not a valid URL"
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable():
        return f"it must be at most {LONGEST_URL} printable ASCII characters"
    if parsed.scheme not in ("http", "https") or not parsed.raw_host or not port:
        return "it must begin with https://"
    if parsed.raw_user is not None or parsed.raw_password is not None:
        return "it has a user or a password in it: the signature proves who sends"
    if parsed.fragment:
        return "it has a fragment (#), which is never sent"
    if parsed.origin() in own:
        return None
    if parsed.scheme != "https":
        return "it must begin with https://; for a server of your own, name its origin in FERRYMAN_WEBHOOK_ORIGINS"
    if is_private_number(parsed.raw_host):
        return "it is a private address; for a server of your own, name its origin in FERRYMAN_WEBHOOK_ORIGINS"
    return None


class WebDeliverer:
    """See Deliverer. *guarded* reaches the internet alone; *open* anything, and is used for *own* origins."""

    def __init__(self, guarded: ClientSession, open: ClientSession, own: Iterable[str]) -> None:
        self._guarded = guarded
        self._open = open
        self._own = _origins(own)

    async def post(self, url: str, id: str, body: str, secrets: Sequence[str], at: datetime) -> Answer:
        """See Deliverer."""
        began = time.monotonic()
        status, text, wait_s, aborts = None, "", None, False
        try:
            if _why_not(url, self._own) is not None:
                return Answer(error="not-public")
            session = self._open if URL(url).origin() in self._own else self._guarded
            headers = headers_of(id, body, secrets, at)
            async with session.post(url, data=body.encode(), headers=headers, allow_redirects=False) as answer:
                status, text = answer.status, await _beginning(answer)
                wait_s = retry_after(answer.headers, datetime.now(UTC))
                aborts = answer.headers.get(_ABORT[0], "").strip().lower() == _ABORT[1]
                error, ours = "" if 200 <= status < 300 else f"http-{status}", False
        except NotPublic:
            error, ours = "not-public", False
        except (InvalidURL, UnicodeError):
            error, ours = "no-url", False
        except (ClientError, OSError) as exc:  # a timeout is an OSError
            error, ours = _fault(exc)
        ms = round((time.monotonic() - began) * 1000)
        return Answer(
            status=status, error=error, body=text, ms=ms, ours=ours, aborts=aborts and bool(error), retry_after_s=wait_s
        )


@asynccontextmanager
async def open_deliverer(
    *, own: Iterable[str] = (), resolver: AbstractResolver | None = None
) -> AsyncIterator[WebDeliverer]:
    """The deliverer of this process. *own*: origins of servers of ours. *resolver*: looks names up; None: the
    system's."""
    lookup = resolver or ThreadedResolver()
    async with _session(PublicOnly(lookup, NotPublic)) as guarded, _session(lookup) as unguarded:
        yield WebDeliverer(guarded, unguarded, own)


def _session(resolver: AbstractResolver) -> ClientSession:
    # no limits here: each subscriber has its own, and one that hangs must take no connection from another
    connector = TCPConnector(limit=0, resolver=resolver, use_dns_cache=False, keepalive_timeout=IDLE_S)
    return ClientSession(
        connector=connector,
        request_class=Permitted,
        cookie_jar=DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        headers={"User-Agent": "ferryman", "Accept": "*/*", "Accept-Encoding": "identity"},
        timeout=ClientTimeout(total=DEADLINE_S, connect=CONNECT_S),
    )


def _origins(own: Iterable[str]) -> frozenset[URL]:
    return frozenset(URL(address).origin() for address in own)


async def _beginning(answer: ClientResponse) -> str:
    """The first KB of the body, cleaned; what there is of it, where the rest does not come."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > ANSWER_BYTES:
                    break
    except (ClientError, OSError):
        answer.close()
    return cut(visible(bytes(body[:ANSWER_BYTES]).decode(errors="replace")), ANSWER_BYTES)


def _fault(exc: Exception) -> tuple[str, bool]:
    """(our code for *exc*, whether the fault is on our side)."""
    if isinstance(exc, ClientConnectorDNSError):
        # a resolver that cannot say is ours; one that says that there is no such name tells of the subscriber
        again = isinstance(exc.os_error, socket.gaierror) and exc.os_error.errno == socket.EAI_AGAIN
        return ("no-resolver", True) if again else ("no-name", False)
    if isinstance(exc, ClientSSLError):
        return "tls", False
    if isinstance(exc, ClientConnectorError):
        is_ours = exc.os_error.errno in _OURS
        return "no-network" if is_ours else "no-connection", is_ours
    if isinstance(exc, ConnectionTimeoutError):
        return "no-connection", False
    if isinstance(exc, TimeoutError):
        return "no-answer", False
    return "connection-broke", False
