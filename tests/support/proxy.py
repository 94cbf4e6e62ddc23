"""A TCP proxy before a server. It loses answers (it swallows one and closes the connection), and may be pointed at
another server."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """*server*: where new connections go: a Unix socket, or a port of this machine. *loss*: the part of the answers
    that is lost, 0 at first; *lost*: how many that were."""

    def __init__(self, server: str | int, rng: random.Random) -> None:
        self.server = server
        self._rng = rng
        self._open: set[asyncio.Task[None]] = set()
        self.loss = 0.0
        self.lost = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(OSError):
                await self._carry(reader, writer)
        finally:
            self._open.discard(task)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self.server, int):
            there, back = await asyncio.open_connection("127.0.0.1", self.server)
        else:
            there, back = await asyncio.open_unix_connection(self.server)
        ways = {asyncio.create_task(self._requests(reader, back)), asyncio.create_task(self._answers(there, writer))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            back.close()

    async def _requests(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(2**18):
            back.write(chunk)
            await back.drain()

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await there.read(2**18):
            if self._rng.random() < self.loss:
                self.lost += 1
                return
            writer.write(chunk)
            await writer.drain()

    async def close(self) -> None:
        """End every connection."""
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


@asynccontextmanager
async def proxied(server: str | int, rng: random.Random, port: int = 0) -> AsyncIterator[Proxy]:
    """A proxy before *server*, on *port* of this machine, or on a free one."""
    proxy = Proxy(server, rng)
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", port)
    proxy.port = listening.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listening.close()
        await proxy.close()
