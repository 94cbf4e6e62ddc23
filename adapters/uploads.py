"""Files of ours, for providers that take a file by the id that they give it: fetched, checked, uploaded once.

A provider that fetches a file itself asks our server once for each message, and fails where it may not reach it. An id
needs no server of ours any more when the message goes out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Final, NamedTuple, TypeVar

from yarl import URL

from adapters import permit
from adapters.file_types import HTML, PROGRAM
from adapters.http import coded
from adapters.ports import LONGEST_FILE_S, FetchedFile, Files
from schemas.errors import Refused, Transient
from schemas.media import MOST_BYTES, WORDS
from schemas.messages import MediaType

LIFE_S: Final = 25 * 86_400.0
"""For so long an id is used. Meta and Whapi keep a file for 30 days."""

FRESH_S: Final = 300.0
"""For so long an address is taken to give the same file still."""

UPLOAD_S: Final = 60.0
"""For one upload."""

PATIENCE_S: Final = 3600.0
"""For so long a server of ours may be away without cost to a message, which asks it every now and then: a host that is
named in the settings is known to be right. After that the message's attempts count."""

SHORTEST_HOLD_S: Final = 30.0
LONGEST_HOLD_S: Final = 300.0

AT_ONCE: Final = 4
"""Files of an account that are in memory at once."""

MOST_REMEMBERED: Final = 5000

K = TypeVar("K")
V = TypeVar("V")


class Uploaded(NamedTuple):
    """A file that the provider has. *remembered*: from an earlier message, so the provider may have dropped it."""

    id: str
    name: str
    remembered: bool


class _Seen(NamedTuple):
    """What an address gave. *digest*: of the bytes; None: the file is not uploaded, and goes by its address."""

    digest: bytes | None
    name: str
    at: float


class Uploads:
    """The uploads of one account. *upload* gives a file to the provider, and returns its id; it may be repeated.
    *taken*: the types that it takes by upload, of each kind; of a kind that is not there it takes all.

    Ids are kept in memory: a process that starts anew uploads anew, which does no harm. *clock*: monotonic seconds.
    """

    def __init__(
        self,
        files: Files,
        upload: Callable[[FetchedFile], Awaitable[str]],
        *,
        taken: Mapping[MediaType, frozenset[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._upload = upload
        self._taken = taken
        self._clock = clock
        self._room = asyncio.Semaphore(AT_ONCE)
        self._seen: dict[tuple[str, MediaType], _Seen] = {}
        self._ids: dict[bytes, tuple[str, float]] = {}
        self._failing: dict[str, float] = {}
        self._flights: dict[tuple[str, MediaType], asyncio.Task[Uploaded | None]] = {}

    async def of(self, url: str, kind: MediaType) -> Uploaded | None:
        """The file at *url*, uploaded; those that ask for the same one at a time share the work. None: it is a document
        of a type that goes by its address alone.

        Raises: Refused (of a type or size that is not carried); what `Files.fetch` and the upload raise. While a server
        is away that may come back, its Transient is *answered* and says when to ask again.
        """
        seen = self._seen.get((url, kind))
        if seen is not None and self._clock() - seen.at < FRESH_S:
            if seen.digest is None:
                return None
            if (id := self._id_of(seen.digest)) is not None:
                return Uploaded(id, seen.name, remembered=True)
        flight = self._flights.get((url, kind))
        if flight is None:
            flight = asyncio.create_task(self._brought(url, kind), name="upload")
            self._flights[url, kind] = flight
            flight.add_done_callback(lambda done: self._landed((url, kind), done))
        try:
            async with asyncio.timeout(LONGEST_FILE_S):
                return await asyncio.shield(flight)  # one that waits may be cancelled without the others
        except TimeoutError:
            raise coded(Transient("other files have taken too long"), "no-room") from None

    def forget(self, id: str) -> None:
        """The provider has not this file any more."""
        self._ids = {digest: kept for digest, kept in self._ids.items() if kept[0] != id}

    async def _brought(self, url: str, kind: MediaType) -> Uploaded | None:
        permit.current.set(None)  # the work is not of one handler alone, so it waits for its place at the rate limit
        async with self._room:
            file = await self._fetched(url, kind)
            if not self._goes_by_id(file, kind):
                _keep(self._seen, (url, kind), _Seen(None, file.name, self._clock()))
                return None
            digest = await asyncio.to_thread(_digest, file.body)
            known = self._id_of(digest)
            id = known if known is not None else await self._upload(file)
        if known is None:
            _keep(self._ids, digest, (id, self._clock()))
        _keep(self._seen, (url, kind), _Seen(digest, file.name, self._clock()))
        return Uploaded(id, file.name, remembered=known is not None)

    async def _fetched(self, url: str, kind: MediaType) -> FetchedFile:
        try:
            file = await self._files.fetch(url, MOST_BYTES[kind])
        except Transient as error:
            since = self._failing.get(url, self._clock())
            _keep(self._failing, url, since)
            if self._clock() - since < PATIENCE_S:
                error.answered = True  # no fault of the provider, nor of the message: it waits, and the others go on
                error.retry_after_s = min(max(error.retry_after_s or 0.0, SHORTEST_HOLD_S), LONGEST_HOLD_S)
            raise
        self._failing.pop(url, None)
        return file

    def _landed(self, key: tuple[str, MediaType], flight: asyncio.Task[Uploaded | None]) -> None:
        self._flights.pop(key, None)
        if not flight.cancelled():
            flight.exception()  # has been asked for, also where nobody waits any more

    def _goes_by_id(self, file: FetchedFile, kind: MediaType) -> bool:
        """Whether *file* is uploaded; else it goes by its address. Raises: Refused where it cannot go at all."""
        found = file.content_type
        if found == HTML:
            raise _refused("the file's address gives a web page and not a file: does it ask for a login?")
        if found == PROGRAM:
            raise _refused("the file is a program, which is not sent: give another one")
        fits = found in self._taken[kind] if kind in self._taken else kind in ("document", found.partition("/")[0])
        if not fits and kind != "document":
            raise _refused(f"the file is {found}, and WhatsApp takes {WORDS[kind]} as {kind}: give one of those")
        return fits

    def _id_of(self, digest: bytes) -> str | None:
        id, at = self._ids.get(digest, (None, 0.0))
        return id if self._clock() - at < LIFE_S else None


def is_ours(url: str, hosts: str) -> bool:
    """Whether the file at *url* is on one of *hosts*: commas separate them; one without a port stands for 80 and 443,
    and `*` for all."""
    try:
        address = URL(url)
        host, port = address.host_subcomponent, address.port
    except ValueError:
        return False
    names = {"*", f"{host}:{port}"} | ({f"{host}"} if address.is_default_port() else set())
    return bool(host) and not names.isdisjoint(hosts.split(","))


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    """Remember the newest MOST_REMEMBERED."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > MOST_REMEMBERED:
        del kept[next(iter(kept))]


def _digest(body: bytes) -> bytes:
    return sha256(body).digest()


def _refused(text: str) -> Refused:
    return coded(Refused(text), "file-type")
