"""A pooler before Postgres in transaction mode: many clients, one server session, which a client has for as long as
its transaction lasts. As PgBouncer does from 1.21 on, it lets prepared statements through."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

_IDLE: Final = b"I"
_PORT: Final = 5432


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


async def _greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, password: str) -> bytes:
    """What the server says from its AuthenticationOk to its first ReadyForQuery, once it knows us by SCRAM-SHA-256 or
    asks for no password."""
    first = f"n=,r={secrets.token_hex(12)}"
    while True:
        kind, message = await _message(reader)
        code = int.from_bytes(message[5:9], "big")
        assert kind == b"R", message
        if code == 0:
            return message + (await _answer(reader))[0]
        if code == 10:
            said = f"n,,{first}".encode()
            _send(writer, b"SCRAM-SHA-256\x00" + len(said).to_bytes(4, "big") + said)
        elif code == 11:
            _send(writer, _proof(password, first, message[9:].decode()))


def _proof(password: str, first: str, challenge: str) -> bytes:
    """The last message of a client that has said *first* and was answered with *challenge* (RFC 5802)."""
    given = dict(part.split("=", 1) for part in challenge.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(given["s"]), int(given["i"]))
    last = f"c=biws,r={given['r']}"
    key = hmac.digest(salted, b"Client Key", "sha256")
    signed = hmac.digest(hashlib.sha256(key).digest(), f"{first},{challenge},{last}".encode(), "sha256")
    return f"{last},p={base64.b64encode(bytes(a ^ b for a, b in zip(key, signed, strict=True))).decode()}".encode()


def _send(writer: asyncio.StreamWriter, said: bytes) -> None:
    writer.write(b"p" + (len(said) + 4).to_bytes(4, "big") + said)


async def _serve(session: _Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
    writer.write(session.greeting)
    held, batch = False, b""
    try:
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
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


@asynccontextmanager
async def transaction_pooler(database_url: str) -> AsyncIterator[str]:
    """The address of the pooler, which asks its clients for no password. *database_url*: of a server on a socket, or on
    a port without TLS."""
    at = urlsplit(database_url)
    host = parse_qs(at.query).get("host", [at.hostname])[0]
    assert host is not None
    if host.startswith("/"):
        reader, writer = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{at.port or _PORT}")
    else:
        reader, writer = await asyncio.open_connection(host, at.port or _PORT)
    user, name = at.username or parse_qs(at.query).get("user", ["postgres"])[0], at.path.removeprefix("/")
    said = b"\x00\x03\x00\x00" + b"\x00".join(
        word.encode() for word in ("user", user, "database", name, "client_encoding", "utf-8", "", "")
    )
    writer.write((len(said) + 4).to_bytes(4, "big") + said)
    session = _Session(reader, writer)
    session.greeting = await _greeting(reader, writer, unquote(at.password or ""))
    server = await asyncio.start_server(lambda r, w: _serve(session, r, w), "127.0.0.1", 0)
    try:
        yield f"postgresql://{user}@127.0.0.1:{server.sockets[0].getsockname()[1]}/{name}?sslmode=disable"
    finally:
        server.close()
        writer.close()
