"""Poolers before Postgres, as PgBouncer is one: they refuse the startup parameters that they do not track, and lend
their sessions with the server to clients, each for a transaction (`transaction_pooler`) or as long as the client stays
(`session_pooler`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import parse_qs, urlsplit

_IDLE: Final = b"I"
_PORT: Final = 5432
_VERSION: Final = b"\x00\x03\x00\x00"
_ENCRYPTION: Final = (80877103, 80877104)
"""Requests for TLS and GSS, by their codes."""

_TRACKED: Final = frozenset(
    ("user", "database", "client_encoding", "datestyle", "timezone", "standard_conforming_strings", "application_name")
)
"""What PgBouncer takes at the start of a session (its page of settings, "ignore_startup_parameters")."""


class _Server(NamedTuple):
    """The server behind a pooler: a Unix socket, or a host and a port."""

    host: str
    port: int
    user: str
    database: str

    async def opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self.host}/.s.PGSQL.{self.port}")
        return await asyncio.open_connection(self.host, self.port)


def _server(database_url: str) -> _Server:
    at = urlsplit(database_url)
    options = parse_qs(at.query)
    host = options.get("host", [at.hostname or "127.0.0.1"])[0]
    user = at.username or options.get("user", ["postgres"])[0]
    return _Server(host, at.port or _PORT, user, at.path.removeprefix("/"))


class _Session:
    """The one session with the server. *greeting*: what the server said before the first query."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.free = asyncio.Lock()
        self.greeting = b""


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """(type, whole message)."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(int.from_bytes(head[1:], "big") - 4)


async def _answer(reader: asyncio.StreamReader, last: bytes = b"Z") -> tuple[bytes, bytes]:
    """Everything up to the message of a type in *last*, and the last byte of that: of ReadyForQuery (Z) it is the state
    of the transaction."""
    said = b""
    while True:
        kind, message = await _message(reader)
        said += message
        if kind in last:
            return said, message[-1:]


def _sized(data: bytes) -> bytes:
    return (len(data) + 4).to_bytes(4, "big") + data


def _startup(parameters: dict[str, str]) -> bytes:
    words = [word for pair in parameters.items() for word in pair]
    return _sized(_VERSION + b"".join(word.encode() + b"\x00" for word in words) + b"\x00")


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, str] | None:
    """The parameters with which a client begins; None where they are refused, or the client only cancels."""
    while True:
        packet = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
        code = int.from_bytes(packet[:4], "big")
        if code in _ENCRYPTION:
            writer.write(b"N")
            continue
        if packet[:4] != _VERSION:
            return None
        words = packet[4:].rstrip(b"\x00").decode().split("\x00")
        parameters = dict(zip(words[::2], words[1::2], strict=True))
        odd = next((name for name in parameters if name.lower() not in _TRACKED), None)
        if odd is None:
            return parameters
        fields = {"S": "FATAL", "C": "08P01", "M": f"unsupported startup parameter: {odd}"}
        writer.write(b"E" + _sized(b"".join(f"{k}{v}\x00".encode() for k, v in fields.items()) + b"\x00"))
        return None


_Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _pooler(server: _Server, serve: _Serve) -> AsyncIterator[str]:
    """The address of a pooler that serves its clients by *serve*, which may end with their connections."""
    clients: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        clients.add(task)
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            clients.discard(task)
            writer.close()

    listening = await asyncio.start_server(served, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://{server.user}@127.0.0.1:{port}/{server.database}?sslmode=disable"
    finally:
        listening.close()
        for client in list(clients):
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


@asynccontextmanager
async def transaction_pooler(database_url: str) -> AsyncIterator[str]:
    """The address of a pooler with one server session, which a client has for as long as its transaction lasts. As
    PgBouncer does from 1.21 on, it lets prepared statements through. *database_url*: of a server that trusts its
    clients."""
    at = _server(database_url)
    session = _Session(*await at.opened())
    session.writer.write(_startup({"user": at.user, "database": at.database, "client_encoding": "utf-8"}))
    session.greeting, _ = await _answer(session.reader)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await _asked(reader, writer) is None:
            return
        writer.write(session.greeting)
        held, batch = False, b""
        while True:
            kind, message = await _message(reader)
            if kind == b"X":
                return
            batch += message
            if kind not in b"SQH":
                continue
            if not held:
                await session.free.acquire()
            session.writer.write(batch)
            # a flush (H) asks for the description of a statement alone, and its transaction goes on
            said, state = await _answer(session.reader, b"TnE" if kind == b"H" else b"Z")
            held, batch = kind == b"H" or state != _IDLE, b""
            if not held:
                session.free.release()
            writer.write(said)

    async with _pooler(at, serve) as url:
        try:
            yield url
        finally:
            session.writer.close()


@asynccontextmanager
async def session_pooler(database_url: str) -> AsyncIterator[str]:
    """The address of a pooler with a server session for each client. *database_url*: of a server that trusts its
    clients."""
    at = _server(database_url)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(2**16):
            writer.write(chunk)
            await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parameters = await _asked(reader, writer)
        if parameters is None:
            return
        answers, questions = await at.opened()
        questions.write(_startup(parameters))
        ways = {asyncio.create_task(carry(reader, questions)), asyncio.create_task(carry(answers, writer))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            questions.close()

    async with _pooler(at, serve) as url:
        yield url
