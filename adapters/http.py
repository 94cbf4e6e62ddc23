"""One HTTP client for every provider: its limits, and what its failures mean for the caller."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from io import BytesIO
from typing import Any, Final, NamedTuple, TypeVar

import orjson
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    FormData,
    InvalidURL,
    TCPConnector,
)
from aiohttp.connector import Connection
from aiohttp.hdrs import CONTENT_ENCODING

from adapters import permit
from schemas.cleaned import visible
from schemas.errors import FerrymanError, Refused, TooLong, Transient, Uncertain

E = TypeVar("E", bound=FerrymanError)

MAX_BODY_BYTES: Final = 1024 * 1024
"""The longest answer that is read."""

MAX_RETRY_AFTER_S: Final = 3600.0

READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing on the other side."""


_LONGEST_CONNECT_S: Final = 10.0
_IDLE_S: Final = 15.0  # below what servers and proxies keep, so that they rarely close a connection under a request
_SECONDS: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")


class _Overlong(Exception):
    """A body is longer than its cap."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. *headers* ignore case; *body* is at most the cap of the request, undecoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Part(NamedTuple):
    """A part of a multipart form: a value, or with a *filename* a file of *content_type*."""

    name: str
    value: str | bytes
    filename: str | None = None
    content_type: str | None = None


class _Permitted(ClientRequest):
    """A request that asks the handler's permit when it has its connection, before the first byte."""

    async def send(self, conn: Connection) -> ClientResponse:
        """See ClientRequest. Raises besides: LeaseLost."""
        permit.may_send()
        return await super().send(conn)


@asynccontextmanager
async def open_session(*, connections: int = 128, per_host: int = 32) -> AsyncIterator[ClientSession]:
    """The client of this process, with connections kept alive.

    At most *per_host* at a time to one host, and *connections* in all, or *per_host* where that is more; more requests
    wait for one. No cookies, no proxy or password from the environment, no silent second try on a dropped connection.
    Use it through `exchange`, which also refuses to follow redirects.
    """
    connector = TCPConnector(limit=max(connections, per_host), limit_per_host=per_host, keepalive_timeout=_IDLE_S)
    async with ClientSession(
        connector=connector,
        request_class=_Permitted,
        cookie_jar=DummyCookieJar(),
        trust_env=False,
        json_serialize=_dump,
        auto_decompress=True,
        headers={"User-Agent": "ferryman", "Accept": "application/json"},
    ) as session:
        # aiohttp repeats PUT and DELETE by itself when a kept connection drops, but a write must never be repeated
        # unseen. aiohttp has no public switch for this; its own test client sets the same attribute.
        session._retry_connection = False
        yield session


async def exchange(
    session: ClientSession,
    method: str,
    url: str,
    *,
    system: str,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    json: Any = None,
    form: Mapping[str, str] | None = None,
    parts: Sequence[Part] | None = None,
    max_body: int = MAX_BODY_BYTES,
    write: bool | None = None,
) -> Reply:
    """Send one request; returns its answer, whatever the status.

    Its body is *json*, a *form*, or the *parts* of a multipart form.
    *timeout_s* bounds all of it; *system* names the other side in errors. *write*: whether it changes something there;
    None: its method tells.

    Raises:
        Transient: never connected (also: no free connection in time); or, for a read, no whole answer.
        Uncertain: a write may have been sent and no whole answer came (disconnect, reset, timeout, cut body), or
        the answer is longer than *max_body* bytes.
        TooLong: the answer to a read is longer than *max_body* bytes.
        Refused: *url* is not a valid URL.
        LeaseLost: another process may own the event by now; nothing was sent.
    """
    if write is None:
        write = method not in READS
    try:
        async with session.request(
            method,
            url,
            headers=headers,
            params=params,
            json=json,
            data=form if parts is None else _multipart(parts),
            timeout=_timeout(timeout_s),
            allow_redirects=False,
        ) as answer:
            return Reply(answer.status, answer.headers, await _whole(answer, max_body))
    # `from None` throughout: aiohttp's texts hold the address, and addresses hold phones.
    except (ClientConnectorError, ConnectionTimeoutError):
        raise coded(Transient(f"{system}: no connection"), "no-connection") from None
    except InvalidURL:
        raise coded(Refused(f"{system}: the address is not a valid URL"), "no-url") from None
    except _Overlong:
        raise _too_long(system, write=write) from None
    except TimeoutError:
        error = lost(f"{system}: no answer in time", write=write)
        raise coded(error, "no-answer") from None
    except (ClientError, OSError):
        error = lost(f"{system}: the connection broke before the answer", write=write)
        raise coded(error, "connection-broke") from None


def _multipart(parts: Sequence[Part]) -> FormData:
    # names of files go out as they are, as browsers send them; a control character could begin a header of its own
    data = FormData(quote_fields=False, default_to_multipart=True)
    for part in parts:
        filename = None if part.filename is None else visible(part.filename)
        # a file goes out piece by piece: as bytes it would hold up all other calls until it is written
        value = BytesIO(part.value) if isinstance(part.value, bytes) else part.value
        data.add_field(part.name, value, filename=filename, content_type=part.content_type)
    return data


def lost(text: str, *, write: bool) -> Transient | Uncertain:
    """The error for an answer that is missing or useless: Uncertain for a write, which may have happened."""
    return Uncertain(text) if write else Transient(text)


def _too_long(system: str, *, write: bool) -> TooLong | Uncertain:
    text = f"{system}: the answer is longer than we read"
    error: TooLong | Uncertain = Uncertain(text) if write else TooLong(text)
    error.answered = True  # the connection is sound
    return coded(error, "too-long")


def coded(error: E, code: str) -> E:
    """*error* with *code* as its own."""
    error.code = code
    return error


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the other side asks us to wait, 0 to 3600; None where it does not say.

    Both forms of RFC 9110 section 10.2.3 (seconds; a date, counted from *now*, which is aware), and decimals,
    which some services send.
    """
    raw = headers.get("Retry-After", "").strip()
    if not raw or not raw.isascii():
        return None
    if _SECONDS.fullmatch(raw):
        return min(float(raw), MAX_RETRY_AFTER_S)
    if not raw[0].isalpha():  # HTTP's dates start with the day's name; the parser would take much more
        return None
    try:
        until = parsedate_to_datetime(raw)
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


@lru_cache(maxsize=64)
def _timeout(total_s: float) -> ClientTimeout:
    return ClientTimeout(total=total_s, connect=min(total_s / 2, _LONGEST_CONNECT_S))


async def _whole(answer: ClientResponse, cap: int) -> bytes:
    """The whole body of *answer*. Raises: _Overlong when it is longer than *cap* bytes."""
    length = answer.content_length
    if length is not None and length > cap:
        raise _Overlong
    if length is not None and length <= cap and CONTENT_ENCODING not in answer.headers:
        return await answer.read()
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > cap:
            raise _Overlong
    return bytes(body)


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()
