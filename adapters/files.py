"""Fetches files of other people's servers. Their addresses come from outside, so none may lead into our own network.

A file is fetched from the internet alone: by http or https, at ports 80 and 443, without a password in the address.
Each redirect is followed by hand and checked anew. A host's name is resolved once for each request, all its addresses
are checked, and the request goes to one of those: a name that is resolved otherwise a moment later gains nothing. Own
servers, by their exact origins (scheme, host and port), may have any address and any port, but nobody else's server may
redirect to one.

Nothing of ours goes along: no cookies, no proxy of the environment, and no password but one that the caller gives for
the very origin that it names. Errors have no address in them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from posixpath import splitext
from socket import AF_INET, AddressFamily
from typing import Final
from urllib.parse import unquote

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    InvalidURL,
    TCPConnector,
    ThreadedResolver,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.hdrs import CONTENT_ENCODING, LOCATION
from yarl import URL

from adapters.file_types import ENDINGS, content_type
from adapters.http import coded, retry_after
from adapters.ports import FetchedFile
from adapters.public_address import is_public
from schemas.cleaned import cut, visible
from schemas.errors import Refused, Transient

DEADLINE_S: Final = 60.0
"""For the whole of a file, its redirects included."""

SILENCE_S: Final = 10.0
"""For a connection, and between two pieces of a file."""

MOST_REDIRECTS: Final = 3
CONNECTIONS: Final = 8
LONGEST_NAME: Final = 100

_PORTS: Final = frozenset({80, 443})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_LATER: Final = frozenset({408, 425, 429})
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_NOT_IN_NAMES: Final = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')

_NO_URL: Final = "the file's address is not a valid URL"
_NOT_PUBLIC: Final = "the file's address leads into a private network, where nothing is fetched: give a public one"


class WebFiles:
    """The `Files` of this process. *guarded* reaches the internet alone; *open* anything, and is used for the origins
    of *own* servers."""

    def __init__(self, guarded: ClientSession, open: ClientSession, own: frozenset[URL]) -> None:
        self._guarded = guarded
        self._open = open
        self._own = own

    async def fetch(self, url: str, most_bytes: int, headers: Mapping[str, str] | None = None) -> FetchedFile:
        """See `Files`, and `TokenFiles`. A refusal by HTTP has the code `http-NNN`: a file that is not there yet may
        come."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                body = await self._body(_parsed(url), most_bytes, headers)
        # `from None` throughout: aiohttp's texts hold the address
        except (ClientConnectorError, ConnectionTimeoutError):
            raise coded(Transient("no connection to the file's server"), "no-connection") from None
        except TimeoutError:
            raise coded(Transient("the file did not come in time"), "no-answer") from None
        except (InvalidURL, UnicodeError):  # the latter: a part of the host's name is too long for a name
            raise _refused(_NO_URL, "no-url") from None
        except (ClientError, OSError):
            raise coded(Transient("the connection broke before the file was whole"), "connection-broke") from None
        if not body:
            raise _refused("the file is empty", "empty")
        found = content_type(body)
        return FetchedFile(name_of(url, found), found, body)

    async def _body(self, url: URL, most_bytes: int, headers: Mapping[str, str] | None) -> bytes:
        own, meant_for = True, url.origin()
        for _ in range(MOST_REDIRECTS + 1):
            own = own and url.origin() in self._own
            if not own:
                _check(url)
            session = self._open if own else self._guarded
            sent = headers if url.origin() == meant_for else None  # a redirect elsewhere gets no password of ours
            async with session.get(url, allow_redirects=False, headers=sent) as answer:
                if answer.status not in _REDIRECTS:
                    return await _whole(answer, most_bytes)
                url = _next(url, answer)
        raise _refused(f"the file's server redirects more than {MOST_REDIRECTS} times", "redirects")


