"""A line between two daemons that can be cut and mended: a TCP relay on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_CHUNK: Final = 2**16
_HERE: Final = "127.0.0.1"


class Link:
    """A port of this machine from which every connection is carried to *port*, while the line is whole. A cut line ends
    what it carries, in the middle of a request or of its answer, and takes nothing new."""

    def __init__(self, port: int) -> None:
        self._there = port
        self._carried: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.whole = True
        self.port = 0

    @property
    def url(self) -> str:
        """Where the other end is reached through it."""
        return f"http://{_HERE}:{self.port}"

    @property
    def carries(self) -> bool:
        """Whether a connection goes through it now."""
        return bool(self._carried)

    async def open(self) -> None:
        """Begin to listen, on a free port."""
        self._server = await asyncio.start_server(self._carry, _HERE, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End every connection, and listen no longer."""
        if self._server is not None:
            self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """End every connection at once; new ones end as they begin."""
        self.whole = False
        carried = list(self._carried)
        for task in carried:
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)

    def mend(self) -> None:
        """Carry new connections again."""
        self.whole = True

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carried.add(task)
        back: asyncio.StreamWriter | None = None
        try:
            if self.whole:
                there, back = await asyncio.open_connection(_HERE, self._there)
                await _both_ways((reader, back), (there, writer))
        except (OSError, asyncio.CancelledError):
            pass  # the other end is away, or the line was cut
        finally:
            self._carried.discard(task)
            for end in (writer, back):
                if end is not None:
                    end.transport.abort()


async def _both_ways(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Carry bytes until one end closes."""
    carrying = {asyncio.create_task(_one_way(reader, writer)) for reader, writer in ways}
    try:
        await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in carrying:
            way.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)


async def _one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()


@asynccontextmanager
async def linked(port: int) -> AsyncIterator[Link]:
    """A line to *port* of this machine, whole at first, until the context ends."""
    link = Link(port)
    await link.open()
    try:
        yield link
    finally:
        await link.close()
