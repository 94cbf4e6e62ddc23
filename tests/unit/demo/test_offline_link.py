"""The line of the demonstration carries bytes both ways while it is whole; a cut one carries nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from daemon.demo.offline_link import linked


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that gives back each line."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"hello\n")
    async with asyncio.timeout(5):
        try:
            return await reader.readline()
        except ConnectionError:
            return b""


async def test_a_line_carries_until_it_is_cut_and_again_when_it_is_mended(echo: int) -> None:
    async with linked(echo) as link:
        before = await asyncio.open_connection("127.0.0.1", link.port)
        assert await ask(*before) == b"hello\n"
        await link.cut()
        assert await ask(*before) == b""
        during = await asyncio.open_connection("127.0.0.1", link.port)
        assert await ask(*during) == b""
        link.mend()
        after = await asyncio.open_connection("127.0.0.1", link.port)
        assert await ask(*after) == b"hello\n"
        after[1].close()


async def test_a_line_to_nobody_ends_its_connections(unused_tcp_port: int) -> None:
    async with linked(unused_tcp_port) as link:
        assert await ask(*await asyncio.open_connection("127.0.0.1", link.port)) == b""