@asynccontextmanager
async def open_files(*, own: Iterable[str] = (), resolver: AbstractResolver | None = None) -> AsyncIterator[WebFiles]:
    """The files of this process. *own*: addresses of servers of ours, whose origins may be in our own network.
    *resolver*: looks names up; None: the system's."""
    lookup = resolver or ThreadedResolver()
    async with _session(_PublicOnly(lookup)) as guarded, _session(lookup) as unguarded:
        yield WebFiles(guarded, unguarded, frozenset(URL(address).origin() for address in own))


def _session(resolver: AbstractResolver) -> ClientSession:
    # each request has a connection of its own, so that its address was checked for it
    connector = TCPConnector(limit=CONNECTIONS, resolver=resolver, use_dns_cache=False, force_close=True)
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        headers={"User-Agent": "ferryman", "Accept": "*/*", "Accept-Encoding": "identity"},
        timeout=ClientTimeout(total=DEADLINE_S, connect=SILENCE_S, sock_read=SILENCE_S),
    )


class _PublicOnly(AbstractResolver):
    """Resolves names of which every address is one of the internet."""

    def __init__(self, lookup: AbstractResolver) -> None:
        self._lookup = lookup

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        """See AbstractResolver. Raises besides: Refused, also where one address of several is not public."""
        found = await self._lookup.resolve(host, port, family)
        if not all(is_public(one["host"]) for one in found):
            raise _refused(_NOT_PUBLIC, "not-public")
        return found

    async def close(self) -> None:
        """See AbstractResolver."""
        await self._lookup.close()


def _parsed(text: str) -> URL:
    try:
        return _sound(URL(text))
    except ValueError:
        raise _refused(_NO_URL, "no-url") from None


def _sound(url: URL) -> URL:
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise _refused("the file's address does not begin with http:// or https://", "no-url")
    if url.raw_user is not None or url.raw_password is not None:
        raise _refused("the file's address has a user or a password in it", "no-url")
    return url


def _check(url: URL) -> None:
    """Raises: Refused by what needs no look at a name. For a host that is an address no resolver is asked."""
    if url.port not in _PORTS:
        raise _refused("the file's address names another port than 80 and 443", "port")
    host = (url.raw_host or "").rstrip(".")
    # "127.1" and "0x7f.1" are not public, as they are no address in its plain form: every system reads them its own way
    if (_is_address(host) or _NUMBER.fullmatch(host.rpartition(".")[2])) and not is_public(host):
        raise _refused(_NOT_PUBLIC, "not-public")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _next(url: URL, answer: ClientResponse) -> URL:
    try:
        return _sound(url.join(URL(answer.headers.get(LOCATION, ""))))
    except ValueError:
        raise _refused("the file's server redirects to no valid address", "no-url") from None


async def _whole(answer: ClientResponse, most_bytes: int) -> bytes:
    status = answer.status
    if status in _LATER or status >= 500:
        error = Transient(
            f"the file's server answers HTTP {status}", retry_after_s=retry_after(answer.headers, datetime.now(UTC))
        )
        raise coded(error, f"http-{status}")
    if status != 200:
        raise _refused(f"the file's server answers HTTP {status}", f"http-{status}")
    if answer.headers.get(CONTENT_ENCODING, "identity").strip().lower() not in ("", "identity"):
        raise _refused("the file's server compresses it, although we ask for it as it is", "compressed")
    body = bytearray()
    if (answer.content_length or 0) <= most_bytes:
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > most_bytes:
                break
        else:
            return bytes(body)
    raise _refused(f"the file is larger than {most_bytes / 1024 / 1024:.1f} MB", "too-large")


def name_of(url: str, found: str) -> str:
    """A name for the file at *url* of the type *found*: the last part of its path, with an ending that fits."""
    try:
        last = unquote(URL(url).raw_path.rpartition("/")[2])
    except ValueError:
        last = ""
    stem, ending = splitext(_NOT_IN_NAMES.sub("", visible(last)).strip(" ."))
    endings = ENDINGS.get(found, ())
    if endings and ending.lower() not in endings:
        stem, ending = stem + ending, endings[0]
    return (cut(stem, LONGEST_NAME) or "file") + ending[:12]


def _refused(text: str, code: str) -> Refused:
    return coded(Refused(text), code)
